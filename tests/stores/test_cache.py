"""The manifest cache: verified on every read, bounded, and never in anybody's way."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imgmigrate.stores import cache as module
from imgmigrate.stores.cache import ManifestCache
from tests.fakes.memory import image

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    """Bytes, type and digest are those that were put in."""
    manifest, _ = image(b"layer")
    cache = ManifestCache(tmp_path)
    assert cache.get(manifest.digest) is None
    cache.put(manifest)
    assert cache.get(manifest.digest) == manifest


def test_a_forged_file_is_only_a_miss(tmp_path: Path) -> None:
    """What does not have its digest is not there."""
    manifest, _ = image(b"layer")
    cache = ManifestCache(tmp_path)
    cache.put(manifest)
    path = tmp_path / "sha256" / manifest.digest.hex
    path.write_bytes(path.read_bytes() + b" ")
    again = ManifestCache(tmp_path)
    assert again.get(manifest.digest) is None
    again.put(manifest)
    assert ManifestCache(tmp_path).get(manifest.digest) == manifest


def test_what_was_put_is_read_from_no_file(tmp_path: Path) -> None:
    """A plan looks at each manifest several times, and parses it once."""
    manifest, _ = image(b"layer")
    cache = ManifestCache(tmp_path)
    cache.put(manifest)
    assert cache.get(manifest.digest) is manifest
    again = ManifestCache(tmp_path)
    assert again.get(manifest.digest) is again.get(manifest.digest)


def test_what_does_not_fit_in_memory_is_read_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded, whatever is read."""
    monkeypatch.setattr(module, "LARGEST_MEMORY", 1)
    manifest, _ = image(b"layer")
    cache = ManifestCache(tmp_path)
    cache.put(manifest)
    assert cache.get(manifest.digest) is not manifest
    assert cache.get(manifest.digest) == manifest


def test_a_file_that_was_cut_off_is_a_miss(tmp_path: Path) -> None:
    """It is written in place: a process may have died in between."""
    manifest, _ = image(b"layer")
    ManifestCache(tmp_path).put(manifest)
    path = tmp_path / "sha256" / manifest.digest.hex
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes()[:-3])
    assert ManifestCache(tmp_path).get(manifest.digest) is None


def test_the_oldest_go_first(tmp_path: Path) -> None:
    """Pruning keeps the youngest files that fit."""
    cache = ManifestCache(tmp_path)
    manifests = [image(text)[0] for text in (b"one", b"two", b"six")]
    for age, manifest in enumerate(manifests):
        cache.put(manifest)
        os.utime(tmp_path / "sha256" / manifest.digest.hex, (age, age))
    size = (tmp_path / "sha256" / manifests[2].digest.hex).stat().st_size
    cache.prune(largest=size)
    again = ManifestCache(tmp_path)
    assert [again.get(each.digest) is not None for each in manifests] == [False, False, True]


def test_pruning_beside_another_process_never_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that vanishes between listing and looking, or deleting, is no error."""
    cache = ManifestCache(tmp_path)
    manifest, _ = image(b"layer")
    cache.put(manifest)
    entries = module._entries

    def vanishing(folder: Path | str) -> list[os.DirEntry[str]]:
        found = entries(folder)
        for entry in found:
            if entry.is_file():
                os.unlink(entry.path)
        return found

    monkeypatch.setattr(module, "_entries", vanishing)
    cache.prune(largest=0)
    assert ManifestCache(tmp_path).get(manifest.digest) is None
