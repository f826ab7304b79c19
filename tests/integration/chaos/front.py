"""What stands before a docker-registry and lies: short lists, odd Links, HEADs that are wrong.

A thread of its own; each connection has one, and one connection to the registry behind.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tests.integration.chaos.places import Shelf

__all__ = ["LIES", "LINKS", "Front"]

_TARGET = re.compile(r"/v2/(.+)/(manifests|blobs|tags)/(.*)")
PAGE = 2
# How a Link may be written: all of them lead to the next page.
LINKS = {
    "link-bare": '{path}; rel="next"',
    "link-quotes": "<{path}>; rel='next'",
    "link-no-rel": "<{path}>",
    "link-no-port": '<http://127.0.0.1{path}>; rel="next"',
    "link-whole": '<http://{host}{path}>; rel="next"',
    "link-https": '<https://127.0.0.1{path}>; rel="next"',
    "link-upper": '<{path}>; REL="NEXT"',
    "link-more": '<{path}>; title="x, y"; rel="next", </v2/>; rel="first"',
}
# The rest: what is said is not so, or nothing is said.
LIES = ("cut", "head-404", "head-stale", "down", "flaky", "unlisted-404", "unlisted-403")
STALE = "sha256:" + "57a1e" * 12 + "0000"
EVERY = 9


@dataclass
class Front:
    """One front and its registry. `lies` are by kind: the beginning of repositories' names."""

    shelf: Shelf
    behind: str
    # A registry that takes any manifest, and one that deletes tags by name.
    is_careless: bool = False
    deletes_names: bool = False
    lies: dict[str, str] = field(default_factory=dict)
    # A process to strike, by which signal, and how many writes before.
    victim: int | None = None
    blow: signal.Signals = signal.SIGKILL
    left: int = 0
    struck: threading.Event = field(default_factory=threading.Event)
    asked: int = 0
    # How many questions wait for their answer.
    busy: int = 0
    _quiet: threading.Condition = field(default_factory=threading.Condition)
    _servers: list[ThreadingHTTPServer] = field(default_factory=list)

    def __enter__(self) -> Self:
        front = self

        class Bound(_Handler):
            pass

        Bound.front = front
        for _ in range(2):
            server = _Server(("127.0.0.1", 0), Bound)
            self._servers.append(server)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    @property
    def ports(self) -> list[int]:
        """Where it listens; all ports are one place."""
        return [server.server_address[1] for server in self._servers]

    def lies_about(self, kind: str, repo: str) -> bool:
        """Tell whether this lie is told of a repository."""
        return kind in self.lies and repo.startswith(self.lies[kind])

    def enter(self, more: int) -> None:
        """Count a question that is asked, or answered."""
        with self._quiet:
            self.busy += more
            self._quiet.notify_all()

    def wait(self) -> None:
        """Wait until all that was asked is answered, also to those who no longer listen."""
        with self._quiet:
            self._quiet.wait_for(lambda: self.busy == 0, timeout=60)

    @contextmanager
    def striking(self, left: int, blow: signal.Signals) -> Iterator[None]:
        """Strike whoever is made the victim at its `left`-th write, if it comes so far."""
        self.left, self.blow = left, blow
        self.struck.clear()
        try:
            yield
        finally:
            self.victim = None

    def strike(self, method: str) -> None:
        """Count a write, and strike the process that shall not see its answer, or not now."""
        self.asked += 1
        if self.victim is not None and method in ("PUT", "POST", "DELETE", "PATCH"):
            self.left -= 1
            if self.left <= 0:
                with suppress(ProcessLookupError):
                    os.kill(self.victim, self.blow)
                self.victim = None
                self.struck.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    front: Front
    protocol_version = "HTTP/1.1"
    # Answers are small: none waits for the next.
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True
    _line: http.client.HTTPConnection | None = None

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def finish(self) -> None:
        """Hang up on both sides."""
        super().finish()
        if self._line:
            self._line.close()

    def _serve(self) -> None:
        self.front.enter(1)
        try:
            self._serve_one()
        finally:
            self.front.enter(-1)

    def _serve_one(self) -> None:
        front, body = self.front, self._body()
        front.strike(self.command)
        found = _TARGET.fullmatch(urlsplit(self.path).path)
        repo, what, ref = found.groups() if found else ("", "", "")
        is_tired = front.lies_about("flaky", repo) and front.asked % EVERY == 0
        if is_tired or front.lies_about("down", repo):
            self._say(503)
        elif what == "tags":
            self._list(repo, body)
        elif self.path.startswith("/v2/_catalog"):
            self._pass_on(body) if "cut" not in front.lies else self._cut_catalog(body)
        elif what == "manifests" and self._about_manifest(repo, ref, body):
            return
        else:
            self._pass_on(body)

    def __getattr__(self, name: str) -> Any:
        """One method for all verbs."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _about_manifest(self, repo: str, ref: str, body: bytes) -> bool:
        """Answer what this front answers itself."""
        front, is_head = self.front, self.command == "HEAD"
        if is_head and front.lies_about("head-404", repo):
            self._say(404)
        elif is_head and ":" not in ref and front.lies_about("head-stale", repo):
            status, headers, _ = self._ask(body)
            if status == 200:
                headers["Docker-Content-Digest"] = STALE
            self._answer(status, headers, b"")
        elif self.command == "PUT" and front.is_careless:
            digest = front.shelf.put_manifest(repo, ref, body)
            where = f"/v2/{repo}/manifests/{digest}"
            self._answer(201, {"Docker-Content-Digest": digest, "Location": where}, b"")
        elif self.command == "DELETE" and ":" not in ref and front.deletes_names:
            front.shelf.untag(repo, ref)
            self._say(202)
        else:
            return False
        return True

    def _list(self, repo: str, body: bytes) -> None:
        front = self.front
        for status in (404, 403):
            if front.lies_about(f"unlisted-{status}", repo):
                self._say(status)
                return
        link = next((kind for kind in LINKS if front.lies_about(kind, repo)), None)
        if not link and not front.lies_about("cut", repo):
            self._pass_on(body)
            return
        status, headers, data = self._ask(body)
        if status != 200:
            self._answer(status, headers, data)
            return
        document = json.loads(data)
        last = parse_qs(urlsplit(self.path).query).get("last", [""])[0]
        tags = sorted(tag for tag in document["tags"] or () if tag > last)
        document["tags"] = tags[:PAGE]
        headers.pop("Link", None)
        if link and len(tags) > PAGE:
            path = f"/v2/{repo}/tags/list?n={PAGE}&last={tags[PAGE - 1]}"
            headers["Link"] = LINKS[link].format(path=path, host=self.headers["Host"])
        self._answer(status, headers, json.dumps(document).encode())

    def _cut_catalog(self, body: bytes) -> None:
        status, headers, data = self._ask(body)
        if status == 200:
            names = sorted(json.loads(data)["repositories"])
            data = json.dumps({"repositories": names[:PAGE]}).encode()
            headers.pop("Link", None)
        self._answer(status, headers, data)

    def _pass_on(self, body: bytes) -> None:
        self._answer(*self._ask(body))

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Ask the registry behind; once more where it was restarted meanwhile."""
        kept = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "expect")
        }
        if body or self.command in ("PUT", "POST", "PATCH"):
            kept["Content-Length"] = str(len(body))
        for attempt in range(2):
            if self._line is None:
                self._line = http.client.HTTPConnection(self.front.behind, timeout=30)
            try:
                self._line.request(self.command, self.path, body, kept)
                answer = self._line.getresponse()
                return answer.status, dict(answer.getheaders()), answer.read()
            except (OSError, http.client.HTTPException):
                self._line.close()
                self._line = None
                if attempt:
                    raise
        raise AssertionError

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            pieces = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        if len(body) < size:
            raise ConnectionError
        return body

    def _say(self, status: int) -> None:
        self._answer(status, {"Content-Type": "application/json"}, b'{"errors":[]}')

    def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response_only(status)
        is_head = self.command == "HEAD"
        for name, value in headers.items():
            skipped = ("connection", "transfer-encoding", "keep-alive")
            if name.lower() in skipped or (name.lower() == "content-length" and not is_head):
                continue
            self.send_header(name, value)
        if not is_head and status != 204:
            self.send_header("Content-Length", str(len(data)))
        elif not any(name.lower() == "content-length" for name in headers):
            self.send_header("Content-Length", "0")
        self.end_headers()
        if not is_head:
            self.wfile.write(data)
        self.wfile.flush()
