"""What failures have in common, and what stays told apart."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from imgmigrate.causes import Cause, cause_of, grouped
from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    Dangling,
    ImgmigrateError,
    IntegrityError,
    NotFound,
    OutOfReach,
    RateLimited,
    Rejected,
    Side,
    StoreError,
    TransientError,
)
from imgmigrate.stores.layout.work import worded
from imgmigrate.stores.registry.http.failures import failure

HOST = "registry.new"


def on(error: StoreError, side: Side = "destination") -> StoreError:
    """An error as it arrives: with its side and its registry."""
    error.side, error.host = side, HOST
    return error


def unreachable(cause: str) -> TransientError:
    error = TransientError(f"{HOST}/a", cause)
    error.is_unreachable = True
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OutOfReach("a", "gone", host=HOST), "out_of_reach"),
        (unreachable("refused"), "unreachable"),
        (AuthenticationError("a", "no"), "no_login"),
        (AccessDenied("a", "no"), "denied"),
        (NotFound("a", "no", code="NAME_UNKNOWN"), "no_repository"),
        (RateLimited("a", "slow down"), "rate_limited"),
        (TransientError("a", "answered 503"), "failing"),
        (Rejected("a", "no", status=415), "refused"),
        (failure("a", 507), "no_space"),
        (
            failure("a", 403, b'{"errors":[{"code":"DENIED","message":"quota is exceeded"}]}'),
            "no_space",
        ),
        (
            failure("a", 500, b'{"errors":[{"code":"UNKNOWN","detail":{"Enclosed":{"Err":28}}}]}'),
            "no_space",
        ),
    ],
)
def test_what_is_wrong_with_a_place_is_a_cause(error: StoreError, kind: str) -> None:
    """Each kind is what one person has to mend, whatever images wait for it."""
    found = cause_of(on(error))
    assert found is not None
    assert (found.kind, found.place, found.side) == (kind, HOST, "destination")


@pytest.mark.parametrize(
    "error",
    [
        NotFound("a", "not found (404)"),
        Dangling("a", "listed"),
        IntegrityError("a", "other bytes"),
        Rejected("a", "no status"),
    ],
)
def test_what_is_wrong_with_an_image_is_none(error: StoreError) -> None:
    """Each of them is mended on its own, so each is told on its own."""
    assert cause_of(on(error)) is None


def test_other_errors_share_nothing() -> None:
    """What no endpoint said, or nothing at all, is about its row."""
    assert cause_of(ImgmigrateError("no")) is None
    assert cause_of(None) is None


def test_a_source_that_lacks_a_repository_is_told_by_itself() -> None:
    """Which one it is matters there; at a destination it is only to be created."""
    assert cause_of(on(NotFound("a", "no", code="NAME_UNKNOWN"), "source")) is None


def test_a_full_disk_of_a_layout_is_a_cause() -> None:
    """Whichever file it was that did not fit."""
    with pytest.raises(Rejected) as caught, worded("oci:a:1", Path("a")):
        raise OSError(errno.ENOSPC, "No space left on device", "a/blobs/x")
    found = cause_of(caught.value)
    assert found is not None
    assert (found.kind, found.place) == ("no_space", "layouts")


def keyed(*errors: StoreError) -> tuple[list[list[StoreError]], list[StoreError]]:
    groups, others = grouped(errors, cause_of)
    return [members for _, members in groups], others


def test_a_registry_that_is_away_is_one_cause_however_it_showed() -> None:
    """One connection is refused, another times out: whoever mends it has one thing to do."""
    refused, slow = on(unreachable("refused")), on(unreachable("did not answer in time"))
    assert keyed(refused, slow) == ([[refused, slow]], [])


def test_what_a_server_says_tells_causes_apart() -> None:
    """Two projects that are denied are two things to ask for."""
    one, other = on(AccessDenied("a", "project a")), on(AccessDenied("b", "project b"))
    again = on(AccessDenied("c", "project a"))
    assert keyed(one, other, again) == ([[one, again]], [other])


def test_the_side_tells_causes_apart() -> None:
    """A right that lacks at the source is not mended at the destination."""
    pull, push = on(AccessDenied("a", "no"), "source"), on(AccessDenied("a", "no"))
    assert keyed(pull, push) == ([], [pull, push])


def test_a_cause_of_a_later_version_is_read() -> None:
    """Further fields and unknown kinds do not make a plan unreadable."""
    told = {"kind": "eclipse", "code": "IM999", "place": HOST, "text": "dark", "more": 1}
    assert Cause.model_validate(told).kind == "eclipse"
