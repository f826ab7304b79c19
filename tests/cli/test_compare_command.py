"""`compare` as a user calls it: no config, no state, an exit code for scripts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.fakes.registry import FakeRegistry, in_thread
from tests.support.cli import write_config
from tests.support.images import image, two_platforms
from tests.support.layouts import write_layout
from tests.support.schemas import read_lines
from tests.support.signed_images import FOLDER

if TYPE_CHECKING:
    from tests.cli.helpers import Cli


def test_equal_layouts_exit_0_and_leave_nothing(cli: Cli) -> None:
    """Neither a config nor a state is made or needed."""
    for name in ("one", "two"):
        write_layout(cli.folder / name, "1", two_platforms("a"))
    before = sorted(os.listdir(cli.folder))
    assert cli("compare", "oci:one", "oci:two") == 0
    assert cli.out == "Equal: 1 image.\n"
    assert sorted(os.listdir(cli.folder)) == before


def test_every_difference_is_named(cli: Cli) -> None:
    """Exit 2, by section, with both digests of what differs."""
    for name, tags in (("one", {"1": "a", "2": "b"}), ("two", {"1": "x", "3": "c"})):
        for tag, seed in tags.items():
            write_layout(cli.folder / name, tag, image(seed))
    assert cli("compare", "oci:one", "oci:two") == 2
    first, second = image("a").top[7:19], image("x").top[7:19]
    assert cli.out == (
        "! differ (1):\n"
        f"  oci:one:1 {first}, oci:two:1 {second}\n\n"
        "! only here (A) (1):\n  oci:one:2\n\n"
        "! only there (B) (1):\n  oci:two:3\n\n"
        "Not equal: 1 differ, 1 only here, 1 only there, of 3 images.\n"
    )
    assert cli("compare", "--json", "oci:one", "oci:two") == 2
    *lines, summary = read_lines("stream", cli.out)
    images = [line for line in lines if line["type"] == "compare_image"]
    assert [each["likeness"] for each in images] == ["differs", "only_here", "only_there"]
    assert summary["counts"]["differs"] == 1


def test_referrers_that_one_side_lacks_are_named(cli: Cli) -> None:
    """The same image without its signatures is another thing to who verifies them."""
    write_layout(cli.folder / "two", "1.1", image("a"))
    assert cli("compare", f"oci:{FOLDER}/fallback", f"oci:{FOLDER}/fallback", "--referrers") == 0
    assert cli("compare", f"oci:{FOLDER}/fallback:1.1", "oci:two:1.1", "--referrers") == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("oci:one", "oci:**"), 64),
        (("oci:one", "oci:nowhere"), 2),
        (("oci:none", "oci:nowhere"), 64),
        (("oci:one:x*", "oci:two"), 64),
        (("oci:one:1", "oci:two:1", "--state", "s"), 0),
    ],
)
def test_the_exit_code_tells_usage_from_difference(
    cli: Cli, arguments: tuple[str, ...], code: int
) -> None:
    """A glob beside a repository is no question; a place that is not there has no images.

    Where neither side has any, nothing was proved, and a name may be wrong.
    """
    for name in ("one", "two"):
        write_layout(cli.folder / name, "1", image("a"))
    assert cli("compare", *arguments) == code


@pytest.mark.integration
def test_a_registry_is_spoken_to_as_options_or_a_config_say(cli: Cli) -> None:
    """Plain HTTP by `--plain-http`, or by the config that is there; requests are counted."""
    write_layout(cli.folder / "two", "1", image("a"))
    with in_thread(FakeRegistry()) as registry:
        registry.put_image("app", "1", image("a"))
        there = f"{registry.host}/app"
        assert cli("compare", there, "oci:two", "--plain-http", registry.host) == 0
        assert "Equal: 1 image; " in cli.out
        write_config(cli.folder, "  - {source: 'oci:a', destination: 'oci:b'}", registry.host)
        assert cli("compare", there, "oci:two") == 0
        assert registry.count("GET", "/blobs/") == 0
