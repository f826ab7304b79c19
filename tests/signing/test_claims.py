"""What stands beside an image: read strictly, and held to be a signature only if it is one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imgmigrate.oci.reference import Digest
from imgmigrate.signing.claims import Claim, bundle_claim, simple_claim
from imgmigrate.signing.keys import read_public_key
from imgmigrate.signing.verdict import CHANGED, KEYLESS, OTHER_KEY, flaw_of, told
from tests.support.signed_images import CHILD, FOLDER, INDEX, signed
from tests.support.signing import (
    BUNDLE,
    ED25519,
    OTHER,
    P256,
    RSA,
    SIMPLE,
    b64,
    bundle,
    message_bundle,
    public_pem,
    sign,
    simple_payload,
    statement,
)

MANIFEST = b'{"schemaVersion":2}'
IMAGE = Digest.of(MANIFEST)
ELSE = Digest.of(b"else")
NAME = "dev.cosignproject.cosign/signature"
KEY = read_public_key(public_pem(P256), "cosign.pub")
COSIGN = read_public_key((FOLDER / "cosign.pub").read_bytes(), "cosign.pub")


def simple(payload: bytes, key: Any = P256) -> Claim:
    """A layer as cosign writes it."""
    return simple_claim({NAME: b64(sign(payload, key))}, payload)


def flaw(claim: Claim) -> str | None:
    """What is wrong with a claim about the image."""
    return flaw_of(claim, IMAGE, MANIFEST, [KEY])


@pytest.mark.parametrize("key", [P256, ED25519, RSA])
def test_each_form_holds_for_its_image(key: Any) -> None:
    """Simple signing, a statement in a bundle, and a bundle of the manifest's own bytes."""
    keys = [KEY, read_public_key(public_pem(key), "k")]
    claims = [
        simple(simple_payload(IMAGE), key),
        bundle_claim(bundle(statement(IMAGE), key)),
        bundle_claim(message_bundle(MANIFEST, key)),
    ]
    assert [flaw_of(each, IMAGE, MANIFEST, keys) for each in claims] == [None] * 3


def test_what_is_signed_for_another_image_does_not_hold() -> None:
    """The best of signatures, moved to where it does not belong."""
    other = f"made for another image ({ELSE})"
    assert flaw(simple(simple_payload(ELSE))) == other
    assert flaw(bundle_claim(bundle(statement(ELSE)))) == other
    assert flaw(bundle_claim(message_bundle(b"else"))) == OTHER_KEY


def test_one_of_several_subjects_suffices() -> None:
    """A statement may be about many images."""
    about = [{"digest": {"sha256": each[7:]}} for each in (ELSE, IMAGE)]
    assert flaw(bundle_claim(bundle(statement(IMAGE, subject=about)))) is None


def test_another_key_is_told_from_a_change() -> None:
    """Where a bundle names the key; elsewhere nobody can tell them apart."""
    assert flaw(simple(simple_payload(IMAGE), OTHER)) == OTHER_KEY
    assert flaw(bundle_claim(bundle(statement(IMAGE), OTHER))) == OTHER_KEY
    changed = bundle(statement(IMAGE), payload=b64(statement(ELSE)))
    assert flaw(bundle_claim(changed)) == CHANGED


def test_a_signature_without_a_key_is_called_so() -> None:
    """Its certificate is nobody's key; by a trusted key it holds all the same."""
    document = json.loads(bundle(statement(IMAGE), OTHER))
    document["verificationMaterial"] = {"certificate": {"rawBytes": "AAAA"}}
    assert flaw(bundle_claim(json.dumps(document).encode())) == KEYLESS
    payload = simple_payload(IMAGE)
    annotations = {NAME: b64(sign(payload, OTHER)), "dev.sigstore.cosign/certificate": "x"}
    assert flaw(simple_claim(annotations, payload)) == KEYLESS


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"critical": 1}', "no critical"),
        (b"[" * 10_000, "nested"),
        (b'{"a":' + b"[" * 100_000, "more than"),
        (b'{"critical": {}, "critical": {}}', "same key twice"),
        (simple_payload(IMAGE, type="atomic container signature"), "no image signature"),
        (simple_payload(IMAGE, image=None), "no image"),
        (simple_payload("sha256:abc"), "not a digest"),
    ],
)
def test_a_signed_payload_that_makes_no_sense_does_not_hold(payload: bytes, why: str) -> None:
    """Even a trusted key signs nonsense; the reason says what is wrong."""
    assert why in str(flaw(simple(payload)))


@pytest.mark.parametrize(
    "body",
    [
        {"_type": "https://in-toto.io/Statement/v9"},
        {"predicateType": "https://slsa.dev/provenance/v1"},
        {"predicateType": ["x"]},
        {"subject": None},
        {"subject": [1]},
        {"subject": [{"digest": {"sha256": 1}}]},
        {"subject": [{"digest": {"sha256": "AB" * 32}}]},
        {"subject": [{"digest": {"md5": "x"}}]},
        {"subject": []},
        {"subject": [{"digest": {}}] * 1001},
    ],
)
def test_a_statement_that_signs_no_image_does_not_hold(body: dict[str, Any]) -> None:
    """An SBOM that is attested by the key is no signature of the image."""
    assert flaw(bundle_claim(bundle(statement(IMAGE, **body)))) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b"{" * 20_000,
        json.dumps({"mediaType": 1}).encode(),
        json.dumps({"mediaType": BUNDLE}).encode(),
        json.dumps({"mediaType": BUNDLE, "verificationMaterial": {}}).encode(),
        json.dumps({"mediaType": BUNDLE, "verificationMaterial": {}, "dsseEnvelope": []}).encode(),
        json.dumps(
            {"mediaType": BUNDLE, "verificationMaterial": {}, "messageSignature": {}}
        ).encode(),
        bundle(statement(IMAGE), payloadType="text/plain"),
        bundle(statement(IMAGE), payload="%%%"),
        bundle(statement(IMAGE), payload=5),
        bundle(statement(IMAGE), signatures=[]),
        bundle(statement(IMAGE), signatures=[None]),
        bundle(statement(IMAGE), signatures=[{"sig": "QQ=="}] * 11),
        bundle(statement(IMAGE), signatures="QQ=="),
    ],
)
def test_a_bundle_that_is_none_is_refused(raw: bytes) -> None:
    """A ValueError, and nothing else."""
    with pytest.raises(ValueError):
        bundle_claim(raw)


@pytest.mark.parametrize("text", [None, "", 5, ["x"], "%", "QQ", "QQ==\n"])
def test_a_layer_without_a_signature_is_refused(text: Any) -> None:
    """What is not plain base64 is none."""
    with pytest.raises(ValueError, match="base64"):
        simple_claim({NAME: text}, simple_payload(IMAGE))


def fixtures(name: str) -> list[tuple[Digest, dict[str, str], bytes]]:
    """Every signature that cosign made: for which image, with which annotations, and its bytes."""
    sample, found = signed(name), []
    for digest, (_, raw) in sample.manifests.items():
        manifest = json.loads(raw)
        tags = [tag for tag, top in sample.cosign.items() if top == digest and tag[-3:] == "sig"]
        subject = manifest.get("subject", {}).get("digest") or next(iter(tags), "")
        about = subject.removeprefix("sha256").lstrip(":-")[:64]
        for layer in manifest.get("layers", []):
            data = sample.blobs[layer["digest"]]
            is_signature = layer["mediaType"] == SIMPLE or (
                layer["mediaType"] == BUNDLE
                and "cosign/sign/" in manifest["annotations"]["dev.sigstore.bundle.predicateType"]
            )
            if is_signature:
                annotations = layer.get("annotations", {})
                found.append((Digest.parse(f"sha256:{about}"), annotations, data))
    return found


def read(annotations: dict[str, str], data: bytes) -> Claim:
    """Read what cosign made, in either form."""
    return simple_claim(annotations, data) if NAME in annotations else bundle_claim(data)


@pytest.mark.parametrize("name", ["fallback", "referrers"])
def test_what_cosign_made_holds_and_with_a_flipped_byte_does_not(name: str) -> None:
    """Two tags, an OCI 1.1 signature and a bundle; a byte that changes what is signed is found."""
    found = fixtures(name)
    assert sorted({each for each, _, _ in found}) == sorted([CHILD, INDEX])
    assert len(found) == 4
    for digest, says, data in found:
        claim = read(says, data)
        assert flaw_of(claim, digest, b"", [COSIGN]) is None
        assert flaw_of(claim, ELSE, b"", [COSIGN]) is not None
        assert flaw_of(claim, digest, b"", [KEY]) == OTHER_KEY
        for number in range(len(data)):
            changed = bytearray(data)
            changed[number] ^= 1
            try:
                other = read(says, bytes(changed))
            except ValueError:
                continue
            same = (other.message, other.signatures) == (claim.message, claim.signatures)
            assert same or flaw_of(other, digest, b"", [COSIGN]) is not None, number


def test_what_is_wrong_is_told_in_one_line() -> None:
    """Each reason once, with how many it is true of."""
    assert told([]) == "it has no signature"
    assert told(["a"]) == "its signature was a"
    assert told(["a", "a"]) == "its 2 signatures were a"
    assert told(["a", "b", "a"]) == "none of its 3 signatures holds: 2 a; 1 b"
