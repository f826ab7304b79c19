"""The crash harness: applies that are killed again and again, and journals cut at any byte.

Fifty kills at seeded request counts in five migrations between real registries; each is a
SIGKILL, either before the N-th request leaves or after its answer, which nobody then hears. The
last of each migration hit deletes: after a placeholder's PUT, and around its DELETE.
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
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.record import Status
from imgmigrate.state.writer import Writer
from tests.support import images, registries
from tests.support.cli import TIMEOUT, command, imgmigrate, write_config
from tests.support.docker_registry import put_on_disk
from tests.support.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.support.docker_registry import Access, DockerRegistry
    from tests.support.images import Image

    # A repository and a tag.
    _Name = tuple[str, str]

# The command, killed by itself at its N-th request: arguments are N, `before` or `after`, and
# which requests are counted, by method and a part of their URL.
_MORTAL = """
import os, signal, sys
from imgmigrate.stores.registry.http.session import Http

left, moment, send = int(sys.argv.pop(1)), sys.argv.pop(1), Http.send
method, part = sys.argv.pop(1), sys.argv.pop(1)

async def counted(self, request):
    global left
    if method in ("", request.method) and part in str(request.url):
        left -= 1
        is_last = left == 0
    else:
        is_last = False
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
# Of them, those of an apply that has come to its deletes, which are done last.
DELETE_KILLS = 4
# The bytes at which a journal is cut are some 1,200, each an apply of its own.
SHARES = 16


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(5))
def test_an_apply_killed_ten_times_loses_and_repeats_nothing(
    tmp_path: Path, docker_registry: StartRegistry, seed: int
) -> None:
    """Sixty rows: none is lost, none that was recorded is done again, none of ours a conflict."""
    seeded = random.Random(seed)
    made = images.sharing(75, f"crash {seed}")
    first = {_name(number): made[number] for number in range(20)}
    # Each of them under a name that stays, too: deleting by digest would take both.
    gone = {("gone", f"g{number}"): made[number] for number in range(5)}
    first |= gone | {("gone", f"stays{number}"): made[number] for number in range(5)}
    for name, image in first.items():
        put_on_disk(tmp_path / "old", *name, image)
    old, new = docker_registry("old"), docker_registry("new")
    rule = f'  - {{source: "{old.host}/**", destination: "{new.host}/{{repository}}"}}'
    write_config(tmp_path, rule, old.host, new.host)
    imgmigrate(tmp_path, "apply", "--auto-approve")
    moved = {_name(number): made[60 + number] for number in range(15)}
    added = {_name(number): made[number] for number in range(20, 55)}
    added |= {("late", f"t{number}"): made[number] for number in range(5)}
    for name, image in (moved | added).items():
        registries.push(old.remote, *name, image)
    all_ = first | moved | added
    write_config(tmp_path, rule.replace('}"}', "}\", tags: {exclude: ['g*']}}"), old.host, new.host)
    imgmigrate(tmp_path, "plan", "--allow-delete", "--out", "plan.out")
    assert _actions(tmp_path / "plan.out") == {"copy": 40, "update": 15, "delete": 5}

    done: set[_Name] = set()
    for round_ in range(KILLS + 1):
        begun = len(new.access_log())
        if round_ < KILLS - DELETE_KILLS:
            _kill(tmp_path, seeded.randint(5, 34), seeded.choice(("before", "after")))
        elif round_ < KILLS:
            _kill_a_delete(tmp_path, new, gone, seeded)
        else:
            ran = imgmigrate(tmp_path, "apply", "plan.out")
            assert "conflict" not in ran.out + ran.err
        _assert_sent_none(new.access_log()[begun:], {name: all_[name] for name in done})
        state = LocalState(tmp_path / "state/imgmigrate").read()
        records = {
            (each.address.repository.path, each.address.tag or ""): each
            for each in state.records.values()
        }
        written = {n for n in moved | added if n in records and records[n].digest == all_[n].top}
        deleted = {name for name in gone if records[name].status is Status.DELETED}
        done = written | deleted
        for name in done:
            there = registries.get_manifest(new.remote, *name)
            assert (there.digest if there else None) == (
                None if name in deleted else all_[name].top
            )
    assert done == {*moved, *added, *gone}
    for name in all_.keys() - gone.keys():
        registries.assert_equal(registries.pull(new.remote, *name), all_[name])
    imgmigrate(tmp_path, "plan", "--allow-delete", "--detailed-exitcode", code=0)


def _name(number: int) -> _Name:
    """Say in which repository the image of a number is, and under which tag."""
    return f"r{number % REPOSITORIES}", f"t{number}"


def _actions(plan: Path) -> Counter[str]:
    rows = plan.read_text().splitlines()[1:-1]
    return Counter(json.loads(row)["action"] for row in rows)


def _kill_a_delete(
    folder: Path, new: DockerRegistry, gone: dict[_Name, Image], seeded: random.Random
) -> None:
    """Apply the deletes of the plan, one after the other, until the process dies in one.

    After the PUT of a placeholder, the tag shows it: it is neither gone nor what it was.
    """
    only = ("--target", "**:g*", "--parallelism", "1")
    method, moment = seeded.choice(
        (("PUT", "after"), ("PUT", "after"), ("DELETE", "before"), ("DELETE", "after"))
    )
    _kill(folder, 1, moment, *only, method=method, part="/manifests/")
    if method == "PUT":
        shown = [(registries.get_manifest(new.remote, *name), gone[name].top) for name in gone]
        assert [there for there, was in shown if there is not None and there.digest != was]


def _kill(
    folder: Path, nth: int, moment: str, *more: str, method: str = "", part: str = ""
) -> None:
    """Apply the plan until its process dies at a request."""
    with subprocess.Popen(
        [command()[0], "-c", _MORTAL, str(nth), moment, method, part, "apply", "plan.out", *more],
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


@pytest.mark.parametrize("share", range(SHARES))
async def test_a_journal_cut_at_any_byte_of_its_last_group_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    """Whatever a power loss left of the last group, the same plan finishes and writes nothing."""
    world = World(tmp_path)
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
    for cut in range(len(whole) - sum(map(len, group)) + share, len(whole), SHARES):
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(saved, state)
        (state / "journal.jsonl").write_bytes(whole[:cut])
        finished = await world.apply(plan)
        assert finished.counts == {Outcome.ALREADY: 2}
    assert world.new.calls["put_manifest"] == world.new.calls["start_upload"] == 0
    assert not (await world.plan()).changes
