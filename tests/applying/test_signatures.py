"""What is not signed by whom the config names is not written, whatever the plan's file says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.cli.exit import Applied, exit_code
from imgmigrate.errors import ConfigError, GuardError, RowFailed, TransientError
from imgmigrate.events import Outcome
from imgmigrate.oci.reference import Digest
from imgmigrate.plan import Plan, Reason
from tests.applying.signed import API, REPO, cosign, sign
from tests.fakes.memory import image
from tests.support.forging import forged, row
from tests.support.signing import BUNDLE, OTHER, P256, bundle, public_pem, statement
from tests.support.world import NEW, OLD, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.events import RunFinished

SOURCE = f"{OLD}/{REPO}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two registries with the API; whoever plans sees no gate, whoever applies may."""
    world = World(tmp_path)
    world.old.has_referrers = world.new.has_referrers = True
    (tmp_path / "cosign.pub").write_bytes(public_pem(P256))
    return world


def demand(world: World, match: str = f"{OLD}/**") -> None:
    """Write what the config of whoever applies asks for."""
    world.extra = f'verify: [{{match: "{match}", key: cosign.pub}}]\n'


def signed(world: World, digest: Digest, key: Any = P256) -> None:
    """Sign an image of the old registry as cosign 3 does."""
    data = bundle(statement(digest), key)
    world.old.blobs[REPO, Digest.of(data)] = data
    layer = {"mediaType": BUNDLE, "digest": Digest.of(data), "size": len(data)}
    sign(world, digest, kind=BUNDLE, layers=[layer])


def code(plan: Plan, finished: RunFinished) -> int:
    """The exit code of an apply."""
    return exit_code(Applied(plan, finished))


def only(finished: RunFinished) -> Exception:
    """The error of the one row that is not done."""
    [receipt] = finished.unfinished
    assert receipt.error is not None
    return receipt.error


async def test_a_plan_that_was_made_without_the_gate_writes_only_what_is_signed(
    world: World,
) -> None:
    """The row fails as one that a guard refuses (exit 6), and the others are done."""
    signed(world, world.seed("1"))
    signed(world, world.seed("2"), OTHER)
    world.seed("3")
    plan = await world.plan()
    demand(world)
    finished = await world.apply(plan)
    assert {each.address.tag: type(each.error) for each in finished.unfinished} == {
        "2": GuardError,
        "3": GuardError,
    }
    assert "its signature was made by another key" in str(finished.unfinished[0].error)
    assert "it has no signature; needed is one by cosign.pub" in str(finished.unfinished[1].error)
    assert [tag for repo, tag in world.new.tags if repo == REPO] == ["1"]
    assert set(map(str, world.state.records)) == {f"{API}:1"}
    assert code(plan, finished) == 6


async def test_nothing_of_what_is_refused_is_written(world: World) -> None:
    """Neither its blobs nor its manifest."""
    world.seed("1")
    plan = await world.plan()
    demand(world)
    await world.apply(plan)
    assert not world.new.blobs
    assert not world.new.manifests


async def test_once_it_is_signed_the_same_plan_goes_on(world: World) -> None:
    """As after any row that failed."""
    digest = world.seed("1")
    plan = await world.plan()
    demand(world)
    await world.apply(plan)
    signed(world, digest)
    finished = await world.apply(plan)
    assert (code(plan, finished), world.new.tags[REPO, "1"]) == (0, digest)


async def test_who_cannot_be_asked_is_a_failure_and_no_verdict(world: World) -> None:
    """Another run may do it (exit 3), and the error is that of the source."""
    signed(world, world.seed("1"))
    plan = await world.plan()
    demand(world)

    def down(repo: str, what: str) -> None:
        raise TransientError(f"{OLD}/{repo}", "unavailable (503)")

    world.old.hooks["referrers"] = down
    finished = await world.apply(plan)
    error = only(finished)
    assert isinstance(error, TransientError)
    assert (error.side, code(plan, finished)) == ("source", 3)
    assert not world.new.tags
    del world.old.hooks["referrers"]
    assert code(plan, await world.apply(plan)) == 0


async def test_what_nobody_expected_of_a_signature_fails_its_row_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no verdict either way, and never lets an image pass."""
    signed(world, world.seed("1"))
    plan = await world.plan()
    demand(world)

    def broken(*_: object, **__: object) -> None:
        raise KeyError("layers")

    monkeypatch.setattr("imgmigrate.observing.keyrings.find_flaws", broken)
    error = only(await world.apply(plan))
    assert isinstance(error, RowFailed)
    assert "its signature cannot be judged: KeyError" in str(error)
    assert not world.new.tags


@pytest.mark.parametrize("gated", [False, True])
async def test_rows_that_no_entry_is_about_cost_nothing(world: World, gated: bool) -> None:
    """Not a request more than without a gate, and not even a key is read."""
    world.seed("1")
    plan = await world.plan()
    if gated:
        demand(world, f"{OLD}/team/web")
        (world.folder / "cosign.pub").unlink()
    world.old.calls.clear()
    assert code(plan, await world.apply(plan)) == 0
    assert world.old.calls == {"open_blob": 2, "read": 2}


async def test_a_key_that_cannot_be_read_stops_all_before_it_begins(world: World) -> None:
    """No line is written, and no tag."""
    world.seed("1")
    plan = await world.plan()
    demand(world)
    (world.folder / "cosign.pub").unlink()
    with pytest.raises(ConfigError, match="there is no such file"):
        await world.apply(plan)
    assert not world.new.tags
    assert not world.state.runs


async def test_an_image_is_asked_for_once_whatever_number_of_rows_it_has(world: World) -> None:
    """Three tags of one digest, and each destination: one list, one signature."""
    digest = world.seed("1")
    signed(world, digest)
    for tag in ("2", "3"):
        world.old.tags[REPO, tag] = digest
    more = f"{NEW}/team/copy"
    world.rules = f"- {{source: {SOURCE}, destination: [{API}, {more}], referrers: none}}"
    plan = await world.plan()
    demand(world)
    world.old.calls.clear()
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 6}
    assert [world.old.calls[verb] for verb in ("list_tags", "referrers")] == [1, 1]


class TestEveryWayIn:
    """Whatever would make an unsigned image ours, or write it."""

    async def test_an_adoption(self, world: World) -> None:
        """What somebody else copied is not recorded."""
        manifest, blobs = image(b"1")
        for side in (world.old, world.new):
            side.seed(REPO, "1", manifest, blobs)
        plan = await world.plan()
        assert plan.changes[0].action == "adopt"
        demand(world)
        assert isinstance(only(await world.apply(plan)), GuardError)
        assert not world.state.records

    async def test_an_adoption_that_takes_ownership(self, world: World) -> None:
        """What is there was at no source, so nobody signed it there."""
        world.seed("1")
        evil, blobs = image(b"evil")
        there = world.new.seed(REPO, "1", evil, blobs)
        plan = await world.plan()
        taken = row(f"{API}:1", "adopt", "take_ownership", f"{SOURCE}:1", after=there, before=there)
        demand(world)
        finished = await world.apply(forged(plan, [taken]), takes_ownership=True)
        assert isinstance(only(finished), GuardError)
        assert not world.state.records

    async def test_an_update_and_a_replacement(self, world: World) -> None:
        """What is ours stays as it was."""
        first = world.seed("1")
        await world.migrate()
        again = await world.plan(replace=("**",))
        world.seed("1", b"moved")
        moved = await world.plan()
        demand(world)
        assert isinstance(only(await world.apply(again)), GuardError)
        assert isinstance(only(await world.apply(moved)), GuardError)
        assert world.new.tags[REPO, "1"] == first

    async def test_what_a_refresh_records(self, world: World) -> None:
        """What moved on both sides is taken over, and has to be signed for that."""
        world.seed("1")
        await world.migrate()
        evil, blobs = image(b"evil")
        for side in (world.old, world.new):
            side.seed(REPO, "1", evil, blobs)
        plan = await world.plan(refresh_only=True)
        demand(world)
        assert isinstance(only(await world.apply(plan)), GuardError)
        signed(world, evil.digest)
        assert code(plan, await world.apply(plan)) == 0

    async def test_the_address_of_one_image_and_the_digest_of_another(self, world: World) -> None:
        """The digest is what is written, so it is what has to be signed."""
        demand(world)
        signed(world, world.seed("1"))
        evil = world.seed("9", b"evil")
        plan = await world.plan(target=(f"{API}:1",))
        bad = row(f"{API}:1", "copy", "new", f"{SOURCE}:1", after=evil)
        assert isinstance(only(await world.apply(forged(plan, [bad]))), GuardError)
        assert not world.new.tags

    @pytest.mark.parametrize("name", ["9", None])
    async def test_another_name_of_the_source(self, world: World, name: str | None) -> None:
        """A name that the row's address does not come from is none: all patterns are about it."""
        demand(world, f"{SOURCE}:1")
        digest, other = world.seed("1"), world.seed("9")
        plan = await world.plan()
        target = f"{SOURCE}:9" if name else f"{SOURCE}@{digest}"
        bad = row(f"{API}:1", "copy", "new", target, after=digest)
        finished = await world.apply(forged(plan, [bad]))
        assert isinstance(only(finished), GuardError)
        good = row(f"{API}:9", "copy", "new", f"{SOURCE}:9", after=other)
        assert (await world.apply(forged(plan, [good]))).counts == {Outcome.APPLIED: 1}

    async def test_a_digest_that_is_named_by_no_tag(self, world: World) -> None:
        """An entry about a digest is about it under whichever tag it is found."""
        digest = world.seed("1")
        demand(world, f"{SOURCE}@{digest}")
        other = world.seed("2", b"other")
        plan = await world.plan()
        assert {each.address.tag: each.reason for each in plan.changes} == {
            "1": Reason.NOT_VERIFIED,
            "2": Reason.NEW,
        }
        rows_ = [
            row(f"{API}:1", "copy", "new", f"{SOURCE}:1", after=digest),
            row(f"{API}:2", "copy", "new", f"{SOURCE}:2", after=other),
        ]
        finished = await world.apply(forged(plan, rows_))
        assert [each.address.tag for each in finished.unfinished] == ["1"]

    @pytest.mark.parametrize("host", ["OLD.example", "old.example.", "old.example:443"])
    async def test_another_spelling_of_a_host(self, world: World, host: str) -> None:
        """A row is read as any name is: each host has one spelling."""
        digest = world.seed("1")
        plan = await world.plan()
        demand(world)
        bad = row(f"{API}:1", "copy", "new", f"{host}/{REPO}:1", after=digest)
        assert isinstance(only(await world.apply(forged(plan, [bad]))), GuardError)

    async def test_a_signature_of_another_repository(self, world: World) -> None:
        """It is looked for where the image comes from."""
        digest = world.seed("1")
        cosign(world, digest)
        plan = await world.plan()
        demand(world)
        assert isinstance(only(await world.apply(plan)), GuardError)


class TestWhatRecordsBearOut:
    """Moved, put back and kept is what the state tells of, whatever the gate says by now."""

    async def test_a_move_takes_what_is_recorded_along(self, world: World) -> None:
        """Also where the gate came later: nothing comes from the source."""
        digest = world.seed("1")
        await world.migrate()
        demand(world)
        world.rules = f"- {{source: {SOURCE}, destination: {NEW}/team/other}}"
        world.extra += f"moved: [{{from: {API}, to: {NEW}/team/other}}]\n"
        gate, world.extra = world.extra, world.extra.partition("\n")[2]
        plan = await world.plan()
        world.extra = gate
        assert [each.action.value for each in plan.changes] == ["move"]
        assert code(plan, await world.apply(plan)) == 0
        assert world.new.tags["team/other", "1"] == digest

    async def test_a_rollback_puts_back_what_was_there(self, world: World) -> None:
        """In need nobody waits for a source; a row that no record bears out is refused."""
        first = world.seed("1")
        await world.migrate()
        second = world.seed("1", b"second")
        signed(world, second)
        demand(world)
        await world.migrate()
        assert world.new.tags[REPO, "1"] == second
        plan = await world.rollback(world.state.runs[-1].run)
        world.old.calls.clear()
        assert code(plan, await world.apply(plan)) == 0
        assert world.new.tags[REPO, "1"] == first
        assert not world.old.calls
