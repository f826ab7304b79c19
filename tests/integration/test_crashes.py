"""The crash harness: applies that are killed again and again, and journals cut at any byte.

Fifty kills at seeded request counts in five migrations between real registries; each is a
SIGKILL, either before the N-th request leaves or after its answer, which nobody then hears.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from imgmigrate.events import Outcome
from imgmigrate.state.backends.local import LocalState
from imgmigrate.state.writer import Writer
from tests.support import images, registries
from tests.support.cli import TIMEOUT, command, imgmigrate, write_config
from tests.support.docker_registry import put_on_disk
from tests.support.world import make_world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.support.docker_registry import Access
    from tests.support.images import Image

    # A repository and a tag.
    _Name = tuple[str, str]

# The command, killed by itself at its N-th request: arguments are N, and `before` or `after`.
_MORTAL = """
import os, signal, sys
from imgmigrate.stores.registry.http.session import Http

left, moment, send = int(sys.argv.pop(1)), sys.argv.pop(1), Http.send

async def counted(self, request):
    global left
    left -= 1
    is_last = left == 0
    if is_last and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = await send(self, request)
    if is_last:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

Http.send = counted
from imgmigrate.cli import main
sys.exit(main())
"""
REPOSITORIES = 12
KILLS = 10


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(5))
def test_an_apply_killed_ten_times_loses_and_repeats_nothing(
    tmp_path: Path, docker_registry: StartRegistry, seed: int
) -> None:
    """Sixty rows: none is lost, none that was recorded is sent again, none of ours a conflict."""
    seeded = random.Random(seed)
    made = images.sharing(75, f"crash {seed}")
    first = {_name(number): made[number] for number in range(20)}
    for name, image in first.items():
        put_on_disk(tmp_path / "old", *name, image)
    old, new = docker_registry("old"), docker_registry("new")
    rule = f'  - {{source: "{old.host}/**", destination: "{new.host}/{{repository}}"}}'
    write_config(tmp_path, rule, old.host, new.host)
    imgmigrate(tmp_path, "apply", "--auto-approve")
    moved = {_name(number): made[60 + number] for number in range(15)}
    added = {_name(number): made[number] for number in range(20, 60)}
    added |= {("late", f"t{number}"): made[number] for number in range(5)}
    for name, image in (moved | added).items():
        registries.push(old.remote, *name, image)
    all_ = first | moved | added
    imgmigrate(tmp_path, "plan", "--out", "plan.out")
    assert _actions(tmp_path / "plan.out") == {"copy": 45, "update": 15}

    done: set[_Name] = set()
    for round_ in range(KILLS + 1):
        begun = len(new.access_log())
        if round_ < KILLS:
            _kill(tmp_path, seeded.randint(5, 34), seeded.choice(("before", "after")))
        else:
            ran = imgmigrate(tmp_path, "apply", "plan.out")
            assert "conflict" not in ran.out + ran.err
        _assert_sent_none(new.access_log()[begun:], {name: all_[name] for name in done})
        records = {(r.address.repository.path, r.address.tag or ""): r.digest
                   for r in LocalState(tmp_path / "state/imgmigrate").read().live()}  # fmt: skip
        done = {name for name in moved | added if records.get(name) == all_[name].top}
        for name in done:
            there = registries.get_manifest(new.remote, *name)
            assert there is not None
            assert there.digest == all_[name].top
    assert done == {*moved, *added}
    for name, image in all_.items():
        registries.assert_equal(registries.pull(new.remote, *name), image)
    imgmigrate(tmp_path, "plan", "--detailed-exitcode", code=0)


def _name(number: int) -> _Name:
    """Say in which repository the image of a number is, and under which tag."""
    return f"r{number % REPOSITORIES}", f"t{number}"


def _actions(plan: Path) -> Counter[str]:
    rows = plan.read_text().splitlines()[1:-1]
    return Counter(json.loads(row)["action"] for row in rows)


def _kill(folder: Path, nth: int, moment: str) -> None:
    """Apply the plan until its process dies at a request."""
    with subprocess.Popen(
        [command()[0], "-c", _MORTAL, str(nth), moment, "apply", "plan.out"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.wait(TIMEOUT) == -signal.SIGKILL


def _assert_sent_none(log: list[Access], done: dict[_Name, Image]) -> None:
    """Check that neither a tag nor a blob of these images was written."""
    written = [unquote(line.target) for line in log if line.method == "PUT"]
    tags = {f"/v2/{repo}/manifests/{tag}" for repo, tag in done}
    blobs = {digest for image in done.values() for digest in image.blobs}
    assert tags.isdisjoint(written)
    assert blobs.isdisjoint(target.partition("digest=")[2] for target in written)


async def test_a_journal_cut_at_any_byte_of_its_last_group_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a power loss left of the last group, the same plan finishes and writes nothing."""
    world = make_world(tmp_path, monkeypatch)
    world.seed("moved")
    await world.migrate()
    world.seed("moved", b"again")
    world.seed("new")
    plan = await world.plan()
    assert {change.action.value for change in plan.changes} == {"copy", "update"}

    async def die(*_: object) -> None:
        """End no run: the process was gone before it could."""

    with monkeypatch.context() as dying:
        dying.setattr(Writer, "end", die)
        await world.apply(plan)
    state, saved = world.config.state, tmp_path / "saved"
    state.rename(saved)
    whole = (saved / "journal.jsonl").read_bytes()
    # A group holds up to 16 records; what the run intends was synced before its first tag.
    begin, claims, *group = whole.splitlines(keepends=True)[-4:]
    assert [json.loads(line)["kind"] for line in (begin, claims)] == ["begin", "claims"]
    world.new.calls.clear()
    for cut in range(len(whole) - sum(map(len, group)), len(whole)):
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(saved, state)
        (state / "journal.jsonl").write_bytes(whole[:cut])
        finished = await world.apply(plan)
        assert finished.counts == {Outcome.ALREADY: 2}
    assert world.new.calls["put_manifest"] == world.new.calls["start_upload"] == 0
    assert not (await world.plan()).changes
