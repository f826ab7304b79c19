"""A server that refuses, stops, comes back or is of another time; and who holds what is in it."""

from __future__ import annotations

import asyncio
import builtins
import gc
import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.config.values.backends import Backend
from imgmigrate.errors import StateAway, StateError, StateLocked, StateLost, UsageError
from imgmigrate.machine import cache_folder
from imgmigrate.state.base import open_state
from imgmigrate.state.groups import pusher
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.postgres import reader, records, rows
from imgmigrate.state.postgres.store import PostgresState
from imgmigrate.state.transfer import copy_state
from tests.state.samples import address, claim, draft
from tests.support.ports import free_port
from tests.support.postgres import PASSWORD, Server
from tests.support.world import World

if TYPE_CHECKING:
    from imgmigrate.state.writer import Writer

pytestmark = pytest.mark.heavy


def opened(url: str, lease: float = 60, **more: Any) -> PostgresState:
    """The state with a lease of some seconds."""
    return PostgresState(Backend(url, Path("/"), lease), **more)


class Clock:
    """A machine's clock that is put forward by hand."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return pusher.boottime() + self.ahead


def spooled(url: str) -> list[Path]:
    """The spools of this machine that hold something."""
    folder = cache_folder(open_state(url).identity)
    assert folder is not None
    return [each for each in folder.glob("spool-*.jsonl") if each.stat().st_size]


async def lose(url: str, server: Server, numbers: range, **more: Any) -> None:
    """Record something that never reaches the database, which stops, and fail."""

    async def work() -> None:
        async with opened(url, patience=0.2, **more).writer(command="first") as writer:
            await writer.begin("run-1", "plan", [claim(n) for n in numbers])
            await writer.record(draft("in"))
            await writer.sync()
            server.stop()
            for number in numbers:
                await writer.record(draft(number))
            await writer.sync()

    with pytest.raises(StateAway):
        await work()
    assert len(spooled(url)) == 1


# Who refuses, and why


async def test_a_wrong_password_is_said(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is taken from too, and nothing of it."""
    for password in ("wr0ng-password", None):
        if password:
            monkeypatch.setenv("PGPASSWORD", password)
        else:
            monkeypatch.delenv("PGPASSWORD")
        with pytest.raises(
            StateError, match=r"refuses the login: .*PGPASSWORD or ~/\.pgpass"
        ) as got:
            await opened(url).look()
        assert not isinstance(got.value, StateAway)
        assert "wr0ng" not in str(got.value)


async def test_a_password_is_taken_from_the_users_own_file(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As libpq does."""
    (tmp_path / "pgpass").write_text(f"127.0.0.1:{server.port}:team:postgres:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    assert (await opened(url).look()).sequence == 0


async def test_a_database_that_is_not_there_is_named(server: Server) -> None:
    """Nobody makes one by a typing error."""
    place = server.url.replace("/team", "/taem")
    with pytest.raises(StateError, match=r'no such database: database "taem".*createdb'):
        await opened(place).look()


async def test_a_server_that_is_not_there_is_away() -> None:
    """It may come back, so it is told from one that refuses."""
    with pytest.raises(StateAway, match=r"gives no answer: .*check that the server runs"):
        await opened(f"postgresql://nobody@127.0.0.1:{free_port()}/team").look()
    with pytest.raises(StateAway, match="gives no answer"):
        async with opened(f"postgresql://x@127.0.0.1:{free_port()}/team").writer(command="c"):
            pass


async def test_rights_that_are_missing_are_named(url: str, server: Server) -> None:
    """Who may read plans; who may write needs no right on anything but the schema."""
    schema = open_state(url).identity.rpartition("=")[2]
    server.psql(f"CREATE ROLE {schema} LOGIN PASSWORD '{PASSWORD}'")
    other = url.replace("postgres@", f"{schema}@")
    with pytest.raises(StateError, match=r"a right is missing: .*GRANT CREATE ON DATABASE"):
        async with opened(other).writer(command="c"):
            pass
    async with opened(url).writer(command="c") as writer:
        await writer.begin("run-1", "plan", ())
        await writer.record(draft("a"))
    with pytest.raises(StateError, match="a right is missing"):
        await opened(other).look()
    server.psql(f"GRANT USAGE ON SCHEMA {schema} TO {schema}")
    server.psql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {schema}")
    assert (await opened(other).look()).live_count == 1
    with pytest.raises(StateError, match="a right is missing"):
        async with opened(other).writer(command="c"):
            pass
    server.psql(f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {schema}")
    async with opened(other).writer(command="c") as writer:
        await writer.record(draft("b"))
    assert (await opened(other).look()).live_count == 2


async def test_tables_of_a_newer_version_are_left_alone(url: str, server: Server) -> None:
    """Neither read nor written; what to do is said."""
    schema = open_state(url).identity.rpartition("=")[2]
    async with opened(url).writer(command="c"):
        pass
    server.psql(f"UPDATE {schema}.format SET version = 99")
    state = opened(url)
    for ask in (state.look, state.load, state.lock, lambda: state.remembers(1, "x")):
        with pytest.raises(StateError, match=r"version 99, this imgmigrate knows \d+.*newer one"):
            await ask()
    with pytest.raises(StateError, match="version 99"):
        async with state.writer(command="c"):
            pass


async def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is imported when a database is asked for, and not before."""
    real = builtins.__import__

    def refuse(name: str, *more: Any) -> Any:
        if name == "asyncpg":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.delitem(sys.modules, "asyncpg", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UsageError, match=r"pip install 'imgmigrate\[postgres\]'"):
        await opened("postgresql://host/team").look()


def test_a_schema_is_a_plain_name() -> None:
    """It stands in statements; what tells states apart is where they are, not who asks."""
    for name in ("a b", 'x";drop', "", "A", "x" * 64):
        with pytest.raises(UsageError, match="no name of a schema"):
            opened(f"postgresql://host/team?schema={name}")
    one, *others = (
        opened(url).identity
        for url in (
            "postgresql://host/team",
            "postgres://me@HOST/team?sslmode=require",
            "postgresql://host/team?schema=imgmigrate",
        )
    )
    assert others == [one, one]
    assert opened("postgresql://host/team?schema=b").identity != one


# Who holds it


async def test_a_lease_that_ran_out_is_taken_over(url: str) -> None:
    """Its holder was killed: the next one waits for the rest of its lease, and goes on."""
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from tests.state.postgres.test_database import opened, draft\n"
        "async def main():\n"
        "    async with opened(sys.argv[1], 2).writer(command='killed') as writer:\n"
        "        await writer.begin('run-1', 'plan', ())\n"
        "        await writer.record(draft('a'))\n"
        "        await writer.sync()\n"
        "        print('ready', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = start_script(script, url)
    assert process.stdout is not None
    with process, process.stdout:
        assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
        # Held for longer than its lease, as it is renewed.
        await asyncio.sleep(2.5)
        with pytest.raises(StateLocked, match=r"running 'killed' .*silent for 2 s is taken over"):
            async with opened(url, 2).writer(command="c"):
                pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        async with opened(url, 2).writer(command="next", lock_timeout=30) as writer:
            assert writer.state.live_count == 1
            await writer.record(draft("b"))
    assert (await opened(url).look()).live_count == 2


async def test_a_process_that_is_stopped_for_longer_than_its_lease_is_fenced(url: str) -> None:
    """Another takes over meanwhile; when it goes on, it writes no tag and no line."""
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from imgmigrate.errors import StateLost\n"
        "from tests.state.postgres.test_database import opened, draft\n"
        "async def main():\n"
        "    async with opened(sys.argv[1], 2).writer(command='stopped') as writer:\n"
        "        await writer.begin('run-1', 'plan', ())\n"
        "        print('ready', flush=True)\n"
        "        while True:\n"
        "            await asyncio.sleep(0.05)\n"
        "            await writer.hold()\n"
        "try:\n"
        "    asyncio.run(main())\n"
        "except StateLost as error:\n"
        "    print('lost', error.exit_code, flush=True)\n"
    )
    process = start_script(script, url)
    assert process.stdout is not None
    with process, process.stdout:
        assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
        process.send_signal(signal.SIGSTOP)
        async with opened(url, 2).writer(command="next", lock_timeout=30) as writer:
            process.send_signal(signal.SIGCONT)
            assert await asyncio.to_thread(process.stdout.readline) == b"lost 5\n"
            await writer.hold()
            await writer.record(draft("b"))
    assert (await opened(url).look()).sequence == 2


def start_script(script: str, url: str) -> subprocess.Popen[bytes]:
    """Run it in another process."""
    return subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE)


async def test_who_slept_through_its_lease_writes_nothing_more(url: str) -> None:
    """Neither a tag nor a line."""
    clock = Clock()

    async def work() -> None:
        async with opened(url, 2, lease_clock=clock).writer(command="sleeper") as sleeper:
            await sleeper.begin("run-1", "plan", [claim("a"), claim("b")])
            await sleeper.hold()
            await sleeper.record(draft("a"))
            await sleep_through(sleeper, clock, url)

    with pytest.raises(StateLost, match="another process has taken it over"):
        await work()
    # What it had done before was on its way, in the spool of this machine: the other has added it.
    state = await opened(url).look()
    assert [record.address for record in state.live()] == [address("a"), address("other")]
    assert not spooled(url)


async def sleep_through(sleeper: Writer, clock: Clock, url: str) -> None:
    """Stop one writer's task until another has written, as SIGSTOP does; then let it go on."""
    task = sleeper._journal._task  # type: ignore[attr-defined]
    clock.ahead = -1e6  # its timers stand
    await expire(url)
    async with opened(url, 2).writer(command="other") as other:
        await other.record(draft("other"))
    assert not task.done()
    clock.ahead = 10
    with pytest.raises(StateLost):
        await sleeper.hold()
    with pytest.raises(StateLost):
        await sleeper.record(draft("b"))
    await sleeper.sync()


async def expire(url: str) -> None:
    """Let the lease run out by the server's clock, without waiting."""
    session = rows_session(url)
    async with session.transaction():
        await session.run("UPDATE imgmigrate.state SET expires_at = clock_timestamp()")
    await session.close()


def rows_session(url: str) -> Any:
    """A connection to where a state is."""
    from imgmigrate.state.postgres.database import Database, Session

    return Session(Database(url))


async def test_a_lease_that_merely_ran_out_is_renewed(url: str) -> None:
    """Nobody has written since, which the row tells while it is locked: the run goes on."""
    clock = Clock()
    async with opened(url, 2, lease_clock=clock).writer(command="c") as writer:
        await writer.begin("run-1", "plan", ())
        clock.ahead = -1e6
        await expire(url)
        assert not (await opened(url).lock()).is_held
        clock.ahead = 10
        await writer.hold()
        assert (await opened(url).lock()).is_held
        await writer.record(draft("a"))
    assert (await opened(url).look()).live_count == 1


async def test_a_lease_is_renewed_before_it_is_relied_on(url: str) -> None:
    """In its last sixth: whoever writes a tag then has asked."""
    clock = Clock()
    async with opened(url, 600, lease_clock=clock).writer(command="c") as writer:
        session = rows_session(url)
        asked = "SELECT expires_at FROM imgmigrate.state"
        async with session.transaction():
            first = (await session.row(asked))["expires_at"]
        clock.ahead = -1e6
        await writer.hold()
        clock.ahead = 501
        await writer.hold()
        async with session.transaction():
            assert (await session.row(asked))["expires_at"] > first
        await session.close()


# A database that goes away


async def test_a_database_that_comes_back_stops_nobody(
    url: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Receipts wait meanwhile; when it is back every line is there, once."""
    async with opened(url).writer(command="c") as writer:
        await writer.begin("run-1", "plan", [claim(n) for n in range(20)])
        server.stop()
        for number in range(10):
            await writer.record(draft(number))
        syncing = asyncio.create_task(writer.sync())
        await asyncio.sleep(0.5)
        assert not syncing.done()
        for number in range(10, 20):
            await writer.record(draft(number))
        assert sum(len(each.read_bytes().splitlines()) - 1 for each in spooled(url)) == 20
        await asyncio.to_thread(server.start)
        await syncing
        await writer.hold()
        await writer.end({"applied": 20})
    state = await opened(url).look()
    assert (state.live_count, state.sequence) == (20, 23)
    assert not spooled(url)
    assert [each.levelname for each in caplog.records].count("WARNING") == 1


async def test_a_commit_whose_answer_was_lost_is_not_repeated(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try finds the lines that are in, and adds those that came since."""
    real = rows.append
    lost: list[bool] = []

    async def lose_answer(*given: Any) -> None:
        await real(*given)
        if given[2] and not lost:
            lost.append(True)
            await writer.record(draft("meanwhile"))
            raise StateAway("the answer was lost")

    monkeypatch.setattr("imgmigrate.state.postgres.store.append", lose_answer)
    async with opened(url).writer(command="c") as writer:
        await writer.begin("run-1", "plan", [claim("a")])
        await writer.record(draft("a"))
        await writer.end({})
    assert lost
    state = await opened(url).look()
    assert (state.live_count, state.sequence) == (2, 5)
    assert (await opened(url).load()).state().sequence == 5


async def test_what_could_not_be_saved_is_added_by_the_next(url: str, server: Server) -> None:
    """On this machine, when nobody has written since: the very lines, hashes and all."""
    await lose(url, server, range(3))
    server.start()
    await expire(url)
    async with opened(url).writer(command="next") as writer:
        assert writer.state.live_count == 4
        assert writer.state.runs[-1].done == 4
        assert not writer.state.claims
    assert not spooled(url)
    assert (await opened(url).look()).live_count == 4


async def test_records_are_added_to_what_others_wrote(url: str, server: Server) -> None:
    """Where somebody wrote meanwhile, elsewhere, only records are, and none over a newer one."""
    await lose(url, server, range(3))
    server.start()
    await expire(url)
    kept = spooled(url)[0]
    away = kept.rename(kept.with_suffix(".away"))
    async with opened(url).writer(command="elsewhere") as writer:
        await writer.begin("run-2", "plan-2", ())
        newer = await writer.record(draft(1, "newer"))
        await writer.end({})
    away.rename(kept)
    async with opened(url).writer(command="next") as writer:
        assert writer.state.live_count == 4
        assert writer.state.record(address(1)) == newer
        assert writer.state.record(address(2)) is not None
    assert not spooled(url)


async def test_lines_of_another_state_are_set_aside(
    url: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The database was made anew: what was on its way to the old one is no history of it."""
    await lose(url, server, range(3))
    server.start()
    schema = open_state(url).identity.rpartition("=")[2]
    server.psql(f"DROP SCHEMA {schema} CASCADE")
    kept = spooled(url)[0]
    away = kept.rename(kept.with_suffix(".away"))
    async with opened(url).writer(command="anew") as writer:
        await writer.begin("run-1", "plan", ())
    away.rename(kept)
    with caplog.at_level(logging.WARNING):
        async with opened(url).writer(command="next") as writer:
            assert writer.state.live_count == 0
    assert "it is another one than before" in caplog.text
    assert kept.with_suffix(".other").exists()


async def test_a_history_that_was_put_back_is_noticed(url: str, server: Server) -> None:
    """A restored backup holds the lease of then, perhaps ours, and not our lines."""

    async def work() -> None:
        async with opened(url).writer(command="c") as writer:
            await writer.begin("run-1", "plan", ())
            session = rows_session(url)
            async with session.transaction():
                await session.run("UPDATE imgmigrate.state SET sequence = 0, head = ''")
            await session.close()
            await writer.record(draft("a"))
            await writer.sync()

    with pytest.raises(StateLost, match="its history is not the one"):
        await work()


# A large state


async def test_a_lost_snapshot_is_made_anew_where_nothing_changed(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where something did, a plan does not go on as if nothing had."""
    monkeypatch.setattr(rows, "SMALL", 0)
    async with opened(url).writer(command="c") as writer:
        await writer.record(draft("a"))
    look, other = await opened(url).look(), await opened(url).look()
    server.stop()
    server.start()
    assert look.record(address("a")) is not None
    async with opened(url).writer(command="c") as writer:
        await writer.record(draft("b"))
    assert look.record(address("b")) is None
    with pytest.raises(StateError, match="written while it was looked at"):
        _ = other.record_count


async def test_a_question_waits_for_a_database_that_is_away(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not for long."""
    monkeypatch.setattr(rows, "SMALL", 0)
    monkeypatch.setattr(reader, "PATIENCE", 0.1)
    async with opened(url).writer(command="c") as writer:
        await writer.record(draft("a"))
    look = await opened(url).look()
    server.stop()
    with pytest.raises(StateAway):
        look.record(address("a"))
    server.start()
    assert look.record(address("a")) is not None


async def test_what_is_not_asked_for_is_not_brought(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository at a time, each once; what was asked for long ago is let go."""
    monkeypatch.setattr(rows, "SMALL", 0)
    monkeypatch.setattr(records, "BATCH", 2)
    async with opened(url).writer(command="c") as writer:
        for number in range(7):
            await writer.record(draft(number))
    asked: list[str] = []
    real = records.DistantRecords._rows

    def count(self: Any, statement: str, *values: Any) -> Any:
        asked.append(statement)
        return real(self, statement, *values)

    monkeypatch.setattr(records.DistantRecords, "_rows", count)
    look = await opened(url).look()
    for number in range(7):
        assert look.record(address(number)) is not None
    assert len(asked) == 1
    assert len(list(look.every())) == 7
    assert len(asked) == 1 + 4
    assert [str(each) for each in look.repositories()] == ["registry.new/team/app"]
    assert len({each.address for each in look.records.values()}) == len(look.records) == 7


async def test_a_look_that_is_gone_keeps_no_connection(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may clean up behind it."""
    monkeypatch.setattr(rows, "SMALL", 0)
    async with opened(url).writer(command="c") as writer:
        await writer.record(draft("a"))
    asked = "SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL"
    # Only of this state: a look of another test may be gone a moment later.
    schema = url.rpartition("=")[2]
    idle = f"{asked} AND state = 'idle in transaction' AND query LIKE '%{schema}%'"
    before = int(server.psql(idle))
    look = await opened(url).look()
    reader = look.records._reader  # type: ignore[attr-defined]
    assert int(server.psql(idle)) == before + 1
    del look
    await asyncio.to_thread(reader.join)
    assert int(server.psql(idle)) == before


async def test_a_plan_ends_its_look(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever plans and applies in one goes on for hours; nothing waits for garbage."""
    monkeypatch.setattr(rows, "SMALL", 0)
    world = World(tmp_path, kind=url)
    world.seed("1")
    plan = await world.plan()
    await world.apply(plan)
    asked = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    idle = f"{asked} AND query LIKE '%{url.rpartition('=')[2]}%'"
    gc.disable()
    try:
        await world.plan()
        await world.plan(refresh_only=True)
        await world.rollback(plan)
        with pytest.raises(UsageError):
            await world.plan(target=("registry.other/**",))
        for thread in threading.enumerate():
            if thread.name == "state-reader":
                await asyncio.to_thread(thread.join)
        assert int(server.psql(idle)) == 0
    finally:
        gc.enable()


async def test_old_lines_are_forgotten(url: str) -> None:
    """After 30 days; the ends of the latest runs are known for longer."""
    points = []
    async with opened(url).writer(command="c") as writer:
        await writer.begin("run-1", "plan", ())
        await writer.record(draft("a"))
        points.append((writer.state.sequence, writer.state.head))
        await writer.end({})
        points.append((writer.state.sequence, writer.state.head))
    session = rows_session(url)
    async with session.transaction():
        await session.run("UPDATE imgmigrate.lines SET at = at - interval '31 days'")
    await session.close()
    assert [await opened(url).remembers(*each) for each in points] == [True, True]
    async with opened(url).writer(command="c") as writer:
        await writer.begin("run-2", "plan", ())
        await writer.end({})
    assert [await opened(url).remembers(*each) for each in points] == [False, True]


@pytest.mark.parametrize("is_large", [False, True])
async def test_a_whole_migration(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_large: bool
) -> None:
    """Plan, apply, plan again, delete and roll back: nothing else knows where the state is."""
    from imgmigrate.events import Outcome
    from imgmigrate.plan import Action
    from imgmigrate.planning.rollback.rollback import make_rollback
    from tests.support.world import World

    if is_large:
        monkeypatch.setattr(rows, "SMALL", 0)
    world = World(tmp_path, kind=url)
    world.seed("1")
    world.seed("2")
    assert (await world.apply(await world.plan())).counts == {Outcome.APPLIED: 2}
    assert (await world.plan()).changes == ()
    world.seed("1", b"new")
    updated = await world.plan(target=("**:1",))
    assert [change.action for change in updated.changes] == [Action.UPDATE]
    finished = await world.apply(updated)
    back = await make_rollback(world.workspace, finished.run)
    assert (await world.apply(back)).counts == {Outcome.APPLIED: 1}
    world.rules = world.rules.replace("}", ", tags: ['1']}")
    gone = await world.plan(allow_delete=True)
    assert {change.action for change in gone.changes} == {Action.UPDATE, Action.DELETE}
    await world.apply(gone)
    state = await open_state(url).look()
    assert state.live_count == 1
    assert not state.claims


async def test_a_state_moves_into_the_database_and_out(url: str, tmp_path: Path) -> None:
    """Records, claims and runs are proven there, it goes on, and comes back with what is new."""
    folder, there = LocalState(tmp_path / "state"), opened(url)
    async with folder.writer(command="c") as writer:
        await writer.begin("run-1", "plan", [claim(name) for name in "abc"])
        await writer.record(draft("a"))
        await writer.end({"applied": 1})
    await copy_state(folder, there, command="imgmigrate state migrate")
    assert (await there.load()).state() == (await folder.load()).state()
    state = await opened(url).look()
    assert state.owns(address("b"), draft("b").digest)
    async with opened(url).writer(command="c") as writer:
        await writer.begin("run-2", "plan", ())
        await writer.record(draft("b"))
        await writer.end({})
    with pytest.raises(UsageError, match="lacks"):
        await copy_state(folder, there, command="c")
    await copy_state(there, folder, command="c")
    assert (await folder.look()).live_count == 2


async def test_a_broken_lease_ends_its_holder(url: str) -> None:
    """Whoever was thought gone and is not writes nothing more, and another may begin."""

    async def go_on() -> None:
        async with opened(url).writer(command="first") as writer:
            await writer.begin("run-1", "plan", ())
            broken = await opened(url).break_lock()
            assert broken.holder is not None
            assert broken.holder.command == "first"
            async with opened(url).writer(command="second"):
                pass
            await writer.record(draft("a"))
            await writer.sync()

    with pytest.raises(StateLost):
        await go_on()
    assert (await opened(url).look()).live_count == 0
    assert not (await opened(url).break_lock()).is_held
