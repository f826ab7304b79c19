"""Say to GitLab what the scripts beside it have to say; forge.py tells how it is called."""

from __future__ import annotations

import os
import sys
import urllib.error

from forge import NAME, Api, Request, Texts, is_ours, main

API = os.environ.get("CI_API_V4_URL", "https://gitlab.com/api/v4")


def headers() -> dict[str, str]:
    """What each request has."""
    return {"PRIVATE-TOKEN": os.environ["IMGMIGRATE_API_TOKEN"]}


class GitLab:
    """What differs from other forges."""

    api = Api(f"{API}/projects/{os.environ.get('CI_PROJECT_ID', '')}", headers)
    change = "PUT"
    issue_text = "description"
    closed = ("state_event", "close")

    def requests(self) -> list[Request]:
        """The merge request of the pipeline, or those that the pipeline's commit has merged."""
        commit = os.environ["CI_COMMIT_SHA"]
        if number := os.environ.get("CI_MERGE_REQUEST_IID"):
            # In a pipeline for merged results CI_COMMIT_SHA is a commit that nobody has pushed.
            head = os.environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or commit
            return [Request(int(number), head)]
        branch = os.environ["CI_COMMIT_BRANCH"]
        found = []
        for each in self.api.pages(f"repository/commits/{commit}/merge_requests"):
            # A squash, a merge commit, or a branch that was moved forward.
            ends = (each["merge_commit_sha"], each["squash_commit_sha"], each["sha"])
            if each["state"] == "merged" and each["target_branch"] == branch and commit in ends:
                found.append(Request(each["iid"], each["sha"], self._reviewed(each["sha"])))
        return found

    def _reviewed(self, head: str) -> str | None:
        # Of several statuses the newest, see `status`.
        found = [
            each
            for each in self.api.pages(f"repository/commits/{head}/statuses?all=true")
            if each["name"].partition(" ")[0] == NAME
        ]
        return max(found, key=lambda each: each["id"])["description"] if found else None

    def comments(self, number: str) -> Texts:
        """Ours of a merge request, where they are called notes."""
        # One with the marker in it that somebody else wrote is theirs to edit, not ours to trust.
        own = Api(API, headers).call("GET", "user")["id"]
        path = f"merge_requests/{number}/notes"
        return Texts(
            path,
            [
                f"{path}/{each['id']}"
                for each in self.api.pages(path)
                if each["author"]["id"] == own and is_ours(each["body"])
            ],
        )

    def issues(self) -> Texts:
        """Ours that are open."""
        found = self.api.pages("issues?state=opened&scope=created_by_me")
        return Texts(
            "issues", [f"issues/{each['iid']}" for each in found if is_ours(each["description"])]
        )

    def status(self, head: str, state: str, text: str) -> None:
        """Set one of each job: GitLab refuses to set a status again to what it is."""
        body = {
            "state": "failed" if state == "failure" else state,
            "name": f"{NAME} {os.environ['CI_JOB_ID']}",
            "description": text,
            "target_url": self.url(),
        }
        try:
            self.api.call("POST", f"statuses/{head}", body)
        except urllib.error.HTTPError as error:
            # Said before, by an attempt whose answer was lost.
            if error.code != 400 or b"Cannot transition status" not in error.read(1000):
                raise

    def url(self) -> str:
        """Where this job is."""
        return os.environ.get("CI_JOB_URL", "")


if __name__ == "__main__":
    sys.exit(main(GitLab(), *sys.argv[1:]))
