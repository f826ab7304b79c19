"""A signed report of a run, or of a verification, is enough to verify a destination by."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.cli import write_config
from tests.support.images import image, two_platforms
from tests.support.layouts import write_layout
from tests.support.signing import OTHER, P256, public_pem

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.cli.helpers import Cli

RULES = '- {source: "oci:old/app", destination: "oci:new/app"}'
STATED: dict[str, object] = {"_type": "x", "predicateType": "urn:imgmigrate:apply:1"}
DEEP = ("verify", "--deep", "--report", "proof.json", "--sign", "key.pem")


@pytest.fixture
def moved(cli: Cli) -> Cli:
    """Two images, applied with a signed report; keys lie beside."""
    write_layout(cli.folder / "old/app", "1", two_platforms("one"))
    write_layout(cli.folder / "old/app", "2", image("two"))
    write_config(cli.folder, f"  {RULES}")
    pem = P256.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (cli.folder / "key.pem").write_bytes(pem)
    (cli.folder / "key.pub").write_bytes(public_pem(P256))
    (cli.folder / "other.pub").write_bytes(public_pem(OTHER))
    assert cli("apply", "--auto-approve", "--report", "run.json", "--sign", "key.pem") == 0
    return cli


def statement(path: Path) -> dict[str, Any]:
    """What an envelope holds."""
    found = json.loads(base64.b64decode(json.loads(path.read_text())["payload"]))
    assert isinstance(found, dict)
    return found


def lose_layer(folder: Path) -> None:
    """Take an image's largest blob away."""
    blobs = image("two").blobs
    digest = max(blobs, key=lambda each: len(blobs[each]))
    (folder / "new/app/blobs" / digest.replace(":", "/")).unlink()


@pytest.mark.parametrize("report", ["run.json", "proof.json"])
def test_a_report_verifies_when_source_and_state_are_gone(moved: Cli, report: str) -> None:
    """Both what an apply and what a verification has written; what is lost since is found."""
    assert moved(*DEEP) == 0
    for gone in ("old", "state", ".imgmigrate"):
        shutil.rmtree(moved.folder / gone, ignore_errors=True)
    (moved.folder / "imgmigrate.yaml").unlink()
    assert moved("verify", "--against", report, "--key", "key.pub") == 0
    assert moved.out.startswith("Whole: 2 images with ")
    lose_layer(moved.folder)
    assert moved("verify", "--against", report, "--key", "key.pub") == 2
    assert moved("verify", "--against", report, "--key", "key.pub", "oci:new/*:1") == 0


def test_subjects_are_what_is_whole(moved: Cli) -> None:
    """What a signer vouches for is what was found, and the exit code is the verification's."""
    lose_layer(moved.folder)
    assert moved(*DEEP) == 2
    found = statement(moved.folder / "proof.json")
    assert [each["name"] for each in found["subject"]] == ["oci:new/app:1"]
    assert found["predicateType"] == "urn:imgmigrate:verify:1"
    stands = {each["address"]: each["standing"] for each in found["predicate"]["images"]}
    assert stands == {"oci:new/app:1": "whole", "oci:new/app:2": "incomplete"}


def test_openssl_bears_it_out(moved: Cli, tmp_path: Path) -> None:
    """Nobody needs imgmigrate to check who has signed."""
    assert moved(*DEEP) == 0
    envelope = json.loads((moved.folder / "proof.json").read_text())
    payload = base64.b64decode(envelope["payload"])
    name = envelope["payloadType"].encode()
    signed, signature = tmp_path / "signed", tmp_path / "signature"
    signed.write_bytes(b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload))
    signature.write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    key = moved.folder / "key.pub"
    subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", key, "-signature", signature, signed],
        check=True,
        timeout=60,
    )


def test_a_report_that_was_changed_or_signed_by_others_is_refused(moved: Cli) -> None:
    """With a key that is certain; without one it is said that nobody has looked."""
    assert moved("verify", "--against", "run.json", "--key", "other.pub") == 64
    assert "it is not signed by other.pub, or was changed since" in moved.err
    document = json.loads((moved.folder / "run.json").read_text())
    changed = base64.b64decode(document["payload"]).replace(b"oci:new/app:2", b"oci:new/app:3")
    document["payload"] = base64.b64encode(changed).decode()
    (moved.folder / "forged.json").write_text(json.dumps(document))
    assert moved("verify", "--against", "forged.json", "--key", "key.pub") == 64
    assert moved("verify", "--against", "run.json") == 0
    assert "whose signature it has was not looked at" in moved.err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--report", "p.csv", "--sign", "key.pem"), "what is signed is JSON"),
        (("--sign", "key.pem"), "--sign signs a report, and there is none"),
        (("--key", "key.pub"), "--key is for a signed report"),
        (("--against", "odd.json", "--key", "key.pub"), "it is not signed"),
        (("--against", "odd.json"), "it is no report of imgmigrate"),
        (("--against", "run.json", "--key", "key.pem"), "it holds a private key"),
        (("--against", "run.json", "--key", "nowhere.pub"), "it cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    moved: Cli, args: tuple[str, ...], told: str
) -> None:
    """Before anything is asked."""
    (moved.folder / "odd.json").write_text('{"_type": "https://in-toto.io/Statement/v1"}')
    assert moved("verify", *args) == 64
    assert told in " ".join(moved.err.split())


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("verify", "--report", "key.json", "--sign", "key.json"), "this is the key of --sign"),
        (("verify", "--against", "run.json", "--report", "run.json"), "this is what --against"),
        (("verify", "--config", "c.json", "--report", "c.json"), "this is the config"),
        (("apply", "plan.out", "--report", "plan.out"), "this is the plan"),
        (("apply", "plan.out", "--report", "key.json", "--sign", "key.json"), "the key of --sign"),
    ],
)
def test_a_report_replaces_nothing_that_the_command_reads(
    moved: Cli, args: tuple[str, ...], told: str
) -> None:
    """Keys, plans, evidence and configs are more than a report is worth."""
    shutil.copy(moved.folder / "key.pem", moved.folder / "key.json")
    shutil.copy(moved.folder / "imgmigrate.yaml", moved.folder / "c.json")
    assert moved("plan", "--out", "plan.out") == 0
    before = {path: path.read_bytes() for path in moved.folder.iterdir() if path.is_file()}
    assert moved(*args) == 64
    assert told in " ".join(moved.err.split())
    assert {path: path.read_bytes() for path in before} == before


def test_what_a_report_tells_of_as_not_whole_is_not_passed_over(moved: Cli) -> None:
    """Else a run that failed would be proved by its own report."""
    lose_layer(moved.folder)
    assert moved(*DEEP) == 2
    assert moved("verify", "--against", "proof.json", "--key", "key.pub") == 2
    assert "1 of its images were not done, or not whole: oci:new/app:2" in moved.err
    nothing = STATED | {"predicate": {"images": []}}
    (moved.folder / "none.json").write_text(json.dumps(nothing))
    assert moved("verify", "--against", "none.json") == 64
    assert "it tells of no image" in moved.err


def test_a_signer_that_fails_takes_no_findings_with_it(moved: Cli) -> None:
    """They are shown, and the statement is kept without a signature."""
    lose_layer(moved.folder)
    assert moved("verify", "--report", "p.json", "--sign", "false") == 1
    assert "Not whole: 1 incomplete" in moved.out
    assert not (moved.folder / "p.json").exists()
    found = json.loads((moved.folder / "p.json.unsigned").read_text())
    assert found["predicateType"] == "urn:imgmigrate:verify:1"


def test_a_key_is_a_key_whatever_its_mode_says(moved: Cli) -> None:
    """There are disks on which every file may be run."""
    (moved.folder / "key.pem").chmod(0o700)
    assert moved("verify", "--report", "p.json", "--sign", "./key.pem") == 0
    assert moved("verify", "--against", "p.json", "--key", "key.pub") == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[" * 200_000, 4),
        (
            json.dumps(STATED | {"predicate": {"images": [{"address": "oci:a", "digest": None}]}}),
            64,
        ),
    ],
)
def test_odd_files_are_no_evidence(moved: Cli, text: str, code: int) -> None:
    """Whatever is in it, it is said in one line."""
    (moved.folder / "odd.json").write_text(text)
    assert moved("verify", "--against", "odd.json") == code
    assert "unexpected" not in moved.err
