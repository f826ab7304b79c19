"""Documents that mean two things, name what is no name, or explode are refused whole.

Sources: CVE-2021-41190 (type confusion), CVE-2024-3727 (digests as paths), CVE-2025-24882
(pinned references), umoci 0.5.1 (absurd sizes), protocol 5 "Type confusion", "Digest games".
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate import apply_plan, load_config, make_plan
from imgmigrate.errors import IntegrityError, ProtocolError, StoreError
from imgmigrate.events import Outcome
from imgmigrate.oci import bounds
from imgmigrate.oci.bounds import Graph
from imgmigrate.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.registry.pace import limits
from tests.fakes.registry import FakeRegistry
from tests.security.raw import answer, raw_server
from tests.security.verbs import BLOB, DATA, WAYS, ask
from tests.support import images
from tests.support.cli import write_config
from tests.support.clock import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.security.verbs import Way
    from tests.stores.registry.conftest import Connect

HEX = "a" * 64
CONFIG = {"mediaType": "application/x", "digest": f"sha256:{HEX}", "size": 1}
HONEST: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG}


def _manifest(**changes: Any) -> bytes:
    return json.dumps({**HONEST, "layers": [], **changes}).encode()


def _layer(**changes: Any) -> bytes:
    return _manifest(layers=[{**CONFIG, **changes}])


@pytest.mark.parametrize(
    "raw",
    [
        _layer(digest="sha256:../../../../etc/passwd"),
        _layer(digest=f"sha256:{HEX}/../x"),
        _layer(digest=f"sha256:{HEX}\n"),
        _layer(digest=f"sha256:{HEX.upper()}"),
        _layer(digest=f"sha1:{'a' * 40}"),
        _layer(digest=f"md5:{'a' * 32}"),
        _layer(digest=None),
        _layer(digest=["sha256"]),
        _layer(size=-1),
        _layer(size=1e30),
        _layer(size=10**30),
        _layer(size="1"),
        _layer(size=True),
        _layer(size=None),
        _layer(mediaType="\x1b]0;x\x07"),
        _layer(platform={"os": "\x1b[2J", "architecture": "a"}),
        _manifest(manifests=[]),
        _manifest(mediaType=OCI_INDEX),
        _manifest(mediaType=7),
        _manifest(layers={"a": 1}),
        _manifest(layers=[CONFIG] * 10_001),
        _manifest(config=[]),
        _manifest(subject={"digest": "../x"}),
        _manifest(annotations={"a": float("nan")}),
        _manifest().replace(b'"layers"', b'"config"'),
        _manifest().replace(b'"schemaVersion": 2', b'"schemaVersion": 2, "schemaVersion": 1'),
        _manifest(annotations={"a": "b"}).replace(b'"b"', b'"\xff"'),
        b"\xef\xbb\xbf" + _manifest(),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[1]",
        b"null",
        b"",
        b"<html>",
    ],
)
async def test_document_that_is_not_one_honest_manifest_is_refused(
    connect: Connect, raw: bytes
) -> None:
    """Traversal, absurd sizes, two types, double keys, bombs: nothing of it is used."""
    async with raw_server(lambda *_: [answer(raw, f"Content-Type: {OCI_MANIFEST}")]) as host:
        with pytest.raises(ProtocolError):
            await connect(host).manifest("a", "v1")


@pytest.mark.parametrize("stated", ["sha256:../../x", "sha256:", "x" * 5000, "\x1b[2J"])
async def test_stated_digest_that_is_none_is_refused(connect: Connect, stated: str) -> None:
    """A `Docker-Content-Digest` is checked before anything is done with it."""
    headers = (f"Content-Type: {OCI_MANIFEST}", f"Docker-Content-Digest: {stated}")
    async with raw_server(lambda *_: [answer(_manifest(), *headers)]) as host:
        with pytest.raises(ProtocolError):
            await connect(host).manifest("a", "v1")
        with pytest.raises(ProtocolError):
            await connect(host).head("a", "v1")


async def test_pinned_reference_gets_its_own_bytes_or_nothing(connect: Connect) -> None:
    """Bytes of another digest are refused, whatever the headers say of them."""
    wanted = Digest.of(b"something else")
    headers = (f"Content-Type: {OCI_MANIFEST}", f"Docker-Content-Digest: {wanted}")
    async with raw_server(lambda *_: [answer(_manifest(), *headers)]) as host:
        with pytest.raises(IntegrityError):
            await connect(host).manifest("a", wanted)


def _index(*entries: dict[str, Any]) -> bytes:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
    return json.dumps(document).encode()


def _entry(raw: bytes, size: int | None = None) -> dict[str, Any]:
    return images.descriptor(OCI_INDEX, raw) | ({} if size is None else {"size": size})


def test_index_deeper_than_any_real_one_is_refused() -> None:
    """Eight levels may be walked, the ninth is an attack."""
    graph = Graph()
    leaf, inner = Manifest.parse(_index()), Manifest.parse(_index(_entry(b"x")))
    for depth in range(bounds.DEEPEST_INDEX):
        graph.enter(inner, depth)
    graph.enter(leaf, bounds.DEEPEST_INDEX)
    with pytest.raises(ValueError, match="nested"):
        graph.enter(inner, bounds.DEEPEST_INDEX)


@pytest.mark.parametrize(
    ("name", "most", "message"),
    [
        ("MOST_MANIFESTS", 25, "manifests"),
        ("MOST_PARTS", 25, "parts"),
        ("MOST_MANIFEST_BYTES", 10_000, "bytes together"),
    ],
)
async def test_wide_index_of_indexes_costs_few_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: int, message: str
) -> None:
    """An image is bounded as a whole, for planning and for applying; the others still move."""
    monkeypatch.setattr(bounds, name, most)
    async with FakeRegistry() as old, FakeRegistry() as new:
        good = images.image("good")
        old.put_image("app", "good", good)
        inner = [_index(*(_entry(b"%d/%d" % (one, two)) for two in range(10))) for one in range(10)]
        for raw in inner:
            old.storage.add_manifest("app", images.digest_of(raw), OCI_INDEX, raw)
        old.storage.add_manifest("app", "bomb", OCI_INDEX, _index(*map(_entry, inner)))
        rule = f"  - {{source: {old.host}/app, destination: {new.host}/app}}"
        config = load_config(write_config(tmp_path, rule, old.host, new.host))
        plan = await make_plan(config)
        sizes = {change.address.tag: change.size for change in plan.changes}
        assert sizes["bomb"] is None
        assert sizes["good"]
        asked = old.arrivals
        finished = await apply_plan(config, plan)
        assert old.arrivals - asked < 40
        assert new.tags("app") == {"good": good.top}
    [receipt] = finished.unfinished
    assert receipt.outcome is Outcome.FAILED
    assert message in str(receipt.error)


async def test_index_that_lies_about_its_childrens_size_reads_none(connect: Connect) -> None:
    """A child manifest that is said to be enormous is not even asked for."""
    manifest = Manifest.parse(_index(_entry(b"x", size=1 << 49)))
    with pytest.raises(ValueError, match="together"):
        Graph().enter(manifest, 0)


async def test_hostile_names_leave_no_file_outside_a_layout(tmp_path: Path) -> None:
    """A digest that is a path writes nothing (oras CVE-2026-50163, CVE-2024-3727)."""
    folder = tmp_path / "inner" / "work"
    folder.mkdir(parents=True)
    async with FakeRegistry() as old:
        evil = _layer(digest="sha256:../../../../owned", size=10)
        old.storage.add_manifest("app", "v1", OCI_MANIFEST, evil)
        rule = f"  - {{source: '{old.host}/app', destination: 'oci:bundle'}}"
        config = load_config(write_config(folder, rule, old.host))
        finished = await apply_plan(config, await make_plan(config))
    assert [receipt.outcome for receipt in finished.unfinished] == [Outcome.FAILED]
    assert os.listdir(tmp_path) == ["inner"]
    assert os.listdir(tmp_path / "inner") == ["work"]
    assert not any("owned" in name for _, _, names in os.walk(tmp_path) for name in names)


NINES = "9" * 6000  # more digits than Python reads as a number


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [200, 202, 204, 206, 429, 503])
async def test_numbers_of_thousands_of_digits_break_nothing(
    monkeypatch: pytest.MonkeyPatch, connect: Connect, way: Way, status: int
) -> None:
    """Every header that holds a count may hold one that nobody can count to."""
    # Each answer is like the first: half an hour of refusals says no more than some.
    monkeypatch.setattr(limits, "LONGEST_REFUSAL", 60.0)
    numbers = [
        *("Location: /v2/b/blobs/uploads/1", f"Docker-Content-Digest: {BLOB.digest}"),
        *(f"OCI-Chunk-Min-Length: {NINES}", f"Range: 0-{NINES}", f"Retry-After: {NINES}"),
        *(f"Content-Range: bytes 0-{NINES}/{NINES}", f"ratelimit-limit: {NINES};w={NINES}"),
        *(f"ratelimit-remaining: {NINES};w={NINES}", f"Content-Type: {OCI_MANIFEST}"),
    ]
    async with raw_server(lambda *_: [answer(DATA, *numbers, status=status)]) as host:
        with suppress(StoreError):
            await ask(connect(host, clock=ManualClock(hurried=True)), way)
