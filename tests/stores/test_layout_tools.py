"""Layouts together with skopeo and umoci: they read what we write, and the other way round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import Mounted
from imgmigrate.stores.layout.store import LayoutStore
from tests.stores.layout_samples import put_image, read_blob
from tests.support.blobs import described
from tests.support.images import image, two_platforms
from tests.support.layouts import assert_layout_holds
from tests.support.tools import run, skopeo_copy, skopeo_inspect

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


async def test_skopeo_reads_what_we_write(tmp_path: Path) -> None:
    """An index with its children goes through skopeo into another layout unchanged."""
    sample = two_platforms("a")
    await put_image(LayoutStore(tmp_path), "ours", "1.0", sample)
    skopeo_copy(f"oci:{tmp_path}/ours:1.0", f"oci:{tmp_path}/theirs:2.0")
    assert_layout_holds(tmp_path / "theirs", "2.0", sample)
    assert skopeo_inspect(
        f"oci:{tmp_path}/ours:1.0", "--override-arch=arm64", "--override-os=linux"
    )


async def test_we_read_what_skopeo_writes(tmp_path: Path) -> None:
    """A layout of skopeo's gives the same manifest and blobs, and takes our tags beside its own."""
    sample, store = image("a"), LayoutStore(tmp_path)
    await put_image(store, "ours", "1.0", sample)
    skopeo_copy(f"oci:{tmp_path}/ours:1.0", f"oci:{tmp_path}/theirs:2.0")
    found = await store.manifest("theirs", "2.0")
    assert found.raw == sample.raw
    for blob in found.blobs:
        assert await read_blob(store, "theirs", blob) == sample.blobs[blob.digest]
    await put_image(store, "theirs", "3.0", image("b"))
    skopeo_copy(f"oci:{tmp_path}/theirs:3.0", f"oci:{tmp_path}/theirs:4.0")
    assert sorted(await store.list_tags("theirs")) == ["2.0", "3.0", "4.0"]


async def test_umoci_works_on_our_layouts(tmp_path: Path) -> None:
    """Umoci lists, tags and collects garbage in a layout that we are writing to."""
    sample, store = image("a"), LayoutStore(tmp_path)
    await put_image(store, "app", "1.0", sample)
    upload = await store.start_upload("app", described(b"on its way"))
    assert not isinstance(upload, Mounted)
    await upload.write(b"on its way")
    run("umoci", "tag", "--image", f"{tmp_path}/app:1.0", "2.0")
    run("umoci", "gc", "--layout", tmp_path / "app")
    await upload.commit()
    assert run("umoci", "ls", "--layout", tmp_path / "app").split() == ["1.0", "2.0"]
    assert_layout_holds(tmp_path / "app", "2.0", sample)
    assert await store.blob_exists("app", Digest.of(b"on its way"))


async def test_we_work_on_umocis_layouts(tmp_path: Path) -> None:
    """A layout that umoci made is listed, read and written."""
    store = LayoutStore(tmp_path)
    run("umoci", "init", "--layout", tmp_path / "app")
    assert await store.list_tags("app") == []
    run("umoci", "new", "--image", f"{tmp_path}/app:empty")
    found = await store.manifest("app", "empty")
    assert [await store.blob_exists("app", blob.digest) for blob in found.blobs] == [True]
    await put_image(store, "app", "1.0", image("a"))
    assert run("umoci", "ls", "--layout", tmp_path / "app").split() == ["empty", "1.0"]
