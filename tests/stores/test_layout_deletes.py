"""Taking names out of layouts: the name goes, everything else in the file stays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import NotFound
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import NoDeletes
from imgmigrate.stores.layout.store import LayoutStore
from tests.support.images import image
from tests.support.layouts import assert_layout_holds, layout_tags, write_layout

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    """A store whose paths are relative to the test's folder."""
    return LayoutStore(tmp_path)


async def test_a_name_goes_and_its_image_stays_for_others(
    store: LayoutStore, tmp_path: Path
) -> None:
    """Another name of the digest, other entries and every blob are as they were."""
    made = image()
    for tag in ("gone", "kept"):
        write_layout(tmp_path / "a", tag, made)
    path = tmp_path / "a/index.json"
    document = json.loads(path.read_text())
    document["annotations"] = {"by": "others"}
    document["manifests"].append({"digest": made.top, "size": 1, "mediaType": "x/y"})
    path.write_text(json.dumps(document))
    await store.delete("a", "gone")
    assert layout_tags(tmp_path / "a") == {"kept": made.top}
    assert_layout_holds(tmp_path / "a", "kept", made)
    left = json.loads(path.read_text())
    assert left["annotations"] == {"by": "others"}
    assert len(left["manifests"]) == len(document["manifests"]) - 1
    assert await store.head("a", "gone") is None


@pytest.mark.parametrize("repo", ["a", "absent"])
async def test_what_is_not_there_is_not_found(
    store: LayoutStore, tmp_path: Path, repo: str
) -> None:
    """Neither a name nor a whole layout that is absent is made by deleting it."""
    write_layout(tmp_path / "a", "1", image())
    with pytest.raises(NotFound, match=f"oci:{repo}:gone"):
        await store.delete(repo, "gone")
    assert not (tmp_path / "absent").exists()


async def test_a_digest_is_not_deleted(store: LayoutStore, tmp_path: Path) -> None:
    """Blobs are for a collector of garbage, which knows what else names them."""
    made = image()
    write_layout(tmp_path / "a", "1", made)
    with pytest.raises(NoDeletes, match="only names"):
        await store.delete("a", Digest.parse(made.top))
    assert_layout_holds(tmp_path / "a", "1", made)
