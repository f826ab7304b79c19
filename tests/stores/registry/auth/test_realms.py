"""Which token servers may see credentials."""

from __future__ import annotations

import pytest

from imgmigrate.stores.registry.auth.realms import may_receive_credentials, registrable_domain
from imgmigrate.stores.registry.quirks import quirks_of

REGISTRY = "https://registry.example.com"


@pytest.mark.parametrize(
    ("realm", "registry", "allowed"),
    [
        ("https://registry.example.com/token", REGISTRY, True),
        ("https://registry.example.com:8443/token", REGISTRY, True),
        ("https://auth.example.com/token", REGISTRY, True),
        ("http://registry.example.com/token", REGISTRY, False),
        ("https://example.com.evil.net/token", REGISTRY, False),
        ("https://evilexample.com/token", REGISTRY, False),
        ("https://user:secret@registry.example.com/token", REGISTRY, False),
        ("ftp://registry.example.com/token", REGISTRY, False),
        ("https://evil.co.uk/token", "https://registry.victim.co.uk", False),
        ("https://auth.victim.co.uk/token", "https://registry.victim.co.uk", True),
        ("https://evil.com.cn/token", "https://registry.victim.com.cn", False),
        ("https://evil.azurecr.io/token", "https://victim.azurecr.io", False),
        ("https://10.0.0.2/token", "https://10.0.0.1", False),
        ("https://10.0.0.1:5001/token", "https://10.0.0.1:5000", True),
        ("https://other/token", "https://registry", False),
        ("http://registry/token", "http://registry:5000", True),
        (
            "https://dockerauth.cn-hangzhou.aliyuncs.com/auth",
            "https://registry.cn-hangzhou.aliyuncs.com",
            True,
        ),
        ("https://gitlab.com/jwt/auth", "https://registry.gitlab.com", True),
    ],
)
def test_credentials_go_only_to_the_registrys_own_realm(
    realm: str, registry: str, allowed: bool
) -> None:
    """The same host name or registrable domain may have them; strangers and clear text may not."""
    assert may_receive_credentials(realm, registry, frozenset()) is allowed


def test_docker_hubs_token_server_is_its_own() -> None:
    """The pinned host of a quirks row may have the credentials, and nobody beside it."""
    pinned = quirks_of("docker.io").token_hosts
    hub = "https://registry-1.docker.io"
    assert may_receive_credentials("https://auth.docker.io/token", hub, pinned)
    assert not may_receive_credentials("http://auth.docker.io/token", hub, pinned)
    assert not may_receive_credentials("https://auth.docker.com/token", hub, pinned)


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.b.example.com", "example.com"),
        ("example.com", "example.com"),
        ("a.gcr.io", "gcr.io"),
        ("a.example.co.uk", "example.co.uk"),
        ("co.uk", None),
        ("localhost", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("x.amazonaws.com", None),
        ("x.amazonaws.com.cn", None),
    ],
)
def test_registrable_domain_is_guessed_long_rather_than_short(
    host: str, domain: str | None
) -> None:
    """Two labels, three below a country's generic label, none where strangers are neighbours."""
    assert registrable_domain(host) == domain
