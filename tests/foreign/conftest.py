"""image-syncer's files written for one test, and what they ask for as plain texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from imgmigrate.errors import ConfigError
from imgmigrate.foreign.load import load_pair, load_whole

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.foreign.formats.image_syncer import Options


class Whole(Protocol):
    """Write a file with auth and images, and load it; keywords are the environment."""

    def __call__(
        self, text: str, options: Options | None = None, name: str = "config.json", **environ: str
    ) -> Config: ...


class Pair(Protocol):
    """Write a file of rules and one of credentials, and load them."""

    def __call__(
        self, images: str, auth: str | None = None, options: Options | None = None, **environ: str
    ) -> Config: ...


class Refuse(Protocol):
    """What the error of a file with auth and images says, without the folder."""

    def __call__(self, text: str, name: str = "config.json", **environ: str) -> str: ...


def copies(config: Config, listing: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    """Every copy that a config asks for, where each source lists these tags."""
    found = set()
    for rule in config.rules:
        if rule.digest is not None:
            source = str(rule.source.at(rule.digest))
            found |= {(source, str(each)) for each in rule.digest_addresses()}
            continue
        tags = {*rule.explicit_tags, *(tag for tag in listing if rule.selects(tag))}
        for tag in tags:
            source = str(rule.source.at(tag))
            found |= {(source, str(each)) for each in rule.addresses(tag)}
    return found


@pytest.fixture
def whole(tmp_path: Path) -> Whole:
    """Load a file with auth and images."""

    def load(
        text: str, options: Options | None = None, name: str = "config.json", **environ: str
    ) -> Config:
        path = tmp_path / name
        path.write_text(text)
        return load_whole(path, options, environ=environ)

    return load


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Load rules and credentials from a file each, both in YAML."""

    def load(
        images: str, auth: str | None = None, options: Options | None = None, **environ: str
    ) -> Config:
        (tmp_path / "images.yaml").write_text(images)
        if auth is not None:
            (tmp_path / "auth.yaml").write_text(auth)
        path = tmp_path / "auth.yaml" if auth is not None else None
        return load_pair(tmp_path / "images.yaml", path, options, environ=environ)

    return load


@pytest.fixture
def refuse(whole: Whole, tmp_path: Path) -> Refuse:
    """Load a wrong file; every error names the file and is one a line."""

    def refuse(text: str, name: str = "config.json", **environ: str) -> str:
        with pytest.raises(ConfigError) as caught:
            whole(text, None, name, **environ)
        said = str(caught.value).replace(f"{tmp_path}/", "")
        assert all(line.startswith(f"{name}:") for line in said.split("\n"))
        return f"{said} {caught.value.hint or ''}".replace("\n", " | ")

    return refuse
