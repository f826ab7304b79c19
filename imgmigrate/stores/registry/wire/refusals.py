"""What a registry's refusal of a manifest means, and what to do about it.

Pure. Registries say the same thing in many ways; the code of the error that comes out is the
standard's, so that whoever heals it need not know them (protocol 3.5, 3.7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.errors import Rejected, StoreError, Symptom
from imgmigrate.stores.registry.http.failures import PARTS_MISSING

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Manifest

__all__ = ["explained"]

_FOREIGN = (
    "the registry does not take layers that are kept elsewhere (foreign layers): "
    "allow their URLs there (distribution: validation.manifests.urls.allow)"
)
_MISSING = PARTS_MISSING | {"MANIFEST_UNKNOWN"}


def explained(error: StoreError, manifest: Manifest) -> StoreError:
    """Make the error of a refused manifest say what is wrong, in its code and its hint."""
    if error.status == 500:
        # distribution 2.8 also says that their blobs are unknown: bringing them heals nothing.
        return _refusal(error, None, _FOREIGN)
    if error.code in _MISSING:
        return _refusal(error, error.code, error.hint)
    is_vague = error.status == 400 and error.code in (None, "MANIFEST_INVALID", "UNKNOWN")
    if Symptom.PARTS_REQUIRED in error.symptoms or (
        is_vague and Symptom.PARTS_MENTIONED in error.symptoms
    ):
        return _refusal(error, "MANIFEST_BLOB_UNKNOWN", error.hint)
    hint = _hint(error, manifest)
    return error if hint is None else _refusal(error, error.code, hint)


def _hint(error: StoreError, manifest: Manifest) -> str | None:
    size, symptoms = len(manifest.raw), error.symptoms
    if error.status == 413 or (error.status == 400 and Symptom.TOO_LARGE in symptoms):
        return f"its manifest has {size} bytes; most registries take 4194304 at most"
    if error.status == 415 or (error.code == "UNSUPPORTED" and Symptom.MEDIA_TYPE in symptoms):
        if manifest.media_type.startswith("application/vnd.docker."):
            return (
                "the registry takes OCI media types only: allow Docker's there "
                '(zot: http.compat ["docker2s2"]), or push the source again in OCI format'
            )
        return f"the registry does not take {manifest.media_type}"
    if error.code == "UNSUPPORTED" and "mediaType" not in manifest.document:
        return "the registry wants a mediaType inside the manifest; push the source again with one"
    return None


def _refusal(error: StoreError, code: str | None, hint: str | None) -> Rejected:
    refused = error.remade(Rejected, hint=hint)
    refused.code = code
    return refused
