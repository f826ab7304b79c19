"""Configs written for one test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from imgmigrate.errors import ConfigError
from imgmigrate.foreign.load import load_config

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
    """Load a config from `prod.yaml` in the test's folder."""

    def load(text: str | bytes, **environ: str) -> Config:
        path = tmp_path / "prod.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path, environ=environ)

    return load


@pytest.fixture
def refuse(load: Load, tmp_path: Path) -> Refuse:
    """Load a wrong config; every error names the file, has an exit code and is one a line."""

    def refuse(text: str | bytes, **environ: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, **environ)
        said = str(caught.value).replace(f"{tmp_path}/", "")
        assert caught.value.exit_code == 64
        assert all(line.startswith("prod.yaml:") for line in said.split("\n"))
        return said

    return refuse
