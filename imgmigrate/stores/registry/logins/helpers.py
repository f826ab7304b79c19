"""Ask programs for credentials: a `credential_command` of the config, docker's helpers.

Each runs without a shell, in a process group of its own that is killed when its time is over.
What a program prints may be the secret itself, whole or in pieces: no message repeats any of it.
Source of the helpers' protocol: docker-credential-helpers.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from select import PIPE_BUF
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imgmigrate.errors import AuthenticationError
from imgmigrate.stores.registry.logins.credentials import Credential

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Answer", "ask_command", "ask_helper", "parse_answer"]

# A service account's key is 3 KB, a token of a big organisation 10 KB.
LONGEST_ANSWER = 64 * 1024
# Seconds to close the pipe of a program that is dead already.
FAREWELL = 1.0
# Times above are in milliseconds (Alibaba's ExpireTime): as seconds they are the year 5138.
MILLISECONDS_FROM = 1e11
_HELPER = re.compile(r"[a-z0-9-]+")
# What docker's own helpers print if they know nothing of a server.
_HELPER_HAS_NONE = (b"credentials not found in native keychain", b"no credentials server URL")
# A helper names an identity token by this user name.
_TOKEN_USER = "<token>"


class Answer(Struct, frozen=True):
    """What a program said; `life` in seconds from now if it said how long that holds."""

    credential: Credential | None
    life: float | None = None


async def ask_command(host: str, command: Sequence[str], patience: float) -> Answer:
    """Run the config's command; AuthenticationError, naming the command, if it has no answer."""
    program = os.path.basename(command[0])
    name = f"credential_command {program}"
    hint = f'run it yourself; it is in registries."{host}" of the config'
    try:
        code, output = await _run(command, b"", patience)
        if code:
            raise _FailedError(f"exit code {code}")
        return parse_answer(output, f"the {name}", time.time())
    except ValueError as error:
        cause = f"{name} failed: {error}"
        raise AuthenticationError(host, cause, hint=hint, host=host) from None


async def ask_helper(host: str, login_key: str, helper: str, patience: float) -> Answer:
    """Run `docker-credential-HELPER get`; no credential if it knows none for `login_key`."""
    program = f"docker-credential-{helper}"
    hint = f'repair it, or set registries."{host}"; to see why: echo {login_key} | {program} get'
    try:
        if not _HELPER.fullmatch(helper):
            raise _FailedError("its name is not allowed")
        code, output = await _run((program, "get"), login_key.encode(), patience)
        if code and any(known in output for known in _HELPER_HAS_NONE):
            return Answer(None)
        if code:
            raise _FailedError(f"exit code {code}")
        if not output.lstrip().startswith(b"{"):
            raise _FailedError("its answer is not what helpers answer")
        return parse_answer(output, program, time.time(), is_optional=True)
    except ValueError as error:
        cause = f"{program} failed: {error}"
        raise AuthenticationError(host, cause, hint=hint, host=host) from None


def parse_answer(output: bytes, found: str, now: float, *, is_optional: bool = False) -> Answer:
    """Read what was printed; ValueError, without any of it, if there is no credential in it.

    JSON with `username` and `password` (or helpers' `Username` and `Secret`), and possibly
    `expires_in` in seconds or `expires_at` (RFC 3339 or a number of seconds); or the one line
    `user:password`. Where a credential `is_optional`, an empty secret is none.
    """
    try:
        text = output.decode().strip("\r\n")
    except UnicodeDecodeError:
        raise _FailedError("it printed what is not UTF-8") from None
    if not text.lstrip().startswith("{"):
        name, colon, word = text.partition(":")
        if not colon or not name or not word or len(text.splitlines()) != 1:
            raise _FailedError(_UNREADABLE)
        return Answer(Credential(found, name, word))
    fields = _fields(text)
    username, secret = fields.get("username"), fields.get("password", fields.get("secret"))
    if not isinstance(username, str) or not isinstance(secret, str):
        raise _FailedError(_UNREADABLE)
    if not secret:
        if is_optional:
            return Answer(None)
        raise _FailedError("it printed an empty password")
    life = _life(fields, now)
    if username == _TOKEN_USER:
        return Answer(Credential(found, identity_token=secret), life)
    return Answer(Credential(found, username, secret), life)


_UNREADABLE = "it printed neither JSON with username and password nor user:password"


class _FailedError(ValueError):
    """Why a program gave no credential, in words of our own."""


def _fields(text: str) -> dict[str, Any]:
    """The fields of the JSON, by their names in lower case."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _FailedError(_UNREADABLE)
    return {key.lower(): value for key, value in document.items()}


def _life(fields: dict[str, Any], now: float) -> float | None:
    """Seconds that the answer holds; None if it does not say."""
    try:
        if fields.get("expires_in") is not None:
            life = float(fields["expires_in"])
        elif fields.get("expires_at") is not None:
            life = _moment(fields["expires_at"]) - now
        else:
            return None
    except (ValueError, TypeError, OverflowError):
        raise _FailedError("its expires_in or expires_at is no time") from None
    if not life > 0:
        raise _FailedError("what it printed has expired already")
    return life


def _moment(value: Any) -> float:
    """Seconds since 1970 of a number or of an RFC 3339 text; a text without a zone is UTC."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9.]+", value):
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    number = float(value)
    return number / 1000 if number > MILLISECONDS_FROM else number


async def _run(command: Sequence[str], given: bytes, patience: float) -> tuple[int, bytes]:
    """Run to the end; the exit code and what was printed. What goes to stderr is dropped."""
    # A pipe filled beforehand: uvloop raises where a program ends without having read its input.
    reader, writer = os.pipe()
    os.write(writer, given[:PIPE_BUF])
    os.close(writer)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=reader,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise _FailedError(getattr(error, "strerror", None) or "it cannot be run") from None
    finally:
        os.close(reader)
    try:
        async with asyncio.timeout(patience):
            output = await _read(process.stdout) if process.stdout else b""
            return await process.wait(), output
    except TimeoutError:
        msg = f"no answer in {patience:g} s"
        raise _FailedError(msg) from None
    finally:
        # The group: what the program started may outlive it and hold what we wait for.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await _bury(process)


async def _bury(process: asyncio.subprocess.Process) -> None:
    """See a killed program end; asyncio waits for its pipe too, which is read to the end.

    A program that left the group may hold the pipe: it is not waited for.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL):
            while process.stdout is not None and await process.stdout.read(LONGEST_ANSWER):
                pass
            await process.wait()


async def _read(source: asyncio.StreamReader) -> bytes:
    """Read all output, up to the limit."""
    output = bytearray()
    while piece := await source.read(LONGEST_ANSWER + 1 - len(output)):
        output += piece
        if len(output) > LONGEST_ANSWER:
            msg = f"it printed more than {LONGEST_ANSWER} bytes"
            raise _FailedError(msg)
    return bytes(output)
