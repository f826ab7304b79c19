"""A bare git repository that clones push to: on disk, by `git daemon`, or over HTTP."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from imgmigrate.config.values.backends import Backend
from tests.support.cli import TIMEOUT
from tests.support.ports import answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BRANCH = "imgmigrate-state"
PLACE = f"git:{BRANCH}@origin"
# `git daemon` starts within a tenth of a second; a machine under load gets a minute.
POLLS, POLL_PAUSE = 6000, 0.01
# For what a test itself commits; imgmigrate must know what to do without.
_SOMEBODY = ("-c", "user.name=Somebody", "-c", "user.email=somebody@team.example")


def git(folder: Path, *arguments: str | Path) -> str:
    """Run git and return its stdout; AssertionError with its stderr if it fails."""
    done = subprocess.run(
        ["git", *_SOMEBODY, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"git {arguments}: {done.returncode}\n{done.stderr}"
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Upstream:
    """The repository, and the URL that clones know it by."""

    folder: Path
    url: str

    def clone(self, folder: Path, *options: str) -> Path:
        """Clone it."""
        git(folder.parent, "clone", "--quiet", *options, self.url, folder)
        return folder

    def commits(self, branch: str = BRANCH) -> list[str]:
        """The commits of a branch, the newest first."""
        return git(self.folder, "rev-list", branch).split()

    def add_hook(self, name: str, text: str) -> None:
        """Let the server run a hook."""
        hook = self.folder / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{text}\n")
        hook.chmod(0o755)

    def drop_hook(self, name: str) -> None:
        """Let it run that no more."""
        (self.folder / "hooks" / name).unlink()


def upstream(folder: Path) -> Upstream:
    """Make a repository with one commit on `main`."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "up.git")
    made = Upstream(folder / "up.git", str(folder / "up.git"))
    first = made.clone(folder / "first")
    (first / "README.md").write_text("the team's own\n")
    for words in (("add", "."), ("commit", "-qm", "one"), ("commit", "-qm", "2", "--allow-empty")):
        git(first, *words)
    git(first, "push", "--quiet", "origin", "HEAD:main")
    return made


def backend(checkout: Path, lease: float = 60.0) -> Backend:
    """The state of a checkout."""
    return Backend(PLACE, checkout, lease)


def bytes_of(checkout: Path) -> dict[str, str]:
    """Every file of a checkout, those of `.git` too, by a hash of its bytes."""
    return {
        str(path.relative_to(checkout)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(checkout.rglob("*"))
        if path.is_file()
    }


@contextmanager
def daemon(repository: Upstream, port: int) -> Iterator[Upstream]:
    """Serve it by `git daemon`, pushes too."""
    base = repository.folder.parent
    process = subprocess.Popen(
        [
            *("git", "daemon", "--export-all", "--enable=receive-pack", "--reuseaddr"),
            *(f"--base-path={base}", "--listen=127.0.0.1", f"--port={port}", str(base)),
        ],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(POLLS):
            if answers(port):
                break
            time.sleep(POLL_PAUSE)
        yield Upstream(repository.folder, f"git://127.0.0.1:{port}/{repository.folder.name}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT)


@contextmanager
def http(repository: Upstream, authorization: str) -> Iterator[Upstream]:
    """Serve it by `git http-backend` to whoever sends this header, as a forge does."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            if self.headers.get_all("Authorization") != [authorization]:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="forge"')
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            done = subprocess.run(
                ["git", "http-backend"],
                input=body,
                capture_output=True,
                timeout=TIMEOUT,
                env={
                    "CONTENT_LENGTH": str(len(body)),
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "GIT_PROJECT_ROOT": str(repository.folder.parent),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "PATH": os.environ["PATH"],
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "REMOTE_USER": "runner",
                    "REQUEST_METHOD": self.command,
                },
            )
            head, _, answer = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815 (the name is http.server's)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield Upstream(
                repository.folder,
                f"http://127.0.0.1:{server.server_port}/{repository.folder.name}",
            )
        finally:
            server.shutdown()
            thread.join(TIMEOUT)
