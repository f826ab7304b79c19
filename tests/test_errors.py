"""The error tree: exit codes, places, hints, sides."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from imgmigrate import errors
from imgmigrate.errors import (
    AccessDenied,
    ConfigError,
    ImgmigrateError,
    IntegrityError,
    Interrupted,
    NotFound,
    RateLimited,
    Symptom,
    TransientError,
    UsageError,
    at_host,
    on_side,
)

EXIT_CODES = {
    "ImgmigrateError": 1,
    "RowConflict": 1,
    "RowFailed": 1,
    "NotReached": 1,
    "NoRoom": 1,
    "FileUnwritable": 1,
    "UsageError": 64,
    "ConfigError": 64,
    "GuardError": 6,
    "PlanRefused": 4,
    "StateError": 1,
    "StateAway": 1,
    "StateLocked": 5,
    "StateLost": 5,
    "StateUnsaved": 8,
    "StoreError": 1,
    "AuthenticationError": 1,
    "AccessDenied": 1,
    "NotFound": 1,
    "Dangling": 1,
    "Rejected": 1,
    "Archived": 1,
    "TransientError": 1,
    "RateLimited": 1,
    "OutOfReach": 1,
    "LeftBehind": 1,
    "QuotaExhausted": 1,
    "ProtocolError": 1,
    "IntegrityError": 1,
}


def classes() -> dict[str, type[ImgmigrateError]]:
    return {
        name: each
        for name, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, ImgmigrateError)
    }


def test_every_class_has_its_exit_code() -> None:
    """What a script sees is part of the contract; of a signal the number decides."""
    found = {name: each.exit_code for name, each in classes().items() if name != "Interrupted"}
    assert found == EXIT_CODES


def test_the_tree_is_drawn_at_the_top() -> None:
    """The module's docstring names every class."""
    assert all(name in (errors.__doc__ or "") for name in classes())


def test_the_public_names_are_exact() -> None:
    """`__all__` is what others may use, all of it and nothing else."""
    public = {
        name
        for name, each in vars(errors).items()
        if not name.startswith("_") and getattr(each, "__module__", None) == errors.__name__
    }
    assert {*public, "Side"} == set(errors.__all__)
    assert errors.__all__ == sorted(errors.__all__)


def test_a_message_ends_with_its_hint() -> None:
    """What to do comes last."""
    assert str(ImgmigrateError("it failed", hint="try again")) == "it failed; try again"
    assert str(ImgmigrateError("it failed")) == "it failed"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({}, "is wrong"),
        ({"file": "a.yaml"}, "a.yaml: is wrong"),
        ({"file": "a.yaml", "line": 3}, "a.yaml:3: is wrong"),
        ({"file": "a.yaml", "line": 3, "key": "images[2]"}, "a.yaml:3: images[2]: is wrong"),
        ({"key": "images[2]", "hint": "mend it"}, "images[2]: is wrong; mend it"),
    ],
)
def test_a_config_error_names_its_place(place: dict[str, Any], expected: str) -> None:
    """An editor can jump to `file:line:`."""
    error = ConfigError("is wrong", **place)
    assert str(error) == expected
    assert error.line == place.get("line")


def test_a_store_error_names_the_side_once_it_is_known() -> None:
    """The innermost side wins: who was closest to the failure knows best."""
    error = NotFound("quay.io/a:v1", "no such tag", status=404, code="MANIFEST_UNKNOWN")
    assert str(error) == "quay.io/a:v1: no such tag"
    with pytest.raises(NotFound), on_side("destination"), on_side("source"):
        raise error
    assert error.side == "source"
    assert str(error) == "source quay.io/a:v1: no such tag"
    assert (error.status, error.code) == (404, "MANIFEST_UNKNOWN")
    assert (error.subject, error.cause) == ("quay.io/a:v1", "no such tag")


def test_an_error_knows_where_it_happened() -> None:
    """Whoever knew the registry first is not contradicted: of all of it, no repository is named."""
    of_all = NotFound("quay.io", "no such thing", host="quay.io")
    for error, repo in ((NotFound("quay.io/a:v1", "no such tag"), "a"), (of_all, None)):
        with pytest.raises(NotFound), at_host("quay.io", "a"):
            raise error
        assert (error.host, error.repo) == ("quay.io", repo)


def test_an_error_of_another_kind_knows_what_the_first_knew() -> None:
    """All but the side, which is named where it is raised."""
    symptoms = frozenset({Symptom.EXPIRED})
    first = AccessDenied("q.io/a", "no", status=403, code="D", host="q.io", symptoms=symptoms)
    first.side = "source"
    made = first.remade(NotFound, cause="not there", hint="look")
    assert str(made) == "q.io/a: not there; look"
    assert (made.status, made.code, made.host, made.symptoms) == (403, "D", "q.io", symptoms)


def test_every_error_may_name_what_it_is_about() -> None:
    """The object and the cause are fields, and the message is made of them."""
    error = ImgmigrateError("it is gone", subject="registry.new/a:1", hint="plan again")
    assert str(error) == "registry.new/a:1: it is gone; plan again"
    assert (error.subject, error.cause) == ("registry.new/a:1", "it is gone")


def test_a_wrong_option_is_named_with_its_value() -> None:
    """A command that has another name for it says it by the fields."""
    error = UsageError("matches nothing", parameter="target", value="a/**")
    assert str(error) == "`target` a/**: matches nothing"
    assert (error.parameter, error.value, error.cause) == ("target", "a/**", "matches nothing")
    assert str(UsageError("is no file", parameter="--out")) == "--out: is no file"


def test_several_config_errors_are_one_and_stay_apart() -> None:
    """An editor jumps to the first; each keeps its own place."""
    each = [ConfigError("is wrong", file="a.yaml", line=number, key="k") for number in (3, 5)]
    error = ConfigError.several(each, left=2)
    assert str(error) == "a.yaml:3: k: is wrong\na.yaml:5: k: is wrong\nand 2 more errors"
    assert (error.errors, error.line) == (tuple(each), 3)


def test_naming_a_side_leaves_other_errors_alone() -> None:
    """Only errors of stores have a side."""
    with pytest.raises(ConfigError, match=r"^is wrong$"), on_side("source"):
        raise ConfigError("is wrong")


def test_what_may_heal_is_one_branch_of_the_tree() -> None:
    """A retry asks for TransientError alone."""
    assert issubclass(RateLimited, TransientError)
    assert RateLimited("quay.io", "slow down", retry_after=2.5).retry_after == 2.5
    assert not issubclass(IntegrityError, TransientError)


def test_an_interruption_keeps_its_signal() -> None:
    """The process ends with 128 and the signal's number."""
    assert Interrupted(15, "stopped").signal_number == 15
