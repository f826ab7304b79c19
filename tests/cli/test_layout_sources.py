"""Layouts from elsewhere, through the command line: one bad one never stops the others."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from typing import TYPE_CHECKING

import pytest

from imgmigrate.oci.reference import Reference
from imgmigrate.plan import read_plan
from tests.support.images import image
from tests.support.layouts import assert_layout_holds, layout_tags, write_layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.helpers import Cli

CONFIG = """\
version: 1
images:
  - source: "oci:disk/**"
    destination: "{destination}"
"""


def write_config(cli: Cli, destination: str = "oci:copy/{match}") -> None:
    """Write a config of one rule over a disk of layouts, one of which is good."""
    (cli.folder / "imgmigrate.yaml").write_text(CONFIG.replace("{destination}", destination))
    write_layout(cli.folder / "disk/good", "1", image("good"))


def pipe(layout: Path) -> None:
    """Put a pipe in the place of the index."""
    (layout / "index.json").unlink()
    os.mkfifo(layout / "index.json")


def endless(layout: Path) -> None:
    """Put a file that never ends in the place of the first file."""
    (layout / "oci-layout").unlink()
    (layout / "oci-layout").symlink_to("/dev/zero")


def deep(layout: Path) -> None:
    """Nest the index beyond any stack."""
    (layout / "index.json").write_text('{"manifests":' + "[" * 100_000)


def deep_manifest(layout: Path) -> None:
    """Nest the manifest instead, under its true digest."""
    write_layout(layout, "1", image("bad"))
    raw = b'{"layers":' + b"[" * 100_000
    path = layout / "blobs/sha256" / image("bad").top.partition(":")[2]
    document = json.loads((layout / "index.json").read_bytes())
    document["manifests"][0]["size"] = len(raw)
    (layout / "index.json").write_text(json.dumps(document))
    path.write_bytes(raw)


def nameless(layout: Path) -> None:
    """Take the first file away."""
    (layout / "oci-layout").unlink()


@pytest.mark.parametrize("spoil", [pipe, endless, deep, deep_manifest, nameless])
def test_a_hostile_layout_is_a_row_and_the_others_go_on(
    cli: Cli, spoil: Callable[[Path], None]
) -> None:
    """Its error says what it is; the good one is planned and applied, and 3 tells of the other."""
    write_config(cli)
    write_layout(cli.folder / "disk/bad", "1", image("bad"))
    spoil(cli.folder / "disk/bad")
    assert cli("plan", "--out", "p") == 3
    rows = {str(row.address): row.action.value for row in read_plan(cli.folder / "p").changes}
    assert rows.pop("oci:copy/good:1") == "copy"
    assert list(rows.values()) == ["error"]
    assert cli("apply", "p") == 3
    assert_layout_holds(cli.folder / "copy/good", "1", image("good"))


@pytest.mark.parametrize(
    "name", [b"a:b", b"x@sha256:" + b"0" * 64, b"new\nline", b"bad\xff", b"\xed\xb0\x80"]
)
def test_a_folder_that_cannot_be_addressed_is_told_and_counted(cli: Cli, name: bytes) -> None:
    """A warning names it, the plan counts it, its file is read again, and the others go on."""
    write_config(cli)
    write_layout(cli.folder / "moved", "1", image("bad"))
    os.rename(cli.folder / "moved", os.fsencode(cli.folder / "disk") + b"/" + name)
    assert cli("plan", "--out", "p") == 0
    assert cli.err.startswith("Warning: oci:disk/**: 1 listed name is no valid repository name")
    assert "note: oci:disk/**: 1 listed name is no" in " ".join(cli.out.split())
    [note] = read_plan(cli.folder / "p").header.notes
    assert note.startswith("oci:disk/**: 1 listed name is no")
    assert cli("show", "p", "--format", "markdown") == 0
    assert "1 listed name is no valid" in cli.out
    assert cli("apply", "p") == 0
    assert cli("plan", "--json") == 0
    codes = [json.loads(line).get("code") for line in cli.out.splitlines()]
    assert codes.count("names_skipped") == 1


@pytest.mark.parametrize("name", ["UP", "sp ace", "ünï", "lost+found", "a--", "x" * 250])
def test_a_folder_that_no_registry_takes_is_a_row(cli: Cli, name: str) -> None:
    """Whoever puts a folder on the disk does not stop what else is to be brought from it."""
    write_config(cli, "oci:copy/{match}")
    path = cli.folder / "imgmigrate.yaml"
    path.write_text(path.read_text().replace("oci:copy/{match}", "localhost:1/mirror/{match}"))
    path.write_text(path.read_text() + 'registries: {"localhost:1": {plain_http: true}}\n')
    write_layout(cli.folder / "disk" / name, "1", image("bad"))
    assert cli("plan", "--out", "p") == 3
    rows = read_plan(cli.folder / "p").changes
    assert all(row.action.value == "error" for row in rows)  # nobody listens there
    [row] = [row for row in rows if f"disk/{name[:20]}" in str(row.detail)]
    assert "mirror" in str(row.address)
    assert any(row.address == Reference.parse("localhost:1/mirror/good:1") for row in rows)


def test_names_in_an_index_are_taken_by_tag_or_counted(cli: Cli) -> None:
    """What has a path is read by its tag; the rest is named once, and counted with its list."""
    write_config(cli)
    for name in ("foo/bar:1.0.0", "a/x:2", "b/y:2", "1.0+b1"):
        write_layout(cli.folder / "disk/app", name, image(name))
    for number in range(7):
        write_layout(cli.folder / "disk/other", f"-{number}", image("a"))
    assert cli("plan", "--out", "p") in (0, 3)  # of `other` nothing is left to select
    app, other = read_plan(cli.folder / "p").header.notes
    left = "listed names are no valid tags, and left out"
    assert app == f"oci:disk/app: 3 {left}: 1.0+b1, a/x:2, b/y:2"
    assert other == f"oci:disk/other: 7 {left}: -0, -1, -2, -3, -4 and 2 more"
    assert cli.err.count("Warning: oci:disk/") == 2
    cli("apply", "p")
    assert layout_tags(cli.folder / "copy/app") == {"1.0.0": image("foo/bar:1.0.0").top}


def test_a_rule_may_name_the_tag_of_a_name_with_a_path(cli: Cli) -> None:
    """A tag that is asked for by name is found as one that is listed."""
    write_layout(cli.folder / "app", "docker.io/library/app:1.2", image("a"))
    assert cli("plan", "--from", "oci:app:1.2", "--to", "oci:copy", "--out", "p") == 0
    assert cli("apply", "p") == 0
    assert_layout_holds(cli.folder / "copy", "1.2", image("a"))
    assert cli("plan", "--from", "oci:app:1.2", "--to", "oci:copy", "--detailed-exitcode") == 0


def test_a_destination_that_has_only_the_name_with_a_path_gets_the_tag(cli: Cli) -> None:
    """Others' entry stays as it is, and whoever pulls the tag finds it."""
    write_layout(cli.folder / "app", "1.2", image("a"))
    write_layout(cli.folder / "copy", "docker.io/library/app:1.2", image("other"))
    assert cli("plan", "--from", "oci:app:1.2", "--to", "oci:copy", "--out", "p") == 0
    assert cli("apply", "p") == 0
    assert layout_tags(cli.folder / "copy") == {
        "docker.io/library/app:1.2": image("other").top,
        "1.2": image("a").top,
    }


def test_a_layout_that_cannot_be_locked_fails_its_images_alone(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is told; the images that go elsewhere are done."""
    (cli.folder / "imgmigrate.yaml").write_text(
        "version: 1\nimages:\n"
        '  - {source: "oci:app", destination: ["oci:mounted/app", "oci:local/app"]}\n'
    )
    write_layout(cli.folder / "app", "1", image("a"))
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if "/mounted/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert cli("apply", "--auto-approve") == 3
    assert "its file system cannot lock" in " ".join(cli.out.split())
    assert os.strerror(errno.ENOLCK) in " ".join(cli.out.split())
    assert_layout_holds(cli.folder / "local/app", "1", image("a"))
    assert not (cli.folder / "mounted/app/index.json").exists()
