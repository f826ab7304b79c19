"""The helpers that other tests lean on: images, layouts, real servers and real tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
import stamina

from imgmigrate.oci.manifest import Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.redaction import hide, redact
from tests.fakes.registry import FakeRegistry, in_thread
from tests.support import images, registries
from tests.support.certificates import make_certificates
from tests.support.cli import TIMEOUT
from tests.support.docker_registry import PASSWORD, USERNAME
from tests.support.layouts import assert_layout_holds, layout_tags, write_layout
from tests.support.real_images import push_schema2, real_images
from tests.support.registries import Remote
from tests.support.tools import skopeo_copy, skopeo_inspect

if TYPE_CHECKING:
    from aioresponses import aioresponses

    from tests.conftest import StartRegistry

MAKE_IMAGES = Path(__file__).parents[1] / "examples" / "quickstart" / "make_images.py"


@pytest.mark.parametrize("kind", images.KINDS)
def test_an_image_is_whole_and_deterministic(kind: str) -> None:
    """Same seed, same bytes; other seed, other digest; all that is named is there."""
    image = images.KINDS[kind]("a")
    assert image == images.KINDS[kind]("a")
    assert image.top != images.KINDS[kind]("b").top
    seen: list[str] = []
    for digest, (media_type, raw) in image.manifests.items():
        manifest = Manifest.parse(raw, media_type, expected=Digest.parse(digest))
        assert all(child.digest in seen for child in manifest.children)
        assert all(len(image.blobs[one.digest]) == one.size for one in manifest.blobs)
        seen.append(digest)
    assert seen[-1] == image.top


def test_sharing_images_share_their_base_only() -> None:
    """Of each image two layers are everybody's and one is its own."""
    blobs = [set(image.blobs) for image in images.sharing(3)]
    assert len(set.intersection(*blobs)) == 2
    assert len(set.union(*blobs)) == 2 + 3 * 2


@pytest.mark.parametrize("kind", images.KINDS)
def test_a_layout_gives_back_what_was_written(tmp_path: Path, kind: str) -> None:
    """A layout holds several tags; writing one again moves it."""
    first, second = images.KINDS[kind]("a"), images.KINDS[kind]("b")
    for tag, image in [("1", first), ("2", first), ("2", second)]:
        write_layout(tmp_path, tag, image)
    assert layout_tags(tmp_path) == {"1": first.top, "2": second.top}
    assert_layout_holds(tmp_path, "1", first)
    assert_layout_holds(tmp_path, "2", second)


def test_a_difference_is_noticed(tmp_path: Path) -> None:
    """The comparison fails on another image and on a damaged blob."""
    image = images.image()
    write_layout(tmp_path, "1", image)
    with pytest.raises(AssertionError):
        assert_layout_holds(tmp_path, "1", images.image("b"))
    blob = tmp_path / "blobs" / "sha256" / sorted(image.blobs)[0].removeprefix("sha256:")
    blob.write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="holds other bytes"):
        assert_layout_holds(tmp_path, "1", image)


@pytest.mark.integration
def test_each_real_image_reaches_a_registry_and_skopeo_reads_it(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Images by umoci and skopeo are pushed, compared, and pulled by skopeo (not nested ones)."""
    host, made = docker_registry().host, real_images(tmp_path / "made")
    for name, image in made.items():
        registries.push(host, f"real/{name}", "1", image)
        registries.assert_holds(host, f"real/{name}", "1", image)
        if name != "nested":
            skopeo_copy(f"docker://{host}/real/{name}:1", f"dir:{tmp_path}/{name}")
    push_schema2(tmp_path / "made" / "umoci", "amd64", host, "real/schema2", "1")
    schema2 = registries.pull(host, "real/schema2", "1")
    assert schema2.media_type == images.DOCKER_MANIFEST
    assert len(schema2.document["layers"]) == 3


@pytest.mark.integration
def test_the_access_log_counts_uploads_and_mounts(docker_registry: StartRegistry) -> None:
    """Each committed upload and each mount is one line with the blob's digest."""
    registry = docker_registry()
    digest = registries.put_blob(registry.remote, "one", b"data")
    path = f"/v2/two/blobs/uploads/?mount={digest}&from=one"
    assert registries.request(registry.remote, "POST", path, body=b"").status == 201
    assert (registry.uploads(), registry.mounts()) == ({digest: 1}, {digest: 1})
    assert [line.method for line in registry.access_log()] == ["POST", "PUT", "POST"]
    registry.stop()
    with pytest.raises(urllib.error.URLError):
        registries.list_tags(registry.remote, "one")


@pytest.mark.integration
def test_a_registry_with_tls_and_a_password_lets_only_its_user_in(
    docker_registry: StartRegistry,
) -> None:
    """Its certificate is good for its authority, its password for its user."""
    registry = docker_registry(htpasswd=True, tls=True)
    image = images.image()
    registries.push(registry.remote, "app", "1", image)
    registries.assert_holds(registry.remote, "app", "1", image)
    assert (registry.remote.username, registry.remote.password) == (USERNAME, PASSWORD)
    nobody = Remote(registry.host, tls=registry.remote.tls)
    assert registries.request(nobody, "GET", "/v2/").status == 401


def test_retries_are_tried_without_waiting() -> None:
    """A retry that would wait an hour waits nothing, and stops at its own number of attempts."""
    tries: list[int] = []

    @stamina.retry(on=OSError, attempts=3, wait_initial=3600, wait_max=3600)
    def fail() -> None:
        tries.append(1)
        raise OSError

    with pytest.raises(OSError):
        fail()
    assert len(tries) == 3


@pytest.mark.parametrize("_again", [1, 2])
def test_a_hidden_secret_is_forgotten_after_its_test(_again: int) -> None:
    """What one test hides, another test may print."""
    assert redact("hunter22") == "hunter22"
    hide("hunter22")
    assert redact("hunter22") == "***"


def test_a_fake_with_tls_is_reached_with_its_authority_alone(tmp_path: Path) -> None:
    """The fake speaks TLS when given a certificate."""
    certificates = make_certificates(tmp_path)
    with in_thread(FakeRegistry(tls=certificates.server)) as registry:
        remote = Remote(registry.host, tls=certificates.client)
        image = images.image()
        registries.push(remote, "app", "1", image)
        assert registry.image("app", "1") == replace(image, platform=None)


def test_the_environment_is_the_tests_own(home: Path) -> None:
    """Docker's settings are looked for in an empty home, and no proxy is set."""
    assert os.environ["DOCKER_CONFIG"] == str(home / ".docker")
    assert list(home.iterdir()) == []
    assert not [name for name in os.environ if name.lower().endswith("_proxy")]


async def test_a_mocked_body_of_any_size_is_read(mocked: aioresponses) -> None:
    """The mended mock answers, and streams more than a connection's buffer."""
    mocked.get("http://registry.example/v2/", body=b"x" * 300_000)
    async with (
        aiohttp.ClientSession() as session,
        session.get("http://registry.example/v2/") as answer,
    ):
        assert len(await answer.read()) == 300_000


@pytest.mark.integration
def test_the_quick_start_images_are_small_and_open_everywhere(tmp_path: Path) -> None:
    """Two runs write the same bytes, a few KB, and skopeo opens every tag on this machine."""
    for name in ("a", "b"):
        command = [sys.executable, "-I", str(MAKE_IMAGES), str(tmp_path / name)]
        subprocess.run(command, check=True, timeout=TIMEOUT)
    first, second = (_contents(tmp_path / name) for name in ("a", "b"))
    assert first == second
    assert sum(map(len, first.values())) < 20_000
    tags = {name: layout_tags(tmp_path / "a" / name) for name in ("web", "api", "tools")}
    assert {name: sorted(each) for name, each in tags.items()} == {
        "web": ["1.0", "1.1", "latest"],
        "api": ["v1", "v2"],
        "tools": ["stable"],
    }
    for name, each in tags.items():
        for tag in each:
            assert skopeo_inspect(f"oci:{tmp_path}/a/{name}:{tag}")["Os"] == "linux"
    index = json.loads((tmp_path / "a" / "api" / "index.json").read_bytes())
    assert {entry["mediaType"] for entry in index["manifests"]} == {images.OCI_INDEX}


def _contents(folder: Path) -> dict[Path, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in files}
