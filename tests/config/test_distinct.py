"""`distinct`: hosts that are known to be different registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.config.conftest import Load, Refuse

IMAGES = "version: 1\nimages:\n- source: q.io/a/b\n  destination: x.io/a/b\n"


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("[a.io, b.io, c.io]", {("a.io", "b.io"), ("a.io", "c.io"), ("b.io", "c.io")}),
        ("[[a.io, b.io], [b.io, c.io]]", {("a.io", "b.io"), ("b.io", "c.io")}),
        ("['A.io:443', 'b.io']", {("a.io", "b.io")}),
        ("['localhost:5000', '127.0.0.1:5000']", {("localhost:5000", "127.0.0.1:5000")}),
        ("[]", set()),
    ],
)
def test_the_hosts_of_one_list_are_distinct(
    load: Load, text: str, pairs: set[tuple[str, str]]
) -> None:
    """Each from each other, under the one spelling of each; of others nothing is said."""
    guards = load(f"{IMAGES}distinct: {text}\n").guards
    hosts = ("a.io", "b.io", "c.io", "localhost:5000", "127.0.0.1:5000")
    found = {(a, b) for a in hosts for b in hosts if guards.are_distinct(a, b)}
    assert found == pairs | {(b, a) for a, b in pairs}


def test_a_registry_is_no_folder(load: Load) -> None:
    """That needs no word in the config."""
    guards = load(IMAGES).guards
    assert guards.are_distinct("a.io", "oci:")
    assert not guards.are_distinct("oci:", "oci:")


@pytest.mark.parametrize(
    "text",
    ["a.io", "[a.io]", "[a.io, 'a.io:443']", "[a.io, b.io/team]", "[a.io, 'https://b.io']",
     "[a.io, '*.io']", "[[a.io], [b.io, c.io]]", "[{a: b}, c.io]", "5"],
)  # fmt: skip
def test_what_says_nothing_is_refused(refuse: Refuse, text: str) -> None:
    """A list without effect would be taken for one that has it."""
    assert "distinct" in refuse(f"{IMAGES}distinct: {text}\n")
