"""Who is measured: imgmigrate, the floor, and every peer that is on PATH.

A tool turns a work (two hosts, the corpus, a folder) into the commands that do it: first run
and no-op run. All keep digests and copy every platform, so that the work is the same.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.cli import command, write_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.corpus import Corpus

__all__ = ["TOOLS", "Tool", "Work"]

Command = list[str]


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be copied: from, to, which repositories; `ca_file` means TLS."""

    folder: Path
    source: str
    destination: str
    corpus: Corpus
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """How a tool is called; `binary` is what must be on PATH, None for our own."""

    name: str
    binary: str | None
    first: Callable[[Work], list[Command]]
    again: Callable[[Work], list[Command]] | None = None
    speaks_tls: bool = False

    @property
    def is_here(self) -> bool:
        """Tell whether it can be run."""
        return self.binary is None or shutil.which(self.binary) is not None


def _imgmigrate(work: Work) -> list[Command]:
    rules = "\n".join(
        f"  - {{source: {work.source}/{repo}, destination: {work.destination}/{repo}}}"
        for repo in work.corpus.repositories
    )
    if work.ca_file:
        hosts = "".join(
            f'  "{host}": {{tls: {{ca_file: {work.ca_file}}}}}\n'
            for host in (work.source, work.destination)
        )
        write_config(work.folder, rules, registries=hosts)
    else:
        write_config(work.folder, rules, work.source, work.destination)
    return [command("plan", "--out", "plan.out"), command("apply", "plan.out")]


def _floor(work: Work) -> list[Command]:
    ca = ["--ca", str(work.ca_file)] if work.ca_file else []
    ends = [work.source, work.destination, *work.corpus.repositories]
    return [[sys.executable, "-m", "tests.benchmarks.floor", *ends, *ca]]


def _skopeo(work: Work) -> list[Command]:
    base = ["skopeo", "--insecure-policy", "sync", "--all", "--scoped=false"]
    flags = ["--src-tls-verify=false", "--dest-tls-verify=false", "--src", "docker"]
    return [
        [*base[:4], *flags, "--dest", "docker", f"{work.source}/{repo}",
         f"{work.destination}/{repo.rpartition('/')[0]}"]
        for repo in work.corpus.repositories
    ]  # fmt: skip


def _crane(work: Work) -> list[Command]:
    return [
        ["crane", "copy", "--insecure", "--all-tags", f"{work.source}/{repo}",
         f"{work.destination}/{repo}"]
        for repo in work.corpus.repositories
    ]  # fmt: skip


def _regsync(work: Work) -> list[Command]:
    config = {
        "version": 1,
        "creds": [{"registry": h, "tls": "disabled"} for h in (work.source, work.destination)],
        "defaults": {"parallel": 8},
        "sync": [
            {"source": f"{work.source}/{r}", "target": f"{work.destination}/{r}",
             "type": "repository"}
            for r in work.corpus.repositories
        ],
    }  # fmt: skip
    (work.folder / "regsync.json").write_text(json.dumps(config))
    return [["regsync", "once", "-c", "regsync.json"]]


def _image_syncer(work: Work) -> list[Command]:
    auth = {host: {"insecure": True} for host in (work.source, work.destination)}
    images = {f"{work.source}/{r}": f"{work.destination}/{r}" for r in work.corpus.repositories}
    (work.folder / "auth.json").write_text(json.dumps(auth))
    (work.folder / "images.json").write_text(json.dumps(images))
    return [["image-syncer", "--auth", "auth.json", "--images", "images.json", "--proc", "16"]]


TOOLS = (
    Tool("imgmigrate", None, _imgmigrate, lambda _: [command("plan")], speaks_tls=True),
    Tool("floor", None, _floor, speaks_tls=True),
    Tool("skopeo sync", "skopeo", _skopeo, _skopeo),
    Tool("crane copy", "crane", _crane, _crane),
    Tool("regsync", "regsync", _regsync, _regsync),
    Tool("image-syncer", "image-syncer", _image_syncer, _image_syncer),
)
