"""Turn global options into a config and a state; pick rows by globs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from imgmigrate.cli.given.foreign import foreign_options, load_foreign
from imgmigrate.cli.given.oneshot import ends_options, load_oneshot
from imgmigrate.cli.given.options import DEFAULT_CONFIG, common_options, with_options
from imgmigrate.cli.given.untrusted import load_untrusted
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from imgmigrate.cli.given.options import Settings
    from imgmigrate.config.model import Config
    from imgmigrate.config.values.backends import Backend
    from imgmigrate.oci.reference import Reference
    from imgmigrate.state.base import StateStore
    from imgmigrate.state.record import State

__all__ = [
    "Unmatched",
    "answer_of",
    "check_edited",
    "open_config",
    "pick",
    "read_state",
    "shown",
    "state_options",
    "state_place",
    "store_of",
    "tell_whose",
    "with_state",
]

_Answer = TypeVar("_Answer")
_Row = TypeVar("_Row")
_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")


def state_options(function: _Decorated) -> _Decorated:
    """Add the global options to a command that looks at a state, and all that says whose."""
    return with_options(function, (ends_options, foreign_options, common_options))


def open_config(settings: Settings) -> Config:
    """Load the config, with the state's place from the command line if it says so."""
    from imgmigrate.foreign.load import load_config

    if settings.untrusted or settings.trusted is not None:
        config = load_untrusted(settings)
    elif settings.oneshot and "--list" not in settings.foreign:
        config = load_oneshot(settings)
    elif settings.foreign:
        config = load_foreign(settings)
    else:
        config = load_config(settings.config or DEFAULT_CONFIG)
    if settings.locked:
        from imgmigrate.planning.desired.pins import locked

        config = locked(config)
    return with_state(settings, config)


def with_state(settings: Settings, config: Config) -> Config:
    """Put the state where the command line says, if it does."""
    if settings.state_file is not None:
        if settings.state is not None:
            message = "--state and --state-file name two states"
            raise UsageError(message, hint="leave one of them out")
        return replace(config, state_file=settings.state_file.absolute(), has_state=True)
    if settings.state is None:
        return config
    from imgmigrate.config.places import name_place

    state = _named_place(settings.state, config.base)
    place = name_place(state, config.base, settings.state)
    if isinstance(state, Path):
        return replace(config, state=state, backend=None, place=place, has_state=True)
    return replace(config, backend=state, place=place, has_state=True)


def state_place(settings: Settings) -> Path | Backend:
    """Where the state is; a config is only needed where `--state` does not say."""
    return _named_place(settings.state) if settings.state else open_config(settings).state_place


def named_place(settings: Settings, text: str) -> Path | Backend:
    """What an option names as a place of a state; a branch is of the config's checkout."""
    has_config = _names_config(settings) or DEFAULT_CONFIG.exists()
    return _named_place(text, open_config(settings).base if has_config else None)


def _named_place(text: str, base: Path | None = None) -> Path | Backend:
    """What `--state` names; the checkout of a branch is that of a config's folder, or this one."""
    from imgmigrate.config.places import read_place

    try:
        return read_place(text, base or Path.cwd())
    except ValueError as error:
        raise UsageError(f"the place {text} of the state {error}") from None


def store_of(settings: Settings) -> StateStore:
    """Open the state, of which nothing is read yet."""
    from imgmigrate.state.base import open_state

    return open_state(state_place(settings))


def answer_of(question: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Wait for what a store of state answers, where nothing else goes on."""
    import asyncio

    return asyncio.run(question)


def read_state(settings: Settings) -> State:
    """Read the state without a lock."""
    return answer_of(store_of(settings).look())


def check_edited(settings: Settings, state: State) -> None:
    """Refuse to change a state of another config than the one that is named, or lies here.

    With `--state` alone no config is meant, and none is asked.
    """
    from imgmigrate.state.owner import check_owner

    if settings.state is None or _names_config(settings):
        check_owner(state, open_config(settings))


def _names_config(settings: Settings) -> bool:
    """Tell whether a config is named, or what stands instead of one."""
    return settings.config is not None or bool(settings.foreign or settings.oneshot)


def tell_whose(settings: Settings, state: State) -> None:
    """Tell whoever looks at a state if it belongs to another config; looking is free."""
    from imgmigrate.errors import ConfigError
    from imgmigrate.redaction import printable
    from imgmigrate.state.owner import is_anothers

    if settings.state is not None and not _names_config(settings):
        return
    try:
        config = open_config(settings)
    except ConfigError:
        return  # it was not needed to find the state
    if is_anothers(state, config):
        message = (
            f"state {shown(config.state_place)}: it belongs to {state.name}, not to {config.name}"
        )
        settings.output.warn("state_of_another", printable(message))


def shown(path: Path | Backend) -> str:
    """A path as a person would write it here, relative where it lies below; a backend's URL."""
    if not isinstance(path, os.PathLike):
        return str(path)
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


class Unmatched(UsageError):
    """A glob, `value`, matches nothing."""


def pick(
    rows: Iterable[_Row],
    globs: Sequence[str],
    address: Callable[[_Row], Reference],
    *,
    option: str | None = None,
) -> list[_Row]:
    """Keep the rows whose address some glob matches; Unmatched for a glob that matches none."""
    from imgmigrate.matching import parse_pattern

    rows = list(rows)
    if not globs:
        return rows
    kept: set[int] = set()
    for text in globs:
        try:
            pattern = parse_pattern(text)
        except ValueError as error:
            raise UsageError(str(error), parameter=option, value=text) from None
        hits = {
            number for number, row in enumerate(rows) if pattern.matches_reference(address(row))
        }
        if not hits:
            hint = "globs match destinations, such as registry.new/team/**:v1.*"
            raise Unmatched("matches no address", parameter=option, value=text, hint=hint)
        kept |= hits
    return [row for number, row in enumerate(rows) if number in kept]
