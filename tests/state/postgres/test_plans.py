"""Plans beside a state in PostgreSQL: what every kind promises of them, and what its tables do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.concurrency import together
from imgmigrate.config.values.backends import Backend
from imgmigrate.errors import StateAway, StateError
from imgmigrate.state.base import open_state
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.postgres import plans, tables
from imgmigrate.state.postgres.store import PostgresState
from imgmigrate.state.saved import kept
from imgmigrate.state.transfer import copy_state
from tests.state.plan_suite import PlanBehaviour, PlanPlace
from tests.state.samples import NOON, claim, draft
from tests.support.postgres import PASSWORD

if TYPE_CHECKING:
    from tests.support.postgres import Server

pytestmark = pytest.mark.heavy


class InTables(PlanPlace):
    """A state in a schema."""

    def __init__(self, url: str, server: Server) -> None:
        self.url, self.server = url, server
        self.schema = open_state(url).identity.rpartition("=")[2]

    @property
    def state(self) -> PostgresState:
        """The state, opened anew."""
        return PostgresState(Backend(self.url, Path("/"), 60), clock=lambda: self.now)

    def bytes_of(self) -> list[str]:
        """The plans of which a piece is there."""
        return sorted(self.ask("SELECT DISTINCT sha256 FROM {}.plan_pieces").split())

    def spoil(self, sha256: str, data: bytes | None) -> None:
        """Write another piece, or take it away."""
        change = "DELETE FROM {}.plan_pieces"
        if data is not None:
            change = f"UPDATE {{}}.plan_pieces SET bytes = '\\x{data.hex()}'"
        self.ask(f"{change} WHERE sha256 = '{sha256}'")

    def ask(self, statement: str) -> str:
        """Run a statement as the owner, with the schema in its place."""
        return self.server.psql(statement.format(self.schema))


@pytest.fixture
def place(url: str, server: Server) -> InTables:
    """Nothing is there yet."""
    return InTables(url, server)


class TestInTables(PlanBehaviour):
    """The promises of `base.PlanKeeper`; `place` is of this module."""


class TestPooled(PlanBehaviour):
    """The same through a PgBouncer in transaction mode."""

    @pytest.fixture
    def place(self, pooled: str, server: Server) -> InTables:
        """Nothing is there yet."""
        return InTables(pooled, server)


async def test_a_plan_goes_in_pieces(place: InTables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any number, none included; what was saved in more of them before leaves none behind."""
    monkeypatch.setattr(plans, "PIECE", 4)
    for data in (b"", b"x", b"four", b"fours", b"0123456789ab", b"0123456789abc"):
        saved = await place.save(data)
        assert await place.state.read_plan(saved) == data
        number = place.ask(f"SELECT count(*) FROM {{}}.plan_pieces WHERE sha256 = '{saved}'")
        assert int(number) == -(-len(data) // 4)


async def test_a_damaged_plan_is_mended_by_saving_it_again(
    place: InTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong: another piece, one that lacks, one too many, another size."""
    monkeypatch.setattr(plans, "PIECE", 4)
    saved = await place.save(b"0123456789")
    for wrong in (
        "UPDATE {}.plan_pieces SET bytes = 'none' WHERE position = 1",
        "UPDATE {}.plan_pieces SET bytes = 'much more than there was' WHERE position = 1",
        "DELETE FROM {}.plan_pieces WHERE position = 2",
        "UPDATE {}.plans SET size = 4",
        "UPDATE {}.plans SET size = -1",
        "UPDATE {}.plans SET size = 9223372036854775807",
        "UPDATE {}.plan_pieces SET position = position + 1 WHERE position = 2",
    ):
        place.ask(wrong)
        with pytest.raises(StateError, match=rf"plan sha256:{saved}: .*bytes"):
            await place.state.read_plan(saved)
        assert await place.save(b"0123456789") == saved
        assert await place.state.read_plan(saved) == b"0123456789"


async def test_a_row_that_says_nonsense_is_no_plan(place: InTables) -> None:
    """Whoever can write there keeps a plan from being applied, and has no other one applied."""
    saved, other = await place.save(b"plan"), await place.save(b"other", days=1)
    place.ask(f"UPDATE {{}}.plans SET document = '{{{{' WHERE sha256 = '{saved}'")
    assert await place.kept() == [other]
    place.ask(
        "UPDATE {0}.plans SET document = (SELECT document FROM {0}.plans"
        f" WHERE sha256 = '{other}') WHERE sha256 = '{saved}'"
    )
    assert await place.kept() == [other]
    assert await place.save(b"plan", days=2) == saved
    assert await place.kept() == [other, saved]


async def test_a_plan_that_is_too_large_is_refused(
    place: InTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a table is made for it; the bound is told, and where it can be kept."""
    monkeypatch.setattr(plans, "MOST", 10)
    with pytest.raises(StateError, match="has 11 bytes, and a database keeps none of more than 10"):
        await place.save(b"0123456789a")
    assert not place.ask(f"SELECT 1 FROM pg_namespace WHERE nspname = '{place.schema}'")
    await place.save(b"0123456789")


async def test_tables_without_a_place_for_plans_get_one(
    place: InTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of an earlier version keep none, and are brought up to date by the first that is."""
    with monkeypatch.context() as patch:
        patch.setattr(tables, "VERSIONS", tables.VERSIONS[:1])
        async with place.state.writer(command="c") as writer:
            await writer.record(draft("a"))
    assert await place.kept() == []
    await place.state.note_run("0" * 64, "run-1")
    saved = await place.save(b"plan")
    assert await place.state.read_plan(saved) == b"plan"
    assert (await place.state.look()).live_count == 1


async def test_tables_of_a_newer_version_keep_their_plans(place: InTables) -> None:
    """Nothing of them is read or written."""
    saved = await place.save(b"plan")
    place.ask("UPDATE {}.format SET version = 99")
    state = place.state
    for ask in (
        state.plans,
        lambda: state.read_plan(saved),
        lambda: state.note_run(saved, "run-1"),
        lambda: place.save(b"other"),
    ):
        with pytest.raises(StateError, match="version 99"):
            await ask()


async def test_a_run_is_not_disturbed_by_a_plan_that_is_saved(place: InTables) -> None:
    """Not a line is lost, its lease is its own, and whoever puts a copy there leaves the plans."""
    saved = [await place.save(b"before")]
    async with place.state.writer(command="imgmigrate apply") as writer:
        await writer.begin("run-1", "plan", [claim(n) for n in range(4)])
        for number in range(4):
            saved.append(await place.save(f"plan {number}".encode()))
            assert (await place.state.lock()).is_held
            await writer.record(draft(number))
            await writer.sync()
            await writer.hold()
        await writer.end({"applied": 4})
    view = await place.state.load()
    async with place.state.writer(command="imgmigrate state push") as writer:
        await writer.restore(view)
    assert set(await place.kept()) == set(saved)
    assert (await place.state.look()).runs[-1].done == 4


async def test_those_who_save_at_once_all_do(place: InTables) -> None:
    """Other plans, and the same one, in tables that nobody had made."""
    data = [f"plan {number % 4}".encode() for number in range(8)]
    saved = await together(place.save(each) for each in data)
    assert len(set(saved)) == 4
    assert set(await place.kept()) == set(saved)
    for sha256, each in zip(saved, data, strict=True):
        assert await place.state.read_plan(sha256) == each


async def test_what_is_saved_again_meanwhile_is_not_removed(
    place: InTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another whose list was older: it goes by what it read, and sees that it has changed."""
    old = await place.save(b"old")
    await place.save(b"other", days=1)

    def late(*given: Any) -> Any:
        document = f"replace(document, '{NOON:%Y-%m-%d}', '2026-05-01')"
        place.ask(f"UPDATE {{}}.plans SET document = {document} WHERE sha256 = '{old}'")
        return kept(*given)

    monkeypatch.setattr(plans, "kept", late)
    new = await place.save(b"new", days=60)
    assert old in await place.kept()
    assert new in await place.kept()


async def test_plans_move_into_the_database_and_out(place: InTables, tmp_path: Path) -> None:
    """With the state, and with what is known of each."""
    folder, back = LocalState(tmp_path / "state"), LocalState(tmp_path / "back")
    async with folder.writer(command="c") as writer:
        await writer.begin("run-1", "plan", ())
        await writer.record(draft("a"))
        await writer.end({})
    saved = [
        await folder.save_plan(data, plan_id="p" * 16, config=None) for data in (b"one", b"two")
    ]
    await folder.note_run(saved[0], "run-1")
    copied = await copy_state(folder, place.state, command="c")
    assert (copied.plans, copied.left) == (2, {})
    assert list(await place.state.plans()) == list(await folder.plans())
    assert (await copy_state(place.state, back, command="c")).plans == 2
    assert list(await back.plans()) == list(await folder.plans())
    assert await back.read_plan(saved[1]) == b"two"


async def test_a_server_that_is_away_says_so(place: InTables, server: Server) -> None:
    """Saving again is right, whatever became of it."""
    saved = await place.save(b"plan")
    server.stop()
    with pytest.raises(StateAway):
        await place.save(b"other")
    with pytest.raises(StateAway):
        await place.state.read_plan(saved)
    server.start()
    await place.save(b"other")
    assert len(await place.kept()) == 2


async def test_who_may_only_read_reads_plans(place: InTables, server: Server) -> None:
    """And is told what lacks to save one."""
    saved = await place.save(b"plan")
    server.psql(f"CREATE ROLE {place.schema} LOGIN PASSWORD '{PASSWORD}'")
    server.psql(f"GRANT USAGE ON SCHEMA {place.schema} TO {place.schema}")
    server.psql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {place.schema} TO {place.schema}")
    reader = InTables(place.url.replace("postgres@", f"{place.schema}@"), server)
    assert await reader.state.read_plan(saved) == b"plan"
    with pytest.raises(StateError, match="a right is missing"):
        await reader.save(b"other")
    assert await place.kept() == [saved]
