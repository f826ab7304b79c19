"""What write tests found out is kept for this machine's runs, grows old, and is used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import fields

from imgmigrate import __version__
from imgmigrate.config.model import RegistryConfig
from imgmigrate.events import NoSink
from imgmigrate.machine import recall, remember
from imgmigrate.stores.base import Mounted, NoRanges
from imgmigrate.stores.registry.http.session import Http
from imgmigrate.stores.registry.known import kept as keeping
from imgmigrate.stores.registry.known.facts import ANSWERS, Topic, improved
from imgmigrate.stores.registry.known.kept import LONGEST, Kept, keep, kept
from imgmigrate.stores.registry.quirks import Quirks
from imgmigrate.stores.registry.store import RegistryStore
from tests.support.blobs import described
from tests.support.images import image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.registry import FakeRegistry
    from tests.stores.registry.conftest import Connect

HOST = "registry.test"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
FACTS = {"mount": "after_manifest", "ranges": "no"}


def keep_now(host: str, facts: dict[str, str]) -> None:
    """Keep facts as of now."""
    assert keep(host, f"{host}/team/t", facts, datetime.now(UTC))


def test_it_says_when_by_what_and_where() -> None:
    """The newest test of a registry counts."""
    assert kept(HOST, NOW) is None
    assert keep(HOST, f"{HOST}/old", {"ranges": "yes"}, NOW - timedelta(1))
    assert keep(HOST, f"{HOST}/team/t", FACTS, NOW)
    assert kept(HOST, NOW) == Kept(NOW, __version__, f"{HOST}/team/t", FACTS)
    assert kept("another.test", NOW) is None


@pytest.mark.parametrize(
    ("days", "is_known"), [(0, True), (LONGEST - 1, True), (LONGEST, False), (-2, False)]
)
def test_it_grows_old(days: int, is_known: bool) -> None:
    """After so many days nobody believes it, nor what comes from a clock that was wrong."""
    assert keep(HOST, f"{HOST}/t", FACTS, NOW)
    assert (kept(HOST, NOW + timedelta(days)) is not None) is is_known


def test_it_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registries that were tested last stay."""
    monkeypatch.setattr(keeping, "MOST", 2)
    for number in (1, 2, 1, 3):
        assert keep(f"r{number}", f"r{number}/t", FACTS, NOW)
    assert {host: kept(host, NOW) is not None for host in ("r1", "r2", "r3")} == {
        "r1": True,
        "r2": False,
        "r3": True,
    }


@pytest.mark.parametrize(
    "entry",
    [
        None,
        1,
        "text",
        [],
        {},
        {"at": 1},
        {"at": "soon", "version": "1", "repository": "r", "facts": {}},
        {"at": "2026-11-30T12:00:00", "version": "1", "repository": "r", "facts": {}},
        {"at": NOW.isoformat(), "version": 1, "repository": "r", "facts": {}},
        {"at": NOW.isoformat(), "version": "1", "repository": "r", "facts": ["mount"]},
        {"at": NOW.isoformat(), "version": "1", "repository": "r", "facts": {"mount": 1}},
    ],
)
def test_what_is_damaged_is_not_known(entry: Any) -> None:
    """A file that nobody here would have written changes nothing, and is written over."""
    remember(keeping.FILE, {"format": 1, "registries": {HOST: entry}})
    assert kept(HOST, NOW) is None
    assert keep(HOST, f"{HOST}/t", FACTS, NOW)


@pytest.mark.parametrize("document", [[], {"format": 2, "registries": {}}, {"format": 1}])
def test_another_format_is_not_known(document: Any) -> None:
    """A later version may keep it in another way."""
    remember(keeping.FILE, document)
    assert kept(HOST, NOW) is None
    assert keep(HOST, f"{HOST}/t", FACTS, NOW)
    assert recall(keeping.FILE)["format"] == 1


def test_a_machine_that_keeps_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder the test was for the eyes only."""
    monkeypatch.setenv("IMGMIGRATE_MACHINE_DIR", "/dev/null/none")
    assert not keep(HOST, f"{HOST}/t", FACTS, NOW)


@pytest.mark.parametrize(
    ("topic", "answer", "changes"),
    [
        (Topic.CHUNKS, "damaged", {"takes_chunks": False}),
        (Topic.CHUNKS, "no", {"takes_chunks": False}),
        (Topic.CHUNKS, "large", {}),
        (Topic.CHUNKS, "yes", {}),
        (Topic.MOUNT, "after_manifest", {"mounts": True, "mounts_need_manifest": True}),
        (Topic.MOUNT, "no", {}),
        (Topic.DELETED_TAG, "alone", {"deletes_tags": True}),
        (Topic.DELETED_TAG, "with_manifest", {}),
        (Topic.RANGES, "ignored", {"gives_ranges": False}),
        (Topic.RANGES, "no", {"gives_ranges": False}),
        (Topic.ONE_POST, "yes", {"takes_posts": True}),
        (Topic.ONE_POST, "no", {"takes_posts": False}),
        (Topic.SPARSE_INDEX, "taken", {"takes_sparse": True}),
        (Topic.SPARSE_INDEX, "refused", {"takes_sparse": False}),
        (Topic.LARGEST_PAGE, "100", {"tags_page": 100}),
        (Topic.LARGEST_PAGE, "10000", {}),
        (Topic.LARGEST_PAGE, "none", {}),
        (Topic.LARGEST_PAGE, "0", {}),
        (Topic.LARGEST_PAGE, "7" * 5000, {}),
    ],
)
def test_an_answer_changes_what_it_is_about(
    topic: Topic, answer: str, changes: dict[str, object]
) -> None:
    """And nothing else."""
    row, found = Quirks(), improved(Quirks(), {topic: answer})
    changed = {
        each.name: getattr(found, each.name)
        for each in fields(Quirks)
        if getattr(found, each.name) != getattr(row, each.name)
    }
    assert changed == changes


def test_what_a_vendor_is_known_for_is_corrected_by_what_was_seen() -> None:
    """A tag is deleted by its name only where that was seen to leave others alone."""
    row = Quirks(deletes_tags=True, mounts_need_manifest=True, takes_chunks=False)
    facts = {"deleted_tag": "with_manifest", "mount": "yes", "chunks": "yes"}
    found = improved(row, facts)
    # Tiny chunks prove nothing of large ones.
    told = (found.deletes_tags, found.mounts_need_manifest, found.takes_chunks)
    assert told == (False, False, False)


@pytest.mark.parametrize("answer", ["later", "", "\x1b[2J"])
@pytest.mark.parametrize("topic", [*Topic, "later"])
def test_an_unknown_answer_is_no_fact(topic: str, answer: str) -> None:
    """A later version may know more of them."""
    found = improved(Quirks(), {topic: answer})
    assert found.tags_page == Quirks().tags_page
    assert (found.takes_chunks, found.mounts_need_manifest) == (True, False)
    assert found.deletes_tags is False


def test_every_topic_has_words() -> None:
    """Each can be told to people, in one line."""
    assert set(ANSWERS) == set(Topic)
    for topic, answers in ANSWERS.items():
        assert len(topic.label) <= 16
        assert all(len(words) <= 60 for words in answers.values())


async def test_a_registry_that_takes_posts_is_not_asked_first(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The first small blob goes in one request."""
    fake_registry.single_post = True
    keep_now(fake_registry.host, {"one_post": "yes"})
    upload = await connect(fake_registry.host).start_upload("a", described(b"x"))
    assert not isinstance(upload, Mounted)
    await upload.write(b"x")
    await upload.commit()
    assert [each.method for each in fake_registry.requests] == ["POST"]


async def test_a_registry_without_ranges_is_not_asked_for_them(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A part is refused at once, and what follows an offset is read from the beginning."""
    keep_now(fake_registry.host, {"ranges": "no"})
    digest = fake_registry.storage.add_blob("a", b"0123456789")
    descriptor, store = described(b"0123456789"), connect(fake_registry.host)
    assert descriptor.digest == digest
    with pytest.raises(NoRanges):
        await anext(store.open_blob("a", descriptor, 2, 4))
    assert fake_registry.requests == []
    pieces = [piece async for piece in store.open_blob("a", descriptor, 4)]
    assert b"".join(pieces) == b"456789"
    assert ["range" in each.headers for each in fake_registry.requests] == [False]


async def test_a_list_is_asked_for_in_pages_that_are_given(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Where a thousand names are too many, there is a list all the same."""
    fake_registry.largest_n = 100
    for number in range(3):
        fake_registry.put_image("a", f"v{number}", image())
    keep_now(fake_registry.host, {"largest_page": "100"})
    assert await connect(fake_registry.host).list_tags("a") == ["v0", "v1", "v2"]


async def test_what_was_seen_of_deletes_and_mounts_is_heeded(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Both are what engines ask a store."""
    assert not connect(fake_registry.host).deletes_tags
    keep_now(fake_registry.host, {"deleted_tag": "alone", "mount": "after_manifest"})
    store = connect(fake_registry.host)
    assert (store.deletes_tags, store.mounts_need_manifest) == (True, True)


async def test_a_stranger_s_plan_touches_nothing_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the folder is made, and what is known there is not used."""
    monkeypatch.setenv("IMGMIGRATE_MACHINE_DIR", str(tmp_path / "machine"))
    http = Http(is_confined=True)
    store = RegistryStore(HOST, lambda _: RegistryConfig(), http, NoSink())
    assert not store.deletes_tags
    assert not (tmp_path / "machine").exists()
    await http.aclose()
