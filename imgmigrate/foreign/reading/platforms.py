"""Make platforms of image-syncer's `--os` and `--arch`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.errors import UsageError
from imgmigrate.oci.platforms import parse_platform

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["platforms_of"]

_ANY = ("*",)


def platforms_of(systems: Sequence[str], architectures: Sequence[str]) -> list[str]:
    """Pair every `os[:version]` with every `arch[:variant]`; none of both is all platforms.

    UsageError for what is no platform.
    """
    if not systems and not architectures:
        return []
    found = []
    for system in systems or _ANY:
        os, _, version = system.partition(":")
        for each in architectures or _ANY:
            architecture, _, variant = each.partition(":")
            text = f"{os}/{architecture}"
            text += f"/{variant}" if variant else ""
            text += f":{version}" if version else ""
            try:
                parse_platform(text)
            except ValueError:
                given = " ".join(
                    f"{option} {value}"
                    for option, value in (("--os", system), ("--arch", each))
                    if value != "*"
                )
                message = f"{given} is no platform"
                hint = "give each option once a value: --os linux --arch amd64 --arch arm64:v8"
                raise UsageError(message, hint=hint) from None
            found.append(text)
    return found
