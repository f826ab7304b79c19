"""What refers to an image is planned with it: asked once, as the rule says, never guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from imgmigrate.applying.resume import records
from imgmigrate.errors import (
    ConfigError,
    PlanRefused,
)
from imgmigrate.events import Outcome, Warned
from imgmigrate.oci.manifest import Manifest
from imgmigrate.plan import Plan
from tests.fakes.memory import image, index
from tests.planning.attached import SBOM, SCAN, SIGNATURE, kinds, refer, say, sign
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

API = f"{NEW}/team/api"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two registries with the API."""
    world = World(tmp_path)
    world.old.has_referrers = world.new.has_referrers = True
    return world


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("all", [SCAN, "sbom", "signature", "signature"]),
        ("none", []),
        ("sbom", ["sbom"]),
        (f"[{SCAN}]", [SCAN]),
        (f"[{SBOM}]", ["sbom"]),
        ("{exclude: [signature]}", ["sbom"]),
        (f"{{include: all, exclude: [{SBOM}, signature]}}", [SCAN]),
        ("{required: [sbom]}", ["sbom", "signature", "signature"]),
    ],
)
async def test_a_rule_says_what_goes_along(world: World, said: str, taken: list[str]) -> None:
    """By short names and by artifact types."""
    digest = world.seed("1")
    for artifact_type in (SBOM, SIGNATURE, SCAN):
        refer(world, digest, artifact_type)
    sign(world, digest)
    say(world, said, ", tags: ['1']")
    assert kinds(await world.plan()) == {"1": taken}


async def test_a_row_tells_who_verifies_and_what_is_left_out(world: World) -> None:
    """By how the image's own signatures are kept; and which kinds its rule does not take."""
    digest = world.seed("1")
    for artifact_type in (SBOM, SIGNATURE, BUNDLE, SCAN):
        refer(world, digest, artifact_type)
    sign(world, digest)
    say(world, "signature", ", tags: ['1']")
    [change] = (await world.plan()).changes
    assert change.schemes == ("cosign-tag", "notation", "sigstore-bundle")
    assert change.referrers_excluded == (SCAN, "sbom")


async def test_two_rules_that_take_others_along_contest_their_address(world: World) -> None:
    """Nobody knows what is wanted there; found on loading where both name the tag."""
    world.seed("1")
    rule = f"{{source: {OLD}/team/api, destination: {NEW}/team/api, referrers: "
    world.rules = f"- {rule}all, tags: ['*']}}\n- {rule}none, tags: ['1*']}}"
    [change] = (await world.plan()).changes
    assert (change.action, change.reason) == ("error", "contested")
    assert "name the same referrers in both" in (change.detail or "")
    world.rules = f"- {rule}all, tags: ['1']}}\n- {rule}none, tags: ['1']}}"
    with pytest.raises(ConfigError, match="is asked with referrers none, and all in"):
        await world.plan()


async def test_companion_tags_count_in_no_selection(world: World) -> None:
    """Neither in `newest` nor in `min`, and they are no rows; unless nothing goes along."""
    digest = world.seed("1")
    tag = sign(world, digest)
    say(world, "signature", ", tags: {newest: 1, by: name}")
    assert rows(await world.plan()) == {f"{API}:1": ("copy", "new")}
    say(world, "none")
    assert rows(await world.plan()) == {
        f"{API}:1": ("copy", "new"),
        f"{API}:{tag}": ("copy", "new"),
    }


@pytest.mark.parametrize("pattern", ["sha256-*", "*.sig"])
async def test_a_rule_that_names_companion_tags_copies_them_as_tags(
    world: World, pattern: str
) -> None:
    """Whoever wrote such a rule for an earlier version gets what it asks for, and no more."""
    digest = world.seed("1")
    tag = sign(world, digest)
    say(world, "all", f", tags: ['{pattern}']")
    assert rows(await world.plan()) == {f"{API}:{tag}": ("copy", "new")}
    sign(world, digest, "att")
    say(world, "all", ", tags: ['*a*', '*.sig']")
    assert rows(await world.plan()) == {f"{API}:{tag}": ("copy", "new")}


async def test_what_is_required_and_missing_is_an_error(world: World) -> None:
    """It has to be of the image itself; the others go."""
    signed, _ = world.seed("1"), world.seed("2")
    refer(world, signed, SIGNATURE)
    say(world, "{required: [signature]}")
    assert rows(await world.plan()) == {
        f"{API}:1": ("copy", "new"),
        f"{API}:2": ("error", "not_referred"),
    }


async def test_what_is_required_later_is_told_in_one_line(world: World) -> None:
    """Of images that are recorded nobody asks; how many may lack something is said."""
    signed, _ = world.seed("1"), world.seed("2")
    refer(world, signed, SIGNATURE)
    await world.migrate()
    say(world, "{required: [signature]}")
    assert (await world.plan()).changes == ()
    [told] = [event for event in world.sink.events if isinstance(event, Warned)]
    assert (told.code, told.message[:7]) == ("referrers_lacking", "1 image")


async def test_a_cut_index_leaves_behind_what_refers_to_the_whole(world: World) -> None:
    """Its digest is another one at the destination; the platforms keep theirs."""
    children = []
    for name in ("amd64", "arm64"):
        config = json.dumps({"os": "linux", "architecture": name}).encode()
        manifest, blobs = image(name.encode(), config=config)
        world.old.seed("team/api", name, manifest, blobs)
        del world.old.tags["team/api", name]
        children.append(manifest)
    document = index(*children).document
    for entry, name in zip(document["manifests"], ("amd64", "arm64"), strict=True):
        entry["platform"] = {"os": "linux", "architecture": name}
    top = Manifest.parse(json.dumps(document).encode())
    world.old.seed("team/api", "1", top, {})
    refer(world, top.digest, SIGNATURE)
    kept = refer(world, children[0].digest, SBOM)
    refer(world, children[1].digest, SBOM)
    say(world, "all", ", platforms: [linux/amd64]")
    [change] = (await world.plan()).changes
    assert [each.digest for each in change.referrers or ()] == [kept]
    assert change.referrers_left == ("signature",)


@pytest.mark.parametrize("has_api", [True, False])
async def test_images_without_any_cost_at_most_one_request(world: World, has_api: bool) -> None:
    """With the API one each, else none: the list was read already. A second plan asks nothing."""
    world.old.has_referrers = has_api
    for number in range(500):
        world.seed(f"t{number}")
    await world.migrate()
    assert world.old.calls["list_tags"] == 1
    # At a registry without the API none of these is a request: the list told all.
    assert world.old.calls["referrers"] == 500
    assert world.old.calls["look"] == world.old.calls["head"] == 0
    world.old.calls.clear()
    assert (await world.plan()).changes == ()
    assert world.old.calls["referrers"] == 0


async def test_records_of_earlier_versions_are_told_in_one_line(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their signatures are there to see; nothing is asked, and no row is made of it."""
    digest = world.seed("1")
    with monkeypatch.context() as earlier:
        earlier.setattr(records, "_carried", lambda *_: None)
        await world.migrate()
    sign(world, digest)
    assert (await world.plan()).changes == ()
    told = [event for event in world.sink.events if isinstance(event, Warned)]
    assert [event.code for event in told] == ["referrers_unknown"]
    assert rows(await world.plan(refresh_referrers=True)) == {
        f"{API}:1": ("refer", "new_referrers")
    }


async def test_companions_that_were_recorded_as_tags_are_not_unwanted(world: World) -> None:
    """An upgrade must not delete the signatures that an earlier version has copied."""
    sign(world, world.seed("1"))
    say(world, "none")
    await world.migrate()
    say(world, "signature")
    plan = await world.plan(allow_delete=True)
    assert (plan.changes, plan.summary.unwanted) == ((), 0)


async def test_nor_are_they_where_their_image_moves(world: World) -> None:
    """A move takes along what its record names; what an earlier version copied stays there."""
    tag = sign(world, world.seed("1"))
    say(world, "none")
    await world.migrate()
    moved = f"{NEW}/team/moved"
    world.rules = f"- {{source: {OLD}/team/api, destination: {moved}}}"
    world.extra = f"moved: [{{from: {API}, to: {moved}}}]"
    world.new.deletes_tags = True
    del world.old.tags["team/api", tag]
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {f"{API}:1": ("delete", "moved"), f"{moved}:1": ("move", "moved")}
    await world.apply(plan)
    assert ("team/api", tag) in world.new.tags
    world.sink.events.clear()
    assert (await world.plan(allow_delete=True)).changes == ()
    assert not [event for event in world.sink.events if isinstance(event, Warned)]


async def test_a_late_signature_can_be_rolled_back_past(world: World) -> None:
    """A row for it leaves the image's own history as it is."""
    first = world.seed("1")
    await world.migrate()
    second = world.seed("1", b"newer")
    await world.migrate()
    sign(world, second)
    await world.migrate()
    record = world.state.records[f"{API}:1"]
    assert (record.digest, record.previous, record.action) == (second, first, "refer")
    assert [each.kind for each in record.referrers or ()] == ["signature"]


async def test_a_signature_that_is_made_anew_is_ours_to_replace(world: World) -> None:
    """The tag is recorded with its image, so a moved one is no conflict."""
    digest = world.seed("1")
    tag = sign(world, digest)
    await world.migrate()
    again = world.seed(tag, b"signed anew")
    finished = await world.apply(await world.plan(refresh_referrers=True))
    assert finished.counts == {Outcome.APPLIED: 1}
    assert world.new.tags["team/api", tag] == again


@pytest.mark.parametrize("field", ["tag", "kind"])
async def test_a_plan_that_was_edited_is_refused(world: World, field: str) -> None:
    """What goes along needs a rule, and a tag that belongs to its image."""
    digest = world.seed("1")
    sign(world, digest)
    plan = await world.plan()
    [change] = plan.changes
    [each] = change.referrers or ()
    forged = replace(each, tag="latest") if field == "tag" else replace(each, kind=SCAN, tag=None)
    changed = change.model_copy(update={"referrers": (forged,)})
    with pytest.raises(PlanRefused):
        await world.apply(Plan.of(plan.header, [changed]))


async def test_what_is_refused_replaces_nothing_that_would_be_kept(world: World) -> None:
    """An unsigned image is an error of its own row: the plan has no half of a pair, and applies."""
    say(world, "{required: [signature]}", ", keep_previous: 'prev-{tag}'")
    refer(world, world.seed("1"), SIGNATURE)
    await world.migrate()
    world.seed("1", b"unsigned")
    refer(world, world.seed("2"), SIGNATURE)
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1": ("error", "not_referred"), f"{API}:2": ("copy", "new")}
    assert (await world.apply(plan)).counts[Outcome.APPLIED] == 1


async def test_what_goes_along_counts_in_what_has_to_be_sent(world: World) -> None:
    """On top of its image; whether it is there already nobody asks."""
    digest = world.seed("1")
    [alone] = (await world.plan()).changes
    refer(world, digest, SIGNATURE)
    [change] = (await world.plan()).changes
    assert change.transfer_bytes == (alone.transfer_bytes or 0) + (change.referrer_bytes or 0)
    assert (change.referrer_bytes or 0) > 0
