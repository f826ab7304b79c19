"""What was seen at sources, in a table of its own: of other versions, rights and writers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from imgmigrate.clock import now
from imgmigrate.errors import StateError
from imgmigrate.state.base import open_state
from imgmigrate.state.postgres import sightings, tables
from imgmigrate.state.postgres.store import PostgresState
from imgmigrate.state.sightings import BEFORE, Sighting, key_of
from tests.state.samples import NOON, SOURCE, claim, digest, draft, sighting
from tests.support.postgres import PASSWORD

if TYPE_CHECKING:
    from tests.support.postgres import Server

pytestmark = pytest.mark.heavy

DAY = timedelta(days=1)


def opened(url: str) -> PostgresState:
    """The state."""
    state = open_state(url)
    assert isinstance(state, PostgresState)
    return state


def schema_of(url: str) -> str:
    """The schema that it is in."""
    return open_state(url).identity.rpartition("=")[2]


async def test_tables_of_an_older_version_get_theirs(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until somebody writes nothing was seen; what is recorded stays what it is."""
    with monkeypatch.context() as older:
        older.setattr(tables, "VERSIONS", tables.VERSIONS[:1])
        async with opened(url).writer(command="c") as writer:
            await writer.begin("run-1", "plan", [claim("a")])
            await writer.record(draft("a"))
        assert not list(await opened(url).sightings())
    assert not list(await opened(url).sightings())
    assert (await opened(url).look()).live_count == 1
    await asyncio.gather(*(opened(url).add_sightings([sighting(n, NOON)]) for n in range(4)))
    assert len(list(await opened(url).sightings())) == 4
    assert (await opened(url).look()).live_count == 1


async def test_two_that_add_the_same_at_once_do_not_meet_in_a_circle(url: str) -> None:
    """Whichever order each has them in; no row is written twice in one statement."""
    names = [str(number) for number in range(300)]
    await opened(url).add_sightings([])
    lines = [
        [sighting(name, NOON - DAY * number) for name in (names, names[::-1])[number % 2] * 2]
        for number in range(6)
    ]
    await asyncio.gather(*(opened(url).add_sightings(each) for each in lines))
    found = await opened(url).sightings()
    assert {each.first_seen for each in found} == {NOON - 5 * DAY}
    assert len(list(found)) == len(names)


async def test_many_are_read_in_parts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, or those that are asked for; a first time before any other is read back."""
    monkeypatch.setattr(sightings, "BATCH", 7)
    await opened(url).add_sightings([sighting(number, BEFORE) for number in range(50)])
    found = await opened(url).sightings()
    assert [each.first_seen for each in found] == [BEFORE] * 50
    keys = [key_of(SOURCE, digest(number)) for number in range(40, 60)]
    some = await opened(url).sightings(keys)
    assert len(list(some)) == 10
    assert some.first_seen(SOURCE, digest(41)) == BEFORE
    assert not list(await opened(url).sightings([]))


async def test_what_says_nothing_new_writes_no_row(url: str, server: Server) -> None:
    """A record that is added again and again costs the server no vacuum."""
    table = f"{schema_of(url)}.sightings"
    await opened(url).add_sightings([sighting("a", NOON, asked=NOON)])
    before = server.psql(f"SELECT ctid FROM {table}")
    await opened(url).add_sightings([sighting("a", NOON, asked=NOON), sighting("a", NOON)])
    assert server.psql(f"SELECT ctid FROM {table}") == before
    await opened(url).add_sightings([sighting("a", NOON - DAY)])
    assert server.psql(f"SELECT ctid FROM {table}") != before
    assert (await opened(url).sightings()).asked(SOURCE, digest("a")) == NOON


async def test_what_nobody_sees_any_more_is_forgotten(url: str) -> None:
    """At the end of a run, once it was not seen for 400 days."""

    def seen(name: str, days: int) -> Sighting:
        return sighting(name, BEFORE, now() - days * DAY)

    await opened(url).add_sightings([seen("gone", 401), seen("still", 399)])
    async with opened(url).writer(command="c") as writer:
        await writer.begin("run-1", "plan", ())
        await writer.end({})
    found = await opened(url).sightings()
    assert found.first_seen(SOURCE, digest("gone")) is None
    assert found.first_seen(SOURCE, digest("still")) == BEFORE


async def test_a_right_that_is_missing_is_named(url: str, server: Server) -> None:
    """Who may only read the records of before reads no sightings, and adds none."""
    schema = schema_of(url)
    await opened(url).add_sightings([sighting("a", NOON)])
    server.psql(f"CREATE ROLE {schema} LOGIN PASSWORD '{PASSWORD}'")
    server.psql(f"GRANT USAGE ON SCHEMA {schema} TO {schema}")
    other = url.replace("postgres@", f"{schema}@")
    server.psql(f"GRANT SELECT ON {schema}.format, {schema}.state TO {schema}")
    with pytest.raises(StateError, match="a right is missing"):
        await opened(other).sightings()
    server.psql(f"GRANT SELECT ON {schema}.sightings TO {schema}")
    assert len(list(await opened(other).sightings())) == 1
    with pytest.raises(StateError, match="a right is missing"):
        await opened(other).add_sightings([sighting("b", NOON)])
