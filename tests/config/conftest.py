"""Configs written for one test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from imgmigrate.errors import ConfigError
from imgmigrate.foreign.load import load_config
from tests.support.schemas import config_errors

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.model import Config


class Load(Protocol):
    """Write a config and load it; keywords are the environment."""

    def __call__(self, text: str | bytes, **environ: str) -> Config: ...


class Refuse(Protocol):
    """Write a config that must be refused; what the error says, without the folder."""

    def __call__(self, text: str | bytes, **environ: str) -> str: ...


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a config from `prod.yaml` in the test's folder; the schema takes what is taken."""

    def load(text: str | bytes, **environ: str) -> Config:
        path = tmp_path / "prod.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        config = load_config(path, environ=environ)
        assert config_errors(path.read_text("utf-8-sig")) == []
        return config

    return load


# What an error says of the shape, which an editor finds as well.
SHAPE = (
    "is not a known key",
    "is missing",
    "must be a text",
    "must be a mapping",
    "must be a list",
    "must be true or false",
    "must be a whole number",
    "is an empty list",
    "is an empty mapping",
    "is none of",
)


@pytest.fixture
def refuse(load: Load, tmp_path: Path) -> Refuse:
    """Load a wrong config; every error names the file, has an exit code and is one a line.

    What is wrong with its shape its schema finds too.
    """

    def refuse(text: str | bytes, **environ: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, **environ)
        said = str(caught.value).replace(f"{tmp_path}/", "")
        assert caught.value.exit_code == 64
        assert all(line.startswith("prod.yaml:") for line in said.split("\n"))
        text = (tmp_path / "prod.yaml").read_text("utf-8-sig", errors="replace")
        # What a variable holds no editor knows.
        if "${" not in text and any(words in said for words in SHAPE):
            assert config_errors(text)
        return said

    return refuse
