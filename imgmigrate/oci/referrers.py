"""Referrers: what hangs on an image's digest, such as signatures, SBOMs and attestations.

Pure. There are three ways to find them: a list of manifests whose `subject` is the digest, which a
registry gives by its API or clients keep under the tag `sha256-<hex>` (distribution-spec
"Listing Referrers", "Referrers Tag Schema"), and cosign's own tags, `sha256-<hex>.sig`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imgmigrate.oci.manifest import OCI_INDEX, Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest

__all__ = [
    "Referrer",
    "entry_of",
    "kind_of",
    "listed_in",
    "merged_list",
    "referrer_of",
    "scheme_of",
]

# One image has some ten; a list of thousands would cost as many requests.
MOST_REFERRERS = 1_000
# Characters of one entry's annotations: real ones have some hundreds, and a list may be 4 MiB long.
LONGEST_ANNOTATIONS = 64 * 1024

_TEXT = re.compile(r"[ -~]{1,255}")
_BUNDLE = re.compile(r"application/vnd\.dev\.sigstore\.bundle(\.v[0-9.]+)?\+json(;.*)?")
_NOTATION = "application/vnd.cncf.notary.signature"
# Notation, and cosign where it uses the subject (its "OCI 1.1 mode").
_SIGNATURES = frozenset(
    {
        _NOTATION,
        "application/vnd.dev.cosign.artifact.sig.v1+json",
        "application/vnd.dev.cosign.simplesigning.v1+json",
    }
)
_SBOMS = re.compile(
    r"application/vnd\.dev\.cosign\.artifact\.sbom\.v1\+json"
    r"|(application|text)/spdx([.+-].*)?|application/vnd\.(cyclonedx|syft)([.+-].*)?"
)
_ATTESTATIONS = re.compile(
    r"application/vnd\.in-toto([.+-].*)?|application/vnd\.dsse\.envelope.*"
    r"|application/vnd\.dev\.cosign\.artifact\.att\.v1\+json"
)
# Where what is attested is said beside the type (sigstore's bundles, BuildKit, cosign).
_PREDICATES = ("dev.sigstore.bundle.predicateType", "in-toto.io/predicate-type", "predicateType")
_SIGNED = "https://sigstore.dev/cosign/sign/"
_PROVENANCE = "https://slsa.dev/provenance/"


class Referrer(Struct, frozen=True):
    """A manifest about the digest that it `refers_to`; `tag` is cosign's, if it stands under one.

    `kind` is one of `KINDS`, or its artifact type where it is none of these.
    """

    refers_to: Digest
    descriptor: Descriptor
    kind: str
    tag: str | None = None
    artifact_type: str | None = None

    @property
    def key(self) -> tuple[Digest, str | None]:
        """What tells it from others: its digest, and the tag that it stands under."""
        return self.descriptor.digest, self.tag


def scheme_of(referrer: Referrer) -> str | None:
    """Say how a signature is kept, which decides who verifies it; None of anything else.

    `cosign-tag` under cosign's own tag, `cosign-subject` in its form as a referrer,
    `sigstore-bundle`, `notation`.
    """
    if referrer.kind != "signature":
        return None
    if referrer.tag is not None:
        return "cosign-tag"
    if referrer.artifact_type == _NOTATION:
        return "notation"
    return "cosign-subject" if referrer.artifact_type in _SIGNATURES else "sigstore-bundle"


def kind_of(artifact_type: str | None, annotations: Mapping[str, str]) -> str:
    """Say in one word what a referrer is; its artifact type where no word fits."""
    kind = artifact_type or "unknown"
    predicate = next((annotations[key] for key in _PREDICATES if key in annotations), "")
    if kind in _SIGNATURES:
        return "signature"
    if _SBOMS.fullmatch(kind):
        return "sbom"
    if _BUNDLE.fullmatch(kind) and (not predicate or predicate.startswith(_SIGNED)):
        return "signature"
    if _BUNDLE.fullmatch(kind) or _ATTESTATIONS.fullmatch(kind):
        return "provenance" if predicate.startswith(_PROVENANCE) else "attestation"
    return kind


def referrer_of(manifest: Manifest) -> Referrer | None:
    """Tell of a manifest what it refers to; None if it has no subject."""
    if manifest.subject is None:
        return None
    found = _type_of(manifest)
    kind = _kind(manifest.document, found)
    return Referrer(manifest.subject.digest, manifest.descriptor, kind, artifact_type=found)


def listed_in(manifest: Manifest, subject: Digest) -> tuple[Referrer, ...]:
    """Read a list of referrers; ValueError if it is longer than any real one."""
    if len(manifest.children) > MOST_REFERRERS:
        msg = f"it lists more than {MOST_REFERRERS} referrers"
        raise ValueError(msg)
    says: dict[str, dict[str, Any]] = {}
    for entry in manifest.document.get("manifests") or []:
        says.setdefault(entry["digest"], entry)
    children = [(child, says[child.digest]) for child in manifest.children if child.is_manifest]
    return tuple(
        Referrer(subject, child, _kind(entry, _typed(entry)), artifact_type=_typed(entry))
        for child, entry in children
    )


def entry_of(manifest: Manifest) -> dict[str, Any]:
    """Say how a list names a referrer (distribution-spec "Pushing Manifests with Subject").

    Annotations that are longer than any real ones stay out of it; the manifest has them.
    """
    entry: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": str(manifest.digest),
        "size": len(manifest.raw),
    }
    if (artifact_type := _type_of(manifest)) is not None:
        entry["artifactType"] = artifact_type
    annotations = manifest.document.get("annotations")
    if annotations and len(json.dumps(annotations)) <= LONGEST_ANNOTATIONS:
        entry["annotations"] = annotations
    return entry


def merged_list(there: Manifest | None, entries: list[dict[str, Any]]) -> Manifest | None:
    """Add entries to a list of referrers; None if it has all of these already.

    What others have put there stays as it is, and in its place, but for what is `absent`. Where the
    list would be too long, the new entries go without annotations; ValueError if it still is.
    """
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    absent: frozenset[Digest] = frozenset()
    if there is not None:
        document, absent = dict(there.document), there.absent
    kept = [each for each in document.get("manifests") or [] if each["digest"] not in absent]
    listed = {each["digest"] for each in kept}
    new = [each for each in entries if each["digest"] not in listed]
    if not new:
        return None
    try:
        return _list_of(document, [*kept, *new])
    except ValueError:
        bare = [{key: each[key] for key in each if key != "annotations"} for each in new]
        return _list_of(document, [*kept, *bare])


def _list_of(document: dict[str, Any], entries: list[dict[str, Any]]) -> Manifest:
    raw = json.dumps({**document, "manifests": entries}, separators=(",", ":")).encode()
    return Manifest.parse(raw, OCI_INDEX)


def _type_of(manifest: Manifest) -> str | None:
    """The artifact type of a manifest: what it says, else that of its config."""
    config = manifest.document.get("config")
    return _typed(manifest.document) or (
        _sane(config.get("mediaType")) if isinstance(config, dict) else None
    )


def _typed(document: dict[str, Any]) -> str | None:
    return _sane(document.get("artifactType"))


def _sane(value: object) -> str | None:
    """A type is shown to people and written to files: anything else than text is none."""
    return value if isinstance(value, str) and _TEXT.fullmatch(value) else None


def _kind(document: dict[str, Any], artifact_type: str | None) -> str:
    found = document.get("annotations")
    items = found.items() if isinstance(found, dict) else ()
    return kind_of(artifact_type, {key: value for key, value in items if isinstance(value, str)})
