"""Certificates and proxies."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from imgmigrate.config.model import Tls
from imgmigrate.errors import ConfigError, UsageError
from imgmigrate.redaction import redact
from imgmigrate.stores.registry.http.trust import Proxies, Proxy, Trust

if TYPE_CHECKING:
    from pathlib import Path

HOST = "reg.example.com:5000"


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxied"),
    [
        ("https://reg.example.com/v2/", "", True),
        ("https://reg.example.com/v2/", "other.com", True),
        ("https://reg.example.com/v2/", "example.com", False),
        ("https://reg.example.com/v2/", ".example.com", False),
        ("https://example.com/v2/", ".example.com", True),
        ("https://reg.corp/v2/", "*.corp", False),
        ("https://a.reg.corp./v2/", "*.CORP", False),
        ("https://corp/v2/", "*.corp", True),
        ("https://regcorp/v2/", "*.corp", True),
        ("https://reg.corp:5000/v2/", "*.corp:5000", False),
        ("https://reg.corp:5001/v2/", "*.corp:5000", True),
        ("https://reg.corp/v2/", "reg.corp:443", False),
        ("http://10.1.2.3:5000/", "10.1.2.3:5000", False),
        ("https://[fd00::7]:5000/", "[fd00::7]:5000", False),
        ("https://[fd00::7]:5001/", "[fd00::7]:5000", True),
        ("https://[fd00::7]/", "fd00::7", False),
        ("https://notexample.com/v2/", "example.com", True),
        ("https://reg.example.com:5000/", "reg.example.com:5000", False),
        ("https://reg.example.com:5001/", "reg.example.com:5000", True),
        ("https://reg.example.com/", "*", False),
        ("https://10.1.2.3/", "10.0.0.0/8", False),
        ("https://11.1.2.3/", "10.0.0.0/8, x", True),
        ("https://127.0.0.1:5000/", "", False),
        ("https://localhost:5000/", "", False),
        ("https://[::1]:5000/", "", False),
        ("http://reg.example.com/", "", False),
    ],
)
def test_proxy_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, url: str, no_proxy: str, proxied: bool
) -> None:
    """HTTPS_PROXY serves https only; NO_PROXY and loopback go direct."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert Proxies().of(url) == (Proxy("http://proxy:3128") if proxied else None)


def test_password_of_a_proxy_is_sent_to_it_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Userinfo becomes Proxy-Authorization and is shown nowhere."""
    monkeypatch.setenv("HTTP_PROXY", "http://me:p%40ssword@proxy:3128")
    found = Proxies().of("http://reg.example.com/")
    assert found == Proxy("http://proxy:3128", "Basic bWU6cEBzc3dvcmQ=")
    assert redact("p@ssword bWU6cEBzc3dvcmQ=") == "*** ***"


def test_proxy_of_an_unknown_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOCKS is not silently ignored."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy:1080")
    with pytest.raises(UsageError, match="HTTPS_PROXY"):
        Proxies().of("https://reg.example.com/")


def test_unverified_is_for_the_registry_alone() -> None:
    """`verify: false` does not reach the servers that the registry points at."""
    trust = Trust(HOST, Tls(verify=False))
    assert trust.context(f"https://{HOST}/v2/").verify_mode == ssl.CERT_NONE
    other = trust.context("https://storage.example.net/x")
    assert other.verify_mode == ssl.CERT_REQUIRED
    assert other.check_hostname


def test_ca_file_also_counts_behind_the_registry(tmp_path: Path) -> None:
    """A company's own authority signs its storage too."""
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    trust = Trust(HOST, Tls(ca_file=path))
    for url in (f"https://{HOST}/", "https://storage.example.net/"):
        assert "trustme" in repr(trust.context(url).get_ca_certs())


@pytest.mark.parametrize("key", ["ca_file", "client_cert"])
def test_certificate_file_that_cannot_be_used_is_named(tmp_path: Path, key: str) -> None:
    """The error names the file and the key of the config."""
    for content in (None, "not a certificate"):
        path = tmp_path / "x.pem"
        if content is not None:
            path.write_text(content)
        with pytest.raises(ConfigError, match=rf"tls\.{key}.*x\.pem"):
            Trust(HOST, Tls.model_validate({key: path})).context(f"https://{HOST}/")
