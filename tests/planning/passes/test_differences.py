"""What is said of an index that changes: in the words of whoever pulls from it."""

from __future__ import annotations

from imgmigrate.oci.manifest import Manifest
from imgmigrate.planning.passes.differences import explain
from tests.support.images import Image, attestation_of, image, index


def manifest(made: Image) -> Manifest:
    return Manifest.parse(made.raw, made.media_type)


def short(made: Image) -> str:
    return manifest(made).digest.short


def test_an_attestation_is_named_by_the_platform_that_it_is_for() -> None:
    """Each of several is told, and none is a platform `unknown/unknown`."""
    old = [
        image(seed, platform=name) for seed, name in (("a", "linux/amd64"), ("b", "linux/arm64"))
    ]
    new = [
        image(seed, platform=name) for seed, name in (("c", "linux/amd64"), ("d", "linux/arm64"))
    ]
    before = index(*old, *map(attestation_of, old))
    after = index(*new, *map(attestation_of, new))
    names = ("linux/amd64", "linux/arm64")
    kinds = [f"{kind} {name}" for kind in ("platform", "attestation of") for name in names]
    pairs = [*zip(old, new, strict=True)]
    pairs += [(attestation_of(one), attestation_of(other)) for one, other in pairs]
    assert explain(manifest(before), manifest(after)) == tuple(
        f"{kind}: {short(one)} -> {short(other)}"
        for kind, (one, other) in zip(kinds, pairs, strict=True)
    )


def test_an_attestation_that_joins_is_no_platform() -> None:
    """What is added beside an image that stays is said to be an attestation of it."""
    subject = image("a", platform="linux/arm64")
    before, after = index(subject), index(subject, attestation_of(subject))
    assert explain(manifest(before), manifest(after)) == ("attestation of linux/arm64 added",)
    assert explain(manifest(after), manifest(before)) == ("attestation of linux/arm64 removed",)


def test_two_images_of_one_platform_are_both_told() -> None:
    """Some indexes list several, such as two Windows builds that state no version."""
    first, second, third = (image(seed, platform="windows/amd64") for seed in "abc")
    before, after = index(first, second), index(first, third)
    old, new = f"{short(first)}, {short(second)}", f"{short(first)}, {short(third)}"
    said = explain(manifest(before), manifest(after))
    assert said == (f"platform windows/amd64: {old} -> {new}",)
