"""GitHub and GitLab as far as the recipes use them: an API on loopback, and runners.

The runner reads the workflow of the repository and runs each `run:` (`script:`) of a job, in a fresh
clone with a fresh home; of actions it knows `checkout` alone, and of expressions what stands here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.support.branches import git
from tests.support.cli import TIMEOUT, Ran

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.branches import Upstream

EXAMPLES = Path(__file__).parents[2] / "examples"
TOKEN = "token-of-the-job"
ROBOT = {"login": "github-actions[bot]", "id": 41}
_COMPARISON = re.compile(r"""^\$?([\w.]+)(?: (==|!=) (?:["'](.*)["']|\$?([\w.]+)))?$""")


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
            (found,) = [each for each in forge.comments if each["id"] == int(number)]
            found |= body
        case ("GET", "issues"):
            return _page([shown(each) for each in forge.issues if each["open"]], query)
        case ("POST", "issues"):
            forge.write(forge.issues, body["body"], title=body["title"])
        case ("PATCH", "issues", number):
            (found,) = [each for each in forge.issues if each["id"] == int(number)]
            found |= {"open": body.get("state") != "closed", **body}
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
            found = [each for each in forge.pulls if sha in (each.merged, each.head)]
            return _page([request(each) for each in found], query)
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
            sent = self.headers.get("PRIVATE-TOKEN") or self.headers.get("Authorization", "")
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


@dataclass(slots=True)
class Job:
    """A job on a runner of its own: what it has on its disk, and how its steps are run."""

    folder: Path
    steps: list[tuple[str, dict[str, str]]]
    process: subprocess.Popen[str] | None = None

    @property
    def workspace(self) -> Path:
        """Where its steps run."""
        return self.folder / "work"

    @property
    def summary(self) -> str:
        """What GitHub shows of it."""
        return (self.folder / "summary.md").read_text()

    def run(self, code: int = 0) -> Ran:
        """Run its steps; the last one must end with this exit code, the others with 0."""
        out = err = ""
        for number, (line, env) in enumerate(self.steps, 1):
            self.process = subprocess.Popen(
                ["bash", "-e", "-c", line],
                cwd=self.workspace,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            try:
                told = self.process.communicate(timeout=TIMEOUT)
            finally:
                self.kill()
            out, err = out + told[0], err + told[1]
            expected = code if number == len(self.steps) else 0
            ended = self.process.returncode
            assert ended == expected, f"{line}: exit {ended}\n{out}\n{err}"
        return Ran(code, out, err)

    def kill(self) -> None:
        """End the machine: every process of the step, at once."""
        assert self.process is not None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def cancel(self) -> None:
        """Do what a runner does that is told to: signal the step's entry process, and it alone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)


@dataclass(slots=True)
class Team:
    """A repository with one of the recipes in it, its forge, and runners that are thrown away."""

    forge: Forge
    server: Upstream
    folder: Path
    # Of the runners' own: variables of the project, settings of the test.
    env: dict[str, str] = field(default_factory=dict)
    jobs: int = 0

    @property
    def is_github(self) -> bool:
        """Which of the two recipes it is."""
        return self.forge.kind == "github"

    @property
    def author(self) -> Path:
        """The clone of whoever writes the pull requests."""
        return self.folder / "author"

    def install(self) -> None:
        """Copy the recipe into the repository, as its document says."""
        author = self.server.clone(self.author)
        recipe = "github-actions" if self.is_github else "gitlab-ci"
        shutil.copytree(EXAMPLES / recipe, author / (".github" if self.is_github else ".gitlab"))

    def push(self, branch: str, **files: str) -> str:
        """Commit files and push them; the commit."""
        for name, text in files.items():
            (self.author / f"imgmigrate{'.trusted' if name == 'trusted' else ''}.yaml").write_text(
                text
            )
        git(self.author, "add", ".")
        git(self.author, "commit", "-qm", "images")
        git(self.author, "push", "-q", "origin", f"HEAD:{branch}")
        return git(self.author, "rev-parse", "HEAD")

    def open(self, branch: str, config: str) -> Pull:
        """Open a pull request with this config."""
        git(self.author, "checkout", "-q", "-B", branch, "origin/main")
        head = self.push(branch, config=config)
        pull = Pull(len(self.forge.pulls) + 1, branch, head)
        self.forge.pulls.append(pull)
        return pull

    def update(self, pull: Pull, config: str) -> None:
        """Push to it again."""
        git(self.author, "checkout", "-q", pull.branch)
        pull.head = self.push(pull.branch, config=config)

    def merge(self, pull: Pull, config: str) -> None:
        """Squash and merge it, and delete the branch: its commits are on none any more."""
        git(self.author, "checkout", "-q", "-B", "main", "origin/main")
        pull.merged = self.push("main", config=config)
        git(self.author, "push", "-q", "origin", f":{pull.branch}")

    def plan(self, pull: Pull) -> Job:
        """The job of a pull request."""
        event = {"pull_request": {"number": pull.number, "head": {"sha": pull.head}}}
        variables = {
            "CI_PIPELINE_SOURCE": "merge_request_event",
            "CI_MERGE_REQUEST_IID": str(pull.number),
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "7",
            "CI_MERGE_REQUEST_PROJECT_ID": "7",
            "CI_COMMIT_SHA": pull.head,
        }
        told = {"github.event.pull_request.head.repo.full_name": "team/images"}
        return self._job("plan", pull.branch, event, variables, told)

    def apply(self, *commits: str, plan: str = "") -> Job:
        """The job of a push to main; with `plan` that which somebody runs by hand."""
        head = git(self.server.folder, "rev-parse", "main")
        event = {"commits": [{"id": each} for each in commits]}
        variables = {
            "CI_PIPELINE_SOURCE": "web" if plan else "push",
            "CI_COMMIT_BRANCH": "main",
            "CI_COMMIT_SHA": commits[-1] if commits else head,
            **({"PLAN": plan} if plan else {}),
        }
        return self._job("apply", "main", event, variables, {"inputs.plan": plan})

    def drift(self) -> Job:
        """The job of every night."""
        variables = {"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main"}
        return self._job("drift", "main", {}, variables, {})

    def fork(self, stranger: Upstream, branch: str) -> Job:
        """The job of a pull request from a fork, which knows no token but that to read."""
        base = git(self.server.folder, "rev-parse", "main")
        variables = {
            "CI_PIPELINE_SOURCE": "merge_request_event",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "8",
            "CI_MERGE_REQUEST_PROJECT_ID": "7",
            "CI_PROJECT_ID": "8",
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "CI_MERGE_REQUEST_PROJECT_URL": self.server.url,
        }
        told = {
            "github.event.pull_request.head.repo.full_name": "stranger/images",
            "github.event.pull_request.base.sha": base,
        }
        return self._job("fork", branch, {}, variables, told, head=stranger)

    def _job(
        self,
        name: str,
        branch: str,
        event: object,
        variables: dict[str, str],
        told: dict[str, str],
        head: Upstream | None = None,
    ) -> Job:
        self.jobs += 1
        job = Job(self.folder / f"runner-{self.jobs}", [])
        (job.folder / "home").mkdir(parents=True)
        (job.folder / "event.json").write_text(json.dumps(event))
        env = {
            "HOME": str(job.folder / "home"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **self.env,
        }
        if self.is_github:
            job.steps = self._github(job, name, branch, env, told, head)
        else:
            job.steps = self._gitlab(job, name, branch, env, variables, head)
        return job

    def _github(
        self,
        job: Job,
        name: str,
        branch: str,
        env: dict[str, str],
        told: dict[str, str],
        head: Upstream | None,
    ) -> list[tuple[str, dict[str, str]]]:
        file = "plan" if name == "fork" else name
        path = EXAMPLES / f"github-actions/workflows/imgmigrate-{file}.yml"
        workflow = yaml.safe_load(path.read_text())
        told = {
            "github.token": TOKEN,
            "github.ref": "refs/heads/main",
            "github.repository": "team/images",
            "secrets.IMGMIGRATE_READ_AUTH": "",
            "secrets.IMGMIGRATE_WRITE_AUTH": "",
            "vars.IMGMIGRATE_PACKAGE": "",
            **told,
        }

        def filled(values: Mapping[str, str]) -> dict[str, str]:
            found = re.compile(r"\$\{\{ (\S+) \}\}")
            return {
                key: found.sub(lambda each: told[each[1]], value) for key, value in values.items()
            }

        described = workflow["jobs"][name]
        assert holds(described.get("if", ""), told)
        env |= filled(workflow["env"]) | {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.forge.url,
            "GITHUB_EVENT_PATH": str(job.folder / "event.json"),
            "GITHUB_PATH": str(job.folder / "path"),
            "GITHUB_REF_NAME": "main",
            "GITHUB_REPOSITORY": "team/images",
            "GITHUB_RUN_ID": str(self.jobs),
            "GITHUB_SHA": git(self.server.folder, "rev-parse", "main"),
            "GITHUB_STEP_SUMMARY": str(job.folder / "summary.md"),
            "RUNNER_TEMP": str(job.folder),
        }
        steps = []
        for step in described["steps"]:
            if "uses" in step:
                assert re.match(r"actions/checkout@[0-9a-f]{40}$", step["uses"])
                chosen = filled(
                    {k: v for k, v in step.get("with", {}).items() if k != "persist-credentials"}
                )
                is_base = "ref" in chosen
                source = head if head and not is_base else self.server
                folder = job.workspace / chosen.get("path", "")
                folder.parent.mkdir(exist_ok=True)
                source.clone(folder, "--branch", "main" if is_base else branch)
                git(folder, "checkout", "-q", "--detach", chosen.get("ref", "HEAD"))
            else:
                steps.append((step["run"], env | filled(step.get("env", {}))))
        return steps

    def _gitlab(
        self,
        job: Job,
        name: str,
        branch: str,
        env: dict[str, str],
        variables: dict[str, str],
        head: Upstream | None,
    ) -> list[tuple[str, dict[str, str]]]:
        described = yaml.safe_load((EXAMPLES / "gitlab-ci/imgmigrate.yml").read_text())
        env |= {
            "CI": "true",
            "CI_API_V4_URL": self.forge.url,
            "CI_DEFAULT_BRANCH": "main",
            "CI_JOB_ID": str(self.jobs),
            "CI_JOB_URL": f"https://gitlab.example/team/images/-/jobs/{self.jobs}",
            "CI_PROJECT_ID": "7",
            "GITLAB_CI": "true",
            "TMPDIR": str(job.folder),
            **({} if head else {"IMGMIGRATE_API_TOKEN": TOKEN}),
            **variables,
        }
        jobs = {
            key.removeprefix("imgmigrate "): each
            for key, each in described.items()
            if "script" in each
        }
        # The rules let this job run, and no other.
        chosen = [
            key
            for key, each in jobs.items()
            if any(holds(rule["if"], env) for rule in each["rules"])
        ]
        assert chosen == [name]
        found = {**described[".imgmigrate"], **jobs[name]}
        (head or self.server).clone(job.workspace, "--branch", branch)
        git(job.workspace, "checkout", "-q", "--detach")
        lines = [*found["before_script"], *found["script"]]
        return [(line, env) for line in lines]


def holds(condition: str, told: Mapping[str, str]) -> bool:
    """Tell whether a job's condition holds: comparisons, all of which must."""
    for part in condition.split(" && ") if condition else ():
        found = _COMPARISON.match(part)
        assert found, part
        left = told.get(found[1], "")
        if found[2] is None:
            result = bool(left)
        else:
            right = told.get(found[4], "") if found[4] else found[3]
            result = (left == right) is (found[2] == "==")
        if not result:
            return False
    return True
