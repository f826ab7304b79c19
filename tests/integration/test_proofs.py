"""`verify` names exactly what is wrong, and what it tells to run mends that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import docker_registry as real
from tests.support import registries
from tests.support.cli import imgmigrate, write_config
from tests.support.images import digest_of, image, two_platforms
from tests.support.layouts import layout_tags, read_blob, write_layout
from tests.support.schemas import read_lines
from tests.support.signed_images import CHILD, FOLDER, INDEX, Signed, push_signed, signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.support.cli import Ran
    from tests.support.images import Image

pytestmark = pytest.mark.integration

LIST = f"sha256-{INDEX[7:]}"
CORRUPT, LACKING, CHILDLESS = image("corrupt"), image("lacking"), two_platforms("childless")
TWISTED = image("twisted")
IMAGES = {
    "corrupt": CORRUPT,
    "lacking": LACKING,
    "childless": CHILDLESS,
    "twisted": TWISTED,
}


def largest(made: Image) -> str:
    """The digest of an image's largest blob."""
    return max(made.blobs, key=lambda each: len(made.blobs[each]))


def child_of(made: Image) -> str:
    """The digest of a platform's manifest."""
    return next(each for each in made.manifests if each != made.top)


def by_subject(sample: Signed) -> list[str]:
    """What refers to the index by its subject, and has no referrers itself, in one order."""
    about = set(sample.referrers.values())
    return sorted(d for d, s in sample.referrers.items() if s == INDEX and d not in about)


def layer_of(sample: Signed, referrer: str) -> str:
    """The digest of what a referrer consists of."""
    return str(json.loads(sample.manifests[referrer][1])["layers"][0]["digest"])


def flip(file: Path) -> None:
    """Change one byte; the size stays, and so does what is linked to the file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.unlink()
    file.write_bytes(data)


def twist(file: Path) -> None:
    """Change a word of a manifest, which stays JSON."""
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data.replace(b"config", b"confog", 1))


def told(ran: Ran) -> dict[str, set[tuple[str, str, str | None, str | None]]]:
    """What `verify --json` names: by tag, the kind, part, digest and referrer of each fault."""
    lines = [line for line in read_lines("stream", ran.out) if line["type"] == "verify_image"]
    return {
        line["address"].rpartition(":")[2]: {
            (f["kind"], f["part"], f["digest"], f.get("referrer", {}).get("digest"))
            for f in line["faults"]
        }
        for line in lines
    }


def mended(folder: Path, ran: Ran) -> None:
    """Run the command that a verification named, and apply its plan."""
    imgmigrate(folder, *_mend(ran))
    imgmigrate(folder, "apply", "plan.out")


def drop_from_list(raw: bytes, digest: str) -> bytes:
    """Give a list of referrers without one."""
    document = json.loads(raw)
    document["manifests"] = [each for each in document["manifests"] if each["digest"] != digest]
    return json.dumps(document).encode()


def wanted(sample: Signed) -> dict[str, set[tuple[str, str, str | None, str | None]]]:
    """What is to be named after all the damage that these tests do."""
    dropped, unlisted, hollow = by_subject(sample)[:3]
    signature = sample.cosign[f"{LIST}.sig"]
    return {
        "corrupt": {("damaged", "blob", largest(CORRUPT), None)},
        "lacking": {("missing", "blob", largest(LACKING), None)},
        "childless": {("missing", "manifest", child_of(CHILDLESS), None)},
        "twisted": {("damaged", "manifest", TWISTED.top, None)},
        "1.0": {
            ("missing", "manifest", dropped, dropped),
            ("unlisted", "manifest", unlisted, unlisted),
            ("missing", "blob", layer_of(sample, hollow), hollow),
            ("unlisted", "manifest", signature, signature),
        },
    }


def test_a_registry_is_mended_by_what_verify_names(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """A blob and a manifest corrupt; a blob, a child, a referrer and a tag gone, one unlisted.

    docker-registry writes no file that it has: of what is corrupt apply says so, and what to do.
    """
    old, new, sample = docker_registry("old"), docker_registry("new"), signed()
    push_signed(old.host, "app", sample, lists=True)
    for tag, made in IMAGES.items():
        registries.push(old.remote, "app", tag, made)
    rule = f"  - {{source: '{old.host}/app', destination: '{new.host}/app', referrers: all}}"
    write_config(tmp_path, rule, old.host, new.host)
    imgmigrate(tmp_path, "apply", "--auto-approve")
    imgmigrate(tmp_path, "verify", "--deep")

    dropped, unlisted, hollow = by_subject(sample)[:3]
    corrupt = real.blob_file(tmp_path / "new", largest(CORRUPT))
    flip(corrupt)
    twisted = real.blob_file(tmp_path / "new", TWISTED.top)
    twist(twisted)
    real.lose_blob(tmp_path / "new", largest(LACKING))
    real.lose_blob(tmp_path / "new", layer_of(sample, hollow))
    listing = registries.get_manifest(new.host, "app", LIST)
    assert listing is not None
    less = drop_from_list(listing.raw, unlisted)
    registries.put_manifest(new.host, "app", LIST, listing.media_type, less)
    for gone in (child_of(CHILDLESS), dropped):
        registries.request(new.host, "DELETE", f"/v2/app/manifests/{gone}")
    real.lose_tag(tmp_path / "new", "app", f"{LIST}.sig")

    ran = imgmigrate(tmp_path, "verify", "--deep", "--json", code=2)
    assert told(ran) == wanted(sample)
    text = imgmigrate(tmp_path, "verify", code=2).out
    assert f"{dropped[7:19]} of {INDEX[7:19]} is missing" in " ".join(text.split())

    imgmigrate(tmp_path, *_mend(ran))
    failed = imgmigrate(tmp_path, "apply", "plan.out", code=3)
    assert "the registry serves the damaged bytes as before" in " ".join(failed.out.split())
    assert "not done (2)" in failed.out
    corrupt.unlink()
    imgmigrate(tmp_path, "apply", "plan.out", code=3)
    twisted.unlink()
    imgmigrate(tmp_path, "apply", "--auto-approve")
    imgmigrate(tmp_path, "verify", "--deep")
    assert_whole(sample, lambda ref: _read(new.host, ref))


def test_a_layout_is_mended_by_what_verify_names(tmp_path: Path) -> None:
    """The same, where nothing but files is in between; the corrupt blob is replaced, too."""
    sample, app = signed(), tmp_path / "new"
    old = tmp_path / "old"
    write_config(
        tmp_path,
        f"  - {{source: 'oci:{FOLDER}/fallback', destination: 'oci:new', referrers: all}}\n"
        "  - {source: 'oci:old', destination: 'oci:new'}",
    )
    for tag, made in IMAGES.items():
        write_layout(old, tag, made)
    imgmigrate(tmp_path, "apply", "--auto-approve")
    imgmigrate(tmp_path, "verify", "--deep")

    def file(digest: str) -> Path:
        return app / "blobs" / digest.replace(":", "/")

    dropped, unlisted, hollow = by_subject(sample)[:3]
    flip(file(largest(CORRUPT)))
    twist(file(TWISTED.top))
    for gone in (largest(LACKING), layer_of(sample, hollow), child_of(CHILDLESS), dropped):
        file(gone).unlink()
    less = drop_from_list(read_blob(app, layout_tags(app)[LIST]), unlisted)
    index = json.loads((app / "index.json").read_bytes())
    index["manifests"] = [e for e in index["manifests"] if not _is(e, f"{LIST}.sig")]
    digest = digest_of(less)
    file(digest).write_bytes(less)
    for entry in index["manifests"]:
        if _is(entry, LIST):
            entry |= {"digest": digest, "size": len(less)}
    (app / "index.json").write_text(json.dumps(index))

    ran = imgmigrate(tmp_path, "verify", "--deep", "--json", code=2)
    assert told(ran) == wanted(sample)
    mended(tmp_path, ran)
    imgmigrate(tmp_path, "verify", "--deep")
    assert_whole(sample, lambda ref: read_blob(app, layout_tags(app).get(ref, ref)))


def assert_whole(sample: Signed, read: Callable[[str], bytes]) -> None:
    """Everything is there again: manifests, their blobs, the list and cosign's tags."""
    assert CHILD in sample.manifests
    for digest in sample.referrers:
        assert read(digest) == sample.manifests[digest][1]
    for tag, digest in sample.cosign.items():
        assert read(tag) == sample.manifests[digest][1]
    listed = {each["digest"] for each in json.loads(read(LIST))["manifests"]}
    assert listed == {each for each, about in sample.referrers.items() if about == INDEX}


def _mend(ran: Ran) -> list[str]:
    [summary] = [x for x in read_lines("stream", ran.out) if x["type"] == "verify_summary"]
    return str(summary["mend"]).split()[1:]


def _read(host: str, ref: str) -> bytes:
    found = registries.get_manifest(host, "app", ref)
    assert found is not None
    return found.raw


def _is(entry: dict[str, object], tag: str) -> bool:
    names = entry.get("annotations") or {}
    assert isinstance(names, dict)
    return names.get("org.opencontainers.image.ref.name") == tag
