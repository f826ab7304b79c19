"""Choose platforms: read what was asked for, match it, and rebuild an index of what is kept.

Pure. A rebuilt index is the same bytes on every machine and in every run, or a plan could not
say what an apply will write: what it keeps and how it is laid out is versioned, and an older
version is kept for the plans and records that name it.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from imgmigrate.oci.manifest import INDEXES, Manifest, Platform
from imgmigrate.oci.reference import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "ATTESTATION",
    "FILTER_VERSION",
    "IndexForm",
    "NoSuchPlatformError",
    "attested",
    "canonical_platforms",
    "choose",
    "filtered_index",
    "matches",
    "parse_platform",
    "parse_platforms",
    "platform_of",
]

# Of the rebuilding function: it changes when the same choice would give other bytes.
FILTER_VERSION = 1
ANY = "*"
# What BuildKit says of the manifests that it lists beside an image (buildkit attestation storage).
ATTESTATION = Platform("unknown", "unknown")
REFERS_TO = "vnd.docker.reference.digest"

_WORD = r"[A-Za-z0-9][A-Za-z0-9_.-]*|\*"
_PLATFORM = re.compile(rf"({_WORD})/({_WORD})(?:/([A-Za-z0-9_.-]+))?(?::([A-Za-z0-9_.-]+))?")
# It comes from a server, is shown to people, and stands in files of one a line.
_SHOWN = re.compile(r"[!-~]{1,255}")
# Other names of the same machine, and what a missing variant means (containerd `platforms`).
_SAME = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}
_USUAL = {"amd64": "v1", "arm64": "v8", "arm": "v7"}


class IndexForm(StrEnum):
    """What becomes of an index of which only some platforms are copied."""

    KEEP = "keep"  # it stays byte for byte, and lists what is not there: a sparse index
    TRIM = "trim"  # another index, of what is left
    UNWRAP = "unwrap"  # no index: the one image that is left


class NoSuchPlatformError(ValueError):
    """An image has none of the platforms that are wanted; says which it has."""


def parse_platform(text: str) -> Platform:
    """Read `os/architecture[/variant][:os.version]`; `*` stands for any os or architecture.

    What is left out is not asked for: `linux/arm` is every variant of it. ValueError says what
    is wrong.
    """
    found = _PLATFORM.fullmatch(text.strip())
    if found is None:
        msg = f"{text!r} is no platform; write os/architecture[/variant], such as linux/arm64"
        raise ValueError(msg)
    os, architecture, variant, version = found.groups()
    architecture = architecture.lower()
    return Platform(os.lower(), _SAME.get(architecture, architecture), variant, version)


def parse_platforms(names: Iterable[str]) -> tuple[Platform, ...]:
    """Read several platforms."""
    return tuple(parse_platform(name) for name in names)


def canonical_platforms(names: Iterable[str]) -> tuple[str, ...]:
    """Write a choice of platforms in one way, so that equal choices are equal."""
    return tuple(sorted({str(each) for each in parse_platforms(names)}))


def matches(wanted: Platform, found: Platform) -> bool:
    """Tell whether an image's platform is one that is wanted.

    `arm64` and `arm64/v8` are one, as are `amd64` and `amd64/v1`, `arm` and `arm/v7`. A wanted
    OS version counts up to where it ends: `10.0.17763` is also `10.0.17763.6189`.
    """
    if wanted.os not in (ANY, found.os):
        return False
    architecture = _SAME.get(found.architecture, found.architecture)
    if wanted.architecture not in (ANY, architecture):
        return False
    usual = found.variant or _USUAL.get(architecture)
    if wanted.variant not in (None, usual):
        return False
    version = found.os_version or ""
    return wanted.os_version is None or f"{version}.".startswith(f"{wanted.os_version}.")


def platform_of(document: object) -> Platform | None:
    """Read the platform that an image's config, or an entry of an index, states; None if none."""
    if not isinstance(document, dict):
        return None
    values = [document.get(key) for key in ("os", "architecture", "variant", "os.version")]
    os, architecture, variant, version = (
        value if isinstance(value, str) and _SHOWN.fullmatch(value) else None for value in values
    )
    if os is None or architecture is None:
        return None
    return Platform(os, architecture, variant, version)


def choose(
    manifest: Manifest, names: Iterable[str], version: int, form: IndexForm = IndexForm.TRIM
) -> Manifest:
    """Say what the named platforms leave of an index, in a form; ValueError if that cannot be.

    To `keep` it is the index itself without the children that are not wanted, to `unwrap` the
    index with its one image alone, which is written in its stead. What is no index stays as it
    is: only its config tells what it is for.
    """
    if not manifest.is_index:
        return manifest
    platforms = parse_platforms(names)
    if form is IndexForm.KEEP:
        return _sparse_index(manifest, platforms, version)
    if form is IndexForm.UNWRAP:
        return _only_image(manifest, platforms, version)
    return filtered_index(manifest, platforms, version)


def filtered_index(
    manifest: Manifest, platforms: Sequence[Platform], version: int = FILTER_VERSION
) -> Manifest:
    """Rebuild an index of the children that are wanted; if all of them are, it stays as it is.

    Kept entries stay in their order with all their fields, and so do the index's own. What
    attests a kept child is kept. NoSuchPlatformError if nothing is left; ValueError for an
    index of indexes, whose parts this does not see, and for a version from the future.
    """
    kept = _kept(manifest, platforms, version)
    if len(kept) == len(_entries(manifest)):
        return manifest
    raw = _version_1(manifest.document | {"manifests": kept})
    return Manifest.parse(raw, manifest.media_type, expected=Digest.of(raw))


def _sparse_index(manifest: Manifest, platforms: Sequence[Platform], version: int) -> Manifest:
    kept = {entry["digest"] for entry in _kept(manifest, platforms, version)}
    absent = [child.digest for child in manifest.children if child.digest not in kept]
    return manifest.without(absent) if absent else manifest


def _only_image(manifest: Manifest, platforms: Sequence[Platform], version: int) -> Manifest:
    kept = _kept(manifest, platforms, version)
    images = {entry["digest"] for entry in kept if _is_wanted(entry, platforms)}
    if len(images) != 1:
        there = ", ".join(
            str(platform_of(entry.get("platform")) or "one without a platform")
            for entry in kept
            if _is_wanted(entry, platforms)
        )
        msg = f"{len(images)} of its images are wanted ({there}), and index: unwrap takes one; "
        msg += "name one platform, or write index: trim"
        raise ValueError(msg)
    return manifest.without(c.digest for c in manifest.children if c.digest not in images)


def _version_1(document: dict[str, Any]) -> bytes:
    """Write JSON as version 1 does: no spaces, the source's order of keys, ASCII alone.

    The escapes of ASCII are the only form that holds every text a document may.
    """
    try:
        text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        msg = "its JSON is nested too deeply"
        raise ValueError(msg) from None
    return text.encode("ascii")


def _entries(manifest: Manifest) -> list[dict[str, Any]]:
    # Not `children`: one image may be listed for two platforms.
    return manifest.document.get("manifests") or []


def _kept(manifest: Manifest, platforms: Sequence[Platform], version: int) -> list[dict[str, Any]]:
    """List the entries that are wanted, and what attests them."""
    if version != FILTER_VERSION:
        msg = f"it is to be rebuilt by version {version}; this imgmigrate has {FILTER_VERSION}"
        raise ValueError(msg)
    if any(child.media_type in INDEXES for child in manifest.children):
        msg = "it lists other indexes, whose platforms cannot be chosen; copy it with all of them"
        raise ValueError(msg)
    entries = _entries(manifest)
    wanted = [_is_wanted(entry, platforms) for entry in entries]
    images = {entry["digest"] for entry, is_kept in zip(entries, wanted, strict=True) if is_kept}
    if not images:
        raise NoSuchPlatformError(missing(platforms, manifest.platforms))
    return [
        entry
        for entry, is_kept in zip(entries, wanted, strict=True)
        if is_kept or attested(entry) in images
    ]


def missing(wanted: Iterable[Platform], found: Iterable[str]) -> str:
    """Say that none of the wanted platforms is there, and what is."""
    names = ", ".join(str(each) for each in wanted)
    there = ", ".join(found) or "no platforms that it names"
    return f"it has none of the platforms {names}; it has {there}"


def _is_wanted(entry: Mapping[str, Any], platforms: Sequence[Platform]) -> bool:
    """Tell whether an entry is an image of these platforms; of none is any image."""
    found = platform_of(entry.get("platform"))
    if not platforms:
        return found != ATTESTATION and attested(entry) is None
    if found is None or found.os == ATTESTATION.os:
        return False
    return any(matches(wanted, found) for wanted in platforms)


def attested(entry: Mapping[str, Any]) -> str | None:
    """Name the image that an entry was made for, if it is an attestation."""
    found = platform_of(entry.get("platform"))
    annotations = entry.get("annotations")
    if found not in (None, ATTESTATION) or not isinstance(annotations, dict):
        return None
    refers = annotations.get(REFERS_TO)
    return refers if isinstance(refers, str) else None
