"""Files as people have them, re-typed: each asks for the copies that stand beside it.

A `NAME.copies` has lines `SOURCE -> ADDRESS [PLATFORMS]`, written by hand after the tool's own
rules. Above them may stand `options:`, `env:`, the `tags:` that every source lists, the `repos:`
of a `host:`, the `logins:` and a part of each warning (`warns:`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.foreign.formats import Given, read
from imgmigrate.foreign.load import check, load_config
from imgmigrate.foreign.writer import write
from imgmigrate.oci.reference import Reference, Repository
from imgmigrate.planning.desired.select import choose
from imgmigrate.rules.templates import concrete_rule

if TYPE_CHECKING:
    from imgmigrate.config.model import Config

CORPUS = Path(__file__).parent / "corpus"
LEAST = 40
# As the command line has them: what may be given several times, what is given or not.
MANY, FLAGS = ("os", "arch"), {"scoped": "scoped", "all": "all_platforms"}


@dataclass(slots=True)
class Expected:
    """What a `.copies` file says."""

    copies: set[str] = field(default_factory=set)
    said: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Expected:
        """Read the file."""
        found = cls()
        for line in path.read_text().splitlines():
            if " -> " in line:
                found.copies.add(line)
            else:
                key, _, value = line.partition(": ")
                found.said.setdefault(key, []).append(value)
        return found

    def words(self, key: str) -> list[str]:
        """The words that stand behind a key."""
        return " ".join(self.said.get(key, [])).split()

    def given(self, form: str, files: tuple[Path, ...]) -> Given:
        """What the command line would say."""
        options: dict[str, Any] = {}
        for word in self.words("options"):
            key, _, value = word.partition("=")
            if key in FLAGS:
                options[FLAGS[key]] = True
            else:
                options[key] = (value,) if key in MANY else value
        return Given(form, files, self.environ, **options)

    @property
    def environ(self) -> dict[str, str]:
        """The variables that are set."""
        return dict(word.split("=", 1) for word in self.words("env"))


def copies(config: Config, expected: Expected) -> set[str]:
    """Every copy that a config asks for, where all sources list the same tags."""
    rules = list(config.rules)
    for glob in config.globs:
        for name in expected.words("repos"):
            repository = Repository(expected.words("host")[0], name)
            if glob.takes(Reference(repository)):
                rules.append(concrete_rule(glob, repository, "/"))
    found = set()
    for rule in rules:
        platforms = f" [{', '.join(rule.platforms)}]" if rule.platforms else ""
        if rule.digest is not None:
            source = rule.source.at(rule.digest)
            found |= {f"{source} -> {each}{platforms}" for each in rule.digest_addresses()}
            continue
        for tag in choose(rule, expected.words("tags")).tags:
            source = rule.source.at(tag)
            found |= {f"{source} -> {each}{platforms}" for each in rule.addresses(tag)}
    return found


CASES = sorted(CORPUS.glob("*/*.copies"))


def files_of(case: Path) -> tuple[Path, ...]:
    """The files that a case converts."""
    names = (each for each in case.parent.iterdir() if each.name.split(".")[0] == case.stem)
    return tuple(sorted(each for each in names if each != case))


def test_the_corpus_is_whole() -> None:
    """There are enough files, and each is converted by some case."""
    files = {each for each in CORPUS.glob("*/*") if each.suffix != ".copies"}
    assert len(files) >= LEAST
    assert files == {each for case in CASES for each in files_of(case)}


@pytest.mark.parametrize("case", CASES, ids=[f"{each.parent.name}-{each.stem}" for each in CASES])
def test_a_file_asks_for_what_its_tool_copies(case: Path, tmp_path: Path) -> None:
    """Converted, written and loaded again it asks for these copies, and tells the rest."""
    expected = Expected.read(case)
    document = read(expected.given(case.parent.name, files_of(case)))
    check(Path(document.file), document)
    written = write(document, title="Converted.")
    path = tmp_path / "imgmigrate.yaml"
    path.write_text(written.text)
    config = load_config(path, environ={**expected.environ, **written.secrets})
    assert copies(config, expected) == expected.copies
    warnings = "\n".join(document.warnings())
    assert [each for each in expected.said.get("warns", []) if each not in warnings] == []
    logins = {entry.name for entry in document.registries}
    assert set(expected.words("logins")) <= logins
