"""How many requests a verification takes, counted by a registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate import load_config
from imgmigrate.oci.manifest import OCI_MANIFEST
from imgmigrate.oci.reference import Digest, Repository
from imgmigrate.state.record import Carried
from imgmigrate.verifying.verify import VerifyOptions, verify_records
from tests.support.cli import write_config
from tests.support.images import digest_of
from tests.support.records import make_record

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.integration

IMAGES = 1_000
CONFIG, BASE = b"{}", b"base"


def a_part(data: bytes) -> dict[str, object]:
    """Describe a blob."""
    return {"mediaType": "application/x", "digest": digest_of(data), "size": len(data)}


def put(registry: FakeRegistry, layer: bytes, subject: str | None = None) -> Digest:
    """Store an image of the base and a layer of its own."""
    for data in (CONFIG, BASE, layer):
        registry.storage.add_blob("app", data)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": a_part(CONFIG),
        "layers": [a_part(BASE), a_part(layer)],
    }
    if subject is not None:
        document["subject"] = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}
    raw = json.dumps(document).encode()
    digest = digest_of(raw)
    registry.storage.add_manifest("app", digest, OCI_MANIFEST, raw)
    return Digest(digest)


@pytest.mark.parametrize("deep", [False, True])
async def test_a_thousand_images_take_what_they_need_and_no_blob(
    tmp_path: Path, fake_registry: FakeRegistry, deep: bool
) -> None:
    """A GET a manifest, a HEAD a distinct blob; one image is signed: one more, and one for a list.

    Only a deep verification reads a blob, and each of them once.
    """
    fake_registry.referrers_api = True
    images = 20 if deep else IMAGES
    here = Repository(fake_registry.host, "app")
    records = []
    for number in range(images):
        top = put(fake_registry, str(number).encode())
        fake_registry.storage.repository("app").tags[f"v{number}"] = str(top)
        records.append(make_record(here.at(f"v{number}"), here.at("old"), top))
    signature = put(fake_registry, b"signature", str(records[0].digest))
    size = len(fake_registry.storage.repository("app").manifests[str(signature)].raw)
    along = Carried(
        refers_to=records[0].digest,
        digest=signature,
        media_type=OCI_MANIFEST,
        size=size,
        kind="signature",
    )
    first = records[0]
    records[0] = make_record(
        first.address, first.source.reference, first.digest, referrers=(along,)
    )
    rule = f"  - {{source: {fake_registry.host}/old, destination: {fake_registry.host}/app}}"
    write_config(tmp_path, rule, fake_registry.host)
    config = load_config(tmp_path / "imgmigrate.yaml", environ={})
    verified = await verify_records(config, records, VerifyOptions(deep=deep))
    blobs = images + 3  # the config, the base, and what the signature consists of
    assert (verified.images, verified.blobs, verified.verdicts) == (images, blobs, ())
    read = fake_registry.count("GET", "/blobs/")
    assert read == (blobs if deep else 0)
    assert fake_registry.count("HEAD", "/blobs/") == (0 if deep else blobs)
    assert fake_registry.count("GET", "/manifests/") == images + 1
    assert fake_registry.count("GET", "/referrers/") == 1
    # And one for what the registry is and wants.
    assert verified.requests <= images + 1 + blobs + 1 + 1
