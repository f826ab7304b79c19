"""Signatures without a key: whose certificate an authority vouched for, as sigstore has it.

`sigstore` does all of it, from the bundle and a trusted root alone: nobody is asked. It comes with
the extra `verify`, and is imported when the first of these is made: ImportError means that it is
not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgmigrate.redaction import printable
from imgmigrate.signing.claims import Form
from imgmigrate.signing.dsse import IN_TOTO
from imgmigrate.signing.verdict import flaw_of_names

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.oci.reference import Digest
    from imgmigrate.signing.claims import Claim

__all__ = ["Keyless"]

WITH_KEY = "made with a key"
NO_BUNDLE = "made without a key, and without a bundle that proves it"
# Characters of what sigstore says, which may repeat what a server sent.
LONGEST_REASON = 200


class Keyless:
    """An identity that is trusted where this issuer vouched for it.

    Without the path of a `root` the public sigstore is trusted, as the library knows it: it is not
    asked for anew. ValueError if a root cannot be read.
    """

    def __init__(self, identity: str, issuer: str, root: Path | None = None) -> None:
        from sigstore.models import ClientTrustConfig, TrustedRoot
        from sigstore.verify import Verifier
        from sigstore.verify.policy import Identity

        self._policy = Identity(identity=identity, issuer=issuer)
        try:
            if root is None:
                trusted = ClientTrustConfig.production(offline=True).trusted_root
            else:
                trusted = TrustedRoot.from_file(str(root))
            self._verifier = Verifier(trusted_root=trusted)
        except Exception as error:  # noqa: BLE001  (it raises whatever its parsers raise)
            msg = f"it is no trusted root: {_said(error)}"
            raise ValueError(msg) from None

    def flaw_of(self, claim: Claim, digest: Digest, manifest: bytes) -> str | None:
        """Say why a claim does not hold for an image; None if it does."""
        from sigstore.models import Bundle

        if not claim.is_keyless:
            return WITH_KEY
        if not claim.bundle:
            return NO_BUNDLE
        try:
            bundle = Bundle.from_json(claim.bundle)
            if claim.form is Form.MANIFEST:
                self._verifier.verify_artifact(manifest, bundle, self._policy)
                return None
            signed: Any = self._verifier.verify_dsse(bundle, self._policy)
        except Exception as error:  # noqa: BLE001  (a stranger's bytes, in another's parsers)
            return f"not borne out ({_said(error)})"
        if signed != (IN_TOTO, claim.payload):
            return "not borne out (it is read in two ways)"
        return flaw_of_names(claim, digest)


def _said(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}", LONGEST_REASON)
