"""regsync, skopeo sync and dregsy: what becomes of each of their forms."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.reading.text import parse_config_text
from imgmigrate.errors import ConfigError
from imgmigrate.foreign.formats.dregsy import read_dregsy
from imgmigrate.foreign.formats.regsync import read_regsync
from imgmigrate.foreign.formats.skopeo import read_skopeo
from imgmigrate.foreign.load import check, load_config
from imgmigrate.foreign.reading.ranges import NO_VERSIONS, Dialect
from imgmigrate.foreign.writer import write
from imgmigrate.rules.rule import Overwrite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgmigrate.foreign.document import Document

DIGEST = "sha256:" + "a1" * 32


def rules(document: Document) -> list[tuple[str, object, object]]:
    """Sum a document up: source, destination, tags."""
    return [
        (entry.name, entry.settings["destination"], entry.settings.get("tags"))
        for entry in document.images
    ]


def settled(document: Document) -> dict[str, dict[str, object]]:
    """The settings of its registries."""
    return {entry.name: entry.settings for entry in document.registries}


def regsync(text: str) -> Document:
    return read_regsync(parse_config_text(text, "regsync.yaml"))


def skopeo(text: str, to: str = "new.io/m", *, scoped: bool = False) -> Document:
    return read_skopeo(parse_config_text(text, "sync.yaml"), to, scoped=scoped)


def dregsy(text: str) -> Document:
    return read_dregsy(parse_config_text(text, "dregsy.yaml"))


REGSYNC = """
version: 1
creds:
  - {registry: localhost:5000, tls: disabled, reqConcurrent: 4}
  - registry: docker.io
    user: '{{env "HUB_USER"}}'
    pass: 'pa$$-{{env "HUB_TOKEN"}}'
    credHelper: docker-credential-x
  - {registry: y.io, tls: insecure}
defaults: {interval: 60m, parallel: 2}
x-anchors: &tags {allow: ['v1\\..*', latest], deny: ['.*-rc.*']}
sync:
  - {source: busybox, target: localhost:5000/library/busybox, type: image}
  - {source: "q.io/a:1", target: "x.io/a:2", type: image, referrers: true}
  - {source: alpine, target: localhost:5000/alpine, type: repository, tags: *tags}
  - {source: debian, target: x.io/debian, type: repository, tags: {allow: ["12.*"]}}
  - {source: "q.io/b", target: "x.io/{{ .Ref }}", type: repository}
  - {source: r.io, target: x.io/r, type: registry, platforms: [linux/amd64, linux/arm64]}
  - {source: old.io, target: x.io, type: registry, repos: {allow: [team/.*]}}
"""


def test_regsync_is_translated() -> None:
    """One image is its latest unless it says otherwise; regexes are anchored; env is ours."""
    document = regsync(REGSYNC)
    assert rules(document) == [
        ("busybox:latest", "localhost:5000/library/busybox:latest", None),
        ("q.io/a:1", "x.io/a:2", None),
        (
            "alpine",
            "localhost:5000/alpine",
            {"include": [r"/^v1\..*$/", "/^latest$/"], "exclude": ["/^.*-rc.*$/"]},
        ),
        ("debian", "x.io/debian", ["/^12.*$/"]),
        ("r.io/**", "x.io/r/{repository}", None),
        ("old.io/team/**", "x.io/{repository}", None),
    ]
    assert settled(document) == {
        "localhost:5000": {"plain_http": True, "concurrency": "4"},
        "docker.io": {"username": "${HUB_USER}", "password": "pa$$-${HUB_TOKEN}"},
        "y.io": {"tls": {"verify": False}},
    }
    assert document.defaults == {"overwrite": "always"}
    warnings = "\n".join(document.warnings())
    for part in ("interval", "parallel", "credHelper", "referrers", "line 17"):
        assert part in warnings


SKOPEO = f"""
registry.example.com:
    images:
        busybox: []
        team/redis: ["1.0", "2.0", "{DIGEST}"]
    images-by-tag-regex:
        nginx: ^1\\.13\\.[12]-alpine-perl$
    credentials: {{username: john, password: "this is a $ecret"}}
    tls-verify: true
    cert-dir: /home/john/certs
quay.io:
    tls-verify: false
    images:
        coreos/etcd: [latest]
"""


@pytest.mark.parametrize("scoped", [False, True])
def test_skopeo_sync_is_translated(scoped: bool) -> None:
    """Below --to stands the last part of a name, or with --scoped all of it."""
    document = skopeo(SKOPEO, "docker://new.io/m/", scoped=scoped)
    host = "registry.example.com"

    def below(name: str) -> str:
        return f"new.io/m/{name if scoped else name.rpartition('/')[2]}"

    assert rules(document) == [
        (f"{host}/busybox", below(f"{host}/busybox"), None),
        (f"{host}/team/redis@{DIGEST}", below(f"{host}/team/redis"), None),
        (f"{host}/team/redis", below(f"{host}/team/redis"), ["1.0", "2.0"]),
        (f"{host}/nginx", below(f"{host}/nginx"), [r"/^1\.13\.[12]-alpine-perl$/"]),
        ("quay.io/coreos/etcd", below("quay.io/coreos/etcd"), ["latest"]),
    ]
    assert settled(document) == {
        host: {"username": "john", "password": "this is a $ecret"},
        "quay.io": {"insecure": True},
    }
    assert any("cert-dir" in each for each in document.warnings())


def test_skopeos_semver_is_ours() -> None:
    """A range of versions selects tags."""
    document = skopeo('x.io: {images-by-semver: {alpine: ">= 3.12.0"}}\n')
    assert rules(document) == [("x.io/alpine", "new.io/m/alpine", {"semver": ">=3.12.0"})]


AUTH = base64.b64encode(json.dumps({"username": "alex", "password": "s3cret"}).encode()).decode()
DREGSY = f"""
relay: skopeo
tasks:
  - name: task1
    interval: 60
    source: {{registry: old.io, auth: {AUTH}}}
    target: {{registry: "new.io:5000", skip-tls-verify: true}}
    mappings:
      - {{from: test/image, to: archive/test/image, tags: ['0.1.0', '0.1.1', '{DIGEST}']}}
      - {{from: test/other, platform: all}}
      - {{from: test/re, tags: ['semver: >=1.2.0', 'keep: latest 5']}}
      - {{from: 'regex:test/.{{3}}', to: x}}
"""


def test_dregsy_is_translated() -> None:
    """A mapping without to keeps its name, without tags all of them."""
    document = dregsy(DREGSY)
    assert rules(document) == [
        (f"old.io/test/image@{DIGEST}", "new.io:5000/archive/test/image", None),
        ("old.io/test/image", "new.io:5000/archive/test/image", ["0.1.0", "0.1.1"]),
        ("old.io/test/other", "new.io:5000/test/other", None),
        (
            "old.io/test/re",
            "new.io:5000/test/re",
            {
                "exclude": [NO_VERSIONS[Dialect.DREGSY]],
                "semver": ">=1.2.0",
                "suffixes": "any",
                "newest": 5,
            },
        ),
    ]
    assert settled(document) == {
        "old.io": {"username": "alex", "password": "s3cret"},
        "new.io:5000": {"insecure": True},
    }
    warnings = "\n".join(document.warnings())
    assert "interval" in warnings
    assert "the mapping is left out" in warnings


@pytest.mark.parametrize("document", [regsync(REGSYNC), skopeo(SKOPEO), dregsy(DREGSY)])
def test_what_is_written_is_valid(tmp_path: Path, document: Document) -> None:
    """Our own loader takes it, remarks and all."""
    path = tmp_path / "imgmigrate.yaml"
    check(path, document)
    written = write(document, title="Converted.")
    path.write_text(written.text)
    found = load_config(path, environ={"HUB_USER": "me", "HUB_TOKEN": "t", **written.secrets})
    assert len(found.rules) + len(found.globs) == len(document.images)
    assert {rule.overwrite for rule in found.rules} == {Overwrite.ALWAYS}
    assert all("s3cret" not in line for line in written.text.splitlines())


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (regsync, "version: 1\n", "regsync.yaml:1: sync: is missing"),
        (regsync, "sync: [a]\n", "must be a mapping"),
        (regsync, "sync: [{source: a, target: b, type: c}]\n", "none of image, repository"),
        (skopeo, "x.io: [a]\n", 'sync.yaml:1: "x.io": must be a mapping'),
        (skopeo, "x.io: {images: {a: b}}\n", "write a list of tags; [] is all of them"),
        (dregsy, "relay: skopeo\n", "dregsy.yaml:1: tasks: is missing"),
        (dregsy, "tasks: [{source: {registry: a.io}}]\n", "tasks[0].target: names no registry"),
        (
            dregsy,
            "tasks: [{source: {registry: a.io, auth: '%'}, target: {registry: b.io}}]\n",
            "tasks[0].source.auth: is not what dregsy reads",
        ),
    ],
)
def test_a_file_of_another_kind_is_refused(
    read: Callable[[str], Document], text: str, expected: str
) -> None:
    """File, line and key are named."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert expected in str(caught.value)
