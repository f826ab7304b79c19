"""Runners that are thrown away: nothing but a repository's config and a state in a bucket."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support import images, registries, seaweed
from tests.support.cli import write_config
from tests.support.moves import assert_says
from tests.support.runners import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.support.docker_registry import DockerRegistry
    from tests.support.seaweed import Seaweed

pytestmark = [pytest.mark.heavy, pytest.mark.integration]

TAGS = [f"v{number:02}" for number in range(24)]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """One S3 server for all tests here."""
    with seaweed.serve(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@dataclass(slots=True)
class Team:
    """Two registries, a config, and runners that come and go."""

    folder: Path
    s3: Seaweed
    old: DockerRegistry
    new: DockerRegistry
    place: str
    state: str

    def runner(self, name: str) -> Runner:
        """Clone the repository on a new machine."""
        folder = self.folder / name / "clone"
        folder.mkdir(parents=True)
        rule = f"  - {{source: {self.old.host}/app, destination: {self.new.host}/app}}"
        path = write_config(folder, rule, self.old.host, self.new.host)
        path.write_text(f"{path.read_text()}state: {self.state}\n")
        return Runner(folder, self.s3.environment())


@pytest.fixture
def team(tmp_path: Path, s3: Seaweed, docker_registry: StartRegistry) -> Team:
    """The source has its images; nobody ever ran."""
    old, new = docker_registry("old"), docker_registry("new", delete=True)
    for tag in TAGS:
        registries.push(old.remote, "app", tag, images.image(tag))
    place = f"s3://{seaweed.BUCKET}/{secrets.token_hex(8)}/prod"
    return Team(tmp_path, s3, old, new, place, f"{{backend: '{place}', lease: 12s}}")


def test_what_one_runner_moved_the_next_one_knows(team: Team) -> None:
    """Plan here, apply there, again elsewhere: nothing is moved twice, and it can be undone."""
    one, two, three = (team.runner(name) for name in ("one", "two", "three"))
    one.run("plan", "--out", "plan.out")
    shutil.copy(one.folder / "plan.out", two.folder)
    two.run("apply", "plan.out")
    uploads = team.new.uploads()
    assert registries.list_tags(team.new.remote, "app") == TAGS
    assert set(uploads.values()) == {1}

    assert "Nothing to do" in three.run("plan").out
    three.run("apply", "--auto-approve")
    one.run("apply", "plan.out")
    assert team.new.uploads() == uploads
    listed = one.run("state", "list", "--json").out.splitlines()
    assert len([line for line in listed if json.loads(line)["type"] == "record"]) == len(TAGS)
    log = three.run("state", "log").out
    assert f"{len(TAGS)} done" in log
    status = three.run("status").out
    assert_says(status, "No run is going on", f"finished: {len(TAGS)} done", team.place)
    assert "not locked" in three.run("state", "lock").out
    assert not list(team.folder.rglob("journal.jsonl"))

    shutil.copy(one.folder / "plan.out", three.folder)
    three.run("rollback", "plan.out", "--allow-delete", "--out", "back.out")
    three.run("apply", "back.out")
    # docker-registry goes on to list some tags that it has deleted.
    assert {registries.get_manifest(team.new.remote, "app", tag) for tag in TAGS} == {None}
    assert not [line for line in two.run("state", "list").out.splitlines() if "/app:" in line]


def test_a_state_moves_into_a_bucket_and_out(team: Team) -> None:
    """From a folder, proven there; a copy comes out; a lock whose holder is gone is broken."""
    one, two = team.runner("one"), team.runner("two")
    one.run("apply", "--auto-approve", "--state", "state/before")
    one.run("state", "migrate", "--state", "state/before", "--to", team.place, "--auto-approve")
    assert "Nothing to do" in two.run("plan").out
    two.run("state", "pull", "--out", "copy.state")
    assert (two.folder / "copy.state").stat().st_size > 1000
    registries.push(team.old.remote, "app", "late", images.image("late"))
    with one.start("apply", "--auto-approve") as process:
        while "late" not in registries.list_tags(team.new.remote, "app"):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait()
    two.run("state", "lock", "--break")
    two.run("apply", "--auto-approve")
    assert "Nothing to do" in two.run("plan").out


def test_a_bucket_that_cannot_be_used_stops_before_anything_moves(team: Team) -> None:
    """Wrong bucket, no right, no credentials, no network: one sentence, nothing secret."""
    runner = team.runner("one")
    pairs = {
        "AWS_ACCESS_KEY_ID": seaweed.READER_KEY,
        "AWS_SECRET_ACCESS_KEY": seaweed.READER_SECRET,
    }
    ran = runner.run("apply", "--auto-approve", code=1, **pairs)
    assert_says(ran.err, team.place, "no right to write there (403 AccessDenied)", "s3:PutObject")
    assert seaweed.READER_SECRET not in ran.out + ran.err
    ran = runner.run("plan", code=1, AWS_SECRET_ACCESS_KEY="Tr0ub4dor-and-3")
    assert_says(ran.err, "credentials were refused", "SignatureDoesNotMatch")
    assert "Tr0ub4dor" not in ran.out + ran.err
    ran = runner.run("plan", "--state", "s3://nobodys/prod", code=1)
    assert_says(ran.err, "state s3://nobodys/prod: there is no such bucket")
    ran = runner.run("plan", code=1, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert_says(ran.err, "no connection to it came about (127.0.0.1:9)")
    assert registries.list_tags(team.new.remote, "app") == []
