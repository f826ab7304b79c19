"""`--on-rate-limit`: what the command line does when a registry has no pulls left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.stores.registry.quirks import Quirks
from imgmigrate.stores.registry.wire import remote
from tests.fakes.registry import FakeRegistry, in_thread
from tests.render import samples
from tests.support.images import image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.helpers import Cli, Engine

COPY = samples.change("harbor.new/a:1", "copy", "new", transfer_bytes=2048)


@pytest.mark.parametrize(("typed", "policy"), [([], "wait"), (["--on-rate-limit=stop"], "stop")])
def test_policy_reaches_planning_and_applying(
    cli: Cli, engine: Engine, typed: list[str], policy: str
) -> None:
    """Both commands wait unless told to stop, and the command that goes on says the same."""
    assert cli("plan", *typed) == 0
    assert cli("apply", "--auto-approve", *typed) == 0
    assert [options.on_rate_limit for _, options in engine.planned] == [policy] * 2
    engine.plan = samples.plan(COPY)
    assert cli("apply", "--auto-approve", *typed) == 0
    ((_, _, options),) = engine.applied
    assert options.on_rate_limit == policy
    suffix = " --on-rate-limit stop" if typed else ""
    assert options.command == f"imgmigrate apply --auto-approve{suffix}"


def test_other_policies_are_refused(cli: Cli) -> None:
    """A typing error is no policy."""
    assert cli("apply", "--on-rate-limit", "fail") == 64
    assert "'wait', 'stop'" in cli.err


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    """A registry that is metered as Docker Hub is, with two pulls left."""
    with in_thread(FakeRegistry()) as registry:
        monkeypatch.setattr(
            remote, "quirks_of", lambda host: Quirks(is_metered=host == registry.host)
        )
        limit = {"ratelimit-limit": "100;w=21600"}
        for skip, left in enumerate((1, 0)):
            headers = limit | {"ratelimit-remaining": f"{left};w=21600"}
            registry.rewrite("GET", "/manifests/", headers, skip=skip, times=1)
        yield registry


def prepare(cli: Cli, hub: FakeRegistry, count: int) -> None:
    """Write a config that moves images from the metered registry into a layout."""
    for number in range(count):
        hub.put_image("library/app", f"v{number:02}", image(f"v{number}"))
    (cli.folder / "imgmigrate.yaml").write_text(
        f'version: 1\nregistries: {{"{hub.host}": {{plain_http: true}}}}\n'
        f"images:\n- {{source: {hub.host}/library/app, destination: 'oci:bundle/app'}}\n"
    )


def test_stopped_run_says_why_and_how_to_go_on(cli: Cli, hub: FakeRegistry) -> None:
    """Exit 3, the reason once, the rows not reached, and a command that does exactly the rest."""
    prepare(cli, hub, 15)
    assert cli("plan", "--out", "plan.out") == 0
    assert not hub.count("GET", "/manifests/")  # planning spends no pull
    apply = ("apply", "plan.out", "--parallelism", "1", "--on-rate-limit", "stop")
    assert cli(*apply) == 3
    assert hub.count("GET", "/manifests/", status=200) == 2
    lines = cli.out.splitlines()
    start = lines.index("! not reached (13)")
    assert " ".join(lines[start + 1 : start + 4]).split()[:12] == (
        f"{hub.host}: its pull limit (100 in 6 h) is used up hint:".split()
    )
    assert "  and 3 more" in lines
    assert any(line.startswith("Apply incomplete: 2 copied, 13 not reached") for line in lines)
    assert lines[-2:] == [
        "To go on where this ended:",
        "  imgmigrate apply plan.out --parallelism 1 --on-rate-limit stop",
    ]
    assert len(cli.err.splitlines()) <= 4  # rows that were not reached are no lines
    assert cli(*apply) == 0
    assert hub.count("GET", "/manifests/", status=200) == 15


def test_stopped_run_as_json(cli: Cli, hub: FakeRegistry) -> None:
    """The summary has the reason, and every row its outcome."""
    prepare(cli, hub, 4)
    flags = ("--parallelism", "1", "--on-rate-limit", "stop")
    assert cli("apply", "--auto-approve", "--json", *flags) == 3
    summary = [json.loads(line) for line in cli.out.splitlines()][-1]
    assert summary["type"] == "run_summary"
    assert "is used up" in summary["stopped"]
    assert {row["outcome"] for row in summary["unfinished"]} == {"cancelled"}
