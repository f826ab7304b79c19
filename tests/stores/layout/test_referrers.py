"""What refers to an image in a layout is found however a tool has noted it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.oci.reference import Digest
from imgmigrate.stores.layout.store import LayoutStore
from tests.support.images import artifact, descriptor, image
from tests.support.layouts import write_layout
from tests.support.signed_images import CHILD, FOLDER, INDEX, signed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["fallback", "referrers"])
async def test_all_schemes_of_real_tools_are_found(name: str) -> None:
    """Regctl writes the tags of a registry without the API, whatever it has read from."""
    store, sample = LayoutStore(FOLDER), signed(name)
    tags = await store.list_tags(name)
    listed = await store.referrers(name, Digest.parse(INDEX), tags)
    with_subject = {each for each, subject in sample.referrers.items() if subject == INDEX}
    assert {each.descriptor.digest for each in listed if each.tag is None} == with_subject
    assert {each.kind for each in listed if each.tag} == {"signature", "attestation"}
    [signature] = await store.referrers(name, Digest.parse(CHILD), tags)
    assert signature.tag == f"sha256-{CHILD[7:]}.sig"


async def test_a_manifest_without_a_name_is_found_by_its_subject(tmp_path: Path) -> None:
    """Oras lists referrers in the index, and gives them no tag."""
    subject = image()
    referrer = artifact(subject=subject)
    write_layout(tmp_path / "app", "1", subject)
    write_layout(tmp_path / "app", "x", referrer)
    path = tmp_path / "app/index.json"
    document = json.loads(path.read_bytes())
    document["manifests"][-1] = descriptor(referrer.media_type, referrer.raw)
    path.write_text(json.dumps(document))
    store = LayoutStore(tmp_path)
    [found] = await store.referrers("app", Digest.parse(subject.top), ())
    assert (found.descriptor.digest, found.tag) == (referrer.top, None)
    assert not await store.lists_referrers("app", Digest.parse(subject.top))


async def test_what_is_damaged_refers_to_nothing(tmp_path: Path) -> None:
    """Whoever copies it as an image is told; nobody's referrers depend on it."""
    subject, referrer = image(), artifact(subject=image())
    write_layout(tmp_path / "app", "1", subject)
    write_layout(tmp_path / "app", "x", referrer)
    (tmp_path / "app/blobs/sha256" / referrer.top[7:]).write_bytes(b"{}")
    assert await LayoutStore(tmp_path).referrers("app", Digest.parse(subject.top), ()) == ()


async def test_a_damaged_copy_hides_none_in_another_layout(tmp_path: Path) -> None:
    """Both have the same digest, and only one says what it is about."""
    subject, referrer = image(), artifact(subject=image())
    for name in ("broken", "whole"):
        write_layout(tmp_path / name, "1", subject)
        write_layout(tmp_path / name, "x", referrer)
    (tmp_path / "broken/blobs/sha256" / referrer.top[7:]).write_bytes(b"{}")
    store = LayoutStore(tmp_path)
    assert await store.referrers("broken", Digest.parse(subject.top), ()) == ()
    assert len(await store.referrers("whole", Digest.parse(subject.top), ())) == 1


async def test_a_layout_that_is_not_there_holds_none(tmp_path: Path) -> None:
    """A destination may not be made yet."""
    assert await LayoutStore(tmp_path).referrers("app", Digest.parse(INDEX), ()) == ()
