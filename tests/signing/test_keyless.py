"""Signatures without a key: borne out by an authority and its logs, for one identity alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.oci.reference import Digest
from imgmigrate.signing.claims import Claim, bundle_claim, simple_claim
from imgmigrate.signing.keyless import NO_BUNDLE, WITH_KEY, Keyless
from tests.support.keyless import IDENTITY, ISSUER, Sigstore
from tests.support.signing import b64, bundle, sign, simple_payload, statement

if TYPE_CHECKING:
    from pathlib import Path

IMAGE, ELSE = Digest.of(b"image"), Digest.of(b"else")
SIGSTORE = Sigstore()


def trust(folder: Path, identity: str = IDENTITY, issuer: str = ISSUER) -> Keyless:
    """Trust who our sigstore says it is."""
    root = folder / "trusted_root.json"
    root.write_bytes(SIGSTORE.trusted_root())
    return Keyless(identity, issuer, root)


def made(**options: Any) -> Claim:
    """A signature of the image without a key."""
    return bundle_claim(SIGSTORE.bundle(statement(IMAGE), **options))


def test_who_is_trusted_signs_an_image(tmp_path: Path) -> None:
    """That very one."""
    trusted, claim = trust(tmp_path), made()
    assert trusted.flaw_of(claim, IMAGE, b"") is None
    assert trusted.flaw_of(claim, ELSE, b"") == f"made for another image ({IMAGE})"


def test_an_attestation_signs_no_image(tmp_path: Path) -> None:
    """However well it is borne out."""
    said = statement(IMAGE, predicateType="https://slsa.dev/provenance/v1")
    claim = bundle_claim(SIGSTORE.bundle(said))
    assert "does not sign it" in str(trust(tmp_path).flaw_of(claim, IMAGE, b""))


@pytest.mark.parametrize(
    ("identity", "issuer"),
    [("https://ci.example/team/web", ISSUER), (IDENTITY, "https://other.example"), ("*", ISSUER)],
)
def test_somebody_else_is_not_trusted(tmp_path: Path, identity: str, issuer: str) -> None:
    """Neither another identity, nor the same by another issuer; and no name is a pattern."""
    trusted = trust(tmp_path, identity, issuer)
    assert "not borne out" in str(trusted.flaw_of(made(), IMAGE, b""))


def test_another_authority_vouches_for_nobody(tmp_path: Path) -> None:
    """Whatever it writes into its certificates; the public sigstore does not know ours either."""
    claim = bundle_claim(Sigstore().bundle(statement(IMAGE)))
    assert "not borne out" in str(trust(tmp_path).flaw_of(claim, IMAGE, b""))


def test_what_is_no_such_signature_is_told(tmp_path: Path) -> None:
    """With a key, and in a tag of cosign's, where nothing proves it offline."""
    trusted, payload = trust(tmp_path), simple_payload(IMAGE)
    assert trusted.flaw_of(bundle_claim(bundle(statement(IMAGE))), IMAGE, b"") == WITH_KEY
    annotations = {"dev.cosignproject.cosign/signature": b64(sign(payload))}
    annotations["dev.sigstore.cosign/certificate"] = "x"
    assert trusted.flaw_of(simple_claim(annotations, payload), IMAGE, b"") == NO_BUNDLE


def leaves(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all texts in a document."""
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        return [found for key, each in items for found in leaves(each, (*path, key))]
    return [path]


def test_whatever_is_changed_is_found(tmp_path: Path) -> None:
    """Each part of the bundle, missing, empty, or with one character changed in its middle.

    Nothing is raised but the ValueError of what is no bundle at all.
    """
    trusted, raw = trust(tmp_path), SIGSTORE.bundle(statement(IMAGE))
    tried = 0
    for path in leaves(json.loads(raw)):
        text = str(_at(json.loads(raw), path[:-1])[path[-1]])
        middle = len(text) // 2
        other = "B" if text[middle] == "A" else "A"
        for new in (None, "", text[:middle] + other + text[middle + 1 :]):
            document = json.loads(raw)
            _at(document, path[:-1])[path[-1]] = new
            try:
                claim = bundle_claim(json.dumps(document).encode())
            except ValueError:
                continue
            tried += 1
            assert trusted.flaw_of(claim, IMAGE, b"") is not None, (path, new)
    assert tried > 20


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"mediaType": "x"}', b"\xff"])
def test_what_is_no_trusted_root_is_refused(tmp_path: Path, data: bytes) -> None:
    """A ValueError, whatever the parsers say."""
    root = tmp_path / "root.json"
    root.write_bytes(data)
    with pytest.raises(ValueError, match="no trusted root"):
        Keyless(IDENTITY, ISSUER, root)


def test_the_public_sigstore_is_known_without_asking_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its root comes with the library; what another authority signed does not hold by it."""
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr("socket.create_connection", None)
    trusted = Keyless(IDENTITY, ISSUER)
    assert "not borne out" in str(trusted.flaw_of(made(), IMAGE, b""))
