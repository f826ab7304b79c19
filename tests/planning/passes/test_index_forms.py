"""The form of an index that is cut: what decides it, what is written, what is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import Rejected
from imgmigrate.events import Outcome, Warned
from imgmigrate.oci.platforms import IndexForm
from imgmigrate.oci.reference import LAYOUTS, Digest
from imgmigrate.plan import Plan
from imgmigrate.render.changes.text import plan_text
from imgmigrate.state.record import RECORDS, Filter
from imgmigrate.stores.layout.store import LayoutStore
from imgmigrate.verifying.verdict import Kind, Standing
from imgmigrate.verifying.verify import verify_records
from tests.planning.attached import SBOM, refer
from tests.planning.passes.test_platforms import AMD64, ARM64, THREE, choose, cut, put
from tests.support import images
from tests.support.machine import clear_cache
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Change

API = f"{NEW}/team/api"
TRIMMED = cut(THREE, "linux/amd64").digest
# What each form makes of three platforms of which one is wanted.
RESULTS = {"keep": THREE.top, "trim": TRIMMED, "unwrap": AMD64.top}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A rule for one platform, and a registry that takes a sparse index and does not say so."""
    made = World(tmp_path)
    made.new.is_sparse_taken = True
    ask(made)
    put(made.old, "1.0", THREE)
    return made


def ask(world: World, form: str = "", *platforms: str) -> None:
    """Write the one rule, with a form if one is given."""
    choose(world, *(platforms or ("linux/amd64",)), more=f", index: {form}" if form else "")


async def only(world: World, **options: object) -> Change:
    """Plan, and give the one row."""
    (change,) = (await world.plan(**options)).changes
    return change


def shown(world: World) -> str:
    """What the tag at the destination shows."""
    return world.new.tags["team/api", "1.0"]


@pytest.mark.parametrize("form", list(RESULTS))
async def test_each_form_writes_what_it_says_and_then_nothing(world: World, form: str) -> None:
    """The digest is planned, written with the chosen image alone, recorded, and then unchanged."""
    ask(world, form)
    change = await only(world)
    assert (change.after, change.form_reason) == (RESULTS[form], "asked")
    assert change.transfer_bytes == AMD64.size
    finished = await world.migrate()
    assert finished.counts == {Outcome.APPLIED: 1}
    assert shown(world) == RESULTS[form]
    assert {digest for _, digest in world.new.manifests} == {RESULTS[form], AMD64.top}
    assert {digest for _, digest in world.new.blobs} == set(AMD64.blobs)
    (record,) = world.state.live()
    assert record.filter == Filter(platforms=("linux/amd64",), version=1, form=IndexForm(form))
    clear_cache()
    for options in ({}, {"refresh": False}):
        plan = await world.plan(**options)
        assert (plan.changes, plan.summary.unchanged) == ((), 1)


@pytest.mark.parametrize(
    ("known", "expected", "reason"),
    [(True, "keep", "known"), (None, "trim", "unknown"), (False, "trim", "refused")],
)
async def test_what_is_known_of_the_registry_decides_where_no_rule_does(
    world: World, known: bool | None, expected: str, reason: str
) -> None:
    """`keep` where it is known to be taken, else `trim`; the row says which, and why."""
    world.new.takes_sparse = known
    plan = await world.plan()
    (change,) = plan.changes
    assert change.filter is not None
    assert (change.filter.form, change.after, change.form_reason) == (
        expected,
        RESULTS[expected],
        reason,
    )
    assert f"index: {expected}, " in plan_text(plan)


async def test_what_is_recorded_keeps_its_form_until_its_source_moves(world: World) -> None:
    """Learning that a registry takes more changes no digest; a moved source or `replace` does."""
    await world.migrate()
    world.new.takes_sparse = True
    assert (await world.plan()).changes == ()
    assert rows(await world.plan(replace=("**",))) == {f"{API}:1.0": ("update", "form_changed")}
    moved = images.index(AMD64, ARM64, annotations={"v": "2"})
    put(world.old, "1.0", moved)
    change = await only(world)
    assert (change.reason, change.after, change.form_reason) == (
        "source_moved",
        moved.top,
        "known",
    )


async def test_another_form_in_the_rule_waits_and_says_so(world: World) -> None:
    """The recorded digest may be pinned somewhere: one line says that `replace` writes it anew."""
    await world.migrate()
    ask(world, "keep")
    assert (await world.plan()).changes == ()
    told = [each for each in world.sink.events if isinstance(each, Warned)]
    assert [each.code for each in told] == ["form_kept"]
    assert "`replace`" in told[0].message
    await world.apply(await world.plan(replace=("**",)))
    assert shown(world) == THREE.top
    world.sink.events.clear()
    assert (await world.plan()).changes == ()
    assert not [each for each in world.sink.events if isinstance(each, Warned)]


async def test_a_record_without_a_form_was_trimmed(world: World) -> None:
    """Records of earlier versions name platforms and no form."""
    await world.migrate()
    (record,) = world.state.live()
    document = RECORDS.dump_python(record, mode="json")
    del document["filter"]["form"]
    assert RECORDS.validate_python(document) == record


async def test_more_platforms_of_a_kept_index_are_brought(world: World) -> None:
    """The digest stays, and yet parts of it are missing: that is an update."""
    ask(world, "keep")
    await world.migrate()
    for names in (("linux/amd64", "linux/arm64"), ("linux/*",)):
        ask(world, "keep", *names)
        assert rows(await world.plan()) == {f"{API}:1.0": ("update", "platforms_changed")}
        assert (await world.apply(await world.plan())).counts == {Outcome.APPLIED: 1}
        assert (await world.plan()).changes == ()
    assert {digest for _, digest in world.new.manifests} == set(THREE.manifests)
    assert {digest for _, digest in world.new.blobs} == set(THREE.blobs)


async def test_the_whole_behind_a_kept_index_is_brought(world: World) -> None:
    """A rule without platforms wants what the record says is not there."""
    ask(world, "keep")
    await world.migrate()
    world.rules = world.rules.replace(", platforms: [linux/amd64], index: keep", "")
    assert rows(await world.plan()) == {f"{API}:1.0": ("update", "platforms_changed")}
    await world.migrate()
    assert {digest for _, digest in world.new.blobs} == set(THREE.blobs)


async def test_a_kept_index_that_was_let_go_is_not_taken_for_whole(world: World) -> None:
    """What nobody owned for a while is as sparse as it was; all of it is brought."""
    ask(world, "keep")
    await world.migrate()
    one = world.rules
    world.rules = f"- {{source: {OLD}/team/other, destination: {NEW}/team/other, tags: ['1']}}"
    world.seed("1", repo="team/other")
    await world.apply(await world.plan(forget=True))
    world.rules = one.replace("linux/amd64", "linux/arm64")
    change = await only(world, target=(f"{API}:1.0",))
    assert (change.action, change.reason) == ("update", "platforms_changed")
    await world.apply(await world.plan())
    assert ("team/api", ARM64.top) in world.new.manifests


async def test_what_a_kept_index_lacks_is_not_believed_to_be_there(world: World) -> None:
    """Another tag of the same index, whole: all its blobs arrive, whatever a record names."""
    ask(world, "keep")
    await world.migrate()
    world.rules += f"\n- {{source: old.example/team/api:1.0, destination: {API}:whole}}"
    plan = await world.plan()
    (change,) = plan.changes
    assert (str(change.address), change.transfer_bytes) == (
        f"{API}:whole",
        THREE.size - AMD64.size,
    )
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert {digest for _, digest in world.new.blobs} == set(THREE.blobs)


async def test_a_refusal_fails_the_row_with_its_fix(world: World) -> None:
    """No byte is sent twice for it, nothing is recorded, and the error says what to write."""
    world.new.is_sparse_taken = False
    ask(world, "keep")
    plan = await world.plan()
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.FAILED: 1}
    (error,) = [each.error for each in finished.unfinished]
    assert isinstance(error, Rejected)
    assert "index: trim" in (error.hint or "")
    assert world.new.calls["commit"] == len(AMD64.blobs)
    assert not list(world.state.live())
    ask(world, "trim")
    assert (await world.migrate()).counts == {Outcome.APPLIED: 1}


async def test_keep_is_refused_while_planning_where_that_is_known(world: World) -> None:
    """Nothing is copied for a put that cannot be; an index that stays whole is no matter."""
    world.new.takes_sparse = False
    ask(world, "keep")
    change = await only(world)
    assert (change.action, change.reason) == ("error", "unsupported")
    assert "write index: trim" in (change.detail or "")
    ask(world, "keep", "linux/*")
    assert rows(await world.plan()) == {f"{API}:1.0": ("copy", "new")}


@pytest.mark.parametrize(
    ("image", "platforms", "expected"),
    [
        (
            THREE,
            "linux/amd64, linux/arm64",
            "2 of its images are wanted (linux/amd64, linux/arm64)",
        ),
        (THREE, "all", "3 of its images are wanted"),
        (images.index(AMD64, images.attestation_of(AMD64)), "all", None),
        (AMD64, "all", None),
        (AMD64, "linux/amd64", None),
    ],
    ids=["two", "three", "attested", "single", "single-chosen"],
)
async def test_unwrap_takes_exactly_one_image(
    world: World, image: images.Image, platforms: str, expected: str | None
) -> None:
    """Attestations do not count; more than one image is an error that names the fix."""
    put(world.old, "1.0", image)
    ask(world, "unwrap", platforms)
    change = await only(world)
    if expected is None:
        assert (change.action, change.after) == ("copy", AMD64.top)
        await world.migrate()
        assert shown(world) == AMD64.top
        assert (await world.plan()).changes == ()
    else:
        assert (change.action, change.reason) == ("error", "unsupported")
        assert expected in (change.detail or "")
        assert "name one platform, or write index: trim" in (change.detail or "")


async def test_an_index_that_stays_whole_says_nothing_of_its_form(world: World) -> None:
    """Where nothing is left out there is no form to tell, and no reason for it."""
    ask(world, "keep", "linux/*")
    plan = await world.plan()
    assert plan.changes[0].form_reason is None
    assert "index:" not in plan_text(plan)


@pytest.mark.parametrize("form", list(RESULTS))
async def test_what_refers_to_the_index_goes_along_only_where_it_stays(
    world: World, form: str
) -> None:
    """Kept: with the index's and the platform's. Else the index's is left, and the plan says so."""
    world.old.has_referrers = world.new.has_referrers = True
    of_index = refer(world, Digest(THREE.top), SBOM, "index")
    of_child = refer(world, Digest(AMD64.top), SBOM, "child")
    refer(world, Digest(ARM64.top), SBOM, "other")
    ask(world, form)
    change = await only(world)
    carried = {each.digest for each in change.referrers or ()}
    assert carried == ({of_index, of_child} if form == "keep" else {of_child})
    assert change.referrers_left == (None if form == "keep" else ("sbom",))
    await world.migrate()
    assert ("team/api", of_child) in world.new.manifests
    assert (("team/api", of_index) in world.new.manifests) is (form == "keep")
    assert (await world.plan(refresh_referrers=True)).changes == ()


async def test_verify_knows_what_is_absent_on_purpose(world: World) -> None:
    """The other platforms are no fault; a part of the one that was copied is."""
    ask(world, "keep")
    await world.migrate()
    found = await verify_records(world.workspace, world.state.live())
    assert (found.count(Standing.WHOLE), found.verdicts) == (1, ())
    lost = next(iter(AMD64.blobs))
    del world.new.blobs["team/api", Digest(lost)]
    (verdict,) = (await verify_records(world.workspace, world.state.live())).verdicts
    assert [(fault.kind, fault.digest) for fault in verdict.faults] == [(Kind.MISSING, lost)]


async def test_a_kept_index_moves_and_comes_back_as_it_is(world: World) -> None:
    """`keep_previous`, a rollback and `moved` bring no more of it than was there."""
    ask(world, "keep")
    world.extra = "keep_previous: '{tag}-old'\n"
    await world.migrate()
    put(world.old, "1.0", images.index(AMD64, ARM64, annotations={"v": "2"}))
    plan = await world.plan()
    assert {str(c.address) for c in plan.changes} == {f"{API}:1.0", f"{API}:1.0-old"}
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 2}
    assert world.new.tags["team/api", "1.0-old"] == THREE.top
    back = await world.rollback(plan)
    assert (await world.apply(back)).counts[Outcome.APPLIED] >= 1
    assert shown(world) == THREE.top
    assert {digest for _, digest in world.new.blobs} == set(AMD64.blobs)
    found = await verify_records(world.workspace, world.state.live())
    assert found.verdicts == ()
    world.rules = world.rules.replace(f"{NEW}/team/api", f"{NEW}/moved/api")
    world.extra = f"moved:\n- {{from: {NEW}/team/api, to: {NEW}/moved/api}}\n"
    put(world.old, "1.0", THREE)
    plan = await world.plan(target=(f"{NEW}/moved/**",))
    (change,) = plan.changes
    assert (change.action, change.after) == ("move", THREE.top)
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert {d for repo, d in world.new.blobs if repo == "moved/api"} == set(AMD64.blobs)


async def test_drift_finds_nothing_in_a_kept_index(world: World) -> None:
    """Both sides show what is recorded."""
    ask(world, "keep")
    await world.migrate()
    plan = await world.plan(refresh_only=True)
    assert (plan.changes, plan.summary.unchanged) == ((), 1)


async def test_a_layout_holds_a_sparse_index_where_a_rule_asks_for_it(world: World) -> None:
    """By default it is trimmed, as readers expect all; kept, it stays whole to every command."""
    world.stores.stores[LAYOUTS] = LayoutStore(world.folder)  # type: ignore[assignment]
    world.rules = world.rules.replace(f"{NEW}/team/api", "'oci:./out/api'")
    (change,) = (await world.plan()).changes
    assert (change.after, change.form_reason) == (TRIMMED, "layout")
    world.rules = world.rules.replace("}", ", index: keep}")
    plan = await world.plan()
    assert plan.changes[0].after == THREE.top
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    for options in ({}, {"refresh": False}, {"refresh_only": True}):
        assert (await world.plan(**options)).changes == ()
    assert (await world.apply(plan)).counts == {Outcome.ALREADY: 1}
    found = await verify_records(world.workspace, world.state.live())
    assert found.verdicts == ()
    index = world.folder / "out" / "api" / "blobs" / "sha256"
    kept = {path.name for path in index.iterdir()}
    assert kept == {Digest(each).hex for each in (THREE.top, AMD64.top, *AMD64.blobs)}
    (index / Digest(next(iter(AMD64.blobs))).hex).unlink()
    (change,) = (await world.plan()).changes
    assert (change.action, change.reason) == ("update", "incomplete")
    assert (await world.migrate()).counts == {Outcome.APPLIED: 1}


async def test_a_reason_of_a_later_version_is_shown_as_it_is(world: World) -> None:
    """A plan of a later version may have decided by something that this one does not know."""
    plan = await world.plan()
    (change,) = plan.changes
    later = change.model_copy(update={"form_reason": "by_the_moon"})
    assert "index: trim, by_the_moon" in plan_text(Plan.of(plan.header, [later]))
