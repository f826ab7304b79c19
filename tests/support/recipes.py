"""Teams whose repository has one of the recipes, and runners that are thrown away after each job.

A runner reads the workflow of the recipe and runs each `run:` (`script:`) of a job, in a fresh
clone with a fresh home; of actions it knows `checkout`, and of expressions what stands here.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.support.branches import git
from tests.support.cli import TIMEOUT, Ran
from tests.support.forges import TOKEN, Pull

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.branches import Upstream
    from tests.support.forges import Forge

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
# How its document says to copy a recipe: what, and where below the repository.
_COPY = re.compile(r"`cp -r (\S+) YOUR-[A-Z]+/(\.git(?:hub|lab)/\S*)`")
_COMPARISON = re.compile(r"""^\$?([\w.]+)(?: (==|!=) (?:["'](.*)["']|\$?([\w.]+)))?$""")


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
        folder = ".github" if self.is_github else ".gitlab"
        copies = _COPY.findall((ROOT / "docs/pull-requests.md").read_text())
        chosen = [(what, where) for what, where in copies if where.startswith(folder)]
        assert len(chosen) == 2
        for what, where in chosen:
            subprocess.run(["cp", "-r", what, f"{author}/{where}"], cwd=ROOT, check=True)

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
