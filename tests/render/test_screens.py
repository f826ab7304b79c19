"""What a terminal of 50, 80 and 120 columns shows: no line wraps, and no number is cut."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from rich.console import Console

from imgmigrate.causes import cause_of
from imgmigrate.errors import AuthenticationError, TransientError
from imgmigrate.events import (
    BlobMoved,
    BlobStarted,
    ImageFinished,
    ImageStarted,
    Outcome,
    Receipt,
    Refusal,
    RunFinished,
    RunStarted,
    Warned,
)
from imgmigrate.oci.reference import Repository
from imgmigrate.render.changes.tally import Tally
from imgmigrate.render.changes.text import View, plan_text
from imgmigrate.render.progress import LiveProgress
from imgmigrate.render.style import Style
from imgmigrate.render.summary import result_text
from tests.render import samples
from tests.render.changes.test_tally import Clock
from tests.support.screen import shown

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from imgmigrate.plan import Plan

COLUMNS = (50, 80, 120)
HOST = "registry.new:5000"
LONG = Repository(HOST, "very-long-organization-name/platform-engineering/payment-gateway-service")
SHORT = Repository(HOST, "team/api")
MIB = 1024 * 1024
# A number and its unit, or a part of both; whatever stands alone was torn off or cut.
_AMOUNT = re.compile(r"[0-9.]+ (?:B|[KMGTP]iB)")
_TORN = re.compile(r"[0-9]…|^\s*(?:B|[KMGTP]iB|min|s|h|d)\b", re.MULTILINE)


def down(number: int) -> TransientError:
    """A registry that nobody answers at, about one of many images."""
    subject = f"{LONG}:v{number}"
    cause = f"{HOST} cannot be reached: Connection refused"
    error = TransientError(subject, cause, hint="check the name, the network", host=HOST)
    error.is_unreachable, error.side = True, "destination"
    return error


def plan() -> Plan:
    """A plan of every kind of row, with 100 that one registry keeps from being decided."""
    rows = (
        samples.change(
            f"{LONG}:v{number:03}",
            "error",
            "unreadable",
            source=None,
            detail=str(down(number)),
            why=cause_of(down(number)),
        )
        for number in range(100)
    )
    big = samples.change(f"{LONG}:2.1.0-alpine", "copy", "new", transfer_bytes=1023 * MIB)
    return samples.plan(*samples.every_action().changes, big, *rows)


def ended() -> RunFinished:
    """The end of a run that could not reach one registry, and was refused by another."""
    receipts = [
        Receipt(LONG.at(f"v{number:03}"), Outcome.FAILED, error=down(number))
        for number in range(100)
    ]
    login = AuthenticationError(
        "registry.cn-beijing.aliyuncs.com",
        "not authenticated (401): the credentials of the config were refused",
        hint="docker login registry.cn-beijing.aliyuncs.com",
        host="registry.cn-beijing.aliyuncs.com",
    )
    other = Repository("registry.cn-beijing.aliyuncs.com", "team/app")
    refused = [Receipt(other.at(f"{n}"), Outcome.CANCELLED, error=login) for n in range(3)]
    refusal = Refusal(login.subject, login, tuple(each.address for each in refused))
    counts = {Outcome.APPLIED: 18, Outcome.FAILED: 100, Outcome.CANCELLED: 3}
    unfinished = (*receipts, *refused)
    return RunFinished("run", "plan", counts, 12_345 * MIB, 3725.0, unfinished, refusals=(refusal,))


def live(columns: int, *, fails: bool = False) -> str:
    """What is written to a terminal in the middle of an apply, up to its last frame."""
    file, clock = io.StringIO(), Clock()
    console = Console(file=file, force_terminal=True, width=columns, height=60, color_system=None)
    progress = LiveProgress(Tally(clock), console)
    progress.emit(RunStarted("run", "plan", images=8_214, size=40_000 * MIB))
    for repository, tag in ((LONG, "2.1.0-alpine"), (SHORT, "1.6.0"), (SHORT, "1.7.0")):
        progress.emit(ImageStarted(repository.at(tag)))
    sizes = (8 * MIB, 1023 * MIB, 312, 999 * 1024, 20_000 * MIB)
    for number, octets in enumerate(sizes):
        repository, digest = (SHORT if number % 3 == 2 else LONG), samples.digest(str(number))
        progress.emit(BlobStarted(repository, digest, octets))
        clock.now += 7
        progress.emit(BlobMoved(repository, digest, octets * 9 // 10))
    if fails:
        for number in range(2):
            address = LONG.at(f"v{number}")
            progress.emit(ImageStarted(address))
            receipt = Receipt(address, Outcome.FAILED, error=down(number))
            progress.emit(ImageFinished(receipt))
        progress.emit(Warned("code", f"{LONG}: 1 listed name is no valid tag, and left out: +1"))
    console.print(progress.draw())
    return file.getvalue()


def screen(name: str, columns: int) -> str:
    """What is written for one of the screens."""
    style = Style(columns)
    match name:
        case "plan":
            return plan_text(plan(), View(style))
        case "apply":
            return live(columns)
        case "failures":
            return live(columns, fails=True)
    result = replace(ended(), spared=587 * 1024)
    return result_text(samples.plan(), result, resume="imgmigrate apply", style=style)


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("name", ["plan", "apply", "failures", "end"])
def test_what_a_terminal_shows(name: str, columns: int, snapshot: SnapshotAssertion) -> None:
    """Each line is a line of the screen, and no number is cut or torn from its unit."""
    written = screen(name, columns)
    lines = shown(written, columns)
    assert lines == [line.rstrip() for line in written.rstrip("\n").split("\n")]
    assert _TORN.findall("\n".join(lines)) == []
    assert "\n".join(lines) == snapshot


@pytest.mark.parametrize("columns", COLUMNS)
def test_sizes_of_blobs_are_whole_at_every_width(columns: int) -> None:
    """Both sizes of every blob stand in its line, however long its name is."""
    lines = shown(live(columns), columns)
    blobs = [line for line in lines if len(_AMOUNT.findall(line)) == 2 and " / " in line]
    assert [tuple(_AMOUNT.findall(line)) for line in blobs] == [
        ("17.6 GiB", "19.5 GiB"),
        ("921 MiB", "1023 MiB"),
        ("7.20 MiB", "8.00 MiB"),
        ("899 KiB", "999 KiB"),
        ("280 B", "312 B"),
    ]
    assert all("alpine" in line for line in blobs[:4])


@pytest.mark.parametrize("name", ["plan", "end"])
def test_a_cause_is_told_once(name: str) -> None:
    """A registry that cannot be reached is one entry for its 100 rows, not 100."""
    text = " ".join(screen(name, 120).split())
    assert text.count(f"{HOST}: cannot be reached, 100 rows") == 1
    assert text.count("Connection refused") == 1
