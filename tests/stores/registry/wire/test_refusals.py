"""A refused manifest says what is wrong with it: in the standard's code, and in a hint."""

from __future__ import annotations

import json

import pytest

from imgmigrate.errors import NotFound, Rejected
from imgmigrate.stores.registry.http.failures import failure
from imgmigrate.stores.registry.wire.refusals import explained
from tests.stores.registry.samples import foreign, manifest


def refusal(status: int, code: str, message: str = "") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


ECR = "Images with digests '[sha256:1]' required for pushing image into repository do not exist"


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (400, "MANIFEST_BLOB_UNKNOWN", "", "MANIFEST_BLOB_UNKNOWN"),
        (400, "BLOB_UNKNOWN", "", "BLOB_UNKNOWN"),
        (404, "BLOB_UNKNOWN", "", "BLOB_UNKNOWN"),
        (404, "MANIFEST_UNKNOWN", "", "MANIFEST_UNKNOWN"),
        (400, "MANIFEST_INVALID", "manifest blob unknown to registry", "MANIFEST_BLOB_UNKNOWN"),
        (400, "MANIFEST_INVALID", "layer sha256:1 does not exist", "MANIFEST_BLOB_UNKNOWN"),
        (404, "NAME_UNKNOWN", ECR, "MANIFEST_BLOB_UNKNOWN"),
        (400, "MANIFEST_INVALID", "schema version is wrong", "MANIFEST_INVALID"),
        (400, "TAG_INVALID", "the image is not found to be good", "TAG_INVALID"),
    ],
)
def test_missing_parts_have_one_code_each_way_they_are_told(
    status: int, code: str, message: str, expected: str
) -> None:
    """Whoever heals a missing part need not know how each registry words it."""
    error = explained(failure("r/a:1", status, refusal(status, code, message)), manifest())
    assert type(error) is Rejected
    assert (error.code, error.status) == (expected, status)


def test_missing_repository_is_no_missing_part() -> None:
    """It stays NotFound, with its own hint."""
    error = failure("r/a:1", 404, refusal(404, "NAME_UNKNOWN", "repository name not known"))
    assert explained(error, manifest()) is error
    assert type(error) is NotFound


@pytest.mark.parametrize(
    ("kind", "status", "code", "message", "words"),
    [
        ("docker", 415, "MANIFEST_INVALID", "", "docker2s2"),
        ("docker-list", 415, "MANIFEST_INVALID", "", "OCI media types only"),
        ("artifact", 415, "MANIFEST_INVALID", "", "does not take application/vnd.oci"),
        ("image", 413, "MANIFEST_INVALID", "", "4194304"),
        ("image", 400, "MANIFEST_INVALID", "http: request body too large", "4194304"),
    ],
)
def test_what_a_user_can_mend_is_hinted(
    kind: str, status: int, code: str, message: str, words: str
) -> None:
    """The fix is at the destination, and is named."""
    error = failure("r/a:1", status, refusal(status, code, message))
    assert words in (explained(error, manifest(kind)).hint or "")


def test_foreign_layers_that_are_refused_are_hinted() -> None:
    """Distribution says 500, and that blobs are missing which nobody should bring."""
    error = failure("r/a:1", 500, refusal(500, "MANIFEST_BLOB_UNKNOWN"))
    found = explained(error, foreign())
    assert "validation.manifests.urls.allow" in (found.hint or "")
    assert found.code is None
