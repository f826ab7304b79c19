"""Say to GitHub what the scripts beside it have to say; forge.py tells how it is called."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from forge import NAME, PAGE, Api, Request, Texts, is_ours, main

API = os.environ.get("GITHUB_API_URL", "https://api.github.com")
REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")
# A comment with the marker in it that somebody else wrote is theirs to edit, and not ours to trust.
BOT = os.environ.get("IMGMIGRATE_BOT", "github-actions[bot]")


def headers() -> dict[str, str]:
    """What each request has."""
    return {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
        "X-GitHub-Api-Version": "2022-11-28",
    }


class GitHub:
    """What differs from other forges."""

    api = Api(f"{API}/repos/{REPOSITORY}", headers)
    change = "PATCH"
    issue_text = "body"
    closed = ("state", "closed")

    def requests(self) -> list[Request]:
        """The pull request of the event, or those that a push has merged."""
        event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text())
        if "pull_request" in event:
            pull = event["pull_request"]
            return [Request(pull["number"], pull["head"]["sha"])]
        heads = ((each["number"], each["head"]["sha"]) for each in self._merged(event))
        return [Request(number, head, self._reviewed(head)) for number, head in heads]

    def _merged(self, push: Any) -> list[Any]:
        # Those whose merge commits are in a push: a merge queue pushes several at once.
        commits = [each["id"] for each in push.get("commits") or ()]
        commits = list(dict.fromkeys([*commits, os.environ["GITHUB_SHA"]]))
        branch = os.environ["GITHUB_REF_NAME"]
        # Closed lately: the first page has them, but for a job that is run again much later.
        order = "sort=updated&direction=desc"
        lately = self.api.call("GET", f"pulls?state=closed&base={branch}&{order}&per_page={PAGE}")
        found = {each["merge_commit_sha"]: each for each in lately if each["merged_at"]}
        if commits[-1] not in found:
            for each in self.api.call("GET", f"commits/{commits[-1]}/pulls"):
                if each["merged_at"] and each["base"]["ref"] == branch:
                    found[commits[-1]] = each
        return [found[commit] for commit in commits if commit in found]

    def _reviewed(self, head: str) -> str | None:
        # GitHub lists the newest first.
        for status in self.api.pages(f"commits/{head}/statuses"):
            if status["context"] == NAME:
                text: str | None = status["description"]
                return text
        return None

    def comments(self, number: str) -> Texts:
        """Ours of a pull request."""
        path = f"issues/{number}/comments"
        found = self._ours(path)
        return Texts(path, [f"issues/comments/{each['id']}" for each in found])

    def issues(self) -> Texts:
        """Ours that are open."""
        found = self._ours("issues?state=open")
        return Texts("issues", [f"issues/{each['number']}" for each in found])

    def _ours(self, path: str) -> list[Any]:
        return [
            each
            for each in self.api.pages(path)
            if each["user"]["login"] == BOT and is_ours(each["body"])
        ]

    def status(self, head: str, state: str, text: str) -> None:
        """Set the status of a commit."""
        body = {"state": state, "context": NAME, "description": text, "target_url": self.url()}
        self.api.call("POST", f"statuses/{head}", body)

    def url(self) -> str:
        """Where this job is."""
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        return f"{server}/{REPOSITORY}/actions/runs/{os.environ.get('GITHUB_RUN_ID', '')}"


if __name__ == "__main__":
    sys.exit(main(GitHub(), *sys.argv[1:]))
