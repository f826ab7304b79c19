"""A choice of platforms: what it plans, what it costs, and what an apply writes of it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import TransientError
from imgmigrate.events import Outcome
from imgmigrate.oci.manifest import Manifest
from imgmigrate.oci.platforms import filtered_index, parse_platforms
from imgmigrate.oci.reference import Digest
from imgmigrate.plan import Plan
from imgmigrate.render.changes.text import plan_text
from imgmigrate.state.record import Filter
from tests.support import images
from tests.support.machine import clear_cache
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Change
    from tests.fakes.memory import MemoryStore

API = f"{NEW}/team/api"
AMD64, ARM64, S390X = (
    images.image(name, platform=f"linux/{name}") for name in ("amd64", "arm64", "s390x")
)
THREE = images.index(AMD64, ARM64, S390X)
CHOICE = Filter(platforms=("linux/amd64",), version=1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    choose(made, "linux/amd64")
    return made


def choose(world: World, *platforms: str, more: str = "") -> None:
    """Write the one rule with these platforms."""
    names = ", ".join(platforms)
    world.rules = (
        f"- {{source: {OLD}/team/api, destination: {NEW}/team/api, platforms: [{names}]{more}}}"
    )


def put(store: MemoryStore, tag: str, image: images.Image, repo: str = "team/api") -> Digest:
    """Put an image with all that it reaches into a store."""
    manifests = {
        digest: Manifest.parse(raw, media_type)
        for digest, (media_type, raw) in image.manifests.items()
    }
    blobs = {Digest(digest): data for digest, data in image.blobs.items()}
    others = [each for digest, each in manifests.items() if digest != image.top]
    return store.seed(repo, tag, manifests[image.top], blobs, *others)


def cut(image: images.Image, *platforms: str) -> Manifest:
    """Rebuild an image's index."""
    manifest = Manifest.parse(image.raw, image.media_type)
    return filtered_index(manifest, parse_platforms(platforms))


def source_calls(world: World) -> list[str]:
    """The verbs at the source since the log was cleared."""
    return [verb for verb, _, _ in world.old.log]


async def only(world: World) -> Change:
    """Plan, and give the one row."""
    (change,) = (await world.plan()).changes
    return change


async def test_a_choice_plans_the_digest_of_what_it_leaves(world: World) -> None:
    """The row names the source's digest, the choice, and the digest that will be there."""
    put(world.old, "1.0", THREE)
    change = await only(world)
    assert change.source is not None
    assert change.source.digest == THREE.top
    assert change.after == cut(THREE, "linux/amd64").digest
    assert change.filter == CHOICE
    assert change.platforms == ("linux/amd64",)
    assert change.transfer_bytes == AMD64.size


async def test_apply_writes_only_what_was_chosen(world: World) -> None:
    """The rebuilt index arrives with the kept child, its raw bytes untouched, and no other."""
    put(world.old, "1.0", THREE)
    finished = await world.migrate()
    assert finished.counts == {Outcome.APPLIED: 1}
    rebuilt = cut(THREE, "linux/amd64")
    assert world.new.tags == {("team/api", "1.0"): rebuilt.digest}
    there = {digest: each.raw for (_, digest), each in world.new.manifests.items()}
    assert there == {rebuilt.digest: rebuilt.raw, AMD64.top: AMD64.raw}
    assert {digest for _, digest in world.new.blobs} == set(AMD64.blobs)
    (record,) = world.state.live()
    assert (record.source.digest, record.filter) == (THREE.top, CHOICE)
    assert record.digest == rebuilt.digest


@pytest.mark.parametrize("image", [THREE, AMD64], ids=["index", "single"])
async def test_a_second_plan_is_empty_and_costs_no_source_get(
    world: World, image: images.Image
) -> None:
    """The recorded source digest and choice answer for what an image was cut to."""
    put(world.old, "1.0", image)
    await world.migrate()
    world.old.log.clear()
    world.new.log.clear()
    clear_cache()
    plan = await world.plan()
    assert (plan.changes, plan.summary.unchanged) == ((), 1)
    assert sorted(source_calls(world)) == ["head", "list_tags"]
    assert [verb for verb, _, _ in world.new.log] == ["head"]


async def test_an_index_whose_children_are_all_wanted_is_copied_as_it_is(world: World) -> None:
    """A choice that leaves nothing out keeps the digest, and is recorded all the same."""
    choose(world, "linux/*")
    put(world.old, "1.0", THREE)
    await world.migrate()
    assert world.new.tags["team/api", "1.0"] == THREE.top
    (record,) = world.state.live()
    assert record.filter == Filter(platforms=("linux/*",), version=1)
    assert (await world.plan()).changes == ()


async def test_a_single_image_is_judged_by_its_config(world: World) -> None:
    """A wanted single image is copied byte for byte, another is an error that names its own."""
    put(world.old, "amd", AMD64)
    put(world.old, "arm", ARM64)
    plan = await world.plan()
    assert rows(plan) == {
        f"{API}:amd": ("copy", "new"),
        f"{API}:arm": ("error", "no_such_platform"),
    }
    assert plan.changes[0].after == AMD64.top
    detail = plan.changes[1].detail or ""
    assert f"source {OLD}/team/api:arm" in detail
    assert "none of the platforms linux/amd64; it has linux/arm64" in detail
    assert "correct platforms:" in detail
    assert not plan.header.complete


async def test_the_platform_of_a_config_is_read_once_for_ever(world: World) -> None:
    """A single image's config is read by the first plan that needs it, never again."""
    put(world.old, "arm", ARM64)
    await world.plan()
    world.old.log.clear()
    assert rows(await world.plan()) == {f"{API}:arm": ("error", "no_such_platform")}
    assert sorted(source_calls(world)) == ["list_tags", "manifest"]


async def test_an_artifact_runs_nowhere_and_is_copied(world: World) -> None:
    """No choice of platforms is about a chart or a signature; its bytes are not even looked at."""
    put(world.old, "chart", images.artifact())
    plan = await world.plan()
    assert rows(plan) == {f"{API}:chart": ("copy", "new")}
    assert "platforms" not in plan_text(plan)
    assert "open_blob" not in source_calls(world)


async def test_no_wanted_platform_is_an_error_that_names_what_there_is(world: World) -> None:
    """An image that has none of the platforms is a row of its own, never silently left out."""
    choose(world, "linux/riscv64")
    put(world.old, "1.0", THREE)
    change = await only(world)
    assert (change.action, change.reason) == ("error", "no_such_platform")
    assert "it has linux/amd64, linux/arm64, linux/s390x" in (change.detail or "")


async def test_a_nested_index_is_an_error_that_says_so(world: World) -> None:
    """What cannot be cut is refused with the way out."""
    put(world.old, "1.0", images.nested())
    change = await only(world)
    assert (change.action, change.reason) == ("error", "unsupported")
    assert "lists other indexes" in (change.detail or "")


async def test_another_choice_updates_what_is_ours(world: World) -> None:
    """Platforms that the config adds are a change of the image, and say why."""
    put(world.old, "1.0", THREE)
    await world.migrate()
    choose(world, "linux/arm64", "linux/amd64")
    change = await only(world)
    assert (change.action, change.reason) == ("update", "platforms_changed")
    assert change.inside == ("platform linux/arm64 added",)
    assert change.after == cut(THREE, "linux/amd64", "linux/arm64").digest
    await world.migrate()
    choose(world, "all")
    assert rows(await world.plan()) == {f"{API}:1.0": ("update", "platforms_changed")}


async def test_a_source_that_moves_in_other_platforms_only_changes_the_record(
    world: World,
) -> None:
    """The same bytes at the destination need no transfer, only a record of the new source."""
    put(world.old, "1.0", THREE)
    await world.migrate()
    moved = images.index(AMD64, images.image("new arm", platform="linux/arm64"), S390X)
    put(world.old, "1.0", moved)
    assert rows(await world.plan()) == {f"{API}:1.0": ("adopt", "already_there")}
    await world.migrate()
    assert world.new.calls["put_manifest"] == 2
    world.old.log.clear()
    assert (await world.plan()).changes == ()
    assert sorted(source_calls(world)) == ["head", "list_tags"]


async def test_a_moved_source_updates_what_is_chosen(world: World) -> None:
    """The kept child moved, so the row says from which to which digest."""
    put(world.old, "1.0", THREE)
    await world.migrate()
    moved = images.index(images.image("new", platform="linux/amd64"), ARM64)
    put(world.old, "1.0", moved)
    change = await only(world)
    assert (change.action, change.reason) == ("update", "source_moved")
    assert change.before == cut(THREE, "linux/amd64").digest
    assert change.after == cut(moved, "linux/amd64").digest
    assert len(change.inside or ()) == 1


async def test_what_others_cut_to_the_same_children_is_equivalent(world: World) -> None:
    """Another tool's index of the chosen children is told apart from a foreign image."""
    put(world.old, "1.0", THREE)
    put(world.new, "1.0", images.index(AMD64, annotations={"made": "elsewhere"}))
    assert rows(await world.plan()) == {f"{API}:1.0": ("conflict", "equivalent")}


async def test_a_whole_image_at_the_destination_is_a_conflict(world: World) -> None:
    """The uncut index is not what is wanted, and the text says what is."""
    put(world.old, "1.0", THREE)
    put(world.new, "1.0", THREE)
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1.0": ("conflict", "foreign")}
    assert f"wanted some platforms of {Digest(THREE.top).short}" in plan_text(plan)


async def test_immutable_tags_are_read_again_for_another_choice(world: World) -> None:
    """A tag that never moves answers only for the platforms that were copied."""
    choose(world, "linux/amd64", more=", immutable_tags: ['*']")
    put(world.old, "1.0", THREE)
    await world.migrate()
    assert (await world.plan()).changes == ()
    choose(world, "linux/arm64", more=", immutable_tags: ['*']")
    assert rows(await world.plan()) == {f"{API}:1.0": ("update", "platforms_changed")}
    assert rows(await world.plan(refresh=False)) == {f"{API}:1.0": ("update", "platforms_changed")}


async def test_a_source_digest_that_is_cut_needs_a_tag(world: World) -> None:
    """An address that is a digest cannot hold an image of another digest."""
    put(world.old, "1.0", THREE)
    world.rules = (
        f"- {{source: '{OLD}/team/api@{THREE.top}', destination: {NEW}/team/api, "
        "platforms: linux/amd64}"
    )
    change = await only(world)
    assert (change.action, change.reason) == ("error", "unsupported")
    assert "name a tag at the destination" in (change.detail or "")


async def test_a_source_that_cannot_be_read_is_an_error_row(world: World) -> None:
    """A choice that nobody could look up is unreadable; the others go on."""
    put(world.old, "1.0", THREE)
    put(world.old, "2.0", AMD64)

    def fail(repo: str, what: str) -> None:
        if what == "1.0":
            raise TransientError(f"{OLD}/{repo}", "connection reset")

    world.old.hooks["manifest"] = fail
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1.0": ("error", "unreadable"), f"{API}:2.0": ("copy", "new")}
    assert "source old.example/team/api: connection reset" in (plan.changes[0].detail or "")


async def test_one_image_for_many_addresses_is_read_once(world: World) -> None:
    """A read may be metered: however many tags name an index, it is asked for once."""
    world.old.is_metered = True
    for tag in ("1", "1.0", "latest"):
        put(world.old, tag, THREE)
    plan = await world.plan(sizes="never")
    assert len({change.after for change in plan.changes}) == 1
    assert source_calls(world).count("manifest") == 1


async def test_two_rules_with_other_platforms_contradict_each_other(world: World) -> None:
    """One address has one choice; tags that only a listing shows are checked as well."""
    put(world.old, "1.0", THREE)
    world.rules = (
        f"- {{source: {OLD}/team/api, destination: {NEW}/team/api, tags: ['1*'], "
        "platforms: linux/amd64}\n"
        f"- {{source: {OLD}/team/api, destination: {NEW}/team/api, tags: ['*0']}}"
    )
    (change,) = (await world.plan()).changes
    assert (change.action.value, change.reason.value) == ("error", "contested")
    assert re.search(r"with linux/amd64 \(.*:3\) and all platforms \(.*:4\)", change.detail or "")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("after", "sha256:" + "0" * 64, "planned was sha256:000"),
        ("filter", {"platforms": ["linux/amd64"], "version": 2}, "rebuilt by version 2"),
        ("filter", {"platforms": ["linux/riscv64"], "version": 1}, "none of the platforms"),
    ],
)
async def test_apply_refuses_what_it_cannot_rebuild(
    world: World, field: str, value: object, said: str
) -> None:
    """Only the planned digest is ever written: a row that names another fails."""
    put(world.old, "1.0", THREE)
    plan = await world.plan()
    row = plan.changes[0].line() | {field: value}
    changed = type(plan.changes[0]).model_validate_json(json.dumps(row))
    finished = await world.apply(Plan.of(plan.header, [changed]))
    assert finished.counts == {Outcome.FAILED: 1}
    assert said in str(finished.unfinished[0].error)
    assert not world.new.tags


async def test_the_text_says_that_signatures_no_longer_match(world: World) -> None:
    """Whoever reviews the plan learns what a choice of platforms costs."""
    put(world.old, "1.0", THREE)
    text = " ".join(plan_text(await world.plan()).split())
    assert "only the platforms linux/amd64" in text
    assert f"another digest: {cut(THREE, 'linux/amd64').digest.short}" in text
    assert "1 image with some platforms only: the digest of the index changes" in text
    assert "signatures of the whole index no longer match" in text


async def test_the_text_says_nothing_of_digests_that_stay(world: World) -> None:
    """A choice that leaves nothing out has no price."""
    put(world.old, "1.0", AMD64)
    text = plan_text(await world.plan())
    assert "only the platforms linux/amd64" in text
    assert "signatures" not in text


async def test_a_rolled_back_choice_is_recorded_as_what_it_is(world: World) -> None:
    """Undone, the record tells of the former source and choice, and the next plan says which."""
    put(world.old, "1", THREE)
    await world.migrate()
    one = world.new.tags["team/api", "1"]
    choose(world, "linux/arm64")
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1": ("update", "platforms_changed")}
    await world.apply(plan)
    other = world.new.tags["team/api", "1"]
    back = await world.rollback(plan)
    await world.apply(back)
    assert world.new.tags["team/api", "1"] == one
    record = world.state.records[f"{API}:1"]
    assert (record.filter, record.source.digest) == (CHOICE, Digest(THREE.top))
    assert rows(await world.plan()) == {f"{API}:1": ("update", "platforms_changed")}
    # And there again: the rollback of the rollback knows as much.
    await world.apply(await world.rollback(back))
    assert world.new.tags["team/api", "1"] == other
    assert rows(await world.plan()) == {}


async def test_a_rollback_to_the_choice_in_the_config_leaves_nothing_to_plan(world: World) -> None:
    """Where the rule asks for the former choice again, the record says that it is there."""
    put(world.old, "1", THREE)
    await world.migrate()
    choose(world, "linux/arm64")
    plan = await world.plan()
    await world.apply(plan)
    await world.apply(await world.rollback(plan))
    choose(world, "linux/amd64")
    plan = await world.plan()
    assert rows(plan) == {}
    assert plan.summary.unchanged == 1
