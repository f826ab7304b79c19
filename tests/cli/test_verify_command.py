"""`verify` as a user calls it: what is not whole, the command that mends it, the exit code."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.support import docker_registry as real
from tests.support.cli import imgmigrate, write_config
from tests.support.images import image, two_platforms
from tests.support.layouts import write_layout
from tests.support.registries import assert_holds, push
from tests.support.schemas import errors, read_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.helpers import Cli
    from tests.conftest import StartRegistry
    from tests.fakes.registry import FakeRegistry

RULES = '- {source: "oci:old/app", destination: "oci:new/app"}'


@pytest.fixture
def moved(cli: Cli) -> Cli:
    """Two images, moved from a layout to a layout."""
    write_layout(cli.folder / "old/app", "1", two_platforms("one"))
    write_layout(cli.folder / "old/app", "2", image("two"))
    write_config(cli.folder, f"  {RULES}")
    assert cli("apply", "--auto-approve") == 0
    return cli


def break_layer(layout: Path, seed: str = "two") -> str:
    """Take an image's largest blob away; return its digest."""
    blobs = image(seed).blobs
    digest = max(blobs, key=lambda each: len(blobs[each]))
    (layout / "blobs" / digest.replace(":", "/")).unlink()
    return digest


def test_what_is_whole_exits_0(moved: Cli) -> None:
    """One sentence; with --deep it says that all was read."""
    assert moved("verify") == 0
    assert moved.out.startswith("Whole: 2 images with ")
    assert moved("verify", "--deep") == 0
    assert "every byte read and hashed" in moved.out


def test_what_is_missing_is_listed_with_what_mends_it(moved: Cli) -> None:
    """Exit 2, the digest and its size, and a command that can be pasted."""
    digest = break_layer(moved.folder / "new/app")
    assert moved("verify") == 2
    assert f"blob {digest[7:19]} is missing" in moved.out
    assert "  imgmigrate plan --replace oci:new/app:2 --out plan.out\n" in moved.out
    assert max(map(len, moved.out.splitlines())) <= 80
    assert moved("verify", "oci:new/app:1") == 0
    assert moved("verify", "oci:new/**:1") == 0
    assert moved("verify", "oci:new/**:2") == 2


def test_a_layout_needs_neither_config_nor_state(
    moved: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From any folder, by any path."""
    break_layer(moved.folder / "new/app")
    elsewhere = moved.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert moved("verify", "oci:../new/app") == 2
    assert moved("verify", f"oci:{moved.folder}/old/app", "--deep") == 0
    assert moved("verify", "oci:../old/app", "oci:../new/app") == 2
    assert "of 4 images" in moved.out
    assert moved("verify", "oci:nowhere") == 3
    assert "there is no layout at" in moved.out
    assert os.listdir(elsewhere) == []


def test_many_are_mended_by_their_repositories(cli: Cli) -> None:
    """A command line bears no thousand addresses."""
    write_config(cli.folder, f"  {RULES}")
    for number in range(25):
        write_layout(cli.folder / "old/app", str(number), image(str(number)))
    assert cli("apply", "--auto-approve") == 0
    for number in range(25):
        break_layer(cli.folder / "new/app", str(number))
    assert cli("verify") == 2
    assert "  imgmigrate plan --replace oci:new/app --out plan.out\n" in cli.out


def test_the_stream_tells_all_in_full(moved: Cli) -> None:
    """One line an image that is not whole, then the numbers and the command, all by the schema."""
    digest = break_layer(moved.folder / "new/app")
    assert moved("verify", "--json", "-c", "imgmigrate.yaml") == 2
    assert moved.err == ""
    lines = {line["type"]: line for line in read_lines("stream", moved.out)}
    (fault,) = lines["verify_image"]["faults"]
    assert (fault["kind"], fault["digest"]) == ("missing", digest)
    summary = lines["verify_summary"]
    assert summary["counts"] == {
        "whole": 1,
        "moved": 0,
        "changed": 0,
        "incomplete": 1,
        "unread": 0,
    }
    assert summary["mend"].startswith("imgmigrate plan --config imgmigrate.yaml --replace oci:")
    assert moved("verify", "--json", "oci:new/app:1") == 0
    assert [json.loads(line)["type"] for line in moved.out.splitlines()][-1] == "verify_summary"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["oci:new/app", "**"], "call it once for each"),
        (["no.such/**"], "matches no address"),
        (["oci:"], "names no directory"),
        (["oci:new/app", "--against", "source"], "against themselves"),
        (["oci:new/app", "--sample", "5%"], "against themselves"),
        (["--against", "no.such"], "there is no such file"),
        (["--report", "proof.pdf"], "follows from its suffix"),
        (["--report", "no/proof.md"], "there is no folder"),
        (["oci:new/app", "--report", "proof.md"], "against themselves"),
        (["--sample", "some"], "must be a number or a percentage"),
        ([f"oci:new/app@sha256:{'0' * 64}"], "name a tag"),
    ],
)
def test_what_cannot_be_meant_is_refused(moved: Cli, arguments: list[str], said: str) -> None:
    """Exit 64, with the way out."""
    assert moved("verify", *arguments) == 64
    assert said in moved.err


def test_a_plan_and_the_sources_say_what_should_be_there(moved: Cli) -> None:
    """A plan's file, or what the sources show; of a sample it is said that it is one."""
    assert moved("plan", "--replace", "**", "--out", "plan.out") == 0
    assert moved("verify", "--against", "plan.out", "--sample", "50%") == 0
    assert moved.out.startswith("Whole: 1 image, a sample of 2, with ")
    assert moved("verify", "--against", "source") == 0
    write_layout(moved.folder / "old/app", "1", image("new"))
    assert moved("verify", "--against", "source") == 2
    assert "the source shows" in moved.out
    assert "  imgmigrate plan --refresh-referrers --out plan.out\n" in moved.out
    assert moved("verify") == 0


def test_a_report_tells_each_image_and_the_plan_that_brought_it(moved: Cli) -> None:
    """By its schema; the plan's sha256 and commit are known where the plan is kept, or named."""
    report = moved.folder / "proof.json"
    assert moved("plan", "--replace", "**", "--out", "plan.out", "--save") == 0
    assert moved("apply", "plan.out") == 0
    digest = break_layer(moved.folder / "new/app")
    assert moved("verify", "--deep", "--report", "proof.json") == 2
    document = json.loads(report.read_bytes())
    assert errors("report", document) == []
    assert (document["method"]["deep"], document["whole"]) == (True, False)
    whole, broken = document["images"]
    assert (whole["address"], whole["standing"]) == ("oci:new/app:1", "whole")
    assert [fault["digest"] for fault in broken["faults"]] == [digest]
    assert broken["source"] == "oci:old/app:2"
    assert broken["applied_by"].startswith("imgmigrate apply")
    sha256 = hashlib.sha256((moved.folder / "plan.out").read_bytes()).hexdigest()
    assert whole["plan_sha256"] == sha256
    assert moved("verify", "--against", "plan.out", "--report", "proof.json") == 2
    document = json.loads(report.read_bytes())
    assert document["method"]["against"] == "plan.out"
    assert {image["plan_sha256"] for image in document["images"]} == {sha256}


@pytest.mark.parametrize("name", ["proof.txt", "proof.csv", "proof.md"])
def test_a_report_has_the_form_of_its_suffix(moved: Cli, name: str) -> None:
    """Whatever the terminal shows, which stays as it is."""
    assert moved("verify", "--report", name) == 0
    assert moved.out.startswith("Whole: 2 images")
    assert "oci:new/app:2" in (moved.folder / name).read_text()


def test_an_empty_state_has_nothing_to_verify(cli: Cli) -> None:
    """And says so, rather than that all is whole."""
    write_config(cli.folder, f"  {RULES}")
    assert cli("verify") == 0
    assert cli.out == "Nothing to verify: there are no images.\n"


def test_what_a_plan_without_a_config_moved_is_verified_by_its_state(cli: Cli) -> None:
    """There is no config to name."""
    write_layout(cli.folder / "old", "1", image("one"))
    assert cli("plan", "--from", "oci:old", "--to", "oci:new", "--out", "plan.out") == 0
    assert cli("apply", "plan.out") == 0
    assert cli("verify", "--state", "state/oneshot") == 0
    assert cli.out.startswith("Whole: 1 image ")


@pytest.mark.integration
def test_a_registry_that_lost_a_blob_is_found_and_mended(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Its manifests answer as ever; the named command writes the image again, and all is whole."""
    old, new = docker_registry("old"), docker_registry("new")
    rule = f'  - {{source: "{old.host}/app", destination: "{new.host}/app"}}'
    write_config(tmp_path, rule, old.host, new.host)
    made = {"1": two_platforms("one"), "2": image("two")}
    for tag, each in made.items():
        push(old.remote, "app", tag, each)
    imgmigrate(tmp_path, "apply", "--auto-approve")
    imgmigrate(tmp_path, "verify", "--deep")
    blobs = made["2"].blobs
    gone = max(blobs, key=lambda each: len(blobs[each]))
    real.lose_blob(tmp_path / "new", gone)
    ran = imgmigrate(tmp_path, "verify", code=2)
    address = f"{new.host}/app:2"
    assert f"blob {gone[7:19]} is missing" in ran.out
    assert f"imgmigrate plan --replace {address} --out plan.out" in ran.out
    imgmigrate(tmp_path, "plan", "--replace", address, "--out", "plan.out")
    imgmigrate(tmp_path, "apply", "plan.out")
    imgmigrate(tmp_path, "verify", "--deep")
    assert_holds(new.remote, "app", "2", made["2"])


@pytest.mark.integration
async def test_a_head_that_lies_costs_no_image(
    tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """A proxy that answers 404 to every HEAD: a byte of each blob proves that it is there."""
    from tests.support.moves import half_done

    move = await half_done(tmp_path, fake_registry, other_fake_registry)
    move.new.fail("HEAD", "/", status=404)
    await move.run("verify", code=0)
    await move.run("verify", "--deep", code=0)
    move.new.clear()
    move.new.fail("GET", "/manifests/", status=403)
    ran = await move.run("verify", code=3)
    assert "could not be read (1)" in ran.out
