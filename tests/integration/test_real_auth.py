"""Passwords and tokens that a real docker-registry checks, through the real command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support import images, registries, token_server
from tests.support.cli import write_config
from tests.support.docker_registry import PASSWORD, USERNAME, put_on_disk
from tests.support.moves import assert_says, run
from tests.support.token_server import Account

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.support.token_server import TokenServer

pytestmark = pytest.mark.integration

IMAGE = images.two_platforms()
WRONG = "Tr0ub4dor-and-3"
READER = "reader"
ACCOUNTS = {USERNAME: Account(PASSWORD), READER: Account(PASSWORD, frozenset({"pull"}))}
# More than any run asks for: no token is ever good.
ALL = 10_000


def configure(
    folder: Path, old: str, new: str, *, password: str = PASSWORD, username: str = USERNAME
) -> None:
    """Move `app` from one host to another, as PASSWORD's owner there and as `username` here."""
    logins = {old: (USERNAME, PASSWORD), new: (username, password)}
    entries = "".join(
        f"  '{host}': {{plain_http: true, username: {name}, password: '{word}'}}\n"
        for host, (name, word) in logins.items()
    )
    write_config(folder, f"  - {{source: {old}/app, destination: {new}/app}}", registries=entries)


def assert_one_sentence(out: str, subject: str, *words: str) -> None:
    """Check that one line about the subject has all of `words`, and that no secret is shown.

    Its hint may stand below it.
    """
    lines = [line for line in re.sub(r"\n +hint:", ";", out).splitlines() if subject in line]
    assert any(all(word in line for word in words) for line in lines), out
    assert WRONG not in out
    assert PASSWORD not in out


def assert_moved(folder: Path, start: StartRegistry, image: images.Image = IMAGE) -> None:
    """Check `new/app:1`, through a second registry on the same files that wants no login."""
    (folder / "beside").mkdir()
    (folder / "beside/storage").symlink_to(folder / "new/storage")
    registries.assert_holds(start("beside").remote, "app", "1", image)


def start_pair(folder: Path, start: StartRegistry, tokens: TokenServer) -> tuple[str, str]:
    """Start two registries that want tokens; the old one has the image. Their hosts."""
    put_on_disk(folder / "old", "app", "1", IMAGE)
    return start("old", tokens=tokens).host, start("new", tokens=tokens).host


async def test_basic_credentials_open_both_sides(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """With htpasswd on source and destination the image arrives, and a second plan is empty."""
    put_on_disk(tmp_path / "old", "app", "1", IMAGE)
    old, new = (docker_registry(name, htpasswd=True) for name in ("old", "new"))
    configure(tmp_path, old.host, new.host)
    await run(tmp_path, "apply", "--auto-approve")
    registries.assert_holds(new.remote, "app", "1", IMAGE)
    await run(tmp_path, "plan", "--detailed-exitcode")


async def test_a_wrong_basic_password_is_one_sentence(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """The row names side, address and whose credentials were refused; exit 3, nothing written."""
    put_on_disk(tmp_path / "old", "app", "1", IMAGE)
    old, new = (docker_registry(name, htpasswd=True) for name in ("old", "new"))
    configure(tmp_path, old.host, new.host, password=WRONG)
    for command in (("plan", "--out", "plan.out"), ("apply", "plan.out")):
        ran = await run(tmp_path, *command, code=3)
        refused = "the credentials of the config were refused"
        fix = f'registries."{new.host}"'
        assert_one_sentence(ran.out, f"destination {new.host}", "401", refused, fix)
    assert registries.list_tags(new.remote, "app") == []


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_a_token_that_is_refused_is_renewed(
    tmp_path: Path, docker_registry: StartRegistry, algorithm: str
) -> None:
    """Every first token is over when it arrives, by the registry's clock: the second one works."""
    signers = token_server.serve(
        tmp_path / "bundle.pem", ACCOUNTS, overdue_first=1, algorithm=algorithm
    )
    with signers as tokens:
        old, new = start_pair(tmp_path, docker_registry, tokens)
        configure(tmp_path, old, new)
        await run(tmp_path, "plan", "--out", "plan.out")
        ran = await run(tmp_path, "apply", "plan.out", "--log-level", "debug")
    assert_moved(tmp_path, docker_registry)
    pushes = [asked for asked in tokens.asked if "repository:app:pull,push" in asked.scopes]
    assert [asked.overdue for asked in pushes] == [True, False]
    assert {asked.account for asked in tokens.asked} == {USERNAME}
    assert [token for token in tokens.tokens if token in ran.out + ran.err] == []


async def test_tokens_that_are_never_good_end_in_one_sentence(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """A token server whose clock is wrong is not asked for ever: exit 3, and why."""
    with token_server.serve(tmp_path / "bundle.pem", ACCOUNTS, overdue_first=ALL) as tokens:
        old, new = start_pair(tmp_path, docker_registry, tokens)
        configure(tmp_path, old, new)
        ran = await run(tmp_path, "plan", "--out", "plan.out", code=3, impatient=True)
    assert_one_sentence(ran.out, f"source {old}/app", "401")
    # One for listing the source, renewed at most once.
    assert len(tokens.asked) <= 2


async def test_a_password_that_the_token_server_refuses_is_one_sentence(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Whose credentials they were and where to put better ones; exit 3, no token was issued."""
    with token_server.serve(tmp_path / "bundle.pem", ACCOUNTS) as tokens:
        old, new = start_pair(tmp_path, docker_registry, tokens)
        configure(tmp_path, old, new, password=WRONG)
        ran = await run(tmp_path, "plan", "--out", "plan.out", code=3)
        refused = "the credentials of the config were refused"
        assert_one_sentence(ran.out, f"destination {new}", "401", "wrong password", refused)
    assert {asked.status for asked in tokens.asked if "push" in str(asked.scopes)} <= {401}


async def test_a_token_without_the_right_to_push_is_one_sentence(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """A good login that may only read: the missing right is named, nothing else is blamed."""
    with token_server.serve(tmp_path / "bundle.pem", ACCOUNTS) as tokens:
        old, new = start_pair(tmp_path, docker_registry, tokens)
        configure(tmp_path, old, new, username=READER)
        await run(tmp_path, "plan", "--out", "plan.out")
        ran = await run(tmp_path, "apply", "plan.out", code=3)
        assert_one_sentence(ran.out, f"{new}/app", "the credentials of the config lack push")
        assert_says(ran.out, f"{new}/app:1")
        assert "refused" not in ran.out
