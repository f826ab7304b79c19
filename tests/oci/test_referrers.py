"""What refers to an image is told by tags, subjects and types; lists of it only grow."""

from __future__ import annotations

import json

import pytest

from imgmigrate.oci.companions import cosign_tags, fallback_tag, subject_of_tag
from imgmigrate.oci.manifest import OCI_INDEX, Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.oci.referrers import entry_of, kind_of, listed_in, merged_list, referrer_of
from tests.support.images import artifact, image

DIGEST = Digest.of(b"subject")
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGN = {"dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1"}
SLSA = {"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}


@pytest.mark.parametrize(
    ("artifact_type", "annotations", "kind"),
    [
        ("application/vnd.cncf.notary.signature", {}, "signature"),
        ("application/vnd.dev.cosign.artifact.sig.v1+json", {}, "signature"),
        (BUNDLE, {}, "signature"),
        (BUNDLE, SIGN, "signature"),
        (BUNDLE, SLSA, "provenance"),
        (BUNDLE, {"dev.sigstore.bundle.predicateType": "https://spdx.dev/Document"}, "attestation"),
        ("application/spdx+json", {}, "sbom"),
        ("text/spdx", {}, "sbom"),
        ("application/vnd.cyclonedx+json", {}, "sbom"),
        ("application/vnd.syft+json", {}, "sbom"),
        ("application/vnd.in-toto+json", {}, "attestation"),
        (
            "application/vnd.in-toto+json",
            {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"},
            "provenance",
        ),
        ("application/vnd.example.scan", {}, "application/vnd.example.scan"),
        (None, {}, "unknown"),
    ],
)
def test_a_type_has_one_word_or_is_itself(
    artifact_type: str | None, annotations: dict[str, str], kind: str
) -> None:
    """Short names are for what verifiers and policies ask for; the rest keeps its type."""
    assert kind_of(artifact_type, annotations) == kind


def test_companion_tags_name_their_subject() -> None:
    """All tags of one digest begin alike, also of a sha512, whose digits are cut."""
    for digest in (DIGEST, Digest.of(b"subject", "sha512")):
        tags = [fallback_tag(digest), *cosign_tags(digest)]
        assert {subject_of_tag(tag) for tag in tags} == {fallback_tag(digest)}
        assert len(fallback_tag(digest)) == len("sha256-") + 64


@pytest.mark.parametrize("tag", ["1.0", "sha256-abc", f"sha256-{'0' * 64}.zip", "sha256"])
def test_other_tags_are_no_companions(tag: str) -> None:
    """What only looks alike is a tag as any other."""
    assert subject_of_tag(tag) is None


def test_a_referrer_is_told_by_its_subject() -> None:
    """An image without one refers to nothing."""
    subject = image()
    found = referrer_of(Manifest.parse(artifact(subject=subject).raw))
    assert found is not None
    assert (found.refers_to, found.kind) == (subject.top, "application/vnd.example.thing")
    assert referrer_of(Manifest.parse(subject.raw)) is None


class TestLists:
    """A list under the fallback tag only grows, and nobody's entry is lost or changed."""

    def test_what_is_listed_is_read_again(self) -> None:
        """Type and annotations of the manifest are in the list, where readers filter by them."""
        manifest = Manifest.parse(artifact(subject=image()).raw)
        made = merged_list(None, [entry_of(manifest)])
        assert made is not None
        [listed] = listed_in(made, DIGEST)
        assert (listed.descriptor, listed.kind) == (
            manifest.descriptor,
            "application/vnd.example.thing",
        )

    def test_foreign_entries_stay_as_they_are(self) -> None:
        """What is unknown here is kept: fields of the list and of its entries."""
        foreign = {"mediaType": "a/b", "digest": str(DIGEST), "size": 1, "odd": [1]}
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "odd": 1, "manifests": [foreign]}
        there = Manifest.parse(json.dumps(document).encode())
        made = merged_list(there, [entry_of(Manifest.parse(artifact(subject=image()).raw))])
        assert made is not None
        assert made.document["odd"] == 1
        assert made.document["manifests"][0] == foreign
        assert len(made.children) == 2

    def test_what_is_listed_already_changes_nothing(self) -> None:
        """Then there is nothing to write."""
        manifest = Manifest.parse(artifact(subject=image()).raw)
        assert merged_list(merged_list(None, [entry_of(manifest)]), [entry_of(manifest)]) is None

    def test_a_list_of_thousands_is_refused(self) -> None:
        """Each entry would cost requests."""
        entries = [
            {"mediaType": OCI_INDEX, "digest": str(Digest.of(b"%d" % number)), "size": 1}
            for number in range(1_001)
        ]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        with pytest.raises(ValueError, match="more than 1000"):
            listed_in(Manifest.parse(json.dumps(document).encode()), DIGEST)
