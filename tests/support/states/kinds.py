"""The kinds of place that a state may be in, for whatever goes over all of them.

`serve` starts what a kind needs, once; `fresh` makes places in it that nobody has used, each of
them called by a name. What they look like inside is asked here alone, without the code under test.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol
from unittest.mock import patch

from obstore.exceptions import NotFoundError
from obstore.store import S3Store

from imgmigrate.config.values.backends import LEASE, read_backend
from imgmigrate.state.groups import pusher
from imgmigrate.state.postgres import rows
from imgmigrate.state.shared import held
from tests.support import postgres, seaweed
from tests.support.branches import Upstream, daemon, git, upstream
from tests.support.ports import free_port
from tests.support.states.line import lined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from imgmigrate.config.values.backends import Backend
    from tests.support.states.line import Line

__all__ = ["HEAVY", "KINDS", "SHARED", "States", "backend", "serve"]

SHARED = ("git", "s3", "postgres", "pgbouncer")
KINDS = ("local", *SHARED)
# Those whose servers only `make test-more` sets up.
HEAVY = ("s3", "postgres", "pgbouncer")


class States(Protocol):
    """Where the states of one test are; a name is that of a config without its ending."""

    @property
    def kind(self) -> str:
        """One of `KINDS`."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What a command finds them by."""

    @property
    def line(self) -> Line | None:
        """What all connections pass, if there is one."""

    @property
    def restart(self) -> Callable[[], None] | None:
        """Start the server behind anew; None where that takes long, or there is none."""

    def fresh(self, folder: Path) -> States:
        """Make places that nobody has used, for configs in a folder that reaches them then."""

    def reach(self, folder: Path) -> None:
        """Make an empty folder one from whose configs they are reached."""

    def found(self) -> AbstractContextManager[object]:
        """Let this process find them, and keep them in many small pieces."""

    def place(self, name: str) -> str:
        """What `--state` takes."""

    def config(self, name: str, lease: float = LEASE) -> str:
        """A config's line that names it; none where a config need not say it."""

    def version(self, name: str) -> object:
        """What differs whenever a state does; None where that costs as much as to read it."""

    def sequence(self, name: str) -> int:
        """How many lines its history has, as who comes to it finds them."""

    def keep(self, name: str, copy: Path) -> None:
        """Copy a state as it is at some moment."""

    def put_back(self, name: str, copy: Path) -> None:
        """Put a copy in a state's place, none where there was none."""

    def lose(self, name: str) -> None:
        """Take a state away."""


@dataclass(frozen=True, slots=True)
class Folders:
    """States in folders beside their configs."""

    folder: Path
    kind: str = "local"
    environment: Mapping[str, str] = field(default_factory=dict)
    line: None = None
    restart: None = None

    def fresh(self, folder: Path) -> Folders:
        return replace(self, folder=folder)

    def reach(self, folder: Path) -> None:
        """Any folder does."""

    def found(self) -> AbstractContextManager[object]:
        return nullcontext()

    def place(self, name: str) -> str:
        return f"state/{name}"

    def config(self, name: str, lease: float = LEASE) -> str:
        return ""

    def version(self, name: str) -> object:
        files = sorted((self.folder / self.place(name)).glob("*.jsonl"))
        return [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]

    def sequence(self, name: str) -> int:
        journal = self.folder / self.place(name) / "journal.jsonl"
        lines = journal.read_text().splitlines() if journal.exists() else []
        return int(json.loads(lines[-1])["sequence"]) if lines else 0

    def keep(self, name: str, copy: Path) -> None:
        _copy(self.folder / self.place(name), copy)

    def put_back(self, name: str, copy: Path) -> None:
        _copy(copy, self.folder / self.place(name))

    def lose(self, name: str) -> None:
        shutil.rmtree(self.folder / self.place(name), ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Branches:
    """States on branches of one repository, which folders are checkouts of."""

    server: Upstream
    line: Line | None
    token: str = ""
    kind: str = "git"
    environment: Mapping[str, str] = field(default_factory=dict)
    restart: None = None

    def fresh(self, folder: Path) -> Branches:
        self.reach(folder)
        return replace(self, token=_token())

    def reach(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        git(folder, "init", "--quiet")
        git(folder, "remote", "add", "origin", self.server.url)

    def found(self) -> AbstractContextManager[object]:
        return _found(self.environment)

    def place(self, name: str) -> str:
        return f"git:{self._branch(name)}@origin"

    def config(self, name: str, lease: float = LEASE) -> str:
        return f"state: {{backend: git, branch: {self._branch(name)}, lease: {lease:g}s}}\n"

    def version(self, name: str) -> object:
        return git(self.server.folder, "for-each-ref", self._ref(name))

    def sequence(self, name: str) -> int:
        if not self.version(name):
            return 0
        head = git(self.server.folder, "show", f"{self._ref(name)}:head.json")
        return int(json.loads(head)["sequence"])

    def keep(self, name: str, copy: Path) -> None:
        commit = git(self.server.folder, "for-each-ref", "--format=%(objectname)", self._ref(name))
        copy.write_text(commit)

    def put_back(self, name: str, copy: Path) -> None:
        if commit := copy.read_text():
            git(self.server.folder, "update-ref", self._ref(name), commit)
        else:
            self.lose(name)

    def lose(self, name: str) -> None:
        git(self.server.folder, "update-ref", "-d", self._ref(name))

    def _branch(self, name: str) -> str:
        return f"{self.token}/{name}"

    def _ref(self, name: str) -> str:
        return f"refs/heads/{self._branch(name)}"


@dataclass(frozen=True, slots=True)
class Buckets:
    """States in a bucket, each below a prefix."""

    server: seaweed.Seaweed
    line: Line | None
    token: str = ""
    kind: str = "s3"
    restart: None = None

    @property
    def environment(self) -> Mapping[str, str]:
        return self.server.environment()

    def fresh(self, folder: Path) -> Buckets:
        self.reach(folder)
        return replace(self, token=_token())

    def reach(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def found(self) -> AbstractContextManager[object]:
        return _found(self.environment)

    def place(self, name: str) -> str:
        return f"s3://{seaweed.BUCKET}/{self.token}/{name}"

    def config(self, name: str, lease: float = LEASE) -> str:
        return _backend(self.place(name), lease)

    def version(self, name: str) -> object:
        try:
            return self._store(name).head("head.json")["e_tag"]
        except (FileNotFoundError, NotFoundError):
            return ""

    def sequence(self, name: str) -> int:
        if not self.version(name):
            return 0
        head = bytes(self._store(name).get("head.json").bytes())
        return int(json.loads(head)["sequence"])

    def keep(self, name: str, copy: Path) -> None:
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(parents=True)
        store = self._store(name)
        # The head first: what it names is there for long.
        for path in sorted(self._objects(name), key=lambda path: path != "head.json"):
            file = copy / path
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(bytes(store.get(path).bytes()))

    def put_back(self, name: str, copy: Path) -> None:
        self.lose(name)
        store = self._store(name)
        for file in sorted(each for each in copy.rglob("*") if each.is_file()):
            store.put(file.relative_to(copy).as_posix(), file.read_bytes())

    def lose(self, name: str) -> None:
        store = self._store(name)
        for path in self._objects(name):
            store.delete(path)

    def _objects(self, name: str) -> list[str]:
        return [str(each["path"]) for page in self._store(name).list() for each in page]

    def _store(self, name: str) -> Any:
        behind = f"127.0.0.1:{self.line.behind}" if self.line else self.server.host
        return S3Store(
            seaweed.BUCKET,
            prefix=f"{self.token}/{name}",
            endpoint=f"http://{behind}",
            access_key_id=seaweed.ACCESS_KEY,
            secret_access_key=seaweed.SECRET_KEY,
            region="us-east-1",
            client_options={"allow_http": True},
        )


@dataclass(frozen=True, slots=True)
class Schemas:
    """States in a database, each in a schema; behind a pooler none of them is read whole."""

    server: postgres.Server
    url: str
    line: Line | None
    kind: str
    token: str = ""
    environment: Mapping[str, str] = field(
        default_factory=lambda: {"PGPASSWORD": postgres.PASSWORD}
    )

    def fresh(self, folder: Path) -> Schemas:
        self.reach(folder)
        return replace(self, token=_token())

    def reach(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def found(self) -> Iterator[None]:
        small = 0 if self.kind == "pgbouncer" else rows.SMALL
        with _found(self.environment), patch.object(rows, "SMALL", small):
            yield

    def restart(self) -> None:
        self.server.stop()
        self.server.start()

    def place(self, name: str) -> str:
        return f"{self.url}?schema={self._schema(name)}"

    def config(self, name: str, lease: float = LEASE) -> str:
        return _backend(self.place(name), lease)

    def version(self, name: str) -> object:
        return None

    def sequence(self, name: str) -> int:
        schema = self._schema(name)
        there = self.server.psql(f"SELECT to_regclass('{schema}.state') IS NOT NULL")
        return int(self.server.psql(f"SELECT sequence FROM {schema}.state")) if there == "t" else 0

    def keep(self, name: str, copy: Path) -> None:
        copy.unlink(missing_ok=True)
        schema = self._schema(name)
        if self.server.psql(f"SELECT to_regnamespace('{schema}') IS NOT NULL") == "t":
            self._tool("pg_dump", "-n", schema, "-f", str(copy))

    def put_back(self, name: str, copy: Path) -> None:
        self.lose(name)
        if copy.exists():
            self._tool("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-f", str(copy))

    def lose(self, name: str) -> None:
        quiet = "SET client_min_messages = warning"
        self.server.psql(f"{quiet}; DROP SCHEMA IF EXISTS {self._schema(name)} CASCADE")

    def _schema(self, name: str) -> str:
        return f"{self.token}_{name}"

    def _tool(self, name: str, *arguments: str) -> None:
        command = [postgres.binary(name), "-d", self.server.url, *arguments]
        environ = {**os.environ, **self.environment}
        subprocess.run(command, check=True, capture_output=True, env=environ)


@contextmanager
def serve(kind: str, folder: Path, *, is_lined: bool = False) -> Iterator[States]:
    """Start what a kind needs, its files below a folder; with `is_lined` behind a line."""
    with ExitStack() as stack:

        def line(port: int) -> Line | None:
            return stack.enter_context(lined(port)) if is_lined else None

        if kind == "local":
            yield Folders(folder)
        elif kind == "git":
            port = free_port()
            served = stack.enter_context(daemon(upstream(folder / "server"), port))
            before = line(port)
            if before:
                url = served.url.replace(f":{port}/", f":{before.port}/")
                served = Upstream(served.folder, url)
            yield Branches(served, before)
        elif kind == "s3":
            s3 = stack.enter_context(seaweed.serve(folder / "seaweed"))
            before = line(int(s3.host.rpartition(":")[2]))
            yield Buckets(s3.through(f"127.0.0.1:{before.port}") if before else s3, before)
        else:
            server = stack.enter_context(postgres.serve())
            url, port = server.url, server.port
            if kind == "pgbouncer":
                pooler = stack.enter_context(postgres.pooled(server))
                url, port = pooler.url, pooler.port
            before = line(port)
            if before:
                url = url.replace(f":{port}/", f":{before.port}/")
            yield Schemas(server, url, before, kind)


def backend(places: States, name: str, folder: Path, lease: float = LEASE) -> Backend:
    """A shared state as a config of a folder names it."""
    return read_backend(places.place(name), folder, lease=lease)


@contextmanager
def _found(environment: Mapping[str, str]) -> Iterator[None]:
    with (
        patch.dict(os.environ, environment),
        patch.object(pusher, "GROUP", 3),
        patch.object(held, "MOST_SEGMENTS", 3),
        patch.object(held, "SHORTEST_JOURNAL", 30),
    ):
        yield


def _token() -> str:
    return f"t{secrets.token_hex(5)}"


def _backend(place: str, lease: float) -> str:
    return f"state: {{backend: '{place}', lease: {lease:g}s}}\n"


def _copy(folder: Path, to: Path) -> None:
    shutil.rmtree(to, ignore_errors=True)
    if folder.exists():
        shutil.copytree(folder, to, symlinks=True)
