"""Whom to trust, and through which proxy to reach them.

Reads the environment and certificate files; opens no connection. A proxy comes from the
registry's config or from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`: aiohttp's own `trust_env`
would also read `~/.netrc` and send what it finds there to registries.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment

from imgmigrate.errors import ConfigError, UsageError
from imgmigrate.redaction import hide

if TYPE_CHECKING:
    from pathlib import Path
    from urllib.parse import SplitResult

    from imgmigrate.config.model import Tls

__all__ = ["Proxies", "Proxy", "Trust"]

# X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h, which the ssl module does not name.
NO_CHECK_TIME = ssl.VerifyFlags(0x200000)


class Trust:
    """The TLS contexts and the proxy for one registry and for the servers it points at.

    A client certificate, and `verify: false`, are for the registry's own host name only;
    its `ca_file` also counts where it redirects to.
    """

    def __init__(self, host: str, settings: Tls, proxy: str | None = None) -> None:
        self._host, self._settings, self._proxy = host, settings, proxy
        self.name = urlsplit(f"//{host}").hostname or ""

    @cached_property
    def proxy(self) -> Proxy | None:
        """The proxy of the registry's config, if it has one."""
        return _proxy(self._proxy, f'registries."{self._host}".proxy') if self._proxy else None

    def is_own(self, url: str) -> bool:
        """Tell whether a URL reaches the registry's own host name."""
        return urlsplit(url).hostname == self.name

    def context(self, url: str) -> ssl.SSLContext:
        """The context to reach `url` with; ConfigError if a file cannot be used."""
        return self._own if self.is_own(url) else self._other

    @cached_property
    def _own(self) -> ssl.SSLContext:
        context = self._authorities()
        settings = self._settings
        if not settings.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if settings.client_cert is not None:
            try:
                # A password prompt would hang an unattended run: an encrypted key is an error.
                context.load_cert_chain(settings.client_cert, settings.client_key, password="")
            except (OSError, ValueError) as error:
                raise self._unusable("client_cert", settings.client_cert, error) from None
        return context

    @cached_property
    def _other(self) -> ssl.SSLContext:
        return self._authorities()

    def lenient(self) -> ssl.SSLContext:
        """A context that asks for a trusted authority alone, not for the date nor the name."""
        context = self._authorities()
        context.check_hostname = False
        context.verify_flags |= NO_CHECK_TIME
        return context

    def _authorities(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        ca_file = self._settings.ca_file
        if ca_file is not None:
            try:
                context.load_verify_locations(ca_file)
            except OSError as error:
                raise self._unusable("ca_file", ca_file, error) from None
        return context

    def _unusable(self, key: str, path: Path, error: Exception) -> ConfigError:
        reason = getattr(error, "strerror", None) or error
        return ConfigError(
            f"{path} cannot be used: {reason}",
            key=f'registries."{self._host}".tls.{key}',
            hint="it must be a readable PEM file",
        )


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the `Proxy-Authorization` to send it."""

    url: str
    authorization: str | None = field(default=None, repr=False)


class Proxies:
    """The proxies of the environment, read once; never used for loopback, as in Go's tools."""

    def __init__(self) -> None:
        self._found = getproxies_environment()

    def of(self, url: str, trust: Trust | None = None) -> Proxy | None:
        """The proxy to reach `url` through, if any; UsageError if it is of an unknown kind.

        That of the registry's config is also for the servers it points at, unless `NO_PROXY`
        names them.
        """
        parts = urlsplit(url)
        if trust is not None and trust.proxy is not None:
            is_near = self._bypasses(parts.hostname or "", _port(parts))
            return None if is_near and not trust.is_own(url) else trust.proxy
        found = self._found.get(parts.scheme)
        if not found or not parts.hostname or self._bypasses(parts.hostname, _port(parts)):
            return None
        return _proxy(found, f"{parts.scheme.upper()}_PROXY")

    def _bypasses(self, name: str, port: int | None) -> bool:
        """Read `NO_PROXY` as Go's tools do (golang.org/x/net/http/httpproxy), which say the same.

        `example.com` is the host and its subdomains, `.example.com` and `*.example.com` are the
        subdomains alone; an address or a network in CIDR form; each but a network may have a
        port; `*` is everything.
        """
        name = name.rstrip(".").lower()
        excluded = [each.strip().lower() for each in self._found.get("no", "").split(",")]
        if name == "localhost" or any(_names(each, name, port) for each in excluded if each):
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or any(_holds(each, name) for each in excluded)


_USUAL_PORTS = {"http": 80, "https": 443}


def _port(parts: SplitResult) -> int | None:
    """The port of a URL, also where only its scheme says it."""
    return parts.port or _USUAL_PORTS.get(parts.scheme)


def _names(excluded: str, name: str, port: int | None) -> bool:
    if excluded == "*":
        return True
    wanted, colon, number = excluded.rpartition(":")
    if not (colon and number.isdigit()) or (":" in wanted and not wanted.endswith("]")):
        wanted, number = excluded, ""  # no port: what ends in digits may be an IPv6 address
    if number and str(port) != number:
        return False
    wanted = wanted.removeprefix("[").removesuffix("]").removeprefix("*")
    if wanted.startswith("."):
        return name.endswith(wanted)
    return name == wanted or name.endswith(f".{wanted}")


def _holds(excluded: str, name: str) -> bool:
    try:
        return ip_address(name) in ip_network(excluded, strict=False)
    except ValueError:
        return False


def _proxy(text: str, variable: str) -> Proxy:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        parts.port  # noqa: B018 - only whether there is a sane one
    except ValueError:
        msg = f"{variable} names a proxy whose port is no number"
        raise UsageError(msg, hint=f"set {variable} to http://HOST:PORT") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        msg = f"{variable} names a proxy that is neither http:// nor https://"
        raise UsageError(msg, hint=f"set {variable} to http://HOST:PORT")
    url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.username is None:
        return Proxy(url)
    username, password = unquote(parts.username), unquote(parts.password or "")
    hide(password)
    credentials = b64encode(f"{username}:{password}".encode()).decode()
    hide(credentials)
    return Proxy(url, f"Basic {credentials}")
