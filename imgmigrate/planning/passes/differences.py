"""Say in a few words what changes inside an image that is updated.

The only user of deepdiff, and only on pairs of documents that are known to differ: it is far
too slow to find which do. It is loaded when first needed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imgmigrate.oci.platforms import ATTESTATION, attested, platform_of
from imgmigrate.oci.reference import Digest
from imgmigrate.redaction import printable

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Manifest

__all__ = ["explain"]

# A plan is read by people: what matters fits in a few lines.
MOST_LINES = 8
# Comparing takes time that grows faster than the texts, and the texts are a server's: characters.
LONGEST_REST = 64 * 1024
_OWN_WORDS = ("manifests", "layers", "config", "blobs")


def explain(before: Manifest, after: Manifest) -> tuple[str, ...]:
    """List what differs: platforms or layers first, then other fields such as annotations."""
    lines = []
    if before.is_index != after.is_index:
        lines.append(f"{_kind(before)} becomes {_kind(after)}")
    elif after.is_index:
        lines += _platforms(before, after)
    else:
        lines += _layers(before, after)
    lines += _others(before.document, after.document)
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"and {len(lines) - MOST_LINES + 1} more differences"]
    return tuple(printable(line, 120) for line in lines)


def _kind(manifest: Manifest) -> str:
    return "an index" if manifest.is_index else "a single image"


def _platforms(before: Manifest, after: Manifest) -> list[str]:
    old, new = _children(before), _children(after)
    lines = [f"{name} added" for name in new if name not in old]
    lines += [f"{name} removed" for name in old if name not in new]
    changed = [name for name in new if name in old and new[name] != old[name]]
    lines += [f"{name}: {_short(old[name])} -> {_short(new[name])}" for name in changed]
    return lines


def _children(index: Manifest) -> dict[str, list[Digest]]:
    """Name what an index lists: images by their platforms, attestations by those of theirs."""
    entries: list[dict[str, Any]] = index.document.get("manifests") or []
    images = {
        entry["digest"]: str(platform_of(entry["platform"]))
        for entry in entries
        if platform_of(entry.get("platform")) not in (None, ATTESTATION)
    }
    found: dict[str, list[Digest]] = {}
    for entry in entries:
        digest = Digest.parse(entry["digest"])
        refers = attested(entry)
        if refers is not None:
            name = f"attestation of {images.get(refers, refers)}"
        elif platform_of(entry.get("platform")) == ATTESTATION:
            name = f"attestation {digest.short}"
        elif (platform := images.get(digest)) is not None:
            name = f"platform {platform}"
        else:
            name = f"part {digest.short}"
        found.setdefault(name, []).append(digest)
    return found


def _short(digests: list[Digest]) -> str:
    return ", ".join(digest.short for digest in digests)


def _layers(before: Manifest, after: Manifest) -> list[str]:
    old = {blob.digest for blob in before.blobs}
    new = {blob.digest: blob.size for blob in after.blobs}
    fresh = [digest for digest in new if digest not in old]
    gone = [digest for digest in old if digest not in new]
    if not fresh and not gone:
        return []
    return [f"{len(fresh)} of {len(new)} blobs are new, {len(gone)} no longer used"]


def _others(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    rest_before = {key: value for key, value in before.items() if key not in _OWN_WORDS}
    rest_after = {key: value for key, value in after.items() if key not in _OWN_WORDS}
    try:
        if rest_before == rest_after:
            return []
        if len(json.dumps([rest_before, rest_after])) > LONGEST_REST:
            return ["other fields differ"]
        from deepdiff import DeepDiff

        differences = DeepDiff(rest_before, rest_after, view="tree")
    except RecursionError:  # nested deeper than anything that has a meaning
        return ["other fields differ"]
    lines = []
    for kind, nodes in differences.items():
        for node in nodes:
            name = ".".join(str(part) for part in node.path(output_format="list"))
            if kind.endswith("_added"):
                lines.append(f"{name}: {node.t2} added")
            elif kind.endswith("_removed"):
                lines.append(f"{name}: {node.t1} removed")
            else:
                lines.append(f"{name}: {node.t1} -> {node.t2}")
    return sorted(lines)
