"""A state in an object store: what is asked of the store, and what is made of its answers."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from imgmigrate.clock import now
from imgmigrate.config.values.backends import Backend
from imgmigrate.errors import StateAway, StateError, StateLocked, UsageError
from imgmigrate.redaction import hide
from imgmigrate.state.base import open_state
from imgmigrate.state.shared import objects
from imgmigrate.state.shared.clouds import CLOUDS, explain
from imgmigrate.state.shared.depot import Missing, Overtaken
from imgmigrate.state.shared.objects import ObjectDepot, open_objects
from imgmigrate.state.shared.store import SharedState
from tests.fakes import google_storage
from tests.fakes.objects import Faulty, broken
from tests.state.samples import address, claim, draft

PLACE = "s3://team/prod"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits, and no cloud of this machine's is asked."""
    monkeypatch.setattr(objects, "PAUSES", (0, 0))
    for cloud in CLOUDS.values():
        for name in (*cloud.variables, *cloud.secrets):
            monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store() -> MemoryStore:
    """What all ways lead to."""
    return MemoryStore()


@pytest.fixture
def way(store: MemoryStore) -> Faulty:
    """One way there."""
    return Faulty(store)


def depot_of(way: Faulty) -> ObjectDepot:
    return ObjectDepot(PLACE, CLOUDS["s3"], lambda: way, identity=PLACE)


@pytest.fixture
def depot(way: Faulty) -> ObjectDepot:
    """The depot at the end of the way."""
    return depot_of(way)


async def test_a_head_is_swapped_for_the_one_that_was_seen(depot: ObjectDepot) -> None:
    """The first one only where there is none, each later one only over its own predecessor."""
    assert await depot.fetch() is None
    first = await depot.swap(None, b"1")
    assert await depot.fetch() == first
    with pytest.raises(Overtaken):
        await depot.swap(None, b"2")
    second = await depot.swap(first, b"2", {"journal/1": b"lines"})
    assert await depot.read("journal/1") == b"lines"
    with pytest.raises(Overtaken):
        await depot.swap(first, b"3")
    assert await depot.fetch() == second
    with pytest.raises(Missing):
        await depot.read("journal/2")


async def test_a_file_is_there_before_its_head_and_goes_after(
    depot: ObjectDepot, way: Faulty
) -> None:
    """In this order; what cannot be dropped stays and harms nobody."""
    first = await depot.swap(None, b"1", {"a": b"lines"})
    second = await depot.swap(first, b"2", {"b": b"lines"}, drop=["a"])
    assert way.asked == ["put a", "put head.json", "put b", "put head.json", "delete a"]
    with pytest.raises(Missing):
        await depot.read("a")
    await depot.swap(second, b"3", drop=["never"])


async def test_a_lost_answer_is_read_back(depot: ObjectDepot, way: Faulty) -> None:
    """A second attempt at the same bytes finds its own: neither overtaken nor written twice."""
    way.mute = 1
    seen = await depot.swap(None, b"1")
    way.mute = 2
    seen = await depot.swap(seen, b"2", {"a": b"lines"})
    assert await depot_of(way).fetch() == seen
    with pytest.raises(StateError, match="a is there with other bytes"):
        await depot.swap(seen, b"3", {"a": b"others"})
    way.mute = 3
    await depot.prove()


async def test_a_store_that_stays_away_is_told_of(depot: ObjectDepot, way: Faulty) -> None:
    """After some attempts; the same bytes may be brought later."""
    way.failures = 3
    with pytest.raises(StateAway, match=r"no connection to it came about .storage\.test:9."):
        await depot.swap(None, b"1")
    assert (await depot.swap(None, b"1")).head == b"1"


async def test_a_conflict_that_passes_is_asked_again(depot: ObjectDepot, way: Faulty) -> None:
    """A store may say 409 where nothing was changed; one that goes on so is away."""
    way.conflicts = 1
    seen = await depot.swap(None, b"1")
    way.conflicts = 1
    seen = await depot.swap(seen, b"2", {"a": b"lines"})
    way.conflicts = 2
    seen = await depot.swap(seen, b"3")
    way.conflicts = 3
    with pytest.raises(StateAway, match="as if others did at the same moment"):
        await depot.swap(seen, b"4")


@pytest.mark.parametrize("ahead", [-3600, 0, 3600])
async def test_an_age_is_by_the_clock_of_the_store(
    depot: ObjectDepot, way: Faulty, store: MemoryStore, ahead: float
) -> None:
    """However far it is from ours; less the second that it does not show."""
    way.ahead = timedelta(seconds=ahead)
    seen = await depot.swap(None, b"1")
    assert await depot.age(seen) == 0
    await depot.fetch()
    way.ahead += timedelta(seconds=100)
    assert 99 <= (await depot.age(seen) or 0) < 100
    # A newer one is there: who asks will see it.
    newer = depot_of(Faulty(store))
    await newer.swap(seen, b"2")
    assert await newer.age(seen) == 0


async def test_a_store_that_minds_conditions_is_proven(
    depot: ObjectDepot, store: MemoryStore
) -> None:
    """Nothing stays of the proof."""
    await depot.prove()
    assert [meta for page in store.list() for meta in page] == []


@pytest.mark.parametrize(
    ("deaf", "words"),
    [
        (
            "create",
            r"s3://team/prod: the store ignores .* such object yet \(If-None-Match: \*\)",
        ),
        ("update", r"s3://team/prod: the store ignores .* as it was seen \(If-Match\)"),
    ],
)
async def test_a_store_that_ignores_a_condition_is_refused_by_name(
    way: Faulty, store: MemoryStore, deaf: str, words: str
) -> None:
    """Before the first head is there; nothing stays."""
    way.deaf = frozenset({deaf})
    with pytest.raises(StateError, match=words):
        async with SharedState(depot_of(way), lease=60).writer(command="first"):
            pass
    assert [meta for page in store.list() for meta in page] == []


async def test_large_files_go_in_parts(
    depot: ObjectDepot, way: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request takes longer than one part."""
    monkeypatch.setattr(objects, "PART", 10)
    data = bytes(range(95))
    await depot.swap(None, b"1", {"snapshot": data})
    assert await depot.read("snapshot") == data
    assert [ask for ask in way.asked if "-" in ask][-1] == "get snapshot 90-95"


async def test_two_that_race_do_not_both_get_it(store: MemoryStore) -> None:
    """Each through its own way; the losers are told of the winner."""

    async def hold() -> str:
        try:
            async with SharedState(depot_of(Faulty(store)), lease=60).writer(command="one"):
                await asyncio.sleep(0.2)
                return "held"
        except StateLocked:
            return "locked"

    got = await asyncio.gather(*(hold() for _ in range(6)))
    assert sorted(got) == ["held", *["locked"] * 5]


async def test_a_store_that_is_away_for_some_swaps_loses_nothing(
    store: MemoryStore, way: Faulty, tmp_path: Path
) -> None:
    """Each line is there once, in order, whether requests or answers were lost."""
    state = SharedState(depot_of(way), lease=60, spools=tmp_path)
    async with state.writer(command="first") as writer:
        await writer.begin("run-1", "plan", [claim(number) for number in range(4)])
        for number, trouble in enumerate(("failures", "mute", "conflicts", "failures")):
            await writer.record(draft(number))
            setattr(way, trouble, 3)
            await writer.sync()
        await writer.end({})
    seen = await SharedState(depot_of(Faulty(store)), lease=60).look()
    assert [record.address for record in seen.every()] == [address(n) for n in range(4)]
    assert len(seen.runs) == 1
    assert not os.listdir(tmp_path)


async def test_what_was_put_and_never_named_is_harmless(store: MemoryStore, tmp_path: Path) -> None:
    """A run that dies between its lines and the head leaves a file that nobody reads."""
    way = Faulty(store)
    async with SharedState(depot_of(way), lease=60).writer(command="first") as writer:
        await writer.begin("run-1", "plan", [claim("a")])
        await writer.end({})
    depot = depot_of(way)
    seen = await depot.fetch()
    way.lost = "head"
    with pytest.raises(StateAway):
        await depot.swap(seen, b"2", {"journal/000000000003-dead.jsonl": b"half a line"})
    way.lost = ""
    async with SharedState(depot_of(way), lease=60).writer(command="second") as writer:
        await writer.begin("run-2", "plan", [claim("b")])
        await writer.record(draft("b"))
        await writer.end({})
    state = await SharedState(depot_of(way), lease=60).look()
    assert ([run.run for run in state.runs], state.live_count) == (["run-1", "run-2"], 1)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_clocks_an_hour_apart_do_not_matter(store: MemoryStore, hours: int) -> None:
    """A lease that is alive stays so for a machine whose clock is wrong, either way."""

    def state(hours: int) -> SharedState:
        clock = timedelta(hours=hours)
        return SharedState(depot_of(Faulty(store)), lease=3, clock=lambda: now() + clock)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(state(0).writer(command="first"))
        with pytest.raises(StateLocked):
            async with state(hours).writer(command="second"):
                pass
        assert (await state(hours).lock()).is_held


def test_a_store_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is optional; the error names how to install it."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    for url in (PLACE, "gs://team/prod", "az://team/prod"):
        with pytest.raises(UsageError, match=r"pip install 'imgmigrate\[objectstore\]'"):
            open_state(url)


def test_a_place_that_can_be_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is asked: a prefix of no names, an endpoint that is no URL."""
    for prefix in ("a//b", "a/../b", "."):
        with pytest.raises(UsageError, match="is no prefix of names"):
            open_state(f"s3://team/{prefix}")
    for endpoint in (
        "storage:9000",
        "ftp://storage",
        "http://",
        "https://user@storage",
        "http://a:b",
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(UsageError, match="AWS_ENDPOINT_URL must be a URL"):
            open_state(PLACE)


def test_one_name_at_two_endpoints_is_two_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine keeps of one must not get into the other."""
    backend = Backend(PLACE, Path())
    found = {open_objects(backend).identity}
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://storage:9000/")
    found.add(open_objects(backend).identity)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://other:9000")
    found.add(open_objects(backend).identity)
    assert found == {PLACE, f"{PLACE} http://storage:9000", f"{PLACE} http://other:9000"}
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=mine;AccountKey=eA==")
    assert open_objects(Backend("az://team/prod", Path())).identity == "az://team/prod mine"


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("status code: 403 Forbidden: <Code>AccessDenied</Code>", StateError, "no right to write"),
        ("status code: 403 Forbidden: ", StateError, r"no right to write there \(403\); .*s3:Put"),
        ("status code: 403: <Code>InvalidAccessKeyId</Code>", StateError, "credentials were ref"),
        ("status code: 401 Unauthorized: ", StateError, "credentials were refused .401.*AWS_PRO"),
        ("status code: 404: <Code>NoSuchBucket</Code>", StateError, "no such bucket"),
        ("status code: 403: <Code>RequestTimeTooSkewed</Code>", StateError, "clock of this mach"),
        ("status code: 501 Not Implemented: ", StateError, "does not know the conditions If-None"),
        ("Received redirect without LOCATION", StateError, "another region.*AWS_REGION"),
        (
            "status code: 503 Unavailable: <Code>SlowDown</Code>",
            StateAway,
            "trouble .*503 SlowDown",
        ),
        ("status code: 500 Internal: ", StateAway, "trouble of its own"),
        (
            "Error performing PUT http://169.254.169.254/latest/api/token in 1s - HTTP error",
            StateError,
            "no credentials were found; .*AWS_ACCESS_KEY_ID",
        ),
        ("Account must be specified\nsource: MissingAccount", StateError, "no credentials"),
        (
            "HttpError {\n kind: Connect, InvalidCertificate(UnknownIssuer)",
            StateError,
            "certificate is not trusted",
        ),
        ("HttpError {\n  kind: Interrupted", StateAway, "connection to it broke"),
        (
            "status code: 418: <Message>no tea, hush-hush, x?X-Amz-Signature=abcdef</Message>",
            StateError,
            r"refused \(418\): no tea, \*\*\*, x\?X-Amz-Signature=\*\*\*;",
        ),
        ("Config is odd", StateError, "it cannot be used: Config is odd"),
    ],
)
def test_what_a_store_says_is_put_in_words(said: str, kind: type, words: str) -> None:
    """By its code, or its status, or how the connection failed; secrets are blanked."""
    hide("hush-hush")
    error = explain(OSError(said), CLOUDS["s3"], PLACE, "write")
    assert type(error) is kind
    assert str(error).startswith("state s3://team/prod: ")
    with pytest.raises(kind, match=words):
        raise error


def test_no_url_of_a_request_is_shown() -> None:
    """It may be signed: the host is enough to look after."""
    error = explain(broken(), CLOUDS["az"], "az://team/prod", "read")
    assert error.cause == "no connection to it came about (storage.test:9)"


async def test_a_file_that_settings_name_and_is_missing_is_no_empty_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store is never asked."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(StateError, match=r"cannot be used: .*/nowhere/ca\.pem"):
        await open_state(PLACE).look()


async def test_google_is_asked_by_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its condition is a number, and its bucket may be missing too."""
    with google_storage.serve() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        backend = Backend(f"gs://{google_storage.BUCKET}/prod", Path())
        depot = open_objects(backend)
        await depot.prove()
        first = await depot.swap(None, b"1", {"a": b"lines"})
        second = await depot.swap(first, b"2", drop=["a"])
        with pytest.raises(Overtaken):
            await depot.swap(first, b"3")
        assert await open_objects(backend).fetch() == second
        assert await depot.age(second) == 0
        with pytest.raises(Missing):
            await depot.read("a")
        async with open_state("gs://team/other").writer(command="first") as writer:
            await writer.begin("run-1", "plan", [claim("a")])
            await writer.record(draft("a"))
            await writer.end({})
        assert (await open_state("gs://team/other").look()).live_count == 1
        with pytest.raises(StateError, match=r"no such bucket \(404 NoSuchBucket\)"):
            await open_state("gs://nobodys/prod").look()
        with pytest.raises(StateError, match="no such bucket"):
            await open_objects(Backend("gs://nobodys/prod", Path())).swap(None, b"1", {"a": b"1"})
