"""The private folder of what this machine's runs learn."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING

import pytest

from imgmigrate import machine
from imgmigrate.machine import machine_folder, recall, remember

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name a folder that is not there yet."""
    folder = tmp_path / "some" / "machine"
    monkeypatch.setenv("IMGMIGRATE_MACHINE_DIR", str(folder))
    return folder


def mode(path: Path) -> int:
    """Who may do what with a file."""
    return path.stat().st_mode & 0o777


def test_only_its_owner_may_look_inside(folder: Path) -> None:
    """The folder is made 0700, what is in it 0600."""
    assert machine_folder() == folder
    remember("rates.json", {"a": 1})
    assert (mode(folder), mode(folder / "rates.json")) == (0o700, 0o600)


def test_a_folder_that_others_may_look_into_is_closed(folder: Path) -> None:
    """Ours is made private again."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    assert machine_folder() == folder
    assert mode(folder) == 0o700


def test_what_was_kept_is_there_again(folder: Path) -> None:
    """The document that was kept last comes back; where none was, there is none."""
    assert recall("rates.json") is None
    for number in range(2):
        remember("rates.json", {"hosts": [number]})
    assert recall("rates.json") == {"hosts": [1]}
    assert [each.name for each in folder.iterdir()] == ["rates.json"]


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"{", b"[" * 100_000, b" " * (machine.LARGEST + 1) + b"{}"]
)
def test_what_is_damaged_is_not_there(folder: Path, data: bytes) -> None:
    """A file that nobody here would have written is as none."""
    remember("rates.json", {})
    (folder / "rates.json").write_bytes(data)
    assert recall("rates.json") is None


def test_it_does_not_grow_without_end(folder: Path) -> None:
    """A document that is too large is not kept, and the one before stays."""
    remember("rates.json", 1)
    remember("rates.json", "x" * machine.LARGEST)
    assert recall("rates.json") == 1


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"IMGMIGRATE_MACHINE_DIR": "{}/own", "XDG_STATE_HOME": "{}/xdg"}, "own"),
        ({"XDG_STATE_HOME": "{}/xdg"}, "xdg/imgmigrate"),
        ({"XDG_STATE_HOME": "relative"}, "home/.local/state/imgmigrate"),
        ({"IMGMIGRATE_MACHINE_DIR": "", "XDG_STATE_HOME": ""}, "home/.local/state/imgmigrate"),
        ({}, "home/.local/state/imgmigrate"),
    ],
)
def test_its_place_is_that_of_the_user_s_other_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], place: str
) -> None:
    """Our own variable comes first, then XDG's, then its default."""
    monkeypatch.delenv("IMGMIGRATE_MACHINE_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert machine_folder() == tmp_path / place


def test_a_folder_that_cannot_be_used_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no error: nothing is kept, and nothing is known."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IMGMIGRATE_MACHINE_DIR", str(tmp_path / "file" / "below"))
    assert machine_folder() is None
    remember("rates.json", 1)
    assert recall("rates.json") is None


def test_a_folder_of_somebody_else_is_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another user could have written is not read, and nothing is written there."""
    remember("rates.json", 1)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert machine_folder() is None
    assert recall("rates.json") is None


def test_no_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home, as in some containers, runs all the same."""
    monkeypatch.delenv("IMGMIGRATE_MACHINE_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)

    def homeless() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(pathlib.Path, "home", homeless)
    assert machine_folder() is None
