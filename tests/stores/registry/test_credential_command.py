"""`credential_command`: what it may print, how long that holds, and what its failures say."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import AuthenticationError
from imgmigrate.stores.registry.logins.credentials import Credential
from imgmigrate.stores.registry.logins.helpers import LONGEST_ANSWER, Answer, parse_answer
from imgmigrate.stores.registry.logins.keyring import Keyring
from tests.support.clock import ManualClock
from tests.support.programs import Login

if TYPE_CHECKING:
    from pathlib import Path

HOST = "reg.example.com"
# 2027-01-15T08:00:00Z
NOON = 1_800_000_000.0
SECRET = "hush-hush-hush"


def keyring(*command: str, clock: ManualClock | None = None, patience: float = 60) -> Keyring:
    entry = RegistryConfig(credential_command=command)
    return Keyring(HOST, lambda _: entry, patience=patience, clock=clock)


@pytest.fixture
def login(tmp_path: Path) -> Login:
    """A command whose answer the test sets."""
    return Login(tmp_path, "me:secret")


@pytest.mark.parametrize(
    ("printed", "username", "password", "life"),
    [
        ("me:secret", "me", "secret", None),
        ("me:secret\n", "me", "secret", None),
        ("me:a:b c \r\n", "me", "a:b c ", None),
        ("ümläut:päss", "ümläut", "päss", None),
        ('{"username": "me", "password": "secret"}', "me", "secret", None),
        ('\n {"Username": "me", "Secret": "secret"}\n', "me", "secret", None),
        ('{"ServerURL": "x", "Username": "me", "Secret": "s"}', "me", "s", None),
        ('{"username": "", "password": "secret"}', "", "secret", None),
        ('{"username": "me", "password": "s", "expires_in": 60}', "me", "s", 60),
        ('{"username": "me", "password": "s", "expires_in": "60"}', "me", "s", 60),
        ('{"username": "me", "password": "s", "expires_in": null}', "me", "s", None),
        ('{"username": "me", "password": "s", "expires_at": 1800000090}', "me", "s", 90),
        ('{"username": "me", "password": "s", "expires_at": 1800000090000}', "me", "s", 90),
        ('{"username": "me", "password": "s", "expires_at": "1800000090"}', "me", "s", 90),
        (
            '{"username": "me", "password": "s", "expires_at": "2027-01-15T08:01:30Z"}',
            "me",
            "s",
            90,
        ),
        (
            '{"username": "me", "password": "s", "expires_at": "2027-01-15T09:01:30+01:00"}',
            "me",
            "s",
            90,
        ),
        ('{"username": "me", "password": "s", "expires_at": "2027-01-15T08:01:30"}', "me", "s", 90),
    ],
)
def test_answers_in_all_their_forms(
    printed: str, username: str, password: str, life: float | None
) -> None:
    """JSON of ours, JSON of docker's helpers, or one line of text."""
    found = parse_answer(printed.encode(), "it", NOON)
    assert found == Answer(Credential("it", username, password), life)


def test_answer_may_be_an_identity_token() -> None:
    """Marked by the user name that docker's helpers use."""
    found = parse_answer(b'{"username": "<token>", "password": "refresh"}', "it", NOON)
    assert found == Answer(Credential("it", identity_token="refresh"))


@pytest.mark.parametrize(
    "printed",
    [
        b"",
        b"\n",
        b"hush-hush-hush",
        b":hush-hush-hush",
        b"hush-hush-hush:",
        b"warning: hush-hush-hush\nme:hush-hush-hush",
        b"\xff\xfehush-hush-hush",
        b"{hush-hush-hush",
        b'{"username": "me"}',
        b'{"password": "hush-hush-hush"}',
        b'{"username": "me", "password": 7}',
        b'{"username": "me", "password": ["hush-hush-hush"]}',
        b'{"username": "me", "password": ""}',
        b'{"username": "me", "password": "hush-hush-hush", "expires_in": "hush-hush-hush"}',
        b'{"username": "me", "password": "hush-hush-hush", "expires_in": 0}',
        b'{"username": "me", "password": "hush-hush-hush", "expires_in": NaN}',
        b'{"username": "me", "password": "hush-hush-hush", "expires_in": []}',
        b'{"username": "me", "password": "hush-hush-hush", "expires_at": 1800000000}',
        b'{"username": "me", "password": "hush-hush-hush", "expires_at": "hush-hush-hush"}',
        b'{"a":' * 100_000,
    ],
)
def test_answers_that_mean_nothing_are_refused_unseen(printed: bytes) -> None:
    """What was printed may be a secret in the wrong form: no message repeats any of it."""
    with pytest.raises(ValueError, match=r"printed|expires") as caught:
        parse_answer(printed, "it", NOON)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        (("/bin/sh", "-c", f"echo {SECRET}; echo {SECRET} >&2; exit 3"), "exit code 3"),
        (("/bin/sh", "-c", f"echo {SECRET}"), "it printed neither JSON"),
        (("/bin/sh", "-c", "kill -9 $$"), "exit code -9"),
        (("/nowhere/login", SECRET), "No such file or directory"),
        (("/", SECRET), "Permission denied"),
        (("nul\0byte",), "it cannot be run"),
        (("/bin/cat", "/dev/zero"), f"it printed more than {LONGEST_ANSWER} bytes"),
    ],
)
async def test_failures_name_the_command_and_nothing_of_its_own(
    command: tuple[str, ...], cause: str
) -> None:
    """Neither output nor arguments, which may be secrets; the hint says where it stands."""
    with pytest.raises(AuthenticationError) as caught:
        await keyring(*command).of("a")
    said = str(caught.value)
    name = os.path.basename(command[0]).replace("\0", " ")
    assert said.startswith(f"{HOST}: credential_command {name} failed: {cause}")
    assert f'registries."{HOST}"' in said
    assert SECRET not in said


async def test_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    """Its time is limited, and nothing of it stays behind."""
    os.mkfifo(tmp_path / "alive")
    # The child holds the fifo open as long as it lives; opening it shows that it began.
    script = f'sleep 3600 > "{tmp_path}/alive" & wait'
    ring = keyring("/bin/sh", "-c", script, patience=0.2)
    reading = asyncio.create_task(asyncio.to_thread((tmp_path / "alive").read_bytes))
    with pytest.raises(AuthenticationError, match=r"no answer in 0\.2 s"):
        await ring.of("a")
    assert await reading == b""


async def test_command_that_reads_nothing_or_waits_for_input_ends(tmp_path: Path) -> None:
    """Its input is empty: a question at a terminal is answered by the end of the file."""
    found = await keyring("/bin/sh", "-c", 'read x; echo "me:secret"').of("a")
    assert found == Credential("the credential_command sh", "me", "secret")


async def test_many_who_wait_ask_the_command_once(login: Login) -> None:
    """Single flight, and the answer is kept for the run."""
    ring = keyring(*login.words)
    found = await asyncio.gather(*(ring.of(f"r{number}") for number in range(20)))
    assert len(set(found)) == 1
    assert login.asked == 1


@pytest.mark.parametrize(
    ("life", "still", "again"),
    [(600, 530, 550), (60, 25, 35), (None, 10_000, None)],
)
async def test_answer_is_replaced_before_it_ends(
    login: Login, life: int | None, still: float, again: float | None
) -> None:
    """A minute before, or after half of a shorter life; without an end it is kept."""
    clock = ManualClock()
    login.set(json.dumps({"username": "me", "password": "secret", "expires_in": life}))
    ring = keyring(*login.words, clock=clock)
    await ring.of("a")
    clock.now = still
    await ring.of("a")
    assert login.asked == 1
    if again is not None:
        clock.now = again
        await ring.of("a")
        assert login.asked == 2


async def test_expires_at_is_by_the_time_of_day(login: Login) -> None:
    """It is turned into a span when it is read, so that a clock that is set does not matter."""
    clock = ManualClock()
    moment = time.time() + 3600
    login.set(json.dumps({"username": "me", "password": "secret", "expires_at": moment}))
    ring = keyring(*login.words, clock=clock)
    for clock.now, asked in ((0.0, 1), (3000.0, 1), (3550.0, 2)):
        await ring.of("a")
        assert login.asked == asked


async def test_failing_command_is_left_alone_for_a_while(login: Login) -> None:
    """A thousand repositories do not wait for it one after the other; it may heal, though."""
    clock = ManualClock()
    login.set("nonsense")
    ring = keyring(*login.words, clock=clock)
    for _ in range(5):
        with pytest.raises(AuthenticationError, match="failed"):
            await ring.of("a")
    assert login.asked == 1
    login.set("me:secret")
    clock.now += 31
    assert await ring.of("a") is not None
    assert login.asked == 2


async def test_answer_that_still_holds_outlives_a_failure(login: Login) -> None:
    """The command failed a minute early: until the end what it said before is used."""
    clock = ManualClock()
    login.set('{"username": "me", "password": "secret", "expires_in": 600}')
    ring = keyring(*login.words, clock=clock)
    first = await ring.of("a")
    login.set("nonsense")
    for clock.now, asked in ((545.0, 2), (560.0, 2), (576.0, 3), (599.0, 3)):
        assert await ring.of("a") == first
        assert login.asked == asked
    clock.now = 601.0
    with pytest.raises(AuthenticationError, match="failed"):
        await ring.of("a")


async def test_repositories_may_have_commands_of_their_own(tmp_path: Path) -> None:
    """Each is asked for itself."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    logins = {name: Login(tmp_path / name, f"{name}:secret") for name in ("one", "two")}
    entries = {name: RegistryConfig(credential_command=each.words) for name, each in logins.items()}
    ring = Keyring(HOST, lambda repo: entries[repo or "one"])
    found = [await ring.of(name) for name in ("one", "two", "one")]
    assert [each and each.username for each in found] == ["one", "two", "one"]
    assert [each.asked for each in logins.values()] == [1, 1]
