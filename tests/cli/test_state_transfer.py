"""`state pull`, `push`, `migrate` and `lock --break` through the command."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.values import backends
from imgmigrate.state import base
from imgmigrate.state.shared.store import SharedState
from tests.fakes.depot import Bucket, MemoryDepot
from tests.support import images
from tests.support.layouts import write_layout

if TYPE_CHECKING:
    from imgmigrate.config.values.backends import Backend
    from tests.cli.helpers import Cli


@pytest.fixture
def planned(cli: Cli) -> Cli:
    """A config and its plan in `plan.out`."""
    write_layout(cli.folder / "images/os", "12", images.image("os"))
    cli.write_config()
    assert cli("plan", "--out", "plan.out") == 0
    return cli


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Bucket]:
    """A kind of state that machines share, in the memory of this process."""
    found: defaultdict[str, Bucket] = defaultdict(Bucket)

    def kind(place: Backend) -> SharedState:
        return SharedState(MemoryDepot(found[place.url], place.url), lease=place.lease)

    monkeypatch.setitem(base.KINDS, "bucket", kind)
    monkeypatch.setattr(backends, "SCHEMES", (*backends.SCHEMES, "bucket"))
    return found


def test_a_state_moves_to_a_bucket_and_is_used_there(
    planned: Cli, buckets: dict[str, Bucket]
) -> None:
    """What it recorded is not planned again, and it comes back."""
    assert planned("apply", "plan.out") == 0
    assert planned("state", "migrate", "--to", "bucket://team/prod", "--dry-run") == 0, planned.err
    assert "would be copied to bucket://team/prod" in planned.out
    assert not buckets["bucket://team/prod"].head
    assert planned("state", "migrate", "--to", "bucket://team/prod", "--auto-approve") == 0
    assert "is at bucket://team/prod now, and proven" in planned.out
    assert "state: {backend: bucket://team/prod}" in planned.err
    (planned.folder / "state").rename(planned.folder / "old-state")
    config = planned.folder / "imgmigrate.yaml"
    config.write_text(config.read_text() + "state: {backend: 'bucket://team/prod'}\n")
    assert planned("plan", "--detailed-exitcode") == 0
    assert planned("status") == 0
    assert "bucket://team/prod" in planned.out
    assert planned("state", "log") == 0
    assert not (planned.folder / "state").exists()
    assert planned("state", "migrate", "--to", "back", "--auto-approve") == 0
    assert planned("state", "list", "--state", "back") == 0
    assert "oci:" in planned.out


def test_a_copy_is_pulled_and_pushed(planned: Cli, buckets: dict[str, Bucket]) -> None:
    """Into an empty place, or over what it goes on from; never over what it lacks."""
    assert planned("apply", "plan.out") == 0
    assert planned("state", "pull", "--out", "copy.jsonl") == 0
    there = ("--state", "bucket://team/prod", "-c", "imgmigrate.yaml")
    assert planned("state", "push", "copy.jsonl", "--dry-run", *there) == 0
    assert not buckets["bucket://team/prod"].head
    assert planned("state", "push", "copy.jsonl", "--auto-approve", *there) == 0
    assert planned("plan", "--detailed-exitcode", *there) == 0
    assert (
        planned("state", "rebind", "other.yaml", "--state", "bucket://team/prod", "--auto-approve")
        == 0
    )
    assert (
        planned("state", "push", "copy.jsonl", "--auto-approve", "--state", "bucket://team/prod")
        == 64
    )
    assert "lacks" in planned.err
    (planned.folder / "copy.jsonl").write_bytes(b"x\n")
    assert planned("state", "push", "copy.jsonl", "--auto-approve", *there) == 1
    assert "copy.jsonl: damaged" in planned.err


def test_a_lock_that_ends_with_its_process_is_not_broken(planned: Cli) -> None:
    """The words say what to do instead; that of a bucket is taken away, or there is none."""
    assert planned("state", "lock", "--break") == 64
    assert "its lock ends with the process that holds it" in planned.err


def test_the_lock_of_a_bucket_is_broken(planned: Cli, buckets: dict[str, Bucket]) -> None:
    """Whoever held it is named."""
    assert planned("state", "lock", "--break", "--state", "bucket://team/prod") == 0
    assert "not locked" in planned.out


@pytest.mark.parametrize(
    ("to", "cause"),
    [
        ("s3://bucket", "needs a prefix"),
        ("s3://a:b@c/d", "must not hold a password"),
        ("state/imgmigrate", "is there already"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused(planned: Cli, to: str, cause: str) -> None:
    """Before anything is read."""
    assert planned("state", "migrate", "--to", to, "--auto-approve") == 64, planned.err
    assert cause in planned.err


def test_the_lines_that_a_run_could_not_bring_are_pushed(planned: Cli) -> None:
    """The file that an error names begins with the state that its lines are of."""
    from imgmigrate.state.groups.spool import Pending, Spool
    from imgmigrate.state.lines.journal import Scan

    assert planned("apply", "plan.out") == 0
    backup = next((planned.folder / "state/imgmigrate/backups").glob("*.journal.jsonl"))
    with backup.open("rb") as file:
        lines = [each for each in Scan(file) if each.document["kind"] == "record"]
    text = backup.read_bytes().splitlines(keepends=True)
    spool = Spool(planned.folder, "left")
    for line in lines:
        raw = text[line.sequence - 1]
        spool.add(Pending(line.sequence, line.previous, line.hash, raw, line.entry))
    spool.close()
    assert planned("state", "rm", "oci:bundle/os:12", "--auto-approve") == 0
    assert planned("state", "push", "spool-left.jsonl", "--auto-approve") == 0, planned.err
    assert f"{len(lines)} record pushed" in planned.out
    assert planned("state", "list") == 0
    assert "oci:bundle/os:12" in planned.out
