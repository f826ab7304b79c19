"""`convert`: write another tool's config as an `imgmigrate.yaml`."""

from __future__ import annotations

from os import environ
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgmigrate.cli.given.options import Command, Settings, common_options, file_path, pass_settings
from imgmigrate.cli.outfile import check_new, save_to
from imgmigrate.errors import UsageError
from imgmigrate.foreign.formats import FORMATS, Given, read

if TYPE_CHECKING:
    from imgmigrate.foreign.writer import Written

__all__ = ["convert"]

# The config names secrets, and is meant to be shared; the file beside it holds them, private.
SHARED_FILE = 0o644
# Formats that name images, and not where they go.
_LISTS = ("list", "yaml")


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate convert image-syncer config.json --out imgmigrate.yaml
  imgmigrate convert image-syncer auth.yaml images.yaml
  imgmigrate convert regsync regsync.yaml --out imgmigrate.yaml
  imgmigrate convert skopeo sync.yaml --to registry.new/mirror
  imgmigrate convert list images.txt --to registry.new/mirror
  imgmigrate convert yaml zarf.yaml compose.yaml --to registry.new/mirror

\b
Exit codes: 0 converted, 64 a file is not what it should be, or one to
write is there already.""",
)
@click.argument("form", metavar="FORMAT", type=click.Choice(tuple(FORMATS)))
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=file_path())
@click.option("--out", type=file_path(), metavar="FILE", help="Write there, not to stdout.")
@click.option(
    "--env-file",
    type=file_path(),
    metavar="FILE",
    help="Where passwords go.  [default: beside --out, as .env]",
)
@click.option("--to", metavar="DEST", help="Where images go: host or host/path.")
@click.option("--scoped", is_flag=True, help="Keep their whole names, as skopeo's --scoped.")
@click.option("--all", is_flag=True, help="skopeo was given --all.")
@click.option("--append-suffix", metavar="TEXT", help="Appended to tags, as skopeo's option.")
@click.option("--registry", metavar="HOST", help="For image-syncer's empty destinations.")
@click.option("--namespace", metavar="NAME", help="For image-syncer's empty destinations.")
@click.option("--os", multiple=True, metavar="OS", help="image-syncer's choice of systems.")
@click.option("--arch", multiple=True, metavar="ARCH", help="Its choice of processors.")
@common_options
@pass_settings
def convert(
    settings: Settings,
    /,
    form: str,
    files: tuple[Path, ...],
    out: Path | None,
    env_file: Path | None,
    **given: Any,
) -> None:
    """Write the config of another tool as an imgmigrate.yaml.

    FORMAT is image-syncer, regsync, skopeo (sync), dregsy, list (images, one a line) or yaml
    (any that has image: or images:). The result means the same; what has no equivalent is a
    comment in it and a warning. Passwords become variables, their values go to a private file.
    """
    from imgmigrate.files import is_stream
    from imgmigrate.foreign.load import check
    from imgmigrate.foreign.writer import write
    from imgmigrate.render.options import spoken

    if out is not None:
        if env_file is None and not is_stream(out):
            env_file = out.with_suffix(".env")
        check_new(out, settings, option="--out")
    _refuse_others(form, (*_LISTS, "skopeo"), given, "to", "scoped")
    _refuse_others(form, ("skopeo",), given, "append-suffix", "all")
    if form == "skopeo" and given["to"] is None:
        message = "skopeo's file does not say where images go"
        raise UsageError(message, hint="add what skopeo sync was given: --to registry.new/path")
    more = {
        "suffix": given.pop("append_suffix") or "",
        "all_platforms": given.pop("all"),
    }
    document = read(Given(form, files, environ, **given, **more)).reworded(spoken)
    # First, for they tell why an error is one, and why nothing is left.
    for warning in document.warnings():
        settings.output.warn("not_converted", warning)
    if not document.images:
        raise UsageError(f"{document.file}: nothing in it can be converted")
    main = Path(document.file)
    check(main, document)
    whose = "" if form in _LISTS else f" of {form}"
    title = f"Converted from {', '.join(each.name for each in files)}{whose}."
    state = None if out is not None and out.stem == main.stem else f"state/{main.stem}"
    # Of these a file is planned from as it is, so that there may be a state of it.
    is_planned = form in ("image-syncer", *_LISTS)
    name = main.name if is_planned and (out is None or out.name != main.name) else None
    written = write(document, title=title, name=name, state=state)
    if written.secrets and env_file is not None:
        _check_env_file(settings, env_file, out)
    _save(settings, written, out, env_file)


def _check_env_file(settings: Settings, env_file: Path, out: Path | None) -> None:
    """Refuse what is there already, and the file that the config itself goes to."""
    from imgmigrate.files import is_stream

    check_new(env_file, settings, option="--env-file")
    if out is not None and not is_stream(out) and realpath(out) == realpath(env_file):
        message = f"--env-file {env_file}: the config goes there"
        raise UsageError(message, hint="passwords need a file of their own")


def _refuse_others(form: str, forms: tuple[str, ...], given: dict[str, Any], *names: str) -> None:
    """Refuse options of other formats: nothing that is given is ignored."""
    for name in names:
        if given[name.replace("-", "_")] and form not in forms:
            message = f"--{name} is for {', '.join(forms)}, and this is {form}"
            raise UsageError(message, hint="leave it out")


def _save(settings: Settings, written: Written, out: Path | None, env_file: Path | None) -> None:
    from imgmigrate.foreign.writer import env_text, reading

    output = settings.output
    if written.secrets and env_file is not None:
        text = env_text(written.secrets, Path(env_file.name))
        save_to(settings, env_file, text.encode())
    if out is not None:
        save_to(settings, out, written.text.encode(), mode=SHARED_FILE)
    if out is None:
        output.text(written.text)
    else:
        output.line(f"Wrote {out}.")
    if written.secrets and env_file is not None:
        output.note(f"passwords are in {env_file}, which only you can read; to use them:")
        output.note(f"  {reading(env_file)}")
    elif written.secrets:
        names = ", ".join(written.secrets)
        output.note(f"set these variables to the passwords, or name an --env-file: {names}")
