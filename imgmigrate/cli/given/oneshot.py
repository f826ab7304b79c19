"""Planning without a config file: `plan --from SRC --to DST`, and applying such a plan.

What the options say is one rule, read as one of a config is. The plan says that no config
stands behind it, so that `apply` needs none either.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from imgmigrate.cli.given.options import Settings, kept_option, with_options
from imgmigrate.errors import ConfigError, UsageError, lines_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.config.model import Config
    from imgmigrate.config.reading.tree import KeyPath

__all__ = [
    "ENDS",
    "STATE",
    "UNNAMED",
    "ends_options",
    "load_for_apply",
    "load_oneshot",
    "name_ends",
    "oneshot_options",
    "plain_http_option",
    "tags_option",
    "to_option",
]

# DESIGN section 3: the state of what no config names.
STATE = Path("state") / "oneshot"
# Never read: it stands for the config in messages, and its folder is what paths are relative to.
NAME = "command line"
# What names the images: a plan without a config is one rule of these.
ENDS = ("--from", "--to", "--tags")
# The ends that nobody named again: what a command that plans shows in their stead.
UNNAMED = {"--from": ("SRC",), "--to": ("DST",)}

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")
_option = partial(kept_option, group="oneshot")


def ends_options(function: _Decorated) -> _Decorated:
    """Add the source of what no config names to a command; `foreign_options` add where it goes."""
    option = _option("--from", metavar="SRC", help="Without a config: the source.")
    return with_options(function, (option,))


to_option = _option(
    "--to", multiple=True, metavar="DST", help="With --from or --list: the destination."
)
tags_option = _option(
    "--tags", multiple=True, metavar="TAGS", help="Without a config: names, globs or /regexes/."
)
plain_http_option = _option(
    "--plain-http",
    multiple=True,
    metavar="HOST",
    help="Without a config: this registry speaks plain HTTP.",
)


def oneshot_options(function: _Decorated) -> _Decorated:
    """Add the options of a one-shot plan to a command; what is given is kept in the settings."""
    return with_options(function, (ends_options, tags_option, plain_http_option))


def name_ends(settings: Settings, source: str, destinations: tuple[str, ...]) -> None:
    """Take the arguments SRC and DST for what --from and --to would say."""
    named = {"--from": source, "--to": destinations}
    settings.oneshot.update(named)
    settings.given.update({"--from": (source,), "--to": destinations})
    settings.ends = {"--from": "SRC", "--to": "DST"}


def load_oneshot(settings: Settings) -> Config:
    """Make a config of the options; UsageError for options that contradict each other."""
    given = settings.oneshot
    if "--from" not in given:
        message = f"{next(iter(given))} belongs to a plan without a config file"
        hint = "name both ends: imgmigrate plan --from SRC --to DST; a config says it in its keys"
        raise UsageError(message, hint=hint)
    if "--to" not in given:
        raise UsageError("--from needs a destination", hint="add --to DST")
    source, there = (settings.ends.get(name, name) for name in ("--from", "--to"))
    _refuse_config(settings, f"{source} and {there} stand instead of a config")
    rule = {"source": given["--from"], "destination": list(given["--to"])}
    if "--tags" in given:
        rule["tags"] = _tags(given["--tags"])
    try:
        return _build(given, [rule])
    except ConfigError as error:
        raise _translated(error, settings) from None


def load_for_apply(settings: Settings) -> Config:
    """Make the config that a plan without one is applied with; the plan says all the rest."""
    _refuse_config(settings, "the plan was made without a config, by --from and --to")
    given = settings.oneshot
    for name, unnamed in UNNAMED.items():
        settings.given.setdefault(name, unnamed)
        given.setdefault(name, unnamed)
    try:
        # A rule must be there to be read, and it is none: the plan knows its own.
        rule = {"source": "oci:source", "destination": ["oci:destination"]}
        return replace(_build(given, [rule]), rules=())
    except ConfigError as error:
        raise _translated(error, settings) from None


def _refuse_config(settings: Settings, why: str) -> None:
    named = "--config" if settings.config is not None else next(iter(settings.foreign), None)
    if settings.locked:
        named = "--locked"
    if named is not None:
        raise UsageError(f"{named}: {why}", hint=f"leave {named} out")


def _tags(given: tuple[str, ...]) -> list[str]:
    return [
        text for each in given for text in ([each] if each.startswith("/") else each.split(","))
    ]


def _build(given: dict[str, Any], rules: list[dict[str, Any]]) -> Config:
    from imgmigrate.config.load import build_config
    from imgmigrate.config.reading.tree import parse_tree

    document: dict[str, Any] = {"version": 1, "images": rules}
    if "--plain-http" in given:
        document["registries"] = {host: {"plain_http": True} for host in given["--plain-http"]}
    path = Path.cwd() / NAME
    text = json.dumps(document, ensure_ascii=False)
    config = build_config(path, parse_tree(text, NAME), text.encode(), os.environ)
    # Without a sha256 the plan says that there is no config to compare it with.
    return replace(config, state=config.base / STATE, sha256="", name="", place="")


def _translated(error: ConfigError, settings: Settings) -> UsageError:
    """Name the option or argument instead of a place in a file that is not there."""
    if error.errors:
        told = [_translated(each, settings) for each in error.errors]
        return UsageError(lines_of(told, error.left))
    if error.file != NAME:
        return error
    option, value = _option_at(error.path, settings.oneshot)
    if option in settings.ends:
        subject = f"{settings.ends[option]} {value}"
        return UsageError(error.cause, subject=subject, hint=error.hint)
    return UsageError(
        error.cause, parameter=option, value=value, subject=error.key, hint=error.hint
    )


def _option_at(path: KeyPath, given: dict[str, Any]) -> tuple[str | None, str | None]:
    """Which option says what stands at a key, and what it was given."""
    match path:
        case ("registries", str(host), *_):
            return "--plain-http", host
        case ("images", 0, "destination", *_):
            option = "--to"
        case ("images", 0, "tags", *_):
            option = "--tags"
        case ("images", 0) | ("images", 0, "source"):
            option = "--from"
        case _:
            return None, None
    value = given.get(option, "")
    return option, ",".join(value) if isinstance(value, tuple) else value
