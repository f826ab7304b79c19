"""The vendors' registries as the copy suite meets them: where it may write, what they refuse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.fakes.registry import PROFILES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.registry import FakeRegistry

_EMPTY_CONFIG = r"400.*config application/vnd\.oci\.empty\.v1\+json is not supported"
_DOCKER_TYPE = r"media type refused \(415\).*application/vnd\.docker\."


@dataclass(frozen=True, slots=True)
class Vendor:
    """One profile, and what is to be expected of it as a destination."""

    name: str
    # Where images live. `fresh` is a repository that is not there when the suite begins.
    repo: str = "team/app"
    fresh: str = "team/fresh"
    # The kinds of image that it does not take, and what the error says.
    refuses: Mapping[str, str] = field(default_factory=dict)
    # What the error says if a push does not make a repository; None: it makes one.
    fresh_refused: str | None = None
    # A repository that no push can make, and what the error says; None: there is none such.
    homeless: str | None = None
    homeless_refused: str = r"\(40[134]\)"

    def make(self) -> FakeRegistry:
        """Make the registry, with `repo` in it where only its owner can make one."""
        registry = PROFILES[self.name]()
        if self.fresh_refused is not None:
            registry.storage.repository(self.repo)
        return registry


VENDORS = tuple(
    {
        vendor.name: vendor
        for vendor in (
            *(Vendor(name) for name in PROFILES),
            Vendor("docker-hub", homeless="stranger/app"),
            Vendor("quay", homeless="nobody/app"),
            Vendor("harbor", homeless="nowhere/app"),
            Vendor("ecr", fresh_refused=r"NAME_UNKNOWN.*does not exist.*create the repository"),
            Vendor(
                "gar",
                repo="team/tools/app",
                fresh="team/tools/fresh",
                homeless="team/nothing/app",
                refuses={"empty-blob": r"400.*the blob is empty"},
            ),
            Vendor("gitlab", repo="team/tools", fresh="team/tools/fresh", homeless="team/nothing"),
            Vendor("zot", refuses={"docker": _DOCKER_TYPE, "docker-list": _DOCKER_TYPE}),
            Vendor(
                "alibaba-acr",
                homeless="nowhere/app",
                refuses={"artifact": _EMPTY_CONFIG, "empty-blob": _EMPTY_CONFIG},
            ),
        )
    }.values()
)
