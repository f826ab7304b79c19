"""Platforms: read, matched, and an index rebuilt of those that are wanted."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from imgmigrate.oci.manifest import DOCKER_LIST, OCI_INDEX, Manifest, Platform
from imgmigrate.oci.platforms import (
    FILTER_VERSION,
    NoSuchPlatformError,
    canonical_platforms,
    filtered_index,
    matches,
    parse_platform,
    parse_platforms,
    platform_of,
)
from imgmigrate.oci.reference import Digest
from tests.support import images

AMD64, ARM64, S390X = (
    images.image(name, platform=f"linux/{name}") for name in ("amd64", "arm64", "s390x")
)
THREE = images.index(AMD64, ARM64, S390X, annotations={"org.example": "kept \u00e9"})


def parse(image: images.Image) -> Manifest:
    return Manifest.parse(image.raw, image.media_type)


def kept(image: images.Image, *names: str) -> Manifest:
    return filtered_index(parse(image), parse_platforms(names))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/arm64/v8", Platform("linux", "arm64", "v8")),
        ("Linux/AMD64", Platform("linux", "amd64")),
        ("linux/x86_64", Platform("linux", "amd64")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("windows/amd64:10.0.17763", Platform("windows", "amd64", None, "10.0.17763")),
        ("windows/arm/v7:1.2", Platform("windows", "arm", "v7", "1.2")),
        ("linux/*", Platform("linux", "*")),
        ("*/arm64", Platform("*", "arm64")),
    ],
)
def test_a_platform_is_read_as_the_tools_write_it(text: str, expected: Platform) -> None:
    """Operating system, architecture, and if wanted variant and OS version; usual other names."""
    assert parse_platform(text) == expected
    assert parse_platform(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "linux", "linux/", "/amd64", "linux/amd64,linux/arm64", "a/b/c/d", "l*/x", "all"]
)
def test_what_is_no_platform_is_refused_with_an_example(text: str) -> None:
    """A misspelt platform must not select nothing in silence."""
    with pytest.raises(ValueError, match="is no platform; write os/architecture"):
        parse_platform(text)


def test_equal_choices_are_written_alike() -> None:
    """Order, repetition and other names of a machine make no other filter."""
    assert canonical_platforms(["linux/arm64", "linux/x86_64", "linux/amd64"]) == (
        "linux/amd64",
        "linux/arm64",
    )


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/arm64", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/arm", "linux/arm/v6", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm/v7", "linux/arm", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/amd64/v1", "linux/amd64", True),
        ("linux/amd64/v3", "linux/amd64", False),
        ("linux/*", "linux/ppc64le", True),
        ("*/arm64", "windows/arm64", True),
        ("linux/*", "windows/amd64", False),
        ("windows/amd64", "windows/amd64:10.0.17763.1", True),
        ("windows/amd64:10.0.17763", "windows/amd64:10.0.17763.1", True),
        ("windows/amd64:10.0.17763", "windows/amd64:10.0.17763", True),
        ("windows/amd64:10.0.1776", "windows/amd64:10.0.17763", False),
        ("windows/amd64:10.0.17763", "windows/amd64", False),
        ("linux/amd64", "linux/x86_64", True),
    ],
)
def test_what_is_not_asked_for_is_free(wanted: str, found: str, expected: bool) -> None:
    """A variant or OS version that is named must fit; usual variants need no name."""
    platform = parse_platform(found)
    if "x86_64" in found:
        platform = replace(platform, architecture="x86_64")
    assert matches(parse_platform(wanted), platform) is expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"os": "linux", "architecture": "arm", "variant": "v7"}, Platform("linux", "arm", "v7")),
        (
            {"os": "windows", "architecture": "amd64", "os.version": "1.2"},
            Platform("windows", "amd64", None, "1.2"),
        ),
        ({"os": "", "architecture": ""}, None),
        ({"os": "linux"}, None),
        ({"os": "li\nnux", "architecture": "amd64"}, None),
        ({"os": ["linux"], "architecture": "amd64"}, None),
        (["linux"], None),
        (None, None),
    ],
)
def test_the_platform_of_a_config_is_what_it_states(
    document: Any, expected: Platform | None
) -> None:
    """Nonsense states none; what is stated is safe to show and to write in a line."""
    assert platform_of(document) == expected


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_a_rebuilt_index_keeps_every_field_of_what_it_keeps(media_type: str) -> None:
    """Entries and the index's own fields stay as they are, in their order; only entries go."""
    document = json.loads(THREE.raw) | {"mediaType": media_type, "x-own": [1, {"a": None}]}
    document["manifests"][0] |= {"annotations": {"a": "b"}, "urls": ["https://example.com/"]}
    manifest = Manifest.parse(json.dumps(document, indent=3).encode(), media_type)
    wanted = parse_platforms(["linux/s390x", "linux/amd64"])
    rebuilt = filtered_index(manifest, wanted)
    entries = [document["manifests"][0], document["manifests"][2]]
    assert list(json.loads(rebuilt.raw)) == list(document)
    assert json.loads(rebuilt.raw) == document | {"manifests": entries}
    assert rebuilt.media_type == media_type
    assert rebuilt.digest == Digest.of(rebuilt.raw)
    assert filtered_index(manifest, wanted).raw == rebuilt.raw


def test_version_1_is_pinned_to_its_bytes() -> None:
    """The bytes of a version never change: plans and records name their digests."""
    manifest = Manifest.parse(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [
                    {
                        "mediaType": "application/vnd.oci.image.manifest.v1+json",
                        "digest": "sha256:" + letter * 64,
                        "size": 7,
                        "platform": {"architecture": name, "os": "linux"},
                    }
                    for letter, name in (("a", "amd64"), ("b", "arm64"))
                ],
                "annotations": {"k": "\u00e9 \ud83d\ude00", "z": "</>"},
            },
            indent=2,
        ).encode()
    )
    assert filtered_index(manifest, parse_platforms(["linux/arm64"]), 1).raw == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":'
        b'[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:'
        + b"b"
        * 64
        + b'","size":7,"platform":{"architecture":"arm64","os":"linux"}}],'
        b'"annotations":{"k":"\\u00e9 \\ud83d\\ude00","z":"</>"}}'
    )


def test_an_index_whose_children_are_all_wanted_is_the_same_bytes() -> None:
    """Nothing to leave out is nothing to rebuild."""
    manifest = parse(THREE)
    assert filtered_index(manifest, parse_platforms(["linux/*"])) is manifest


def test_two_processes_rebuild_the_same_bytes() -> None:
    """Neither the process nor its hash seed has a part in the digest."""
    code = (
        "import sys; from imgmigrate.oci.manifest import Manifest;"
        "from imgmigrate.oci.platforms import filtered_index, parse_platforms;"
        "m = Manifest.parse(sys.stdin.buffer.read());"
        "print(filtered_index(m, parse_platforms(['linux/arm64'])).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=THREE.raw,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout.decode()
        for seed in ("1", "2")
    }
    assert digests == {f"{kept(THREE, 'linux/arm64').digest}\n"}


def test_attestations_follow_the_image_they_were_made_for() -> None:
    """What attests a kept child is kept, what attests another goes, and neither is a platform."""
    attestations = [images.attestation_of(child) for child in (AMD64, ARM64)]
    image = images.index(AMD64, ARM64, *attestations)
    rebuilt = kept(image, "linux/arm64")
    assert [child.digest for child in rebuilt.children] == [ARM64.top, attestations[1].top]
    with pytest.raises(NoSuchPlatformError):
        kept(image, "unknown/unknown")


def test_one_image_that_is_listed_for_two_platforms_keeps_the_wanted_entry() -> None:
    """Entries are chosen, not digests."""
    image = images.index(
        images.labelled(AMD64, "linux/arm/v6"), images.labelled(AMD64, "linux/arm/v7")
    )
    (entry,) = json.loads(kept(image, "linux/arm/v7").raw)["manifests"]
    assert entry["platform"]["variant"] == "v7"


@pytest.mark.parametrize("platform", ["linux/amd64", None])
def test_an_index_of_indexes_is_refused(platform: str | None) -> None:
    """What a nested index consists of cannot be seen, so nothing is guessed."""
    nested = images.index(images.labelled(images.two_platforms(), platform), S390X)
    with pytest.raises(ValueError, match="lists other indexes"):
        kept(nested, "linux/amd64")


def test_entries_without_a_platform_are_left_out() -> None:
    """What does not say where it runs was not asked for."""
    image = images.index(AMD64, images.labelled(S390X, None))
    assert [child.digest for child in kept(image, "linux/amd64").children] == [AMD64.top]


def test_no_match_names_what_there_is() -> None:
    """Zero of the wanted platforms is an error that helps to correct the choice."""
    with pytest.raises(NoSuchPlatformError) as caught:
        kept(THREE, "windows/amd64", "linux/riscv64")
    assert str(caught.value) == (
        "it has none of the platforms windows/amd64, linux/riscv64; "
        "it has linux/amd64, linux/arm64, linux/s390x"
    )
    with pytest.raises(NoSuchPlatformError, match="it has no platforms that it names"):
        kept(images.index(), "linux/amd64")


def test_a_version_of_the_future_is_refused() -> None:
    """Bytes that this version cannot make are not guessed."""
    with pytest.raises(
        ValueError, match=f"rebuilt by version 2; this imgmigrate has {FILTER_VERSION}"
    ):
        filtered_index(parse(THREE), parse_platforms(["linux/amd64"]), 2)


def test_what_cannot_be_written_as_json_is_refused() -> None:
    """A number that JSON cannot hold, or nesting without end, is an error and no other bytes."""
    two = images.index(AMD64, ARM64).raw.decode().removesuffix("}")
    endless = Manifest.parse(f'{two}, "x": 1e999}}'.encode())
    deep = Manifest.parse(f"{two}}}".encode())
    below: list[Any] = []
    for _ in range(10_000):
        below = [below]
    deep.document["x"] = below
    for manifest, said in ((endless, "Out of range"), (deep, "nested too deeply")):
        with pytest.raises(ValueError, match=said):
            filtered_index(manifest, parse_platforms(["linux/amd64"]))


NAMES = ["linux/amd64", "linux/arm64", "linux/s390x", "linux/arm/v7", "windows/amd64"]


@given(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=6),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
)
def test_rebuilding_twice_changes_nothing(listed: list[str], wanted: list[str]) -> None:
    """What was kept would be kept again, and is exactly what was listed and wanted."""
    children = [images.labelled(AMD64, name) for name in listed]
    choice = parse_platforms(wanted)
    manifest = parse(images.index(*children))
    if not set(listed) & set(wanted):
        with pytest.raises(NoSuchPlatformError):
            filtered_index(manifest, choice)
        return
    rebuilt = filtered_index(manifest, choice)
    assert filtered_index(rebuilt, choice) is rebuilt
    entries = json.loads(rebuilt.raw)["manifests"]
    assert [str(platform_of(each["platform"])) for each in entries] == [
        name for name in listed if name in wanted
    ]
