"""`apply --report FILE --sign KEY|COMMAND`."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from imgmigrate.events import ImageFinished, Outcome, Receipt
from tests.cli.helpers import success
from tests.render import samples
from tests.support.signing import P256, public_pem

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.helpers import Cli, Engine

COPY = samples.change("harbor.new/a:1", "copy", "new", transfer_bytes=2048)


@pytest.fixture
def plan_file(cli: Cli, engine: Engine) -> str:
    """A plan of one image, which its apply writes."""
    config = hashlib.sha256((cli.folder / "imgmigrate.yaml").read_bytes()).hexdigest()
    plan = samples.plan(COPY)
    plan = plan.of(plan.header.model_copy(update={"config_sha256": config}), plan.changes)
    plan.write(cli.folder / "plan.out")
    engine.events = (ImageFinished(Receipt(COPY.address, Outcome.APPLIED, COPY.after)),)
    engine.result = success(plan)
    return "plan.out"


def write_key(cli: Cli, passphrase: bytes | None = None) -> None:
    """Put a private key and its public half beside the config."""
    protection = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (cli.folder / "key.pem").write_bytes(P256.private_bytes(encoding, form, protection))
    (cli.folder / "key.pub").write_bytes(public_pem(P256))


def verified(folder: Path, name: str = "report.json") -> bytes:
    """Let `openssl` verify an envelope; the statement in it."""
    envelope = json.loads((folder / name).read_bytes())
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    (folder / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", "key.pub", "-signature", "signature"],
        cwd=folder,
        input=pae,
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"Verified OK\n"
    return payload


def test_a_report_without_a_signature_is_the_statement(cli: Cli, plan_file: str) -> None:
    """In a file that others may read."""
    assert cli("apply", plan_file, "--report", "report.json") == 0
    path = cli.folder / "report.json"
    document = json.loads(path.read_bytes())
    assert document["subject"][0]["name"] == "harbor.new/a:1"
    assert document["predicate"]["images"][0]["outcome"] == "applied"
    assert document["predicate"]["tool"]["name"] == "imgmigrate"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("way", ["key", "encrypted", "command"])
def test_openssl_bears_out_the_report(
    cli: Cli, plan_file: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """By a key in a file, an encrypted one, and a program that has it."""
    write_key(cli, b"secret" if way == "encrypted" else None)
    monkeypatch.setenv("IMGMIGRATE_SIGN_PASSPHRASE", "secret")
    sign = "openssl dgst -sha256 -sign key.pem" if way == "command" else "key.pem"
    assert cli("apply", plan_file, "--report", "report.json", "--sign", sign) == 0, cli.err
    statement = json.loads(verified(cli.folder))
    assert statement["subject"][0]["name"] == "harbor.new/a:1"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--sign", "key.pem"], "there is none"),
        (["--report", "r.json", "--sign", "no-such-program --x"], "no such program"),
        (["--report", "r.json", "--sign", "'"], "it is no command"),
        (["--report", "r.json", "--sign", "imgmigrate.yaml"], "cannot be read"),
        (["--report", "imgmigrate.yaml"], "this is the config"),
        (["--report", "nowhere/r.json"], "there is no folder"),
        (["--report", "r.json", "--sign", "key.pem"], "no passphrase"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(
    cli: Cli, engine: Engine, plan_file: str, arguments: list[str], why: str
) -> None:
    """No image moves whose report could not be written."""
    write_key(cli, b"secret")
    assert cli("apply", plan_file, *arguments) == 64
    assert why in cli.err
    assert not engine.applied


def test_a_program_that_fails_at_last_says_that_the_run_is_done(cli: Cli, plan_file: str) -> None:
    """Nothing is written then, and no one is misled."""
    sign = "openssl dgst -sha256 -sign nowhere.pem"
    assert cli("apply", plan_file, "--report", "report.json", "--sign", sign) == 1
    assert "could not be signed" in cli.err
    assert "is done and recorded" in cli.err
    assert not (cli.folder / "report.json").exists()
