"""Decide which token server may see a registry's credentials.

Pure. A challenge is text from the network: sent to whatever `realm` it names, credentials are
stolen by one forged answer (CVE-2026-33540, CVE-2026-12566).
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from imgmigrate.stores.registry.quirks import SHARED_DOMAINS

__all__ = ["may_receive_credentials", "registrable_domain"]

# Second-level labels under which countries register names, as in `example.co.uk`.
_GENERIC_LABELS = frozenset({"ac", "co", "com", "edu", "gob", "gov", "mil", "net", "org"})
_COUNTRY_CODE_LENGTH = 2


def may_receive_credentials(realm: str, registry: str, pinned: frozenset[str]) -> bool:
    """Tell whether credentials of the registry at URL `registry` may be sent to URL `realm`.

    Yes for the same host name, a `pinned` one, or one of the same registrable domain; never
    in the clear for a registry that speaks TLS, and never anything but http(s).
    """
    there, here = urlsplit(realm), urlsplit(registry)
    if there.scheme not in ("http", "https") or (there.scheme, here.scheme) == ("http", "https"):
        return False
    if there.username or there.password or not there.hostname or not here.hostname:
        return False
    if there.hostname == here.hostname or there.hostname in pinned:
        return True
    domain = registrable_domain(there.hostname)
    return domain is not None and domain == registrable_domain(here.hostname)


def registrable_domain(host: str) -> str | None:
    """Guess the domain that one owner registered; None where only equality can be trusted.

    Without the public suffix list: two labels, or three below a country's generic label
    such as `co.uk`. Guessing too long refuses a realm; guessing too short would leak.
    """
    labels = host.lower().rstrip(".").split(".")
    if _is_address(host) or len(labels) < 2:
        return None
    second, top = labels[-2:]
    is_country = len(top) == _COUNTRY_CODE_LENGTH
    length = 2
    if is_country and (second in _GENERIC_LABELS or len(second) <= _COUNTRY_CODE_LENGTH):
        length = 3
    domain = ".".join(labels[-length:])
    return None if len(labels) < length or domain in SHARED_DOMAINS else domain


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
