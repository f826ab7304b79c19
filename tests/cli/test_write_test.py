"""`validate --online --write-test`: what it asks, tells, keeps and refuses."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from imgmigrate import __version__
from imgmigrate.probing.trial import trial
from imgmigrate.stores.registry.known.facts import Topic
from imgmigrate.stores.registry.known.kept import kept
from tests.cli.helpers import Terminal
from tests.fakes.registry import FakeRegistry, in_thread
from tests.support.images import image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.helpers import Cli

REPO = "team/write-test"


@pytest.fixture
def registry(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    """A registry that a config uses; it is given no time to see a broken connection."""
    monkeypatch.setattr(trial, "SETTLE", 0)
    with in_thread(FakeRegistry()) as registry:
        registry.put_image("team/a", "1", image())
        (cli.folder / "imgmigrate.yaml").write_text(
            f'version: 1\nregistries: {{"{registry.host}": {{plain_http: true}}}}\n'
            f"images: [{{source: {registry.host}/team/a, destination: {registry.host}/b}}]\n"
        )
        yield registry


def arguments(registry: FakeRegistry, *more: str) -> tuple[str, ...]:
    """The command."""
    return "validate", "--online", "--write-test", f"{registry.host}/{REPO}", *more


def test_every_fact_has_a_line(cli: Cli, registry: FakeRegistry) -> None:
    """One line each, in 80 columns, with date, version and repository; nothing stays."""
    assert cli(*arguments(registry, "--auto-approve")) == 0
    lines = cli.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    start = lines.index(f"{registry.host}/{REPO}")
    assert lines[start + 1].endswith(f" by imgmigrate {__version__}")
    facts = lines[start + 2 : lines.index("", start)]
    assert [line[2:20].strip() for line in facts] == [topic.label for topic in Topic]
    assert "  deleted tag       goes alone: its manifest and other tags stay" in facts
    assert "Plans and applies on this machine heed it for 90 days." in " ".join(cli.out.split())
    assert registry.repositories[REPO].manifests == {}


def test_it_is_kept_for_runs_on_this_machine(cli: Cli, registry: FakeRegistry) -> None:
    """With the repository that it was seen in."""
    assert cli(*arguments(registry, "--auto-approve")) == 0
    found = kept(registry.host)
    assert found is not None
    assert (found.repository, found.version) == (f"{registry.host}/{REPO}", __version__)
    assert found.facts["deleted_tag"] == "alone"


def test_a_probe_says_what_is_known(cli: Cli, registry: FakeRegistry) -> None:
    """Whoever wonders what a plan heeds is told when it was seen, and where."""
    assert cli("validate", "--online") == 0
    assert "written" not in cli.out
    assert cli(*arguments(registry, "--auto-approve")) == 0
    assert cli("validate", "--online") == 0
    text = " ".join(cli.out.split())
    where = f"by imgmigrate {__version__} in {registry.host}/{REPO}: heeded"
    assert re.search(rf"written ok a test of \d{{4}}-\d\d-\d\d {re.escape(where)}", text)
    assert all(len(line) <= 80 for line in cli.out.splitlines())


def test_data_for_programs(cli: Cli, registry: FakeRegistry) -> None:
    """One line holds every answer and what is left."""
    registry.deletes = False
    assert cli(*arguments(registry, "--auto-approve", "--json")) == 0
    lines = [json.loads(line) for line in cli.out.splitlines()]
    (line,) = [each for each in lines if each["type"] == "write_test"]
    assert set(line["facts"]) == set(Topic)
    assert (line["version"], line["kept_days"]) == (__version__, 90)
    assert line["sibling"] == f"{REPO}-mount"
    left = {each["ref"] for each in line["left"]}
    assert set(registry.tags(REPO)) <= left
    assert {each["repository"] for each in line["left"]} == {REPO}


def test_what_is_left_is_named(cli: Cli, registry: FakeRegistry) -> None:
    """Tag by tag, with the registry's reason."""
    registry.deletes = False
    assert cli(*arguments(registry, "--auto-approve")) == 0
    text = " ".join(cli.out.split())
    for tag in registry.tags(REPO):
        assert f"Left: {REPO}, {tag}:" in text
    assert "UNSUPPORTED" in text
    assert all(len(line) <= 80 for line in cli.out.splitlines())


@pytest.mark.parametrize(("answer", "code"), [("yes\n", 0), ("y\n", 1), ("", 1)])
def test_it_asks_before_it_writes(
    cli: Cli, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    """Only the word itself is an answer."""
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert cli(*arguments(registry)) == code
    question = " ".join(cli.err.split())
    assert f"This writes a few tiny images to {registry.host}/{REPO}" in question
    assert f"{REPO}-mount or {REPO}/mount" in question
    assert (REPO in registry.repositories) is (code == 0)
    assert (kept(registry.host) is not None) is (code == 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--write-test", "{host}/t", "--auto-approve"), "say --online too"),
        (("--online", "--write-test", "{host}/t"), "there is no terminal to ask"),
        (("--online", "--write-test", "{host}/t", "--json"), "--json cannot ask"),
        (("--online", "--write-test", "{host}/t:v1", "--auto-approve"), "is an image"),
        (("--online", "--write-test", "oci:t", "--auto-approve"), "is a layout"),
        (("--online", "--write-test", "{host}", "--auto-approve"), "--write-test"),
        (("--online", "--write-test", "http://{host}/t", "--auto-approve"), "is a URL"),
    ],
)
def test_what_cannot_be_tested_is_refused_first(
    cli: Cli, registry: FakeRegistry, given: tuple[str, ...], words: str
) -> None:
    """Before anybody is asked anything."""
    registry.requests.clear()
    assert cli("validate", *(each.format(host=registry.host) for each in given)) == 64
    assert words in cli.out + cli.err
    assert registry.requests == []


def test_a_repository_in_use_is_refused(cli: Cli, registry: FakeRegistry) -> None:
    """It says what is there, and keeps nothing."""
    registry.put_image(REPO, "v1", image())
    assert cli(*arguments(registry, "--auto-approve")) == 64
    assert "holds a tag, among them v1: it is not ours" in cli.err
    assert registry.tags(REPO) == {"v1": image().top}
    assert kept(registry.host) is None


def test_what_takes_no_push_exits_1(cli: Cli, registry: FakeRegistry) -> None:
    """There is nothing to find out."""
    registry.fail("POST", f"/{REPO}/blobs/uploads/", status=405)
    assert cli(*arguments(registry, "--auto-approve")) == 1
    assert "(405)" in cli.err
    assert kept(registry.host) is None


def test_a_server_s_words_are_printable(cli: Cli, registry: FakeRegistry) -> None:
    """What it says of itself is cut to its line."""
    body = json.dumps({"errors": [{"code": "X", "message": "\x1b[2J" + "long " * 100}]}).encode()
    registry.fail("GET", "/referrers/", status=502, body=body)
    assert cli(*arguments(registry, "--auto-approve")) == 0
    assert "\x1b" not in cli.out
    assert "  referrers         not known: " in cli.out
    assert all(len(line) <= 80 for line in cli.out.splitlines())
