"""What the scripts beside it have to say to a forge: the standard library and nothing else.

usage: FORGE.py requests              NUMBER HEAD PLAN of the pull requests, - for no plan
       FORGE.py comment NUMBER FILE   write or renew the one comment
       FORGE.py status HEAD STATE TEXT
       FORGE.py issue FILE | no-issue write or renew the one issue; close it
       FORGE.py url                   where this job is

FORGE is github or gitlab, which know what differs. All of it may be said twice, so what fails on
the way is said again.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

# Several configs in one repository are told apart by a name each.
NAME = os.environ.get("IMGMIGRATE_NAME", "imgmigrate")
MARKER = f"<!-- imgmigrate recipe={NAME} -->"
TITLE = f"{NAME}: images have moved"
PAGE = 100
ATTEMPTS, PAUSE = 4, 2.0


@dataclass(frozen=True, slots=True)
class Api:
    """What is below one URL of a forge; the headers are made late, for they need a token."""

    url: str
    headers: Callable[[], dict[str, str]]

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send one request; the answer, decoded."""
        request = urllib.request.Request(
            f"{self.url}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **self.headers()},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def pages(self, path: str) -> list[Any]:
        """Every page of a list."""
        found: list[Any] = []
        number = 1
        while True:
            joint = "&" if "?" in path else "?"
            page = self.call("GET", f"{path}{joint}per_page={PAGE}&page={number}")
            found += page
            if len(page) < PAGE:
                return found
            number += 1


@dataclass(frozen=True, slots=True)
class Request:
    """A pull request; `text` is that of the newest status of its head which is ours."""

    number: int
    head: str
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Texts:
    """Comments or issues that are ours: the path that lists all, and those of each of them."""

    path: str
    found: list[str]


class Forge(Protocol):
    """What differs from forge to forge."""

    # Below the repository.
    api: Api
    # The method that changes what is there.
    change: str
    # What an issue calls its text, and how it is closed.
    issue_text: str
    closed: tuple[str, str]

    def requests(self) -> list[Request]:
        """The pull request of this job, or those that its push has merged, the oldest first."""

    def comments(self, number: str) -> Texts:
        """Ours of a pull request."""

    def issues(self) -> Texts:
        """Ours that are open."""

    def status(self, head: str, state: str, text: str) -> None:
        """Set the status of a commit: `state` is success or failure."""

    def url(self) -> str:
        """Where this job is."""


def is_ours(text: str | None) -> bool:
    """Tell whether a text has the marker; who wrote it is another question."""
    return (text or "").startswith(MARKER)


def requests(forge: Forge) -> None:
    """Print them, at once: an attempt that fails halfway has printed none."""
    for each in forge.requests():
        text = each.text or ""
        print(each.number, each.head, text if text.startswith("sha256:") else "-")


def comment(forge: Forge, number: str, file: str) -> None:
    """Write or renew the comment."""
    _write(forge, {"body": _marked(file)}, forge.comments(number))


def issue(forge: Forge, file: str) -> None:
    """Write or renew the issue."""
    _write(forge, {"title": TITLE, forge.issue_text: _marked(file)}, forge.issues())


def _marked(file: str) -> str:
    return f"{MARKER}\n{Path(file).read_text()}"


def _write(forge: Forge, body: dict[str, str], texts: Texts) -> None:
    if texts.found:
        forge.api.call(forge.change, texts.found[0], body)
    else:
        forge.api.call("POST", texts.path, body)


def no_issue(forge: Forge) -> None:
    """Close it."""
    name, value = forge.closed
    for path in forge.issues().found:
        forge.api.call(forge.change, path, {name: value})


def status(forge: Forge, head: str, state: str, text: str) -> None:
    """Set the status of a commit."""
    forge.status(head, state, text)


def url(forge: Forge) -> None:
    """Print where this job is."""
    print(forge.url())


COMMANDS: dict[str, Callable[..., None]] = {
    "requests": requests,
    "comment": comment,
    "status": status,
    "issue": issue,
    "no-issue": no_issue,
    "url": url,
}


def main(forge: Forge, command: str, *arguments: str) -> int:
    """Do it; again where the forge is away for a moment."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            COMMANDS[command](forge, *arguments)
            return 0
        except urllib.error.HTTPError as error:
            # Text that the forge wrote, in the log alone.
            print(f"{command}: {error} {error.read(1000)!r}", file=sys.stderr)
            if error.code < 500:
                break
        except OSError as error:
            print(f"{command}: {error}", file=sys.stderr)
        if attempt < ATTEMPTS:
            time.sleep(PAUSE * attempt)
    return 1
