"""GitHub and GitLab as far as the recipes use them: an API on loopback."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.support.cli import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "token-of-the-job"
ROBOT = {"login": "github-actions[bot]", "id": 41}


@dataclass(slots=True)
class Pull:
    """A pull request: its branch, the commit that was pushed there last, and what merged it."""

    number: int
    branch: str
    head: str
    merged: str | None = None


@dataclass(slots=True)
class Forge:
    """What the forge keeps; `refusals` answers so many requests with 502 first."""

    kind: str
    url: str = ""
    pulls: list[Pull] = field(default_factory=list)
    comments: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    refusals: int = 0

    def comment(self, number: int) -> str:
        """The text of the one comment of the robot."""
        (found,) = [each for each in self._robots(self.comments) if each["number"] == number]
        text: str = found["body"]
        return text

    def reviewed(self, head: str) -> str:
        """The newest status of a commit."""
        text: str = [each for each in self.statuses if each["sha"] == head][-1]["description"]
        return text

    def _robots(self, texts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in texts if each["author"] == ROBOT]

    def write(self, texts: list[dict[str, Any]], body: str, **more: Any) -> dict[str, Any]:
        """Add a comment or an issue of the robot."""
        text = {"id": 100 + len(texts), "body": body, "author": ROBOT, "open": True, **more}
        texts.append(text)
        return text

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        """What the API answers; KeyError for what there is not."""
        return (_github if self.kind == "github" else _gitlab)(self, method, path, query, body)


def _page(texts: list[dict[str, Any]], query: dict[str, list[str]]) -> list[dict[str, Any]]:
    size, number = int(query["per_page"][0]), int(query.get("page", ["1"])[0])
    return texts[size * (number - 1) : size * number]


def _github(forge: Forge, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
    def shown(each: dict[str, Any]) -> dict[str, Any]:
        return {**each, "user": each["author"], "number": each.get("number", each["id"])}

    def pull(each: Pull) -> dict[str, Any]:
        sides = {"head": {"sha": each.head}, "base": {"ref": "main"}}
        merged = {"merged_at": each.merged and "now", "merge_commit_sha": each.merged}
        return {"number": each.number, **sides, **merged}

    match (method, *path.removeprefix("/repos/team/images/").split("/")):
        case ("GET", "pulls"):
            return _page([pull(each) for each in reversed(forge.pulls) if each.merged], query)
        case ("GET", "commits", sha, "pulls"):
            return [pull(each) for each in forge.pulls if sha in (each.merged, each.head)]
        case ("GET", "commits", sha, "statuses"):
            return _page([each for each in reversed(forge.statuses) if each["sha"] == sha], query)
        case ("POST", "statuses", sha):
            assert len(body["description"]) <= 140
            forge.statuses.append({"sha": sha, **body})
        case ("GET", "issues", number, "comments"):
            found = [each for each in forge.comments if each["number"] == int(number)]
            return _page([shown(each) for each in found], query)
        case ("POST", "issues", number, "comments"):
            assert len(body["body"]) <= 65536
            forge.write(forge.comments, body["body"], number=int(number))
        case ("PATCH", "issues", "comments", number):
            (text,) = [each for each in forge.comments if each["id"] == int(number)]
            text |= body
        case ("GET", "issues"):
            return _page([shown(each) for each in forge.issues if each["open"]], query)
        case ("POST", "issues"):
            forge.write(forge.issues, body["body"], title=body["title"])
        case ("PATCH", "issues", number):
            (text,) = [each for each in forge.issues if each["id"] == int(number)]
            text |= {"open": body.get("state") != "closed", **body}
        case _:
            raise KeyError(path)
    return {}


def _gitlab(forge: Forge, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
    def shown(each: dict[str, Any]) -> dict[str, Any]:
        return {**each, "iid": each["id"], "description": each["body"]}

    def request(each: Pull) -> dict[str, Any]:
        state = "merged" if each.merged else "opened"
        merged = {"merge_commit_sha": None, "squash_commit_sha": each.merged}
        return {
            "iid": each.number,
            "sha": each.head,
            "state": state,
            "target_branch": "main",
        } | merged

    match (method, *path.removeprefix("/").removeprefix("projects/7/").split("/")):
        case ("GET", "user"):
            return ROBOT
        case ("GET", "repository", "commits", sha, "merge_requests"):
            pulls = [each for each in forge.pulls if sha in (each.merged, each.head)]
            return _page([request(each) for each in pulls], query)
        case ("GET", "repository", "commits", sha, "statuses"):
            return _page([each for each in forge.statuses if each["sha"] == sha], query)
        case ("POST", "statuses", sha):
            assert len(body["description"]) <= 255
            forge.statuses.append({"sha": sha, "id": len(forge.statuses), **body})
        case ("GET", "merge_requests", number, "notes"):
            found = [each for each in forge.comments if each["number"] == int(number)]
            return _page(found, query)
        case ("POST", "merge_requests", number, "notes"):
            forge.write(forge.comments, body["body"], number=int(number))
        case ("PUT", "merge_requests", _, "notes", number):
            (text,) = [each for each in forge.comments if each["id"] == int(number)]
            text |= body
        case ("GET", "issues"):
            return _page([shown(each) for each in forge.issues if each["open"]], query)
        case ("POST", "issues"):
            forge.write(forge.issues, body["description"], title=body["title"])
        case ("PUT", "issues", number):
            (text,) = [each for each in forge.issues if each["id"] == int(number)]
            text |= {"open": body.get("state_event") != "close"}
            text["body"] = body.get("description", text["body"])
        case _:
            raise KeyError(path)
    return {}


@contextmanager
def serve(forge: Forge) -> Iterator[Forge]:
    """Let it answer to whoever has the token."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent = self.headers.get("PRIVATE-TOKEN") or self.headers.get("Authorization") or ""
            code, said = 200, None
            url = urlsplit(self.path)
            if forge.refusals:
                forge.refusals -= 1
                code = 502
            elif sent.removeprefix("Bearer ") != TOKEN:
                code = 401
            else:
                try:
                    words = json.loads(body) if body else None
                    said = forge.answer(self.command, url.path, parse_qs(url.query), words)
                except KeyError:
                    code = 404
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        do_GET = do_POST = do_PATCH = do_PUT = _answer  # noqa: N815 (http.server's names)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        forge.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield forge
        finally:
            server.shutdown()
            thread.join(TIMEOUT)
