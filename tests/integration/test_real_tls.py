"""Private authorities and client certificates at a real docker-registry, by the real command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import images, registries
from tests.support.certificates import make_certificates
from tests.support.cli import write_config
from tests.support.docker_registry import PASSWORD, USERNAME, put_on_disk
from tests.support.moves import assert_says, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.support.docker_registry import DockerRegistry

pytestmark = pytest.mark.integration

IMAGE = images.two_platforms()
LOGIN = f"username: {USERNAME}, password: '{PASSWORD}'"


@pytest.fixture
def old(tmp_path: Path, docker_registry: StartRegistry) -> DockerRegistry:
    """Where the image is, in the clear."""
    put_on_disk(tmp_path / "old", "app", "1", IMAGE)
    return docker_registry("old")


def configure(folder: Path, old: DockerRegistry, new: DockerRegistry, entry: str) -> None:
    """Move `app` to a registry with `entry` as its settings."""
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app}}"
    write_config(folder, rule, old.host, registries=f"  '{new.host}': {{{entry}}}\n")


async def test_a_private_authority_and_a_client_certificate_open_both_sides(
    tmp_path: Path, old: DockerRegistry, docker_registry: StartRegistry
) -> None:
    """With `tls` in the config the image goes in, and out again to a third registry."""
    new = docker_registry("new", tls=True, client_certificates=True, htpasswd=True)
    tls = "tls: {ca_file: new/ca.pem, client_cert: new/client.pem, client_key: new/client.key}"
    configure(tmp_path, old, new, f"{tls}, {LOGIN}")
    await run(tmp_path, "apply", "--auto-approve")
    registries.assert_holds(new.remote, "app", "1", IMAGE)

    rule = f"  - {{source: {new.host}/app, destination: {old.host}/back}}"
    settings = f"  '{new.host}': {{{tls}, {LOGIN}}}\n"
    write_config(tmp_path, rule, old.host, registries=settings)
    await run(tmp_path, "apply", "--auto-approve", "--state", "state/back")
    registries.assert_holds(old.remote, "back", "1", IMAGE)


CLIENT = "client_cert: {0}/client.pem, client_key: {0}/client.key"
REFUSED = {
    "unknown authority": ("tls: {}", ["not trusted", ".tls.ca_file"]),
    "another authority": ("tls: {ca_file: other/ca.pem}", ["not trusted", ".tls.ca_file"]),
    "no client certificate": (
        "tls: {ca_file: new/ca.pem}",
        ["wants a client certificate", ".tls.client_cert"],
    ),
    "a stranger's certificate": (
        f"tls: {{ca_file: new/ca.pem, {CLIENT.format('other')}}}",
        ["wants a client certificate", ".tls.client_cert"],
    ),
    "plain HTTP": ("plain_http: true", ["speaks TLS", "remove plain_http"]),
    "wrong password": (
        f"tls: {{ca_file: new/ca.pem, {CLIENT.format('new')}}}, username: alice, password: wrong",
        ["401", "the credentials of the config were refused"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_connection_that_cannot_be_trusted_is_one_sentence(
    tmp_path: Path, old: DockerRegistry, docker_registry: StartRegistry, case: str
) -> None:
    """Address, cause and the setting that mends it, at once and not after retries; exit 3."""
    new = docker_registry("new", tls=True, client_certificates=True, htpasswd=True)
    (tmp_path / "other").mkdir()
    make_certificates(tmp_path / "other")
    entry, words = REFUSED[case]
    configure(tmp_path, old, new, entry)
    ran = await run(tmp_path, "plan", "--out", "plan.out", code=3)
    row = next(line for line in ran.out.splitlines() if f"destination {new.host}" in line)
    assert_says(row, f'registries."{new.host}"', *words)
    assert "retrying" not in ran.err
    assert registries.list_tags(new.remote, "app") == []


@pytest.mark.parametrize("key", ["ca_file", "client_cert"])
async def test_a_file_that_is_no_certificate_is_a_config_error(
    tmp_path: Path, old: DockerRegistry, docker_registry: StartRegistry, key: str
) -> None:
    """The key and the file are named: exit 64."""
    new = docker_registry("new", tls=True)
    (tmp_path / "junk.pem").write_text("this is no certificate\n")
    files = {"ca_file": "new/ca.pem", key: "junk.pem"}
    listed = ", ".join(f"{name}: {path}" for name, path in files.items())
    configure(tmp_path, old, new, f"tls: {{{listed}}}")
    ran = await run(tmp_path, "plan", "--out", "plan.out", code=64)
    assert_says(ran.err, f'registries."{new.host}".tls.{key}', "junk.pem", "PEM")
