"""Planning as a whole: rules, both sides and the state become a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    TransientError,
    UsageError,
)
from imgmigrate.plan import Action
from tests.fakes.memory import MemoryStore, image, index
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

API = f"{NEW}/team/api"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_new_images_are_copied_pinned_to_digests(world: World) -> None:
    """Every tag of the source becomes a copy row pinned to its digest."""
    digest = world.seed("1.0")
    world.seed("1.1")
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1.0": ("copy", "new"), f"{API}:1.1": ("copy", "new")}
    first = plan.changes[0]
    assert first.source is not None
    assert (first.source.digest, first.after, first.before) == (digest, digest, None)
    assert plan.header.state.lineage is None
    assert plan.header.complete


async def test_a_plan_writes_nothing_anywhere(world: World) -> None:
    """Planning changes no registry and makes no state."""
    world.seed("1.0")
    await world.plan()
    assert set(world.new.calls) <= {"head", "manifest", "list_tags"}
    assert not (world.folder / "state" / "imgmigrate" / "journal.jsonl").exists()


async def test_after_apply_nothing_is_left(world: World) -> None:
    """A plan right after an apply has no rows and counts the images as unchanged."""
    for tag in ("a", "b", "c"):
        world.seed(tag)
    await world.migrate()
    plan = await world.plan()
    assert plan.changes == ()
    assert plan.summary.unchanged == 3
    assert plan.summary.writes == 0


async def test_every_kind_of_drift_has_its_row(world: World) -> None:
    """Moved, overwritten, already there, vanished and deselected tags each say so."""
    for tag in ("moved", "overwritten", "vanished", "lost", "same"):
        world.seed(tag)
    await world.migrate()
    world.seed("moved", b"another")
    alien, blobs = image(b"alien")
    world.new.seed("team/api", "overwritten", alien, blobs)
    del world.old.tags["team/api", "vanished"]
    del world.new.tags["team/api", "lost"]
    there = world.seed("there")
    world.new.tags["team/api", "there"] = there
    world.new.manifests["team/api", there] = world.old.manifests["team/api", there]
    plan = await world.plan()
    assert rows(plan) == {
        f"{API}:moved": ("update", "source_moved"),
        f"{API}:overwritten": ("conflict", "changed_here"),
        f"{API}:vanished": ("keep", "source_gone"),
        f"{API}:lost": ("copy", "destination_lost"),
        f"{API}:there": ("adopt", "already_there"),
    }
    assert plan.summary.unchanged == 1


async def test_removed_rule_forgets_and_narrowed_rule_deselects(world: World) -> None:
    """What no rule asks for any more is forgotten, with the reason."""
    world.seed("1.0")
    world.seed("2.0")
    world.seed("x", repo="other")
    world.rules += f"\n- {{source: {OLD}/other, destination: {NEW}/other}}"
    await world.migrate()
    world.rules = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api, tags: ['1.*']}}"
    plan = await world.plan()
    assert (rows(plan), plan.summary.unwanted) == ({}, 2)
    assert rows(await world.plan(forget=True)) == {
        f"{API}:2.0": ("forget", "deselected"),
        f"{NEW}/other:x": ("forget", "rule_removed"),
    }


async def test_explicit_tags_need_no_listing(world: World) -> None:
    """A rule of exact tags costs one look a side and tag, which reads what is new.

    A new destination repository costs a question more: whether it holds any blob to spare.
    """
    world.seed("1.0")
    rule = f"source: '{OLD}/team/api:1.0', destination: {NEW}/team/api, referrers: none"
    world.rules = f"- {{{rule}}}"
    await world.plan()
    assert world.old.calls == {"manifest": 1}
    assert world.new.calls == {"manifest": 1, "list_tags": 1}
    await world.migrate()
    world.old.calls.clear()
    world.new.calls.clear()
    await world.plan()
    assert world.old.calls == {"head": 1}
    assert world.new.calls == {"head": 1}


async def test_destination_listing_spares_the_heads_of_absent_tags(world: World) -> None:
    """Many new tags cost one listing at the destination instead of a HEAD each."""
    for number in range(20):
        world.seed(f"t{number}")
    await world.plan(sizes="never")
    assert world.new.calls == {"list_tags": 1}


async def test_one_source_for_two_destinations_is_asked_once(world: World) -> None:
    """A source tag that goes to several places is described once."""
    world.seed("1.0")
    world.rules = (
        f"- {{source: '{OLD}/team/api:1.0', destination: [{NEW}/a, {NEW}/b, other.example/c]}}"
    )
    plan = await world.plan(sizes="never")
    assert len(plan.changes) == 3
    assert world.old.calls == {"manifest": 1, "list_tags": 1, "referrers": 1}


async def test_two_sources_for_one_address_name_both_rules(world: World) -> None:
    """Where the patterns of two rules meet is an error row with both lines."""
    world.seed("1.0")
    world.seed("1.0", b"other", repo="team/fork")
    world.rules += f"\n- {{source: {OLD}/team/fork, destination: {NEW}/team/api}}"
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1.0": ("error", "contested")}
    assert "imgmigrate.yaml:3" in (plan.changes[0].detail or "")
    assert "imgmigrate.yaml:4" in (plan.changes[0].detail or "")


async def test_named_tag_that_is_missing_is_an_error_row(world: World) -> None:
    """A tag that the config names and the source lacks is an error; the rest is planned."""
    world.seed("1.0")
    world.rules = f"- {{source: '{OLD}/team/api:1.0,9.9', destination: {NEW}/team/api}}"
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1.0": ("copy", "new"), f"{API}:9.9": ("error", "source_missing")}
    assert not plan.header.complete


async def test_missing_repository_is_one_error_row_at_the_destination(world: World) -> None:
    """A source repository that nobody ever had is an error, at its destination's name."""
    plan = await world.plan()
    assert rows(plan) == {API: ("error", "source_missing")}


async def test_vanished_repository_with_records_is_unreadable_never_gone(world: World) -> None:
    """A whole repository that disappears keeps its records and is an error."""
    world.seed("1.0")
    await world.migrate()
    world.old.tags.clear()
    world.old.manifests.clear()
    for rule in ("", ":1.0"):
        world.rules = f"- {{source: '{OLD}/team/api{rule}', destination: {NEW}/team/api}}"
        (row,) = (await world.plan()).changes
        assert (row.action, row.reason) == (Action.ERROR, "unreadable")


async def test_unreadable_listing_is_never_forgotten(world: World) -> None:
    """A listing that fails yields one error row, and no record of that rule is touched."""
    world.seed("1.0")
    await world.migrate()

    def fail(repo: str, what: str) -> None:
        raise TransientError(f"{OLD}/{repo}", "connection refused")

    world.old.hooks["list_tags"] = fail
    plan = await world.plan()
    assert rows(plan) == {API: ("error", "unreadable")}
    assert "source" in (plan.changes[0].detail or "")


async def test_forbidden_destination_reads_as_absent_only_without_records(world: World) -> None:
    """401/403 on a destination means "not there yet" unless we have written there before."""
    world.seed("1.0")

    def deny(repo: str, what: str) -> None:
        raise AccessDenied(f"{NEW}/{repo}", "denied (403)", status=403)

    world.new.hooks["head"] = deny
    assert rows(await world.plan()) == {f"{API}:1.0": ("copy", "new")}
    world.new.hooks.clear()
    await world.migrate()
    world.new.hooks["head"] = deny
    assert rows(await world.plan()) == {f"{API}:1.0": ("error", "unreadable")}


async def test_refused_credentials_at_the_destination_are_an_error(world: World) -> None:
    """Wrong credentials never read as "nothing there"."""
    world.seed("1.0")

    def refuse(repo: str, what: str) -> None:
        raise AuthenticationError(NEW, "the credentials were refused (401)")

    world.new.hooks["manifest"] = refuse
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1.0": ("error", "unreadable")}
    assert "destination" in (plan.changes[0].detail or "")


async def test_unreachable_destination_of_many_tags_is_one_row(world: World) -> None:
    """A destination repository that cannot be listed is one error row, not one a tag."""
    for number in range(9):
        world.seed(f"t{number}")

    def fail(repo: str, what: str) -> None:
        raise TransientError(f"{NEW}/{repo}", "connection refused")

    world.new.hooks["list_tags"] = fail
    assert rows(await world.plan()) == {API: ("error", "unreadable")}


async def test_equivalent_index_is_told_apart(world: World) -> None:
    """An index with the same children in other bytes is `equivalent`, which a policy may take."""
    child, blobs = image(b"layer")
    world.old.seed("team/api", "1.0", index(child), blobs, child)
    world.new.seed("team/api", "1.0", index(child, annotations={"by": "another"}), blobs, child)
    assert rows(await world.plan()) == {f"{API}:1.0": ("conflict", "equivalent")}
    world.rules = world.rules.replace("}", ", overwrite: equivalent}")
    assert rows(await world.plan()) == {f"{API}:1.0": ("update", "overwrite_equivalent")}


async def test_allow_overwrite_replaces_what_is_not_ours_visibly(world: World) -> None:
    """--allow-overwrite turns a conflict into an update whose reason says so."""
    world.seed("1.0")
    alien, blobs = image(b"alien")
    world.new.seed("team/api", "1.0", alien, blobs)
    plan = await world.plan(allow_overwrite=(f"{NEW}/team/**",))
    assert rows(plan) == {f"{API}:1.0": ("update", "overwrite_allowed")}


async def test_target_and_exclude_make_a_partial_plan(world: World) -> None:
    """Globs over addresses narrow the plan, which says that it is not complete."""
    for tag in ("1.0", "1.1", "2.0"):
        world.seed(tag)
    plan = await world.plan(target=(f"{API}:1.*",), exclude=(f"{API}:1.1",))
    assert rows(plan) == {f"{API}:1.0": ("copy", "new")}
    assert not plan.header.complete
    assert plan.header.filters.target == (f"{API}:1.*",)


@pytest.mark.parametrize("option", ["target", "exclude", "replace", "allow_overwrite"])
async def test_glob_that_matches_nothing_is_an_error(world: World, option: str) -> None:
    """A typing error in a glob never passes as "nothing to do"."""
    world.seed("1.0")
    with pytest.raises(UsageError, match="matches no address"):
        await world.plan(**{option: ("new.example/tema/**",)})


async def test_replace_updates_unchanged_images(world: World) -> None:
    """--replace plans an update of what looks equal."""
    world.seed("1.0")
    await world.migrate()
    plan = await world.plan(replace=(f"{API}:1.0",))
    assert rows(plan) == {f"{API}:1.0": ("update", "replace")}
    # Each blob was asked for, as apply will: nothing is missing.
    assert plan.changes[0].transfer_bytes == 0
    assert plan.summary.unknown_sizes == 0


async def test_sizes_count_a_shared_blob_once_per_destination_store(world: World) -> None:
    """Transfer sizes are what has to move: a layer that two images share is charged once."""
    world.seed("a", b"shared layer", b"first")
    world.seed("b", b"shared layer", b"second")
    plan = await world.plan()
    assert plan.summary.transfer_bytes == len(b"{}shared layerfirstsecond")
    assert [change.blobs for change in plan.changes] == [3, 3]
    assert plan.summary.unknown_sizes == 0


async def test_metered_source_is_not_read_for_a_size(world: World) -> None:
    """A metered registry's pulls are not spent on sizes; they stay unknown unless asked for."""
    world.stores.stores[OLD] = MemoryStore(OLD, is_metered=True)
    world.seed("1.0")
    plan = await world.plan()
    assert world.old.calls["manifest"] == 0
    assert plan.changes[0].size is None
    assert plan.summary.unknown_sizes == 1
    always = await world.plan(sizes="always")
    assert always.changes[0].size is not None


async def test_update_says_what_changes_inside(world: World) -> None:
    """An update whose two manifests are known tells what differs."""
    world.seed("1.0", b"base", b"app one")
    await world.migrate()
    world.seed("1.0", b"base", b"app two")
    (change,) = (await world.plan()).changes
    assert change.inside == ("1 of 3 blobs are new, 1 no longer used",)
    assert change.transfer_bytes == len(b"app two")


async def test_plan_is_sorted_and_reproducible(world: World) -> None:
    """The same world twice gives the same rows in the same order."""
    for tag in ("b", "a", "c"):
        world.seed(tag)
    first, second = await world.plan(), await world.plan()
    assert first.changes == second.changes
    addresses = [str(change.address) for change in first.changes]
    assert addresses == sorted(addresses)


async def test_several_failures_of_one_repository_are_one_row(world: World) -> None:
    """An address stands once in a plan, however many things went wrong there."""
    world.rules = (
        f"- {{source: {OLD}/team/api, destination: {NEW}/all}}\n"
        f"- {{source: {OLD}/team/web, destination: {NEW}/all}}"
    )
    (row,) = (await world.plan()).changes
    assert f"{OLD}/team/api" in (row.detail or "")
    assert f"{OLD}/team/web" in (row.detail or "")


async def test_immutable_tags_that_the_state_knows_cost_no_request(world: World) -> None:
    """A named tag that never moves is not asked for again, on either side."""
    world.seed("1.0")
    world.seed("latest")
    rule = f"- {{source: '{OLD}/team/api:1.0,latest', destination: {NEW}/team/api, "
    world.rules = rule + "immutable_tags: ['1.*']}"
    await world.migrate()
    world.old.log.clear()
    world.new.log.clear()
    plan = await world.plan()
    assert plan.summary.unchanged == 2
    assert [what for _, _, what in world.old.log + world.new.log] == ["latest", "latest"]


async def test_immutable_tag_that_is_not_recorded_is_read(world: World) -> None:
    """What was never copied is looked at whatever its tag promises."""
    world.seed("1.0")
    world.rules = world.rules.replace("}", ", immutable_tags: ['*']}")
    assert rows(await world.plan()) == {f"{API}:1.0": ("copy", "new")}


async def test_no_refresh_reads_only_what_is_not_recorded(world: World) -> None:
    """Without a refresh recorded images are taken as recorded, and new ones are found."""
    world.seed("1.0")
    await world.migrate()
    world.seed("1.0", b"moved")
    world.seed("1.1")
    world.old.log.clear()
    plan = await world.plan(refresh=False, sizes="never")
    assert rows(plan) == {f"{API}:1.1": ("copy", "new")}
    assert plan.summary.unchanged == 1
    assert ("head", "team/api", "1.0") not in world.old.log


async def test_recorded_image_from_another_source_is_read_without_refresh(world: World) -> None:
    """A rule that now names another source is no reason to believe the record."""
    world.seed("1.0")
    await world.migrate()
    world.seed("1.0", b"fork", repo="team/fork")
    world.rules = f"- {{source: {OLD}/team/fork, destination: {NEW}/team/api}}"
    assert rows(await world.plan(refresh=False)) == {f"{API}:1.0": ("update", "source_moved")}


async def test_only_sources_of_targets_are_asked(world: World) -> None:
    """What `--target` leaves out is neither listed nor looked at, and what is ours there stays."""
    for repo in ("a", "b"):
        world.seed("1", repo=repo)
    world.rules = "\n".join(
        f"- {{source: '{OLD}/{repo}', destination: {NEW}/{repo}}}" for repo in ("a", "b")
    )
    await world.migrate()
    world.seed("2", repo="a")
    for name in ("a", "b"):
        del world.old.tags[name, "1"]
    world.old.log.clear()
    world.new.log.clear()
    assert rows(await world.plan(target=(f"{NEW}/a",))) == {
        f"{NEW}/a:1": ("keep", "source_gone"),
        f"{NEW}/a:2": ("copy", "new"),
    }
    assert {repo for _, repo, _ in (*world.old.log, *world.new.log)} == {"a"}


async def test_a_target_whose_rule_has_gone_is_still_unwanted(world: World) -> None:
    """Records are judged by the rules that may ask for them, and by no other."""
    world.seed("1")
    await world.migrate()
    world.seed("1", repo="b")
    world.rules = f"- {{source: {OLD}/b, destination: {NEW}/b}}"
    plan = await world.plan(target=(f"{NEW}/team/**",), forget=True)
    assert rows(plan) == {f"{NEW}/team/api:1": ("forget", "rule_removed")}
    assert (await world.plan(target=(f"{NEW}/team/**",))).summary.unwanted == 1
