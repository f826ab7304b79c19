"""The fake registry is honest: it takes and serves what a real registry takes and serves."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.fakes.registry import FakeRegistry, User, in_thread
from tests.support import images, registries
from tests.support.cli import TIMEOUT
from tests.support.docker_registry import serve
from tests.support.fake_process import run_fake
from tests.support.layouts import assert_layout_holds, write_layout
from tests.support.registries import Remote, request
from tests.support.tools import skopeo_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartRegistry

WRONG = "sha256:" + "0" * 64


@contextmanager
def _host(kind: str, folder: Path) -> Iterator[str]:
    if kind == "fake":
        with in_thread(FakeRegistry()) as registry:
            yield registry.host
    else:
        with serve(folder / "server") as server:
            yield server.host


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.integration)])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Run the same test against the fake and against docker-registry."""
    with _host(request.param, tmp_path) as host:
        yield host


@pytest.mark.parametrize("kind", images.KINDS)
def test_every_kind_of_image_comes_back_byte_for_byte(host: str, kind: str) -> None:
    """What is pushed is what is served: manifests, children and blobs of every kind."""
    image = images.KINDS[kind]("a")
    registries.push(host, "team/app", "1.0", image)
    registries.assert_holds(host, "team/app", "1.0", image)
    registries.assert_holds(host, "team/app", image.top, image)


def test_a_manifest_whose_blobs_are_missing_is_refused(host: str) -> None:
    """Blobs come before their manifest."""
    image = images.image()
    headers = {"Content-Type": image.media_type}
    answer = request(host, "PUT", "/v2/app/manifests/1", body=image.raw, headers=headers)
    assert (answer.status, b"MANIFEST_BLOB_UNKNOWN" in answer.body) == (400, True)
    assert registries.list_tags(host, "app") == []


def test_an_index_whose_children_are_missing_is_refused(host: str) -> None:
    """Children come before their index."""
    image = images.two_platforms()
    headers = {"Content-Type": image.media_type}
    answer = request(host, "PUT", "/v2/app/manifests/1", body=image.raw, headers=headers)
    assert (answer.status, b"MANIFEST_BLOB_UNKNOWN" in answer.body) == (400, True)


def test_a_blob_with_a_wrong_digest_is_refused(host: str) -> None:
    """A digest is checked, and the blob does not exist afterwards."""
    location = request(host, "POST", "/v2/app/blobs/uploads/", body=b"").headers["Location"]
    answer = request(host, "PUT", f"{location}&digest={WRONG}", body=b"other")
    assert (answer.status, b"DIGEST_INVALID" in answer.body) == (400, True)
    assert request(host, "HEAD", f"/v2/app/blobs/{WRONG}").status == 404


def test_a_manifest_under_a_wrong_digest_is_refused(host: str) -> None:
    """A manifest is stored under no digest but its own."""
    image = images.image()
    registries.push(host, "app", "1", image)
    headers = {"Content-Type": image.media_type}
    answer = request(host, "PUT", f"/v2/app/manifests/{WRONG}", body=image.raw, headers=headers)
    assert (answer.status, b"DIGEST_INVALID" in answer.body) == (400, True)


def test_a_blob_is_visible_only_in_its_repository(host: str) -> None:
    """That a registry holds a blob does not show it in every repository."""
    digest = registries.put_blob(host, "one", b"data")
    assert request(host, "HEAD", f"/v2/one/blobs/{digest}").status == 200
    assert request(host, "HEAD", f"/v2/two/blobs/{digest}").status == 404


def test_a_mount_shows_a_blob_without_an_upload(host: str) -> None:
    """A mount from a repository that has the blob answers 201, and the blob is there."""
    digest = registries.put_blob(host, "one", b"data")
    path = f"/v2/two/blobs/uploads/?mount={digest}&from=one"
    assert request(host, "POST", path, body=b"").status == 201
    assert registries.get_blob(host, "two", digest) == b"data"


def test_a_mount_of_a_missing_blob_opens_an_upload(host: str) -> None:
    """A refused mount is 202 with a session that takes the blob."""
    digest = images.digest_of(b"data")
    path = f"/v2/two/blobs/uploads/?mount={digest}&from=one"
    opened = request(host, "POST", path, body=b"")
    assert opened.status == 202
    location = opened.headers["Location"]
    assert request(host, "PUT", f"{location}&digest={digest}", body=b"data").status == 201
    assert registries.get_blob(host, "two", digest) == b"data"


def test_a_range_is_served_from_its_offset(host: str) -> None:
    """A broken download can go on where it stopped."""
    digest = registries.put_blob(host, "app", b"0123456789")
    answer = request(host, "GET", f"/v2/app/blobs/{digest}", headers={"Range": "bytes=4-"})
    assert (answer.status, answer.body) == (206, b"456789")
    assert answer.headers["Content-Range"] == "bytes 4-9/10"


def test_an_upload_in_pieces_is_put_together(host: str) -> None:
    """PATCH pieces and the last PUT make one blob; its Location changes each time."""
    digest = images.digest_of(b"onetwothree")
    location = request(host, "POST", "/v2/app/blobs/uploads/", body=b"").headers["Location"]
    for piece in (b"one", b"two"):
        answer = request(host, "PATCH", location, body=piece)
        assert answer.status == 202
        location = answer.headers["Location"]
    assert request(host, "PUT", f"{location}&digest={digest}", body=b"three").status == 201
    assert registries.get_blob(host, "app", digest) == b"onetwothree"


def test_what_is_not_there_is_not_found(host: str) -> None:
    """Unknown repositories, tags, manifests and blobs answer 404 with the right code."""
    registries.push(host, "app", "1", images.image())
    for path, code in {
        "/v2/none/tags/list": b"NAME_UNKNOWN",
        "/v2/app/manifests/2": b"MANIFEST_UNKNOWN",
        f"/v2/app/manifests/{WRONG}": b"MANIFEST_UNKNOWN",
        f"/v2/app/blobs/{WRONG}": b"BLOB_UNKNOWN",
    }.items():
        answer = request(host, "GET", path, headers={"Accept": images.OCI_MANIFEST})
        assert (answer.status, code in answer.body) == (404, True), path


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["image", "two-platforms", "attested"])
def test_skopeo_pushes_to_and_pulls_from_the_fake(tmp_path: Path, kind: str) -> None:
    """An independent client is satisfied with the fake as a process, both ways."""
    image = images.KINDS[kind]("a")
    write_layout(tmp_path / "source", "1", image)
    with run_fake(tmp_path) as fake:
        remote = f"docker://{fake.host}/team/app:1"
        skopeo_copy(f"oci:{tmp_path}/source:1", remote)
        registries.assert_holds(fake.host, "team/app", "1", image)
        skopeo_copy(remote, f"oci:{tmp_path}/copy:1")
        statuses = {one["status"] for one in fake.requests() if one["method"] == "PUT"}
    assert_layout_holds(tmp_path / "copy", "1", image)
    assert statuses == {201}


@pytest.mark.integration
@pytest.mark.parametrize("scheme", ["basic", "token"])
def test_skopeo_authenticates_to_the_fake(tmp_path: Path, scheme: str) -> None:
    """An independent client gets through both kinds of authentication, and not without."""
    image = images.image()
    write_layout(tmp_path / "source", "1", image)
    with run_fake(tmp_path, "--auth", scheme, "--user", "bob:s:cret", "--redirect", "307") as fake:
        remote = f"docker://{fake.host}/team/app:1"
        flags = ("--preserve-digests", "--dest-creds", "bob:s:cret")
        skopeo_copy(f"oci:{tmp_path}/source:1", remote, *flags)
        flags = ("--preserve-digests", "--src-creds", "bob:s:cret")
        skopeo_copy(remote, f"oci:{tmp_path}/copy:1", *flags)
        with pytest.raises(AssertionError, match=r"(?i)unauthorized|authentication required"):
            skopeo_copy(f"oci:{tmp_path}/source:1", remote, "--dest-no-creds")
    assert_layout_holds(tmp_path / "copy", "1", image)


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["docker", "docker-list", "artifact"])
def test_skopeo_moves_an_image_from_the_real_registry_to_the_fake_and_back(
    tmp_path: Path, docker_registry: StartRegistry, kind: str
) -> None:
    """The fake and docker-registry are the same to an independent client."""
    image, real = images.KINDS[kind]("a"), docker_registry()
    registries.push(real.remote, "app", "1", image)
    with run_fake(tmp_path) as fake:
        skopeo_copy(f"docker://{real.host}/app:1", f"docker://{fake.host}/moved:1")
        registries.assert_same_image(real.remote, "app", "1", fake.host, "moved", "1")
        skopeo_copy(f"docker://{fake.host}/moved:1", f"docker://{real.host}/back:1")
    registries.assert_holds(real.remote, "back", "1", image)


def test_the_client_is_killed_before_its_request_is_answered(tmp_path: Path) -> None:
    """With `--kill-at 3` the client dies at its third request, which the server still does."""
    pid_file = tmp_path / "pid"
    client = (
        "import os, pathlib, sys; from tests.support import registries\n"
        "pathlib.Path(sys.argv[2]).write_text(str(os.getpid()))\n"
        "for number in range(9): registries.put_blob(sys.argv[1], 'app', b'%d' % number)\n"
    )
    with run_fake(tmp_path, "--kill-at", "3", "--kill-pid-file", str(pid_file)) as fake:
        done = subprocess.run([sys.executable, "-c", client, fake.host, pid_file], timeout=TIMEOUT)
        registries.list_tags(fake.host, "app")
        seen = [(one["number"], one["method"], one["status"]) for one in fake.requests()]
    assert done.returncode == -9
    assert [one for one in seen if one[0] <= 3] == [
        (1, "POST", 202),
        (2, "PUT", 201),
        (3, "POST", 0),
    ]


def test_wrong_passwords_and_missing_rights_are_told_apart() -> None:
    """Basic: 401 for credentials that are wrong, 403 for rights that are missing."""
    reader = User("bob", "good", push=())
    with in_thread(FakeRegistry(auth="basic", users=[reader])) as registry:
        registry.put_image("app", "1", images.image())
        good, bad = Remote(registry.host, "bob", "good"), Remote(registry.host, "bob", "bad")
        assert request(good, "GET", "/v2/app/tags/list").status == 200
        assert request(good, "POST", "/v2/app/blobs/uploads/", body=b"").status == 403
        assert request(bad, "GET", "/v2/app/tags/list").status == 401
        assert request(registry.host, "GET", "/v2/").status == 401
