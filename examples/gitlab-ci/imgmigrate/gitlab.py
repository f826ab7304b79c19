"""Say to GitLab what the scripts beside it have to say: the standard library and nothing else.

usage: gitlab.py requests              NUMBER HEAD PLAN of the merge requests, - for no plan
       gitlab.py comment NUMBER FILE   write or renew the one comment
       gitlab.py status HEAD STATE TEXT
       gitlab.py issue FILE | no-issue write or renew the one issue; close it
       gitlab.py url                   where this job is

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

API = os.environ.get("CI_API_V4_URL", "https://gitlab.com/api/v4")
PROJECT = os.environ.get("CI_PROJECT_ID", "")
# Several configs in one project are told apart by a name each.
NAME = os.environ.get("IMGMIGRATE_NAME", "imgmigrate")
MARKER = f"<!-- imgmigrate recipe={NAME} -->"
TITLE = f"{NAME}: images have moved"
PAGE = 100
ATTEMPTS, PAUSE = 4, 2.0


def call(method: str, path: str, body: object = None) -> Any:
    """Send one request; the answer, decoded."""
    request = urllib.request.Request(
        f"{API}/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Content-Type": "application/json",
            "PRIVATE-TOKEN": os.environ["IMGMIGRATE_API_TOKEN"],
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def project(method: str, path: str, body: object = None) -> Any:
    """Send one request below the project."""
    return call(method, f"projects/{PROJECT}/{path}", body)


def pages(path: str) -> list[Any]:
    """Every page of a list of the project."""
    found: list[Any] = []
    number = 1
    while True:
        joint = "&" if "?" in path else "?"
        page = project("GET", f"{path}{joint}per_page={PAGE}&page={number}")
        found += page
        if len(page) < PAGE:
            return found
        number += 1


def requests() -> None:
    """Print the merge request of the pipeline, or those that the pipeline's commit has merged."""
    if number := os.environ.get("CI_MERGE_REQUEST_IID"):
        # In a pipeline for merged results CI_COMMIT_SHA is a commit that nobody has pushed.
        head = os.environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or os.environ["CI_COMMIT_SHA"]
        print(number, head, "-")
        return
    commit, branch = os.environ["CI_COMMIT_SHA"], os.environ["CI_COMMIT_BRANCH"]
    for each in pages(f"repository/commits/{commit}/merge_requests"):
        # A squash, a merge commit, or a branch that was moved forward.
        ends = (each["merge_commit_sha"], each["squash_commit_sha"], each["sha"])
        if each["state"] == "merged" and each["target_branch"] == branch and commit in ends:
            print(each["iid"], each["sha"], reviewed(each["sha"]) or "-")


def reviewed(head: str) -> str | None:
    """The plan that the newest of our statuses of a commit names."""
    found = [
        each
        for each in pages(f"repository/commits/{head}/statuses?all=true")
        if each["name"].partition(" ")[0] == NAME
    ]
    text = max(found, key=lambda each: each["id"])["description"] or "" if found else ""
    return text if text.startswith("sha256:") else None


def comment(number: str, file: str) -> None:
    """Write or renew the note."""
    # A note with the marker in it that somebody else wrote is theirs to edit, not ours to trust.
    own = call("GET", "user")["id"]
    body = {"body": f"{MARKER}\n{Path(file).read_text()}"}
    for each in pages(f"merge_requests/{number}/notes"):
        if each["author"]["id"] == own and each["body"].startswith(MARKER):
            project("PUT", f"merge_requests/{number}/notes/{each['id']}", body)
            return
    project("POST", f"merge_requests/{number}/notes", body)


def status(head: str, state: str, text: str) -> None:
    """Set a status of a commit, one for each job: GitLab refuses to set one again to what it is."""
    name = f"{NAME} {os.environ['CI_JOB_ID']}"
    state = "failed" if state == "failure" else state
    body = {"state": state, "name": name, "description": text, "target_url": url()}
    try:
        project("POST", f"statuses/{head}", body)
    except urllib.error.HTTPError as error:
        # Said before, by an attempt whose answer was lost.
        if error.code != 400 or b"Cannot transition status" not in error.read(1000):
            raise


def issue(file: str) -> None:
    """Write or renew the issue."""
    body = {"title": TITLE, "description": f"{MARKER}\n{Path(file).read_text()}"}
    found = issues()
    if found:
        project("PUT", f"issues/{found[0]['iid']}", body)
    else:
        project("POST", "issues", body)


def no_issue() -> None:
    """Close it."""
    for each in issues():
        project("PUT", f"issues/{each['iid']}", {"state_event": "close"})


def issues() -> list[Any]:
    """The open ones that are ours."""
    return [
        each
        for each in pages("issues?state=opened&scope=created_by_me")
        if (each["description"] or "").startswith(MARKER)
    ]


def url() -> str:
    """Where this job is."""
    return os.environ.get("CI_JOB_URL", "")


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
