"""Manifests: raw bytes kept, everything else derived, anything ambiguous refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.oci.manifest import (
    ACCEPT,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    LARGEST_BLOB,
    LARGEST_MANIFEST,
    MANIFESTS,
    MOST_ENTRIES,
    OCI_ARTIFACT,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    Platform,
)
from imgmigrate.oci.reference import Digest

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"


def entry(name: str, media_type: str = LAYER, size: Any = 10, **more: Any) -> dict[str, Any]:
    digest = str(Digest.of(name.encode()))
    return {"mediaType": media_type, "digest": digest, "size": size, **more}


def image(media_type: str | None = OCI_MANIFEST, **more: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"schemaVersion": 2}
    if media_type:
        document["mediaType"] = media_type
    document |= {"config": entry("config", CONFIG, 3), "layers": [entry("one"), entry("two")]}
    return document | more


def index(*children: dict[str, Any], media_type: str | None = OCI_INDEX) -> dict[str, Any]:
    document: dict[str, Any] = {"schemaVersion": 2, "manifests": list(children)}
    return document | ({"mediaType": media_type} if media_type else {})


def raw(document: Any) -> bytes:
    return json.dumps(document, indent=3).encode()


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_an_image_has_its_config_and_layers_as_blobs(media_type: str) -> None:
    """A copy of an image moves the config and the layers, in that order."""
    data = raw(image(media_type))
    found = Manifest.parse(data, media_type)
    assert found.raw is data
    assert found.digest == Digest.of(data)
    assert not found.is_index
    assert [blob.digest for blob in found.blobs] == [
        Digest.of(name) for name in (b"config", b"one", b"two")
    ]
    assert found.blobs[0] == Descriptor(CONFIG, Digest.of(b"config"), 3)
    assert found.children == ()
    assert found.subject is None
    assert found.descriptor == Descriptor(media_type, found.digest, len(data))
    assert found.document["schemaVersion"] == 2


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index_has_children_and_platforms(media_type: str) -> None:
    """Children keep their order; attestations are no platforms."""
    amd64 = {"os": "linux", "architecture": "amd64"}
    arm = {"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1"}
    unknown = {"os": "unknown", "architecture": "unknown"}
    document = index(
        entry("a", OCI_MANIFEST, platform=amd64),
        entry("b", OCI_MANIFEST, platform=arm),
        entry("c", OCI_MANIFEST, platform=unknown),
        entry("d", OCI_MANIFEST),
        entry("e", OCI_MANIFEST, platform={"os": "linux"}),
        media_type=media_type,
    )
    found = Manifest.parse(raw(document), media_type)
    assert found.is_index
    assert found.blobs == ()
    assert [child.digest for child in found.children] == [
        Digest.of(c) for c in (b"a", b"b", b"c", b"d", b"e")
    ]
    assert found.children[1].platform == Platform("linux", "arm", "v7", "1")
    assert found.platforms == ("linux/amd64", "linux/arm/v7:1")
    assert found.children[4].platform is None


def test_an_index_may_hold_an_index() -> None:
    """Nested indexes are children like any other; the caller walks down."""
    found = Manifest.parse(raw(index(entry("inner", OCI_INDEX), entry("image", OCI_MANIFEST))))
    assert [child.is_manifest for child in found.children] == [True, True]
    assert found.children[0].media_type == OCI_INDEX


def test_an_artifact_manifest_has_its_blobs() -> None:
    """The retired artifact manifest lists `blobs` and no config."""
    document = {"mediaType": OCI_ARTIFACT, "artifactType": "a/b", "blobs": [entry("one")]}
    found = Manifest.parse(raw(document), OCI_ARTIFACT)
    assert [blob.digest for blob in found.blobs] == [Digest.of(b"one")]


def test_an_artifact_as_an_image_manifest_names_its_subject() -> None:
    """A signature points at the image it is for."""
    document = image(subject=entry("signed", OCI_MANIFEST), artifactType="a/b")
    found = Manifest.parse(raw(document), OCI_MANIFEST)
    assert found.subject is not None
    assert found.subject.digest == Digest.of(b"signed")


@pytest.mark.parametrize(
    ("document", "served", "expected"),
    [
        (image(None), None, OCI_MANIFEST),
        (image(None), DOCKER_MANIFEST, DOCKER_MANIFEST),
        (image(None), f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST),
        (image(None), "application/octet-stream", OCI_MANIFEST),
        (image(DOCKER_MANIFEST), "application/json", DOCKER_MANIFEST),
        (image(DOCKER_MANIFEST), None, DOCKER_MANIFEST),
        (index(media_type=None), None, OCI_INDEX),
        (index(media_type=None), DOCKER_LIST, DOCKER_LIST),
        (index(), None, OCI_INDEX),
    ],
)
def test_the_media_type_is_what_was_served_else_its_own_else_its_shape(
    document: dict[str, Any], served: str | None, expected: str
) -> None:
    """Layouts store no type, some registries serve a general one, OCI makes its own optional."""
    assert Manifest.parse(raw(document), served).media_type == expected


@pytest.mark.parametrize(
    ("document", "served", "words"),
    [
        # CVE-2021-41190: an image to one reader, an index to another
        (image() | {"manifests": []}, OCI_MANIFEST, "CVE-2021-41190"),
        (image(None) | {"manifests": []}, None, "CVE-2021-41190"),
        (index() | {"layers": []}, OCI_INDEX, "CVE-2021-41190"),
        (index() | {"config": None}, OCI_INDEX, "CVE-2021-41190"),
        (index() | {"fsLayers": []}, OCI_INDEX, "CVE-2021-41190"),
        (image(OCI_MANIFEST), DOCKER_MANIFEST, "calls itself"),
        (image(None), OCI_INDEX, "its fields are not those of"),
        (index(media_type=None), OCI_MANIFEST, "its fields are not those of"),
        # schema 1
        ({"schemaVersion": 1, "fsLayers": []}, None, "schema 1"),
        ({"schemaVersion": 2}, DOCKER_SCHEMA1, "schema 1"),
        ({"schemaVersion": 2, "mediaType": DOCKER_SCHEMA1_SIGNED}, None, "schema 1"),
        # not a manifest
        ({"mediaType": 5, "schemaVersion": 2}, None, "mediaType is not a string"),
        ({"schemaVersion": 2, "mediaType": "text/plain"}, None, "not a manifest type"),
        ({"schemaVersion": 3}, None, "not a manifest type"),
        ({}, "text/html", "not a manifest type"),
        ([], OCI_INDEX, "not a JSON object"),
        ("text", OCI_INDEX, "not a JSON object"),
        # entries
        (image(layers={}), OCI_MANIFEST, "layers is not a list"),
        (image(layers=[5]), OCI_MANIFEST, "an entry is not an object"),
        (image(config="x"), OCI_MANIFEST, "an entry is not an object"),
        (image(layers=[entry("a", size=-1)]), OCI_MANIFEST, "no sane size"),
        (image(layers=[entry("a", size=True)]), OCI_MANIFEST, "no sane size"),
        (image(layers=[entry("a", size=1.5)]), OCI_MANIFEST, "no sane size"),
        (image(layers=[entry("a", size="1")]), OCI_MANIFEST, "no sane size"),
        (image(layers=[entry("a", size=None)]), OCI_MANIFEST, "no sane size"),
        (image(layers=[entry("a", size=LARGEST_BLOB + 1)]), OCI_MANIFEST, "no sane size"),
        (image(layers=[entry("a", media_type="")]), OCI_MANIFEST, "no mediaType"),
        (image(layers=[entry("a", media_type="x\x1b[2J")]), OCI_MANIFEST, "no mediaType"),
        (image(layers=[entry("a", media_type="\ud800")]), OCI_MANIFEST, "no mediaType"),
        (image(layers=[entry("a") | {"digest": "sha256:../../x"}]), OCI_MANIFEST, "not a digest"),
        (image(layers=[entry("a") | {"digest": None}]), OCI_MANIFEST, "not a digest"),
        (image(layers=[entry("a"), entry("a", size=11)]), OCI_MANIFEST, "two sizes"),
        (image(subject=[]), OCI_MANIFEST, "an entry is not an object"),
        (index() | {"manifests": {}}, OCI_INDEX, "not a list of at most"),
        (index() | {"manifests": [0] * (MOST_ENTRIES + 1)}, OCI_INDEX, "not a list of at most"),
        (
            index(entry("a", OCI_MANIFEST, platform={"os": "\ud800", "architecture": "x"})),
            OCI_INDEX,
            "platform",
        ),
    ],
)
def test_an_ambiguous_or_insane_manifest_is_refused(
    document: Any, served: str | None, words: str
) -> None:
    """Bytes come from servers: what is not surely one manifest is none."""
    with pytest.raises(ValueError, match=words):
        Manifest.parse(raw(document), served)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"<html>", "not JSON"),
        (b'{"schemaVersion": 2, "schemaVersion": 2}', "same key twice"),
        (b'{"schemaVersion": 2, "config": {"size": 1, "size": 2}}', "same key twice"),
        (b'{"schemaVersion": NaN}', "NaN"),
        (b'{"schemaVersion": -Infinity}', "Infinity"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b'{"schemaVersion": ' + b"9" * 5000 + b"}", "."),
        (b" " * (LARGEST_MANIFEST + 1), "the limit is"),
    ],
)
def test_bytes_that_are_no_plain_json_are_refused(data: bytes, words: str) -> None:
    """Duplicate keys, constants, bombs and garbage end in one kind of error."""
    with pytest.raises(ValueError, match=words):
        Manifest.parse(data, OCI_MANIFEST)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_expected_digest_is_verified_and_kept(algorithm: str) -> None:
    """A manifest that was asked for by digest must have it, whatever the algorithm."""
    data = raw(image())
    digest = Digest.of(data, algorithm)
    assert Manifest.parse(data, OCI_MANIFEST, expected=digest).digest == digest
    with pytest.raises(ValueError, match="do not have the digest"):
        Manifest.parse(data + b" ", OCI_MANIFEST, expected=digest)


def test_a_digest_that_stands_twice_is_one_blob() -> None:
    """Some images list the empty layer many times; it travels once."""
    found = Manifest.parse(raw(image(layers=[entry("a"), entry("a"), entry("b")])), OCI_MANIFEST)
    assert len(found.blobs) == 3


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        (LAYER, False),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", True),
    ],
)
def test_foreign_layers_are_told_apart(media_type: str, expected: bool) -> None:
    """They are not to be distributed, and usually are nowhere to be had."""
    assert Descriptor(media_type, Digest.of(b""), 0).is_foreign is expected


def test_every_manifest_type_is_asked_for() -> None:
    """Too narrow an Accept makes servers answer 404, or another manifest."""
    assert all(media_type in ACCEPT for media_type in MANIFESTS)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["mediaType", "digest", "size", "platform", "os", "manifests", "layers", "config"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "blobs"]
        ),
        st.sampled_from([1, 2, *sorted(MANIFESTS), [entry("a")], entry("b")]) | _json,
        max_size=6,
    ),
    st.sampled_from([None, "text/plain", *sorted(MANIFESTS)]),
)
def test_any_json_is_a_manifest_or_a_value_error(document: Any, served: str | None) -> None:
    """Whatever a server sends, reading it never fails otherwise, and never changes it."""
    data = raw(document)
    try:
        found = Manifest.parse(data, served)
    except ValueError:
        return
    assert found.raw == data
    assert found.is_index or not found.children
    assert not (found.is_index and found.blobs)
    assert all(0 <= blob.size <= LARGEST_BLOB for blob in (*found.blobs, *found.children))
