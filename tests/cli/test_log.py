"""What `--log-level` adds on stderr."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pytest

from imgmigrate.cli.given.options import Settings
from imgmigrate.cli.output import Output, logging_to_stderr
from tests.fakes.registry import FakeRegistry, User, in_thread
from tests.support.images import image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.helpers import Cli
    from tests.fakes.registry.access import Scheme

NAME, PASSWORD = "robot", "Tr0ub4dor-77"
COOKIE = "Sess10n-Zebra"


@pytest.fixture(params=["basic", "token"])
def registry(request: pytest.FixtureRequest, cli: Cli) -> Iterator[FakeRegistry]:
    """A private registry that sets cookies and has its blobs in a storage behind signed URLs."""
    scheme: Scheme = request.param
    with in_thread(FakeRegistry(auth=scheme, users=[User(NAME, PASSWORD)])) as registry:
        registry.private, registry.redirect_status = ("*",), 307
        registry.put_image("team/a", "1", image())
        login = f"plain_http: true, username: {NAME}, password: {PASSWORD}"
        rule = f"{{source: {registry.host}/team/a, destination: 'oci:out'}}"
        (cli.folder / "imgmigrate.yaml").write_text(
            f'version: 1\nregistries:\n  "{registry.host}": {{{login}}}\nimages: [{rule}]\n'
        )
        yield registry


def apply(cli: Cli, level: str) -> str:
    """Copy the image; what was said on stderr."""
    assert cli("apply", "--auto-approve", "--log-level", level) == 0, cli.err
    return cli.err


def test_debug_tells_every_request_and_no_secret(cli: Cli, registry: FakeRegistry) -> None:
    """As many lines as the registry was asked; a signed URL has its path and no signature."""
    registry.fail("GET", "/tags/", status=503, times=1, headers={"Set-Cookie": f"session={COOKIE}"})
    said = apply(cli, "debug")
    assert re.search(r"/v2/team/a/tags/list\S* 503, \d+ ms, attempt 1, \d+ bytes", said)
    assert re.search(r"/v2/team/a/tags/list\S* 200, \d+ ms, attempt 2, \d+ bytes", said)
    assert re.search(r"/storage/blobs/sha256:\w+\?sig=\*\*\* 200, ", said)
    secrets = {PASSWORD, COOKIE, registry.storage.signature, *registry.tokens}
    assert not [each for each in secrets if each in said]
    assert "asic " not in said
    assert "earer " not in said


def test_info_tells_retries_and_tokens(cli: Cli, registry: FakeRegistry) -> None:
    """What is tried again and who logged in, without a line for each request."""
    registry.fail("GET", "/tags/", status=503, times=1)
    said = apply(cli, "info")
    assert re.search(r"INFO .*team/a.*503.*; again in \d", said)
    assert " 200, " not in said
    is_told = re.search(
        r"token for repository:team/a:pull from http://\S+, with a login, for \d+ s", said
    )
    assert bool(is_told) == bool(registry.tokens)
    assert not [each for each in (PASSWORD, *registry.tokens) if each in said]


def test_the_usual_log_tells_none_of_it(cli: Cli, registry: FakeRegistry) -> None:
    """Nothing has to be known of it to read what a command says."""
    said = apply(cli, "warning")
    assert "INFO" not in said
    assert "DEBUG" not in said


def test_libraries_are_heard_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    """What signs requests would log what it signs."""
    settings = Settings(Output())
    with logging_to_stderr(settings):
        settings.set_log_level("debug")
        logging.getLogger("botocore.auth").debug("StringToSign")
        logging.getLogger("botocore.auth").warning("a warning")
        logging.getLogger("imgmigrate.test").debug("ours")
    err = capsys.readouterr().err
    assert "StringToSign" not in err
    assert "a warning" in err
    assert "ours" in err
