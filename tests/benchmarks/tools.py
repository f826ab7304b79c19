"""Who is measured: imgmigrate, the floor, and every peer that is on PATH.

A tool turns a work (the hosts, the corpus, a folder) into the commands that do it, from an empty
destination and again. All keep digests and copy every platform, so that the work is the same;
each peer runs as its own manual says, with as many workers as it offers a setting for:

- `skopeo sync --all --src yaml --dest docker` reads one file that lists all repositories;
- `crane copy --all-tags` is one command a repository, since it takes no more;
- `regsync once`, `image-syncer` and `ocync sync` read one file of rules.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.cli import command, write_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.benchmarks.corpus import Corpus

__all__ = ["TOOLS", "Command", "Tool", "Work", "another"]

Command = list[str]

# Images at once, for each peer that can be told: the number that their users choose, and as many
# as the floor's and our own streams to a registry.
WORKERS = 16
# A second config of the same name: the state is that name's.
SECOND = "explicit/imgmigrate.yaml"
EXPLICIT = command("plan", "--config", SECOND, "--state", "state/imgmigrate")


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be copied: from, to one or several places, which repositories.

    `ca_file` means TLS.
    """

    folder: Path
    source: str
    destinations: tuple[str, ...]
    corpus: Corpus
    ca_file: Path | None = None

    @property
    def destination(self) -> str:
        """The only destination."""
        (destination,) = self.destinations
        return destination


@dataclass(frozen=True, slots=True)
class Tool:
    """How a tool is called; `binary` is what must be on PATH, None for our own.

    `again` are the ways to run where nothing is left to do. Only with `details` a work measures
    those beyond the first, and the tools that have `is_detail`.
    """

    name: str
    binary: str | None
    first: Callable[[Work], list[Command]]
    again: Mapping[str, Callable[[Work], list[Command]]] = field(default_factory=dict)
    speaks_tls: bool = False
    fans_out: bool = False
    is_detail: bool = False

    @property
    def is_here(self) -> bool:
        """Tell whether it can be run."""
        return self.binary is None or shutil.which(self.binary) is not None


def _imgmigrate(work: Work) -> list[Command]:
    _configure(work)
    return [command("plan", "--out", "plan.out"), command("apply", "plan.out")]


def _timed(work: Work) -> list[Command]:
    _configure(work)
    apply = [sys.executable, "-m", "tests.benchmarks.bookkeeping", "apply", "plan.out"]
    return [command("plan", "--out", "plan.out"), apply]


def _immutable(work: Work) -> list[Command]:
    """Say of every tag that it never moves."""
    _name_tags(work, "\n    immutable_tags: ['*']")
    return [[*EXPLICIT]]


def _no_refresh(work: Work) -> list[Command]:
    """Ask nobody about what the state knows."""
    _name_tags(work)
    return [[*EXPLICIT, "--no-refresh"]]


def _name_tags(work: Work, more: str = "") -> None:
    """Write a second config, which needs no listing to know the tags."""
    rules = "\n".join(
        f"  - source: '{work.source}/{repo}:{','.join(tags)}'\n"
        f"    destination: {work.destination}/{repo}{more}"
        for repo, tags in work.corpus.repositories.items()
    )
    usual = work.folder / "imgmigrate.yaml"
    before = usual.read_text()
    write_config(work.folder, rules, work.source, work.destination)
    (work.folder / SECOND).parent.mkdir(exist_ok=True)
    (work.folder / SECOND).write_text(usual.read_text())
    usual.write_text(before)


def _configure(work: Work) -> None:
    rules = "\n".join(
        f"  - {{source: {work.source}/{repo}, "
        f"destination: [{', '.join(f'{host}/{repo}' for host in work.destinations)}]}}"
        for repo in work.corpus.repositories
    )
    ends = (work.source, *work.destinations)
    if work.ca_file:
        tls = (f'  "{host}": {{tls: {{ca_file: {work.ca_file}}}}}\n' for host in ends)
        write_config(work.folder, rules, registries="".join(tls))
    else:
        write_config(work.folder, rules, *ends)


def _floor(work: Work) -> list[Command]:
    ca = ["--ca", str(work.ca_file)] if work.ca_file else []
    ends = [work.source, work.destination, *work.corpus.repositories]
    return [[sys.executable, "-m", "tests.benchmarks.floor", *ends, *ca]]


def _skopeo(work: Work) -> list[Command]:
    # No tags are all tags; `--scoped=false` keeps the last part of a name, so that the rest of it
    # belongs to the destination.
    (namespace,) = {repo.rpartition("/")[0] for repo in work.corpus.repositories}
    images: dict[str, list[str]] = {repo: [] for repo in work.corpus.repositories}
    listed = {work.source: {"tls-verify": False, "images": images}}
    (work.folder / "skopeo.yaml").write_text(json.dumps(listed))
    sync = ["skopeo", "--insecure-policy", "sync", "--all", "--scoped=false", "--src", "yaml"]
    target = ["--dest", "docker", "--dest-tls-verify=false", "skopeo.yaml"]
    return [[*sync, *target, f"{work.destination}/{namespace}"]]


def _crane(work: Work) -> list[Command]:
    return [
        ["crane", "copy", "--insecure", "--all-tags", "--jobs", str(WORKERS),
         f"{work.source}/{repo}", f"{work.destination}/{repo}"]
        for repo in work.corpus.repositories
    ]  # fmt: skip


def _regsync(work: Work) -> list[Command]:
    config = {
        "version": 1,
        "creds": [{"registry": h, "tls": "disabled"} for h in (work.source, work.destination)],
        "defaults": {"parallel": WORKERS, "skipDockerConfig": True},
        "sync": [
            {"source": f"{work.source}/{r}", "target": f"{work.destination}/{r}",
             "type": "repository"}
            for r in work.corpus.repositories
        ],
    }  # fmt: skip
    (work.folder / "regsync.yaml").write_text(json.dumps(config))
    return [["regsync", "once", "--config", "regsync.yaml"]]


def _image_syncer(work: Work) -> list[Command]:
    auth = {host: {"insecure": True} for host in (work.source, work.destination)}
    images = {f"{work.source}/{r}": f"{work.destination}/{r}" for r in work.corpus.repositories}
    (work.folder / "auth.json").write_text(json.dumps(auth))
    (work.folder / "images.json").write_text(json.dumps(images))
    return [
        ["image-syncer", "--auth", "auth.json", "--images", "images.json", "--proc", str(WORKERS)]
    ]


def _ocync(work: Work) -> list[Command]:
    config = {
        "registries": {
            name: {"url": f"http://{host}", "auth_type": "anonymous"}
            for name, host in (("old", work.source), ("new", work.destination))
        },
        "defaults": {"source": "old", "targets": ["new"], "tags": {"glob": "*"}},
        "mappings": [{"from": repo, "to": repo} for repo in work.corpus.repositories],
    }
    (work.folder / "ocync.yaml").write_text(json.dumps(config))
    return [["ocync", "sync", "--config", "ocync.yaml"]]


def _plan(_: Work) -> list[Command]:
    return [command("plan")]


def another(python: str) -> Tool:
    """Make a tool of the imgmigrate that another interpreter has: an older one, to compare with."""

    def first(work: Work) -> list[Command]:
        return [[python, *call[1:]] for call in _imgmigrate(work)]

    def again(work: Work) -> list[Command]:
        return [[python, *call[1:]] for call in _plan(work)]

    ways = {"again": again}
    return Tool("the other imgmigrate", None, first, ways, speaks_tls=True, fans_out=True)


# What every peer calls doing it again: the same command.
def _peer(name: str, binary: str, call: Callable[[Work], list[Command]]) -> Tool:
    return Tool(name, binary, call, {"again": call})


TOOLS = (
    Tool(
        "imgmigrate",
        None,
        _imgmigrate,
        {"again": _plan, "again, --no-refresh": _no_refresh, "again, immutable_tags": _immutable},
        speaks_tls=True,
        fans_out=True,
    ),
    Tool("floor", None, _floor, speaks_tls=True),
    Tool("imgmigrate, timed", None, _timed, is_detail=True),
    _peer("skopeo sync", "skopeo", _skopeo),
    _peer("crane copy", "crane", _crane),
    _peer("regsync", "regsync", _regsync),
    _peer("image-syncer", "image-syncer", _image_syncer),
    _peer("ocync", "ocync", _ocync),
)
