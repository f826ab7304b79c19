"""What servers say reaches a terminal or a CI log as text: never as control, never as command.

Source: protocol 5 "Injection": C0, C1 and bidirectional controls, GitHub Actions
`::command::` lines and Azure Pipelines' `##vso[command]`.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.fakes.registry import FakeRegistry, Hostile
from tests.support import images, moves
from tests.support.cli import write_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.images import Image

EVIL = (
    "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202egnp.exe\u202c\u200b\r\n::error file=a::pwned\r\n"
    "##vso[task.setvariable variable=x]pwned ##[error]pwned "
    + "x" * 60
    + " ::set-output name=a::pwned"
)
WARNING = "\x9b31m\u202e ::error::pwned ##vso[x]"
# What our own display writes: colours, the cursor, erased lines.
OURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COMMAND = re.compile(r"(?m)^\s*::[a-z-]|##vso\[|##\[")


@pytest.fixture
async def hostile() -> AsyncIterator[Hostile]:
    """A registry whose every text is an attack, and one image that can be moved."""
    async with Hostile() as registry:
        registry.message = EVIL
        registry.extra_tags = (EVIL, "\x1b[2J", "::warning::x")
        registry.put_image("app", "good", images.image("good"))
        registry.put_image("app", "evil", _annotated(EVIL))
        yield registry


@pytest.mark.slow
async def test_terminal_gets_nothing_but_text_from_a_server(
    tmp_path: Path, hostile: Hostile
) -> None:
    """Errors, warnings, tags and annotations hold no escape, no command and no hidden text."""
    async with FakeRegistry() as new:
        rule = f"  - {{source: {hostile.host}/app, destination: {new.host}/app}}"
        write_config(tmp_path, rule, hostile.host, new.host)
        hostile.rewrite("*", "/v2/", {"Warning": f'299 - "{WARNING}"'})
        shown = [await _run(tmp_path, "plan", "--out", "plan.out")]
        hostile.fail("GET", "/blobs/", status=400, body=_error(EVIL))
        shown.append(await _run(tmp_path, "apply", "--auto-approve"))
        hostile.faults.pop()
        shown.append(await _run(tmp_path, "apply", "--auto-approve"))
        # The same tag in other words, so that a plan explains what differs.
        hostile.put_image("app", "evil", _annotated(EVIL[::-1]))
        shown.append(await _run(tmp_path, "plan"))
        hostile.fail("*", "/manifests/", status=403, body=_error(EVIL))
        shown.append(await _run(tmp_path, "plan"))
    for word in ("pwned", " warns: ", "annotations"):
        assert any(word in text for text in shown), f"nothing of the server's {word} was shown"
    for text in shown:
        rest = OURS.sub("", text)
        assert not re.findall("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e]", rest)
        assert not COMMAND.findall(rest)


async def _run(folder: Path, *arguments: str) -> str:
    _, shown = await asyncio.to_thread(moves.run_on_terminal, folder, *arguments)
    return shown


def _annotated(text: str) -> Image:
    return images.index(images.image("evil"), annotations={EVIL: text})


def _error(message: str) -> bytes:
    return json.dumps({"errors": [{"code": "UNKNOWN", "message": message}]}).encode()
