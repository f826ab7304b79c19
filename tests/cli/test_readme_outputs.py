"""What the README shows of a plan is what the commands print, of images that are made here."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.oci.manifest import OCI_INDEX, Manifest
from imgmigrate.oci.reference import Digest
from tests.fakes.memory import MemoryStore, MemoryStores, image

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.cli.helpers import Cli

README = (Path(__file__).parents[2] / "README.md").read_text()
# What is of one run: when, its names, and the sum over the file that holds both.
OF_A_RUN = re.compile(
    r"\b[0-9a-f]{64}\b|\bplan(?:=| `?)[0-9a-f]{16}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
)
PLATFORMS = ("amd64", "arm64")


def made(seed: str, size: int) -> bytes:
    """Bytes that are the same wherever this runs."""
    return Random(seed).randbytes(size)


def put(store: MemoryStore, repo: str, tag: str, *layers: bytes) -> None:
    """Put an image of one platform."""
    config = json.dumps({"os": "linux", "architecture": "amd64", "holds": Digest.of(layers[-1])})
    manifest, blobs = image(*layers, config=config.encode())
    store.seed(repo, tag, manifest, blobs)


def put_index(
    store: MemoryStore, repo: str, tag: str, layers: Mapping[str, tuple[bytes, ...]]
) -> None:
    """Put an image of several platforms."""
    children, entries, blobs = [], [], {}
    for architecture, each in layers.items():
        config = json.dumps({"os": "linux", "architecture": architecture, "tag": tag}).encode()
        child, parts = image(*each, config=config)
        platform = {"os": "linux", "architecture": architecture}
        entry = {"mediaType": child.media_type, "digest": child.digest, "size": len(child.raw)}
        children.append(child)
        entries.append({**entry, "platform": platform})
        blobs.update(parts)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    store.seed(repo, tag, Manifest.parse(json.dumps(document).encode()), blobs, *children)


class Story:
    """Two registries in memory, under the names that the README gives them."""

    def __init__(self, cli: Cli, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
        self.cli, self.old, self.new = cli, MemoryStore(old), MemoryStore(new)
        stores = MemoryStores({old: self.old, new: self.new})

        @asynccontextmanager
        async def opened(*_: object, **__: Any) -> AsyncIterator[MemoryStores]:
            yield stores

        monkeypatch.setattr("imgmigrate.workspace.open_stores", opened)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command, and give what it prints."""
        assert self.cli(*arguments) == code, self.cli.out + self.cli.err
        return self.cli.out


def masked(text: str) -> str:
    """Leave out what is of one run."""
    return OF_A_RUN.sub("...", text).strip()


def shown(start: str) -> str:
    """The block of the README that begins with a line, without its fence."""
    return README.partition(f"{start}\n")[2].partition("\n```")[0]


def write_config(cli: Cli, *names: str) -> None:
    """Let these repositories of the team go to the shop."""
    rule = "  - {{source: registry.old/team/{0}, destination: registry.new/shop/{0}}}\n"
    rules = "".join(rule.format(name) for name in names)
    (cli.folder / "imgmigrate.yaml").write_text(f"version: 1\nimages:\n{rules}")


@pytest.fixture
def story(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Story:
    """A team's images, of which somebody has overwritten one since they were brought."""
    told = Story(cli, monkeypatch, "registry.old", "registry.new")
    write_config(cli, "web")
    base, page = made("base", 60_000), made("page", 30_000)
    for tag in ("1.2", "1.3", "1.4", "latest"):
        put(told.old, "team/web", tag, base, page)
    told.run("apply", "--auto-approve")
    put(told.new, "shop/web", "1.4", made("somebody's", 50_000))
    put(told.old, "team/web", "latest", base, made("another page", 90_000))
    for tag in ("2.1", "2.2"):
        layers = {each: (base, made(f"{tag} {each}", 155_000)) for each in PLATFORMS}
        put_index(told.old, "team/api", tag, layers)
    put(told.old, "team/worker", "stable", made("worker", 9_000))
    write_config(cli, "web", "api", "worker")
    return told


def test_the_first_plan_that_is_shown_is_printed(story: Story) -> None:
    """Row by row, to the byte."""
    said = story.run("plan", "--out", "plan.out")
    assert masked(said) == masked(shown("$ imgmigrate plan --out plan.out"))


def test_the_comment_that_is_shown_is_printed(story: Story) -> None:
    """As far as the README shows it, in a quotation."""
    story.run("plan", "--out", "plan.out")
    first, _, said = story.run("show", "plan.out", "--format", "markdown").partition("\n\n")
    assert f"`{masked(first)}`" in masked(README)
    quoted = [line for line in README.splitlines() if line.startswith(">")]
    told = "\n".join(line.removeprefix(">").removeprefix(" ") for line in quoted)
    start, dots, rest = told.partition("\n\n...")
    assert (dots, rest) == ("\n\n...", "")
    assert masked(said).startswith(masked(start))
