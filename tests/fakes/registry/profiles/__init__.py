"""Registries that differ from the honest one: a small class for each vendor.

A profile states facts, each with its source, as class attributes and overridden methods;
tests may set the attributes of one instance. "protocol 3.6" is a section of docs/registries.md,
`name#n` a thread of that project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.registry.profiles.acr import Acr
from tests.fakes.registry.profiles.alibaba import AlibabaAcr
from tests.fakes.registry.profiles.artifactory import Artifactory
from tests.fakes.registry.profiles.distribution import Distribution2, Distribution3
from tests.fakes.registry.profiles.docker_hub import DockerHub
from tests.fakes.registry.profiles.ecr import Ecr
from tests.fakes.registry.profiles.gar import Gar
from tests.fakes.registry.profiles.ghcr import Ghcr
from tests.fakes.registry.profiles.gitlab import GitLab
from tests.fakes.registry.profiles.harbor import Harbor
from tests.fakes.registry.profiles.hostile import BAD_TAGS, Hostile
from tests.fakes.registry.profiles.nexus import Nexus
from tests.fakes.registry.profiles.pulp import Pulp
from tests.fakes.registry.profiles.quay import Quay
from tests.fakes.registry.profiles.zot import Zot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.registry.server import FakeRegistry

__all__ = [
    "BAD_TAGS",
    "PROFILES",
    "Acr",
    "AlibabaAcr",
    "Artifactory",
    "Distribution2",
    "Distribution3",
    "DockerHub",
    "Ecr",
    "Gar",
    "Ghcr",
    "GitLab",
    "Harbor",
    "Hostile",
    "Nexus",
    "Pulp",
    "Quay",
    "Zot",
]

PROFILES: Mapping[str, type[FakeRegistry]] = {
    "distribution-2.8": Distribution2,
    "distribution-3": Distribution3,
    "docker-hub": DockerHub,
    "quay": Quay,
    "harbor": Harbor,
    "ecr": Ecr,
    "ghcr": Ghcr,
    "gar": Gar,
    "acr": Acr,
    "gitlab": GitLab,
    "zot": Zot,
    "pulp": Pulp,
    "nexus": Nexus,
    "artifactory": Artifactory,
    "alibaba-acr": AlibabaAcr,
    "hostile": Hostile,
}
