"""Where the contract is tried: images, rules and guards, and what they mean to the reference."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgmigrate.oci.manifest import OCI_INDEX, Manifest
from imgmigrate.oci.platforms import FILTER_VERSION, choose
from tests.fakes.memory import image
from tests.support.world import NEW, OLD

if TYPE_CHECKING:
    from imgmigrate.oci.reference import Digest

__all__ = [
    "ALWAYS",
    "GUARDS",
    "IMAGES",
    "KNOWN",
    "REPOS",
    "RULES",
    "SOURCE",
    "TAGS",
    "Guard",
    "Rule",
    "Seed",
    "address",
]

SOURCE = "team/api"
REPOS = (SOURCE, "crew/api")
TAGS = ("a", "b", "c")
# A tag that no rule of a test leaves out: the source is never an empty repository.
ALWAYS = "always"
PLATFORM = "linux/amd64"

Seed = tuple[Manifest, "dict[Digest, bytes]", tuple[Manifest, ...]]


def address(repo: str, tag: str) -> str:
    """Name a destination."""
    return f"{NEW}/{repo}:{tag}"


def _index() -> Seed:
    blobs, children, entries = {}, [], []
    for architecture in ("amd64", "arm64"):
        child, parts = image(architecture.encode())
        blobs.update(parts)
        children.append(child)
        platform = {"os": "linux", "architecture": architecture}
        described = {"mediaType": child.media_type, "size": len(child.raw)}
        entries.append({**described, "digest": child.digest, "platform": platform})
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return Manifest.parse(json.dumps(document).encode()), blobs, tuple(children)


_MANY = _index()
_CUT = choose(_MANY[0], [PLATFORM], FILTER_VERSION)
# The last is what a choice of platforms leaves of the one before; sources never show it.
IMAGES: tuple[Seed, ...] = (
    *((*image(b"image %d" % number), ()) for number in range(3)),
    _MANY,
    (_CUT, _MANY[1], _MANY[2]),
)
KNOWN = frozenset(str(top.digest) for top, _, _ in IMAGES)


@dataclass(frozen=True)
class Rule:
    """One rule: where it copies to, which tags it selects, and which of them it names."""

    to: tuple[str, ...] = (SOURCE,)
    tags: str = ""
    selected: tuple[str, ...] = (*TAGS, ALWAYS)
    named: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Write it as the config has it."""
        destinations = ", ".join(f"{NEW}/{repo}" for repo in self.to)
        platforms = f", platforms: [{PLATFORM}]" if self.platforms else ""
        return f"- {{source: {OLD}/{SOURCE}, destination: [{destinations}]{self.tags}{platforms}}}"

    def wants(self, digest: str) -> str:
        """What it makes of a source's image."""
        is_cut = self.platforms and digest == _MANY[0].digest
        return str(_CUT.digest) if is_cut else digest


RULES: dict[str, Rule] = {
    "all": Rule(),
    "named": Rule(tags=", tags: [a, b]", selected=("a", "b"), named=("a", "b")),
    "but a": Rule(tags=", tags: {exclude: [a]}", selected=("b", "c", ALWAYS)),
    "elsewhere": Rule(to=("crew/api",)),
    "both": Rule(to=REPOS),
    "one platform": Rule(platforms=(PLATFORM,)),
}


@dataclass(frozen=True)
class Guard:
    """What the config guards. `most` are the deletes that are allowed, in percent."""

    keep: bool = False
    protect: tuple[str, ...] = ()
    most: int | None = None
    moved: bool = False

    @property
    def text(self) -> str:
        """Write it as the config has it."""
        lines = ['keep_previous: "{tag}-kept"'] if self.keep else []
        if self.protect:
            lines.append(f"protect: {json.dumps(self.protect)}")
        if self.most is not None:
            lines.append(f"max_delete: {self.most}%")
        if self.moved:
            lines.append(f"moved: [{{from: '{NEW}/team/*', to: '{NEW}/crew/*'}}]")
        return "\n".join((*lines, ""))


GUARDS: dict[str, Guard] = {
    "none": Guard(),
    "keep": Guard(keep=True),
    "protect": Guard(protect=(address(SOURCE, "a"), address("crew/api", "b")), moved=True),
    "most": Guard(most=30, moved=True),
    "moved": Guard(moved=True),
    "all": Guard(keep=True, protect=(address(SOURCE, "c"),), most=70, moved=True),
}
