"""Facts about particular registries, one row each; nothing else in the program names a vendor.

A row needs a documented reason. What a registry can be asked, or shows by its answers, is
learnt from the answers instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Quirks", "quirks_of"]


@dataclass(frozen=True, slots=True)
class Quirks:
    """How one registry differs from the rest.

    `api_host` answers for it, `token_hosts` may receive its credentials although they are
    hosts of their own, and `login_key` is its name in docker's `config.json`.
    """

    api_host: str | None = None
    token_hosts: frozenset[str] = frozenset()
    login_key: str | None = None
    is_metered: bool = False
    mounts_need_manifest: bool = False


_ROWS: tuple[tuple[re.Pattern[str], Quirks], ...] = (
    (
        # A manifest GET is a pull, and pulls are counted per six hours (docs.docker.com/usage).
        re.compile(r"docker\.io"),
        Quirks(
            api_host="registry-1.docker.io",
            token_hosts=frozenset({"auth.docker.io"}),
            login_key="https://index.docker.io/v1/",
            is_metered=True,
        ),
    ),
    (
        # A blob can be mounted only once a manifest in its repository names it.
        re.compile(r"[0-9]+\.dkr\.ecr(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?"),
        Quirks(mounts_need_manifest=True),
    ),
)
_NONE = Quirks()


def quirks_of(host: str) -> Quirks:
    """Look up a registry by the host[:port] that users write."""
    return next((row for pattern, row in _ROWS if pattern.fullmatch(host)), _NONE)
