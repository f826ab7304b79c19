"""The options that image-syncer's users know: its two files, and where empty destinations go."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from imgmigrate.cli.given.options import Settings, file_path, kept_option, with_options
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.config.model import Config

__all__ = ["foreign_options", "load_foreign", "say_notes"]

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")
_option = partial(kept_option, group="foreign")


def foreign_options(function: _Decorated) -> _Decorated:
    """Add image-syncer's options to a command; what is given is kept in the settings."""
    options = (
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


def say_notes(settings: Settings, config: Config) -> None:
    """Tell what whoever plans must know of how the config was read."""
    for note in config.notes:
        settings.output.warn("foreign_config", note)
