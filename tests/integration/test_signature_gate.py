"""Images that cosign signed pass the gate, and what was changed does not."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate import load_config, make_plan
from tests.support import registries
from tests.support.cli import write_config
from tests.support.images import digest_of
from tests.support.moves import run
from tests.support.signed_images import CHILD, FOLDER, INDEX, Signed, push_signed, signed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.integration

KEY = FOLDER / "cosign.pub"
SIGNATURE = "dev.cosignproject.cosign/signature"


def demand(folder: Path, match: str) -> None:
    """Let the config of a folder ask for signatures."""
    path = folder / "imgmigrate.yaml"
    path.write_text(f"{path.read_text()}verify: [{{match: '{match}', key: '{KEY}'}}]\n")


async def planned(folder: Path) -> dict[str, str]:
    """Plan by the config of a folder; of each tag what is to be done, or why not."""
    plan = await make_plan(load_config(folder / "imgmigrate.yaml", environ={}))
    return {str(row.address.tag): row.detail or row.action.value for row in plan.changes}


def changed(sample: Signed) -> Signed:
    """The same with one byte flipped in each signature of the index: all digests are right."""
    blobs, manifests, tags = dict(sample.blobs), dict(sample.manifests), dict(sample.tags)
    for digest, (media_type, raw) in sample.manifests.items():
        document: dict[str, Any] = json.loads(raw)
        for layer in document.get("layers", []):
            if SIGNATURE in layer.get("annotations", {}):
                value = layer["annotations"][SIGNATURE]
                layer["annotations"][SIGNATURE] = base64.b64encode(
                    _flipped(base64.b64decode(value))
                ).decode()
            elif "sigstore.bundle" in layer["mediaType"]:
                bundle = json.loads(sample.blobs[layer["digest"]])
                [entry] = bundle["dsseEnvelope"]["signatures"]
                entry["sig"] = base64.b64encode(_flipped(base64.b64decode(entry["sig"]))).decode()
                data = json.dumps(bundle).encode()
                layer |= {"digest": digest_of(data), "size": len(data)}
                blobs[digest_of(data)] = data
        new = json.dumps(document, separators=(",", ":")).encode()
        if document != json.loads(raw):
            del manifests[digest]
            manifests[digest_of(new)] = media_type, new
            tags |= {tag: digest_of(new) for tag, top in sample.tags.items() if top == digest}
    return Signed(sample.path, blobs, manifests, tags)


def make_release_key(folder: Path) -> None:
    """Let `openssl` make a key pair."""
    words = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    openssl(folder, *words, "-out", "release.pem")
    openssl(folder, "pkey", "-in", "release.pem", "-pubout", "-out", "release.pub")


def verified(folder: Path) -> dict[str, Any]:
    """Let `openssl` verify the report of a run; the statement in it."""
    envelope = json.loads((folder / "report.json").read_bytes())
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    (folder / "report.sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    words = ["dgst", "-sha256", "-verify", "release.pub", "-signature", "report.sig"]
    assert openssl(folder, *words, stdin=pae) == b"Verified OK\n"
    statement: dict[str, Any] = json.loads(payload)
    return statement


def openssl(folder: Path, *words: str | Path, stdin: bytes = b"") -> bytes:
    """Run it in a folder."""
    done = subprocess.run(
        ["openssl", *words], cwd=folder, input=stdin, capture_output=True, check=True
    )
    return done.stdout


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if data else b""


@pytest.mark.parametrize("api", [False, True])
async def test_by_either_scheme_alone(
    tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry, api: bool
) -> None:
    """Cosign's tags without the API, bundles without any of its tags; nothing: refused."""
    old, new = fake_registry, other_fake_registry
    old.referrers_api = api
    sample = signed("referrers" if api else "fallback")
    sample.put(old, "app")
    tags = old.storage.repository("app").tags
    for tag in sample.cosign if api else sample.lists:
        del tags[tag]
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app, referrers: all}}"
    write_config(tmp_path, rule, old.host, new.host)
    demand(tmp_path, f"{old.host}/**")
    found = await planned(tmp_path)
    assert found.pop("1.0") == "copy"
    assert "it has no signature" in found.pop("1.1")
    assert not found
    old.referrers_api = False
    for tag in [each for each in tags if each.startswith("sha256-")]:
        del tags[tag]
    assert "it has no signature" in (await planned(tmp_path))["1.0"]


@pytest.mark.parametrize("name", ["fallback", "referrers"])
async def test_a_layout_is_held_to_it_too(
    tmp_path: Path, fake_registry: FakeRegistry, name: str
) -> None:
    """What other tools wrote to a folder."""
    host = fake_registry.host
    source = f"oci:{FOLDER}/{name}"
    write_config(tmp_path, f"  - {{source: '{source}', destination: {host}/app}}", host)
    demand(tmp_path, f"{source}:*")
    found = await planned(tmp_path)
    assert found["1.0"] == "copy"
    assert "no signature" in found["1.1"]


async def test_a_real_registry_gives_what_is_signed_and_keeps_what_was_changed(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """What passes arrives with signatures that `openssl` bears out; a flipped byte is an error."""
    old, new, sample = docker_registry("old"), docker_registry("new"), signed()
    await asyncio.to_thread(push_signed, old.host, "good", sample, lists=True)
    await asyncio.to_thread(push_signed, old.host, "bad", changed(sample), lists=False)
    rules = "\n".join(
        f"  - {{source: '{old.host}/{name}:1.0', destination: {new.host}/{name}}}"
        for name in ("good", "bad")
    )
    write_config(tmp_path, rules, old.host, new.host)
    demand(tmp_path, f"{old.host}/**")
    await asyncio.to_thread(make_release_key, tmp_path)
    ran = await run(tmp_path, "plan", "--out", "plan.out", code=3)
    assert "IM247" in ran.out or "not signed by whom the config names" in ran.out
    assert "made by another key, or changed since" in ran.out
    words = ("apply", "plan.out", "--report", "report.json", "--sign")
    await run(tmp_path, *words, "openssl dgst -sha256 -sign release.pem", code=3)
    statement = await asyncio.to_thread(verified, tmp_path)
    name, digest = f"{new.host}/good:1.0", INDEX.removeprefix("sha256:")
    assert statement["subject"] == [{"name": name, "digest": {"sha256": digest}}]
    refused = next(each for each in statement["predicate"]["images"] if "error" in each)
    assert refused["reason"] == "not_verified"

    def check() -> None:
        assert registries.get_manifest(new.host, "bad", "1.0") is None
        for digest in (INDEX, CHILD):
            found = registries.get_manifest(new.host, "good", f"{digest.replace(':', '-')}.sig")
            assert found is not None
            [layer] = json.loads(found.raw)["layers"]
            payload = registries.get_blob(new.host, "good", layer["digest"])
            signature = tmp_path / "signature"
            signature.write_bytes(base64.b64decode(layer["annotations"][SIGNATURE]))
            words = ("dgst", "-sha256", "-verify", KEY, "-signature", signature)
            assert openssl(tmp_path, *words, stdin=payload or b"") == b"Verified OK\n"
            assert digest.encode() in (payload or b"")

    await asyncio.to_thread(check)
