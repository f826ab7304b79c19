"""Creation dates: where they come from, and that none is read twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.errors import IntegrityError, TransientError
from imgmigrate.events import NoSink
from imgmigrate.observing.observe import Observer
from imgmigrate.oci.manifest import OCI_MANIFEST, Manifest
from imgmigrate.oci.reference import Digest, Repository
from imgmigrate.planning.desired.created import CREATED, CreatedDates, created_of, parse_created
from imgmigrate.state.memory import StateInMemory
from imgmigrate.stores.cache import ManifestCache
from imgmigrate.stores.place import Place
from tests.fakes.memory import MemoryStore, MemoryStores, broken, fail_times, image, index
from tests.planning.dated import dated

if TYPE_CHECKING:
    from pathlib import Path

HOST, REPO = "old.example", "team/api"
SOURCE = Repository(HOST, REPO)


def day(number: int) -> datetime:
    return datetime(2026, 5, number, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(HOST)


def dates(store: MemoryStore, folder: Path) -> CreatedDates:
    """What one run of the program has: its own observer, a folder that outlives it."""
    stores: Any = MemoryStores({HOST: store})
    cache = ManifestCache(folder)
    observer = Observer(stores, StateInMemory(), NoSink(), 4, cache)
    return CreatedDates(observer, cache, folder / "created.txt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01T00:00:00Z", day(1)),
        ("2026-05-01T02:00:00.123456789+02:00", day(1).replace(microsecond=123456)),
        ("2026-05-01T00:00:00", day(1)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+05:00", None),
        ("yesterday", None),
        ("", None),
        (17, None),
        (None, None),
    ],
)
def test_dates_are_read_as_images_carry_them(text: object, expected: datetime | None) -> None:
    """RFC 3339 with any precision; Go's zero time and nonsense are no dates."""
    assert parse_created(text) == expected


async def test_a_date_is_in_the_config_of_an_image(store: MemoryStore, tmp_path: Path) -> None:
    """One manifest and one small blob say when an image was made."""
    top, blobs = dated("2026-05-01T00:00:00Z")
    store.seed(REPO, "1", top, blobs)
    assert await created_of(Place(store, REPO), top.digest, ManifestCache(tmp_path)) == day(1)
    assert (store.calls["manifest"], store.calls["open_blob"]) == (1, 1)


async def test_the_newest_child_dates_an_index(store: MemoryStore, tmp_path: Path) -> None:
    """An index is as new as its newest child; a child that was never pushed does not matter."""
    (one, blobs), (two, more) = dated("2026-05-01T00:00:00Z"), dated("2026-05-03T00:00:00Z")
    absent, _ = dated("2026-05-09T00:00:00Z")
    top = index(one, two, absent, annotations={CREATED: "2026-05-20T00:00:00Z"})
    store.seed(REPO, "1", top, blobs | more, one, two)
    assert await created_of(Place(store, REPO), top.digest, ManifestCache(tmp_path)) == day(3)


async def test_annotations_date_what_has_no_image_config(
    store: MemoryStore, tmp_path: Path
) -> None:
    """A chart's manifest says it in an annotation; its config is not read."""
    config = b"{}"
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.cncf.helm.config.v1+json",
            "digest": Digest.of(config),
            "size": len(config),
        },
        "layers": [],
        "annotations": {CREATED: "2026-05-02T00:00:00Z"},
    }
    top = Manifest.parse(json.dumps(document).encode())
    store.seed(REPO, "1", top, {Digest.of(config): config})
    assert await created_of(Place(store, REPO), top.digest, ManifestCache(tmp_path)) == day(2)
    assert store.calls["open_blob"] == 0


@pytest.mark.parametrize("config", [b"{}", b"[]", b"no json", b'{"created": 5}', b"[" * 300_000])
async def test_a_config_without_a_date_is_no_error(
    store: MemoryStore, tmp_path: Path, config: bytes
) -> None:
    """What an image does not say, nobody knows, whatever else its config holds."""
    store.piece = 1 << 16
    top, blobs = image(b"layer", config=config)
    store.seed(REPO, "1", top, blobs)
    assert await created_of(Place(store, REPO), top.digest, ManifestCache(tmp_path)) is None


async def test_a_date_is_read_once_for_ever(store: MemoryStore, tmp_path: Path) -> None:
    """The next run looks at the tags only; unknown dates are remembered too."""
    for tag, created in (("1", "2026-05-01T00:00:00Z"), ("2", None), ("gone", None)):
        top, blobs = dated(created, tag.encode())
        store.seed(REPO, tag, top, blobs)
    del store.tags[REPO, "gone"]
    for _ in range(2):
        run = dates(store, tmp_path)
        assert await run.of(SOURCE, ["1", "2", "gone"]) == {"1": day(1), "2": None}
        await run.save()
    assert (store.calls["manifest"], store.calls["open_blob"]) == (6, 2)
    assert run.recall(store.tags[REPO, "1"]) == day(1)


async def test_damaged_lines_are_only_read_again(store: MemoryStore, tmp_path: Path) -> None:
    """A file that somebody else spoiled costs requests, and lines that stand are kept."""
    top, blobs = dated("2026-05-01T00:00:00Z")
    store.seed(REPO, "1", top, blobs)
    other = Digest.of(b"other")
    file = tmp_path / "created.txt"
    file.write_text(f"rubbish\n{top.digest} never\n{other} 2026-05-04T00:00:00+00:00\n\n- -\n")
    run = dates(store, tmp_path)
    assert await run.of(SOURCE, ["1"]) == {"1": day(1)}
    await run.save()
    assert await run.known(other) == (True, day(4))
    assert sorted(file.read_text().splitlines()) == sorted(
        [f"{top.digest} {day(1).isoformat()}", f"{other} {day(4).isoformat()}"]
    )


async def test_a_blob_that_breaks_is_read_again(store: MemoryStore, tmp_path: Path) -> None:
    """One cut connection is no failure."""
    top, blobs = dated("2026-05-01T00:00:00Z")
    store.seed(REPO, "1", top, blobs)
    store.hooks["open_blob"] = fail_times(1, broken)
    assert await dates(store, tmp_path).of(SOURCE, ["1"]) == {"1": day(1)}


async def test_one_date_that_cannot_be_read_fails_them_all(
    store: MemoryStore, tmp_path: Path
) -> None:
    """A selection by dates with one of them missing would be another selection."""
    for tag in "12":
        top, blobs = dated("2026-05-01T00:00:00Z", tag.encode())
        store.seed(REPO, tag, top, blobs)
    store.hooks["manifest"] = fail_times(9, broken)
    found = await dates(store, tmp_path).of(SOURCE, ["1", "2"])
    assert isinstance(found, TransientError)
    assert found.side == "source"


@pytest.mark.parametrize("forged", [b"longer than it says " * 9, b""])
async def test_other_bytes_than_the_digest_says_are_an_error(
    store: MemoryStore, tmp_path: Path, forged: bytes
) -> None:
    """A date is never taken from a config that was not what the manifest names."""
    top, blobs = dated("2026-05-01T00:00:00Z")
    store.seed(REPO, "1", top, blobs)
    config = top.blobs[0]
    store.blobs[REPO, config.digest] = forged or b" " * config.size
    found = await dates(store, tmp_path).of(SOURCE, ["1"])
    assert isinstance(found, IntegrityError)
