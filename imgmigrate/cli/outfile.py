"""Files that the user names for our output: refuse what must not be written, word what fails.

Nothing here writes over what imgmigrate itself lives from: a config and what it includes, the
pins, a state, an image layout. How a place is written into is `files.write_output`'s.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate.errors import FileUnwritable, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imgmigrate.cli.given.options import Settings
    from imgmigrate.config.model import Config

__all__ = ["check_new", "check_place", "save_to"]

# Only its owner reads it.
PRIVATE = 0o600
_STATE = {
    "snapshot.jsonl",
    "journal.jsonl",
    "lock",
    "lock.json",
    "backups",
    "cache",
    "plans",
    "sightings",
}
# A folder with one of these is a state; `lock` alone may be anybody's.
_STATE_MARKS = ("snapshot.jsonl", "journal.jsonl")
_LAYOUT = {"oci-layout", "index.json", "blobs", ".imgmigrate.lock"}
_LAYOUT_MARKS = ("oci-layout",)


def check_place(
    out: Path,
    settings: Settings,
    config: Config | None = None,
    *,
    option: str = "--out",
    inputs: Mapping[str, str | Path | None] | None = None,
) -> None:
    """Refuse, before any work, a place where output cannot or must not be saved.

    `inputs` are what else the command reads or runs, by what it is called.
    """
    from imgmigrate.files import is_stream

    if is_stream(out):
        return
    if not out.parent.is_dir():
        message = f"{option} {out}: there is no folder {out.parent}"
        raise UsageError(message, hint="create it first")
    _refuse_precious(f"{option} {out}", out, settings, config)
    for what, given in (inputs or {}).items():
        if given is not None and _is_same(out, Path(given)):
            message = f"{option} {out}: this is {what}, which would be overwritten"
            raise UsageError(message, hint="name another file")


def check_new(out: Path, settings: Settings, *, option: str, hint: str | None = None) -> None:
    """Refuse a place where a file is already; a device or a pipe is none."""
    from imgmigrate.files import is_stream

    if is_stream(out):
        return
    if os.path.lexists(out):
        message = f"{out} exists already and is left as it is"
        raise UsageError(message, hint=hint or f"name another file with {option}")
    _refuse_precious(f"{option} {out}", out, settings, None)


def _refuse_precious(name: str, out: Path, settings: Settings, config: Config | None) -> None:
    kind = _kind(out)
    if stat.S_ISDIR(kind):
        raise UsageError(f"{name}: it is a folder", hint=f"name a file in it: {out}/plan.out")
    if stat.S_ISBLK(kind):
        message = f"{name}: it is a disk, whose contents this would destroy"
        raise UsageError(message, hint="name a file")
    for path, what in _precious(settings, config):
        if _is_same(out, path):
            message = f"{name}: this is {what}, which would be overwritten"
            raise UsageError(message, hint="name another file, such as plan.out")
    owner = _owner(out, config)
    if owner is not None:
        message = f"{name}: this name belongs to {owner}"
        raise UsageError(message, hint="name another file, such as plan.out")


def save_to(
    settings: Settings, out: Path, data: bytes, *, mode: int = PRIVATE, what: str = ""
) -> None:
    """Write output, for messages `what`, to its place; ImgmigrateError says why that failed."""
    from imgmigrate.files import write_output

    # What a descriptor such as /dev/stdout leads to has no name, or a reader already.
    if stat.S_ISFIFO(_kind(Path(os.path.realpath(out)))):
        settings.output.note(f"{out} is a pipe: its reader is waited for")
    try:
        write_output(out, data, mode=mode)
    except OSError as error:
        cause, subject = f"cannot be written: {error.strerror or error}", f"{what} {out}".lstrip()
        raise FileUnwritable(cause, subject=subject, hint="name another place") from None
    settings.output.left_something = True


def _kind(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _precious(settings: Settings, config: Config | None) -> Iterator[tuple[Path, str]]:
    """The files that the command reads its orders from."""
    if config is not None:
        from imgmigrate.config.known import known_path
        from imgmigrate.planning.desired.pins import pins_path

        for path in config.files:
            yield path, "the config" if path == config.path else "a part of the config"
        yield pins_path(config), "the file of the config's pins"
        yield known_path(config.path), "the file of its known conflicts"
    for group in (settings.foreign, settings.planning):
        for option in ("--auth", "--images", "--target-file"):
            if option in group:
                yield Path(str(group[option])), f"the file of {option}"
    files = {"--state-file": settings.state_file, "--trusted": settings.trusted}
    yield from ((path, f"the file of {option}") for option, path in files.items() if path)


def _is_same(out: Path, path: Path) -> bool:
    """Compare what two names lead to, also where there is no file yet."""
    try:
        return os.path.samefile(out, path)
    except OSError:
        return os.path.realpath(out) == os.path.realpath(path)


def _owner(out: Path, config: Config | None) -> str | None:
    """Name the state or the layout that a path lies in under a name of theirs."""
    real = os.path.realpath(out)
    has_folder = config is not None and config.backend is None
    ours = os.path.realpath(config.state) if config is not None and has_folder else None
    folder, parts = os.path.dirname(real), [os.path.basename(real)]
    # The deepest that either has: blobs/sha256/HEX, cache/KIND/HEX.
    for _ in range(4):
        if parts[0] in _STATE and (folder == ours or _has(folder, _STATE_MARKS)):
            return f"the state {folder}"
        if parts[0] in _LAYOUT and _has(folder, _LAYOUT_MARKS):
            return f"the image layout {folder}"
        parts.insert(0, os.path.basename(folder))
        folder = os.path.dirname(folder)
    return None


def _has(folder: str, names: tuple[str, ...]) -> bool:
    return any(os.path.lexists(os.path.join(folder, name)) for name in names)
