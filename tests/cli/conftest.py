"""A command line in a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.helpers import Cli, Engine
from tests.render import samples

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Commands run in an empty folder, without a terminal and without colours."""
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path, capsys)


@pytest.fixture
def engine(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Commands with a config, whose planning and applying a test prepares."""
    cli.write_config()
    engine = Engine(samples.plan())
    monkeypatch.setattr("imgmigrate.planning.planner.make_plan", engine.make_plan)
    monkeypatch.setattr("imgmigrate.applying.apply.apply_plan", engine.apply_plan)
    return engine
