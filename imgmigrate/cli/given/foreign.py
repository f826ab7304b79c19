"""The options for files of others: a list of images, and those that image-syncer's users know."""

from __future__ import annotations

from functools import partial
from os import environ
from typing import TYPE_CHECKING, Any, TypeVar

from imgmigrate.cli.given.oneshot import to_option
from imgmigrate.cli.given.options import Settings, file_path, kept_option, with_options
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from click import Context, Parameter

    from imgmigrate.config.model import Config

__all__ = ["foreign_options", "load_foreign", "say_notes"]

# What belongs to a list of images.
_LISTS = ("--list", "--to", "--scoped", "--plain-http")

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")
_option = partial(kept_option, group="foreign")


def foreign_options(function: _Decorated) -> _Decorated:
    """Add the options for others' files to a command; what is given is kept in the settings."""
    options = (
        _option("--list", type=file_path(), metavar="FILE", help="Images, one a line, or YAML."),
        to_option,
        _option("--scoped", is_flag=True, convert=_if_given, help="With --list: keep whole names."),
        _option("--images", type=file_path(), metavar="FILE", help="image-syncer's rules."),
        _option(
            "--auth", type=file_path(), metavar="FILE", help="image-syncer's credentials: a file."
        ),
        _option("--registry", metavar="HOST", help="For its empty destinations."),
        _option("--namespace", metavar="NAME", help="For its empty destinations."),
        _option("--os", multiple=True, metavar="OS", help="Only its images for this system."),
        _option("--arch", multiple=True, metavar="ARCH", help="Only those for this processor."),
    )
    return with_options(function, options)


def load_foreign(settings: Settings) -> Config:
    """Load the files that the options name; UsageError for options that contradict others."""
    from imgmigrate.foreign.formats.image_syncer import Options
    from imgmigrate.foreign.load import load_pair, load_whole

    given = settings.foreign
    if "--list" in given:
        return _load_list(settings)
    if "--scoped" in given:
        raise UsageError("--scoped is for a list of images", hint="name it: --list FILE --to DST")
    images, auth = given.get("--images"), given.get("--auth")
    options = Options(
        registry=given.get("--registry"),
        namespace=given.get("--namespace"),
        os=given.get("--os", ()),
        arch=given.get("--arch", ()),
    )
    if settings.config is not None and (images or auth):
        message = f"--config names a whole config, {'--images' if images else '--auth'} a part"
        raise UsageError(message, hint="give --config, or --images and --auth")
    if images is not None:
        return load_pair(images, auth, options)
    if auth is not None:
        raise UsageError("--auth holds no rules", hint="name them too: --images FILE")
    if settings.config is None:
        message = f"{next(iter(given))} is for image-syncer's files, and none is named"
        raise UsageError(message, hint="name them: --config FILE, or --images and --auth")
    return load_whole(settings.config, options)


def _load_list(settings: Settings) -> Config:
    from imgmigrate.config.load import decode, read_file
    from imgmigrate.foreign.formats import Given
    from imgmigrate.foreign.load import load_list
    from imgmigrate.foreign.recognise import form_of_list

    given = settings.foreign
    others = [name for name in given if name not in _LISTS]
    others += ["--config"] if settings.config is not None else []
    others += list(settings.oneshot)
    if others:
        message = f"--list names all that is wanted, and {others[0]} belongs to another file"
        raise UsageError(message, hint="leave one of the two out")
    path, to = given["--list"], given.get("--to", ())
    if len(to) > 1:
        raise UsageError("--list has one destination", hint="give --to once")
    form = form_of_list(decode(read_file(path), str(path)), str(path))
    read = Given(form, (path,), environ, next(iter(to), None), "--scoped" in given)
    return load_list(read, plain_http=given.get("--plain-http", ()))


def _if_given(_: Context, __: Parameter, value: bool) -> bool | None:
    return value or None


def say_notes(settings: Settings, config: Config) -> None:
    """Tell what whoever plans must know of how the config was read."""
    for note in config.notes:
        settings.output.warn("foreign_config", note)
