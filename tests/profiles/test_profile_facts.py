"""The profiles do what they say of listings, manifests, referrers and deletes."""

from __future__ import annotations

import json

import pytest

from tests.fakes.registry import PROFILES
from tests.profiles.client import ABSENT, REPO, serve
from tests.support import images


@pytest.mark.parametrize("name", PROFILES)
def test_profile_takes_and_serves_an_image(name: str) -> None:
    """Every profile is a registry first: what one pushes in its ordinary form comes back."""
    image = images.image()
    with serve(name, redirect_status=None) as client:
        for digest, data in image.blobs.items():
            location = client("PATCH", client.begin(), data).headers["Location"]
            assert client("PUT", f"{location}&digest={digest}", b"").status == 201
            assert client("GET", f"/v2/{REPO}/blobs/{digest}").body == data
        assert client.put("1", image).status in (201, 202)
        answer = client("GET", f"/v2/{REPO}/manifests/1", Accept=image.media_type)
        assert (answer.body, answer.headers["Content-Type"]) == (image.raw, image.media_type)
        assert "1" in client.tags()


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("docker-hub", 401),
        ("quay", 401),
        ("harbor", 401),
        ("ghcr", 404),
        ("alibaba-acr", 404),
        ("zot", 200),
        ("distribution-2.8", 200),
    ],
)
def test_profile_offers_a_catalog_or_not(name: str, status: int) -> None:
    """Most hosted registries have none."""
    with serve(name) as client:
        assert client("GET", "/v2/_catalog").status == status


@pytest.mark.parametrize(
    ("name", "by_tag", "by_digest"),
    [
        ("distribution-2.8", 405, 405),
        ("ghcr", 405, 405),
        ("docker-hub", 202, 202),
        ("zot", 202, 202),
    ],
)
def test_profile_deletes_or_not(name: str, by_tag: int, by_digest: int) -> None:
    """A tag alone, or a manifest with all its tags."""
    one, two = images.image("one"), images.image("two")
    with serve(name) as client:
        client.registry.put_image(REPO, "1", one)
        client.registry.put_image(REPO, "2", two)
        assert client("DELETE", f"/v2/{REPO}/manifests/1").status == by_tag
        assert client("DELETE", f"/v2/{REPO}/manifests/{two.top}").status == by_digest
        left = client.registry.tags(REPO)
        assert set(left) == ({"1", "2"} if by_tag == 405 else set())
        assert (one.top in client.registry.repositories[REPO].manifests) is True


def test_profile_distribution_deletes_by_digest_alone() -> None:
    """Even with deletion on, 2.8 has no way to delete a tag; then it lists null."""
    with serve("distribution-2.8", deletes=True) as client:
        image = images.image()
        client.registry.put_image(REPO, "1", image)
        answer = client("DELETE", f"/v2/{REPO}/manifests/1")
        assert (answer.status, b"DIGEST_INVALID" in answer.body) == (400, True)
        assert client("DELETE", f"/v2/{REPO}/manifests/{image.top}").status == 202
        assert client.tags() is None


@pytest.mark.parametrize(
    ("name", "says_subject", "unknown"),
    [
        ("zot", True, 200),
        ("harbor", True, 200),
        ("quay", False, 400),
        ("ecr", True, 200),
        ("acr", True, 200),
        ("distribution-3", False, 404),
        ("ghcr", False, 404),
    ],
)
def test_profile_lists_referrers_or_not(name: str, says_subject: bool, unknown: int) -> None:
    """A referrer is listed with its type; a subject need not be there."""
    image = images.image()
    referrer = images.artifact(subject=image)
    with serve(name) as client:
        client.registry.put_image(REPO, "1", image)
        put = client.put(referrer.top, referrer)
        assert put.status in (201, 202)
        assert put.headers.get("OCI-Subject") == (image.top if says_subject else None)
        path = f"/v2/{REPO}/referrers/"
        assert client("GET", f"{path}{ABSENT}").status == unknown
        answer = client("GET", f"{path}{image.top}")
        if unknown == 404:
            assert answer.status == 404
            return
        (entry,) = json.loads(answer.body)["manifests"]
        assert (entry["digest"], entry["artifactType"]) == (
            referrer.top,
            "application/vnd.example.thing",
        )
        none = client("GET", f"{path}{image.top}?artifactType=other")
        assert json.loads(none.body)["manifests"] == []
        assert none.headers["OCI-Filters-Applied"] == "artifactType"


@pytest.mark.parametrize(
    ("name", "query", "status"),
    [
        ("ecr", "?n=1001", 405),
        ("ecr", "?n=2&last=1", 405),
        ("zot", "?n=2&last=gone", 404),
        ("harbor", "?n=2&last=gone", 400),
        ("artifactory", "?n=2&last=1.0", 400),
        ("distribution-3", "?n=5000", 200),
    ],
)
def test_profile_minds_its_pages(name: str, query: str, status: int) -> None:
    """What may be asked of a listing differs (protocol 2.2)."""
    with serve(name) as client:
        client.registry.put_image(REPO, "1", images.image())
        assert client("GET", f"/v2/{REPO}/tags/list{query}").status == status


def test_profile_pulp_ends_with_an_empty_page() -> None:
    """Whenever a page is full, another is promised."""
    with serve("pulp") as client:
        for tag in ("1", "2"):
            client.registry.put_image(REPO, tag, images.image())
        answer = client("GET", f"/v2/{REPO}/tags/list?n=2")
        link = answer.headers["Link"]
        last = client("GET", link[link.index("<") + 1 : link.index(">")])
        assert (json.loads(last.body)["tags"], last.headers.get("Link")) == ([], None)


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("nexus", ["1", None]),
        ("artifactory", ["1", "_uploads", images.image().top]),
        ("hostile", ["1"]),
    ],
)
def test_profile_lists_what_is_no_tag(name: str, listed: list[str | None]) -> None:
    """Nulls, digests and leftovers stand among the tags (protocol 2.2)."""
    with serve(name) as client:
        client.registry.put_image(REPO, "1", images.image())
        assert client.tags() == listed


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("ecr", 400, b"TAG_INVALID"),
        ("quay", 409, b"TAG_IMMUTABLE"),
        ("harbor", 412, b"PRECONDITION"),
    ],
)
def test_profile_keeps_immutable_tags(name: str, status: int, code: bytes) -> None:
    """Each says it in its own way; ECR refuses even the same image (protocol 3.6)."""
    with serve(name, immutable=("*",)) as client:
        first, other = images.image("first"), images.image("other")
        assert client.put("1", first).status in (201, 202)
        again = client.put("1", first).status
        assert again == status if name == "ecr" else again in (201, 202)
        answer = client.put("1", other)
        assert (answer.status, code in answer.body) == (status, True)


def test_profile_gitlab_takes_a_referrers_tag_for_the_digest() -> None:
    """The image itself is answered (oras#2148)."""
    image = images.image()
    with serve("gitlab") as client:
        client.registry.put_image(REPO, "1", image)
        path = f"/v2/{REPO}/manifests/{image.top.replace(':', '-')}"
        assert client("GET", path, Accept=image.media_type).body == image.raw


def test_profile_artifactory_hides_behind_403() -> None:
    """HEAD of what is not there is denied, GET says the truth (RTFACT-13797)."""
    with serve("artifactory") as client:
        path = f"/v2/{REPO}/manifests/none"
        assert [client(method, path).status for method in ("HEAD", "GET")] == [403, 404]


def test_profile_harbor_gives_another_length_on_head() -> None:
    """A length that compression changed is no use (protocol 2.1)."""
    image = images.image()
    with serve("harbor") as client:
        client.registry.put_image(REPO, "1", image)
        head = client("HEAD", f"/v2/{REPO}/manifests/1", Accept=image.media_type)
        assert int(head.headers["Content-Length"]) != len(image.raw)


def test_profile_docker_hub_counts_gets_and_no_heads() -> None:
    """A pull is a GET of a manifest; at none left it is 429 and says where to buy more."""
    image = images.image()
    with serve("docker-hub", pulls_left=1) as client:
        client.registry.put_image(REPO, "1", image)
        path = f"/v2/{REPO}/manifests/1"
        left = []
        for method in ("HEAD", "GET", "HEAD"):
            answer = client(method, path, Accept=image.media_type)
            left.append(answer.headers["ratelimit-remaining"])
        assert left == ["1;w=21600", "0;w=21600", "0;w=21600"]
        refused = client("GET", path, Accept=image.media_type)
        assert (refused.status, b"increase-rate-limits" in refused.body) == (429, True)
