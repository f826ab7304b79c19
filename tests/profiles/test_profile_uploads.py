"""The profiles do what they say of uploads and mounts."""

from __future__ import annotations

import pytest

from tests.profiles.client import BLOB, DATA, REPO, serve
from tests.support import images
from tests.support.images import digest_of


@pytest.mark.parametrize(("name", "status"), [("zot", 201), ("quay", 201), ("ecr", 202)])
def test_profile_takes_a_single_post_or_opens_an_upload(name: str, status: int) -> None:
    """`POST ?digest=` with the blob."""
    with serve(name) as client:
        answer = client("POST", f"/v2/{REPO}/blobs/uploads/?digest={BLOB}", DATA)
        assert answer.status == status
        assert client.registry.storage.has_blob(REPO, BLOB) is (status == 201)


@pytest.mark.parametrize(
    ("name", "query", "status"),
    [
        ("distribution-2.8", "mount={blob}&from=other/app", 201),
        ("distribution-2.8", "mount={blob}&from=none/app", 202),
        ("distribution-2.8", "mount={blob}", 202),
        ("zot", "mount={blob}&from=none/app", 201),
        ("quay", "mount={blob}", 400),
        ("harbor", "mount={blob}&from=nowhere/app", 401),
        ("pulp", "mount={blob}&from=none/app", 404),
        ("pulp", "mount={blob}&from=other/app", 201),
        ("gar", "mount={blob}&from=other/app", 202),
        ("ecr", "mount={blob}&from=other/app", 202),
    ],
)
def test_profile_mounts_in_its_own_way(name: str, query: str, status: int) -> None:
    """What a mount is answered (protocol 3.1)."""
    with serve(name) as client:
        client.registry.storage.add_blob("other/app", DATA)
        path = f"/v2/{REPO}/blobs/uploads/?{query.format(blob=BLOB)}"
        assert client("POST", path, b"").status == status


def test_profile_ecr_mounts_what_a_manifest_names() -> None:
    """A blob of a committed manifest can be mounted, any other not."""
    image = images.image()
    with serve("ecr") as client:
        client.registry.put_image("other/app", "1", image)
        digest = next(iter(image.blobs))
        path = f"/v2/{REPO}/blobs/uploads/?mount={digest}&from=other/app"
        assert client("POST", path, b"").status == 201


@pytest.mark.parametrize(
    ("name", "opened", "status", "ranges"),
    [
        ("distribution-3", "0-0", 202, ["0-9", "0-19"]),
        ("quay", "bytes=0--1", 202, ["bytes=0-10", "bytes=0-20"]),
        ("ecr", "0-0", 201, ["0-9", "0-9"]),
    ],
)
def test_profile_tells_how_far_an_upload_is(
    name: str, opened: str, status: int, ranges: list[str]
) -> None:
    """Quay counts one too many, ECR stays at its first part (protocol 3.2)."""
    with serve(name, smallest_patch=None) as client:
        answer = client("POST", f"/v2/{REPO}/blobs/uploads/", b"")
        assert answer.headers["Range"] == opened
        told = []
        for _ in ranges:
            answer = client("PATCH", answer.headers["Location"], DATA)
            assert answer.status == status
            told.append(answer.headers["Range"])
        assert told == ranges
        state = client("GET", answer.headers["Location"])
        assert (state.status, state.headers["Range"]) == (204, ranges[-1])
        assert ("Location" in state.headers) is (name != "quay")


def test_profile_ghcr_spoils_blobs_of_several_pieces() -> None:
    """The last PATCH wins, and nobody says so; a large one is refused."""
    whole = DATA + DATA
    with serve("ghcr", largest_patch=len(DATA)) as client:
        location = client.begin()
        assert client("PATCH", location, whole).status == 416
        location = client("PATCH", client.begin(), DATA).headers["Location"]
        location = client("PATCH", location, DATA).headers["Location"]
        assert client("PUT", f"{location}&digest={digest_of(whole)}", b"").status == 201
        assert client.registry.blobs[digest_of(whole)] == DATA


def test_profile_ecr_wants_parts_of_a_size() -> None:
    """Only the last part may be smaller."""
    with serve("ecr", smallest_patch=len(DATA)) as client:
        location = client("PATCH", client.begin(), DATA[:-1]).headers["Location"]
        assert client("PATCH", location, DATA).status == 416


def test_profile_gar_takes_one_piece_and_long_locations() -> None:
    """No chunks; a Location of several KB that must come back as it is."""
    with serve("gar") as client:
        location = client.begin()
        assert len(location) > 6 * 1024
        location = client("PATCH", location, DATA).headers["Location"]
        assert client("PATCH", location, DATA).status == 405
        assert client("PUT", f"{location}&digest={BLOB}", b"").status == 201
