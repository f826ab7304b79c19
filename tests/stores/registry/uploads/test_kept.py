"""Addresses of upload sessions: kept privately, tried once, and only where they may be."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.machine import machine_folder
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.registry.uploads.kept import FILE, KEPT_FOR, LONGEST, MOST, KeptSessions

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = "https://registry.example"
PLACE = f"{ORIGIN}/v2/a/blobs/uploads/1?_state=x"
BLOB = Digest.of(b"blob")
NOW = 1_000_000.0


def sessions(*, is_on: bool = True, now: float = NOW, origin: str = ORIGIN) -> KeptSessions:
    """What one run knows of one registry."""
    return KeptSessions(lambda: origin, is_on=is_on, now=lambda: now)


def file() -> Path:
    """Where it is kept."""
    folder = machine_folder()
    assert folder is not None
    return folder / FILE


def written() -> list[dict[str, Any]]:
    """What is kept."""
    found: list[dict[str, Any]] = json.loads(file().read_text())["sessions"]
    return found


@pytest.fixture
def _over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the run before be over: this process is not the one that kept it."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    monkeypatch.setattr(os, "getpid", lambda: process.pid)


@pytest.mark.usefixtures("_over")
def test_session_of_an_earlier_run_is_given_once() -> None:
    """One that is refused is not tried again."""
    sessions().keep("a", BLOB, PLACE)
    assert stat.S_IMODE(file().stat().st_mode) == 0o600
    assert sessions().take("a", BLOB) == PLACE
    assert sessions().take("a", BLOB) is None
    assert written() == []


def test_session_that_another_run_is_at_is_left_alone() -> None:
    """Two that write to one session would spoil it for both."""
    sessions().keep("a", BLOB, PLACE)
    assert sessions().take("a", BLOB) is None
    assert len(written()) == 1


@pytest.mark.usefixtures("_over")
def test_session_of_another_machine_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home may be shared, and nobody sees from afar whether a process lives."""
    sessions().keep("a", BLOB, PLACE)
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert sessions().take("a", BLOB) is None


def test_own_session_is_given_also_without_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that breaks within a run goes on in it."""
    monkeypatch.setenv("IMGMIGRATE_MACHINE_DIR", "/proc/nowhere")
    ours = sessions()
    ours.keep("a", BLOB, PLACE)
    assert ours.take("a", BLOB) == PLACE
    assert ours.take("a", BLOB) is None


@pytest.mark.parametrize(
    "place",
    [
        "https://other.example/v2/a/blobs/uploads/1",
        "http://registry.example/v2/a/blobs/uploads/1",
        "https://registry.example:8443/v2/a/blobs/uploads/1",
        f"{PLACE}{'x' * LONGEST}",
    ],
)
def test_address_that_is_not_the_registrys_own_is_not_kept(place: str) -> None:
    """Nor is one that is absurdly long."""
    ours = sessions()
    ours.keep("a", BLOB, place)
    assert ours.take("a", BLOB) is None
    assert not file().exists()


@pytest.mark.usefixtures("_over")
@pytest.mark.parametrize(
    "change",
    [
        {"location": "https://evil.example/v2/a/blobs/uploads/1"},
        {"location": "registry.example"},
        {"location": 1},
        {"location": f"{PLACE}{'x' * LONGEST}"},
        {"origin": "https://other.example"},
        {"repo": "b"},
        {"at": "yesterday"},
        {"at": NOW + 1},
        {"process": "1"},
        {"process": 1 << 80, "machine": None},
        {"more": 1},
    ],
)
def test_what_is_not_sound_is_not_believed(change: dict[str, Any]) -> None:
    """Whoever wrote it, an address of another origin is never gone to."""
    sessions().keep("a", BLOB, PLACE)
    (entry,) = written()
    file().write_text(json.dumps({"sessions": [entry | change, 1, None]}))
    assert sessions().take("a", BLOB) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"sessions": {}}', "[" * 100_000])
def test_file_that_is_damaged_is_as_if_empty(text: str) -> None:
    """And the next run writes it anew."""
    file().write_text(text)
    ours = sessions()
    assert ours.take("a", BLOB) is None
    ours.keep("a", BLOB, PLACE)
    assert len(written()) == 1


@pytest.mark.usefixtures("_over")
def test_sessions_age_out_and_are_bounded() -> None:
    """A registry has purged what is old, and a file must not grow for ever."""
    sessions().keep("a", BLOB, PLACE)
    assert sessions(now=NOW + KEPT_FOR).take("a", BLOB) is None
    ours = sessions()
    for number in range(MOST + 5):
        ours.keep(f"repo{number}", BLOB, PLACE)
    assert [entry["repo"] for entry in written()] == [f"repo{n}" for n in range(5, MOST + 5)]


@pytest.mark.usefixtures("_over")
def test_registry_that_keeps_nothing_is_not_written_down() -> None:
    """Nor is what was done with, whatever else there is."""
    sessions(is_on=False).keep("a", BLOB, PLACE)
    assert not file().exists()
    ours, others = sessions(), sessions(origin="https://other.example")
    others.keep("a", BLOB, "https://other.example/v2/a/blobs/uploads/2")
    ours.keep("a", BLOB, PLACE)
    ours.forget("a", BLOB)
    ours.forget("a", BLOB)
    assert [entry["origin"] for entry in written()] == ["https://other.example"]
    assert os.listdir(file().parent) == [FILE]
