"""Conflicts that somebody has looked at and lives with, until a day and for a reason.

They stand in the config, or in a file of their own beside it that is read with it. `acknowledge`
writes that file and never the config: a text that somebody else has laid out, with comments,
anchors and flow style, cannot be added to without guessing. Its lines are only ever appended,
and what comes out is read back before it takes the old file's place.
"""

from __future__ import annotations

import json
import os
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.config.guards import read_pattern
from imgmigrate.config.reading.schema import KnownFileModel, raise_all, validate
from imgmigrate.config.reading.tree import Scalar, parse_only
from imgmigrate.errors import ConfigError, FileUnwritable
from imgmigrate.files import write_atomically
from imgmigrate.matching import parse_pattern
from imgmigrate.oci.reference import Digest
from imgmigrate.redaction import printable
from imgmigrate.remedies import remedy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.config.reading.schema import KnownModel
    from imgmigrate.config.reading.tree import KeyPath, Tree
    from imgmigrate.matching import Pattern
    from imgmigrate.oci.reference import Reference

__all__ = [
    "Acknowledgement",
    "KnownConflict",
    "append_known",
    "build_known",
    "known_path",
    "read_day",
    "read_known",
]

VERSION = "1"
# Meant to be committed and read by others; it holds no secrets.
SHARED_FILE = 0o644
# It stands in every plan and in comments on pull requests: characters.
LONGEST_REASON = 500

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HEAD = f"""\
# Conflicts that are known, and left as they are until their day. `imgmigrate acknowledge` adds
# lines at the end; change and remove them as you like. Commit it: plans read it.
version: {VERSION}
known_conflicts:
"""


class Acknowledgement(Struct, frozen=True):
    """One address that shows a digest which is known, until a day (UTC, that day included)."""

    address: Reference
    digest: Digest
    until: date
    because: str


class KnownConflict(Struct, frozen=True):
    """One entry of `known_conflicts`; `address` may be a glob, the digest is always one."""

    address: Pattern
    digest: Digest
    until: date
    because: str

    def concerns(self, address: Reference) -> bool:
        """Tell whether it is about an address, whatever that shows and whatever the day."""
        return self.address.matches_reference(address)

    def covers(self, address: Reference, digest: Digest | None, today: date) -> bool:
        """Tell whether it holds for what an address shows, today."""
        return digest == self.digest and today <= self.until and self.concerns(address)


def known_path(config: Path) -> Path:
    """Where they lie beside a config: `imgmigrate.known-conflicts.yaml` for `imgmigrate.yaml`."""
    return config.with_name(f"{config.stem}.known-conflicts.yaml")


def build_known(tree: Tree, entries: Sequence[KnownModel]) -> tuple[KnownConflict, ...]:
    """Check what stands below `known_conflicts`; a ConfigError names every wrong entry."""
    found, errors = [], []
    for number, entry in enumerate(entries):
        try:
            found.append(_entry(tree, entry, ("known_conflicts", number)))
        except ConfigError as error:
            errors.append(error)
    raise_all(errors)
    return tuple(found)


def read_known(path: Path) -> tuple[KnownConflict, ...]:
    """Read the file of its own; none where there is no such file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        cause = f"it cannot be read: {error.strerror}"
        raise ConfigError(cause, file=str(path), hint="check its permissions") from None
    return _decode(data, path)


def read_day(text: str) -> date:
    """Read a day; ValueError says how to write one."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    msg = f"{text!r} is not a day: write one such as 2027-03-31"
    raise ValueError(msg)


def append_known(path: Path, entries: Sequence[Acknowledgement]) -> None:
    """Add entries at the end of the file, or begin it; it is replaced whole, or left as it is.

    ConfigError, with the lines to paste, where it is laid out so that nothing can be appended.
    """
    lines = "".join(_line(entry) for entry in entries)
    target = Path(os.path.realpath(path))
    before = read_known(target)
    data = target.read_bytes() if target.exists() else b""
    data += b"" if data.endswith(b"\n") or not data else b"\n"
    if _is_bare(data.decode("utf-8-sig")):
        data += _HEAD.encode()
    data += lines.encode()
    try:
        after = _decode(data, path)
    except ConfigError:
        after = ()
    if after != (*before, *(_known(entry) for entry in entries)):
        message = "it is laid out so that nothing can be added at its end, and is as it was; "
        message += f"add below known_conflicts:\n{lines.rstrip()}"
        raise ConfigError(message, file=str(path))
    try:
        write_atomically(target, data, mode=SHARED_FILE)
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror}"
        raise FileUnwritable(message, hint="nothing was changed") from None


def _decode(data: bytes, path: Path) -> tuple[KnownConflict, ...]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError("it is not UTF-8", file=str(path), hint="save it as UTF-8") from None
    if _is_bare(text):
        return ()
    if text.rstrip().endswith("known_conflicts:"):  # the last of its lines was taken out
        text = f"{text.rstrip()} []\n"
    tree = parse_only(text, str(path), ("version", "known_conflicts"), "a file of known conflicts")
    version = tree.node(("version",))
    if not isinstance(version, Scalar) or version.value != VERSION:
        message = f"this imgmigrate reads known conflicts of version {VERSION} alone"
        raise tree.error(message, ("version",), hint=f"write version: {VERSION}")
    model = validate(KnownFileModel, tree.plain(), tree)
    return build_known(tree, model.known_conflicts)


def _is_bare(text: str) -> bool:
    """Tell whether there is nothing but comments."""
    return not any(line.strip() and not line.startswith("#") for line in text.splitlines())


def _entry(tree: Tree, entry: KnownModel, path: KeyPath) -> KnownConflict:
    address = read_pattern(tree, entry.address, (*path, "address"), "knows")
    try:
        digest = Digest.parse(entry.digest)
    except ValueError as error:
        told = remedy("plan", json=True)
        hint = f"it is the one that the destination shows: {told} tells it"
        raise tree.error(str(error), (*path, "digest"), hint=hint) from None
    try:
        until = read_day(entry.until)
    except ValueError as error:
        raise tree.error(str(error), (*path, "until")) from None
    because = " ".join(entry.because.split())
    if not because or len(because) > LONGEST_REASON:
        message = f"must say why, in at most {LONGEST_REASON} characters"
        raise tree.error(message, (*path, "because"), hint="whoever reads a plan will ask")
    return KnownConflict(address, digest, until, because)


def _line(entry: Acknowledgement) -> str:
    # A JSON text is a YAML text; quoted, nothing can be mistaken for anything else.
    fields = {
        "address": str(entry.address),
        "digest": entry.digest,
        "until": entry.until.isoformat(),
        "because": printable(entry.because, LONGEST_REASON),
    }
    return f"  - {json.dumps(fields, ensure_ascii=False)}\n"


def _known(entry: Acknowledgement) -> KnownConflict:
    because = " ".join(printable(entry.because, LONGEST_REASON).split())
    return KnownConflict(parse_pattern(str(entry.address)), entry.digest, entry.until, because)
