"""Say to GitHub what the scripts beside it have to say: the standard library and nothing else.

usage: github.py requests              NUMBER HEAD PLAN of the pull requests, - for no plan
       github.py comment NUMBER FILE   write or renew the one comment
       github.py status HEAD STATE TEXT
       github.py issue FILE | no-issue write or renew the one issue; close it
       github.py url                   where this job is

All of it may be said twice, so what fails on the way is said again.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

API = os.environ.get("GITHUB_API_URL", "https://api.github.com")
REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")
# Several configs in one repository are told apart by a name each.
NAME = os.environ.get("IMGMIGRATE_NAME", "imgmigrate")
MARKER = f"<!-- imgmigrate recipe={NAME} -->"
# A comment with the marker in it that somebody else wrote is theirs to edit, and not ours to trust.
BOT = os.environ.get("IMGMIGRATE_BOT", "github-actions[bot]")
TITLE = f"{NAME}: images have moved"
PAGE = 100
ATTEMPTS, PAUSE = 4, 2.0


def call(method: str, path: str, body: object = None) -> Any:
    """Send one request below the repository; the answer, decoded."""
    request = urllib.request.Request(
        f"{API}/repos/{REPOSITORY}/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def pages(path: str) -> list[Any]:
    """Every page of a list."""
    found: list[Any] = []
    number = 1
    while True:
        page = call("GET", f"{path}{'&' if '?' in path else '?'}per_page={PAGE}&page={number}")
        found += page
        if len(page) < PAGE:
            return found
        number += 1


def event() -> Any:
    """What started the workflow."""
    return json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text())


def requests() -> None:
    """Print the pull request of the event, or those that a push has merged, the oldest first."""
    told = event()
    if "pull_request" in told:
        pull = told["pull_request"]
        print(pull["number"], pull["head"]["sha"], "-")
        return
    for pull in merged(told):
        head = pull["head"]["sha"]
        print(pull["number"], head, reviewed(head) or "-")


def merged(push: Any) -> list[Any]:
    """The pull requests whose merge commits are in a push: a merge queue pushes several at once."""
    commits = [each["id"] for each in push.get("commits") or ()]
    commits = list(dict.fromkeys([*commits, os.environ["GITHUB_SHA"]]))
    branch = os.environ["GITHUB_REF_NAME"]
    # Closed lately: the first page has them, but for a job that is run again much later.
    lately = call(
        "GET", f"pulls?state=closed&base={branch}&sort=updated&direction=desc&per_page={PAGE}"
    )
    found = {each["merge_commit_sha"]: each for each in lately if each["merged_at"]}
    if commits[-1] not in found:
        for each in call("GET", f"commits/{commits[-1]}/pulls"):
            if each["merged_at"] and each["base"]["ref"] == branch:
                found[commits[-1]] = each
    return [found[commit] for commit in commits if commit in found]


def reviewed(head: str) -> str | None:
    """The plan that the newest status of a commit names; GitHub lists the newest first."""
    for status in pages(f"commits/{head}/statuses"):
        if status["context"] == NAME:
            text = status["description"] or ""
            return text if text.startswith("sha256:") else None
    return None


def comment(number: str, file: str) -> None:
    """Write or renew the comment."""
    body = {"body": f"{MARKER}\n{Path(file).read_text()}"}
    for each in pages(f"issues/{number}/comments"):
        if each["user"]["login"] == BOT and each["body"].startswith(MARKER):
            call("PATCH", f"issues/comments/{each['id']}", body)
            return
    call("POST", f"issues/{number}/comments", body)


def status(head: str, state: str, text: str) -> None:
    """Set the status of a commit."""
    body = {"state": state, "context": NAME, "description": text, "target_url": url()}
    call("POST", f"statuses/{head}", body)


def issue(file: str) -> None:
    """Write or renew the issue."""
    body = {"title": TITLE, "body": f"{MARKER}\n{Path(file).read_text()}"}
    found = issues()
    if found:
        call("PATCH", f"issues/{found[0]['number']}", body)
    else:
        call("POST", "issues", body)


def no_issue() -> None:
    """Close it."""
    for each in issues():
        call("PATCH", f"issues/{each['number']}", {"state": "closed"})


def issues() -> list[Any]:
    """The open ones that are ours."""
    return [
        each
        for each in pages("issues?state=open")
        if each["user"]["login"] == BOT and (each["body"] or "").startswith(MARKER)
    ]


def url() -> str:
    """Where this job is."""
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    return f"{server}/{REPOSITORY}/actions/runs/{os.environ.get('GITHUB_RUN_ID', '')}"


COMMANDS = {
    "requests": requests,
    "comment": comment,
    "status": status,
    "issue": issue,
    "no-issue": no_issue,
    "url": lambda: print(url()),
}


def main(command: str, *arguments: str) -> int:
    """Do it; again where the forge is away for a moment."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            COMMANDS[command](*arguments)  # type: ignore[operator]
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


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
