"""Planning without a config file: `plan --from SRC --to DST`, and applying such a plan.

What the options say is one rule, read as one of a config is. The plan says that no config
stands behind it, so that `apply` needs none either.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from imgmigrate.cli.given.options import DEFAULT_CONFIG, Settings, kept_option, with_options
from imgmigrate.errors import ConfigError, PlanRefused, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.config.model import Config
    from imgmigrate.plan import Plan

__all__ = [
    "arguments",
    "config_of_plan",
    "load_for_apply",
    "load_oneshot",
    "oneshot_options",
    "plain_http_option",
    "to_option",
]

# DESIGN section 3: the state of what no config names.
STATE = Path("state") / "oneshot"
# Never read: it stands for the config in messages, and its folder is what paths are relative to.
NAME = "command line"
# The ends that nobody named again: what a command that plans shows in their stead.
_UNNAMED = {"--from": "SRC", "--to": ("DST",)}
# Which option says what stands at a key.
_PLACES = (
    (r"images\[0\]\.destination(?:\[\d+\])?", "--to"),
    (r"images\[0\]\.tags(?:\[\d+\])?", "--tags"),
    (r"images\[0\](?:\.source)?", "--from"),
)
_HOST = re.compile(rf'{NAME}:\d+: registries\.(?:"([^"]*)"|([\w-]+))(?:\.\w+)*: ')

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")
_option = partial(kept_option, group="oneshot")


def oneshot_options(function: _Decorated) -> _Decorated:
    """Add the options of a one-shot plan to a command; what is given is kept in the settings."""
    options = (
        _option("--from", metavar="SRC", help="Plan without a config: the source."),
        _option(
            "--tags", multiple=True, metavar="TAGS", help="With --from: names, globs or /regexes/."
        ),
        plain_http_option,
    )
    return with_options(function, options)


to_option = _option(
    "--to", multiple=True, metavar="DST", help="With --from or --list: the destination."
)
plain_http_option = _option(
    "--plain-http",
    multiple=True,
    metavar="HOST",
    help="Without a config: this registry speaks plain HTTP.",
)


def load_oneshot(settings: Settings) -> Config:
    """Make a config of the options; UsageError for options that contradict each other."""
    given = settings.oneshot
    if "--from" not in given:
        message = f"{next(iter(given))} belongs to a plan without a config file"
        hint = "name both ends: imgmigrate plan --from SRC --to DST; a config says it in its keys"
        raise UsageError(message, hint=hint)
    if "--to" not in given:
        raise UsageError("--from needs a destination", hint="add --to DST")
    _refuse_config(settings, "--from and --to stand instead of a config")
    rule = {"source": given["--from"], "destination": list(given["--to"])}
    if "--tags" in given:
        rule["tags"] = _tags(given["--tags"])
    try:
        return _build(given, [rule])
    except ConfigError as error:
        raise _translated(error, given) from None


def config_of_plan(settings: Settings, plan: Plan, file: Path) -> Config:
    """Open the config that a plan is applied with; one without says so by having no sha256 of it.

    Where a config lies at hand, a plan that none stands behind has to be meant: its ends are
    named again, or whoever can edit its file would choose that no rule is asked.
    """
    from imgmigrate.cli.given.config import open_config, with_state

    named = next((name for name in ("--from", "--to", "--tags") if name in settings.oneshot), None)
    if plan.header.config_sha256 is not None:
        if named is not None:
            message = f"{named} belongs to a plan without a config, and this one has one"
            raise UsageError(message, hint=f"leave {named} out")
        return open_config(settings)
    if named is not None:
        return with_state(settings, load_oneshot(settings))
    config = load_for_apply(settings)
    if not plan.header.undoes and DEFAULT_CONFIG.exists():
        message = f"plan {plan.plan_id}: made without a config, and {DEFAULT_CONFIG} is here"
        raise PlanRefused(message, hint=f"if that is meant, name its ends: {_named(plan, file)}")
    return with_state(settings, config)


def load_for_apply(settings: Settings) -> Config:
    """Make the config that a plan without one is applied with; the plan says all the rest."""
    _refuse_config(settings, "the plan was made without a config, by --from and --to")
    given = settings.oneshot
    for name, unnamed in _UNNAMED.items():
        given.setdefault(name, unnamed)
    try:
        # A rule must be there to be read, and it is none: the plan knows its own.
        rule = {"source": "oci:source", "destination": ["oci:destination"]}
        return replace(_build(given, [rule]), rules=())
    except ConfigError as error:
        raise _translated(error, given) from None


def arguments(settings: Settings, command: str) -> list[str]:
    """The options as they must be repeated in a command that is to mean the same."""
    known = {
        "plan": ("--from", "--to", "--tags", "--plain-http"),
        # Beside a config they show that none is meant.
        "apply": ("--from", "--to", "--tags", "--plain-http")
        if DEFAULT_CONFIG.exists() and settings.oneshot.get("--from") != _UNNAMED["--from"]
        else ("--plain-http",),
        "rollback": ("--plain-http",),
    }
    if command not in known:
        return [] if settings.state else ["--state", str(STATE)]
    repeated = []
    for name in known[command]:
        value = settings.oneshot.get(name, ())
        for each in value if isinstance(value, tuple) else (value,):
            repeated += [name, str(each)]
    return repeated


def _named(plan: Plan, file: Path) -> str:
    """The command that applies a plan beside a config."""
    ends = plan.header.ends
    source, there = (ends.source, ends.destinations) if ends else ("SRC", ("DST",))
    words = ["imgmigrate", "apply", "--from", source]
    for each in there:
        words += ["--to", each]
    return shlex.join([*words, str(file)])


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


def _translated(error: ConfigError, given: dict[str, Any]) -> UsageError:
    """Name the option instead of a place in a file that is not there."""
    message = _HOST.sub(r"--plain-http \1\2: ", error.message)
    for key, option in _PLACES:
        value = given.get(option, "")
        shown = ",".join(value) if isinstance(value, tuple) else value
        said = f"{option} {shown}: ".replace("\\", r"\\")  # re.sub reads escapes
        message = re.sub(rf"{NAME}:\d+: {key}: ", said, message)
    return UsageError(re.sub(rf"{NAME}:\d+: ", "", message), hint=error.hint)
