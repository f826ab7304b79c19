"""What `convert` writes means what the foreign file means, and holds no password."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from imgmigrate.errors import ConfigError
from imgmigrate.foreign.document import read_tree
from imgmigrate.foreign.formats.image_syncer import Options, read_pair, read_whole
from imgmigrate.foreign.load import load_config, load_whole
from imgmigrate.foreign.writer import env_text, write
from tests.support.cli import TIMEOUT

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.rules.rule import Rule

DIGEST = "sha256:" + "a1" * 32
ENVIRON = {"HOST": "new.io", "TAG": "blue", "DEFAULT_REGISTRY": "d.io", "DEFAULT_NAMESPACE": "n"}
HOSTS = ("q.io/a/", "localhost:5000/x/", "team/", "", "registry.hub.docker.com/library/")

NAMES = st.tuples(st.sampled_from(HOSTS), st.sampled_from(("app", "web-1", "a/b_c"))).map("".join)
TARGETS = st.sampled_from(
    ("", ":v1", ":v1,v2,v3", ":1.20,010", ":/^v[0-9]+$/", ':/"|\\\\d{1,2}/', f"@{DIGEST}")
)
DESTINATIONS = st.one_of(
    st.sampled_from(("$HOST/m/app", "${HOST}/m/app", "new.io/$TAG/x", "")),
    st.tuples(st.sampled_from(("new.io/m/", "x.io:8443/")), st.sampled_from(("app", "b"))).map(
        "".join
    ),
)
IMAGES = st.dictionaries(
    st.tuples(NAMES, TARGETS).map("".join),
    st.one_of(DESTINATIONS, st.lists(DESTINATIONS, min_size=1, max_size=3)),
    min_size=1,
    max_size=6,
)
TEXTS = st.text("ab1$ {}\"'\\#:/*\n\t\x85é🐳", min_size=1, max_size=12)
LOGINS = st.fixed_dictionaries(
    {"username": TEXTS, "password": TEXTS},
    optional={"insecure": st.booleans()},
)
AUTH = st.dictionaries(
    st.sampled_from(("q.io", "new.io/m", "x.io:8443", "docker.io")), LOGINS, max_size=3
)


def meant(config: Config) -> list[Rule]:
    """The rules, without where they stand."""
    return [replace(rule, file="", line=0) for rule in config.rules]


def converted(path: Path, options: Options | None = None) -> tuple[Path, dict[str, str]]:
    """Write the config beside the foreign one."""
    written = write(read_whole(read_tree(path), options or Options(), ENVIRON), title="Converted.")
    out = path.with_suffix(".yaml")
    out.write_text(written.text, encoding="utf-8")
    return out, written.secrets


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(images=IMAGES, auth=AUTH)
def test_the_converted_config_means_the_same(
    tmp_path: Path, images: dict[str, object], auth: dict[str, dict[str, object]]
) -> None:
    """The same rules, policies and credentials, or both are refused."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auth": auth, "images": images}), encoding="utf-8")
    try:
        expected = load_whole(path, environ=ENVIRON)
    except ConfigError:
        return
    out, secrets = converted(path)
    found = load_config(out, environ={**ENVIRON, **secrets})
    assert meant(found) == meant(expected)
    assert found.defaults == expected.defaults
    for key in auth:
        host, _, repo = key.partition("/")
        assert found.registry(host, f"{repo}/x") == expected.registry(host, f"{repo}/x")


@pytest.mark.parametrize(
    "password",
    ["plain", "a'b\"c", "line\nbreak", "$HOME `id` $(id)", "${X}", "$${X}", "x${", "# é", "\\n"],
)
def test_passwords_are_in_the_private_file_alone(tmp_path: Path, password: str) -> None:
    """A shell that reads that file has each password exactly, and the config names it."""
    path = tmp_path / "config.json"
    auth = {"x.io": {"username": "me", "password": password}}
    path.write_text(json.dumps({"auth": auth, "images": {"a": "x.io/b"}}))
    out, secrets = converted(path)
    assert secrets == {"X_IO_PASSWORD": password}
    assert 'password: "${X_IO_PASSWORD}"' in out.read_text()
    env = tmp_path / "my passwords.env"
    env.write_text(env_text(secrets, env))
    script = 'set -a; . "$1"; printf "%s|" "$X_IO_PASSWORD"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(env)],
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    assert done.stdout == f"{password}|"


def test_variables_stay_variables_and_names_do_not_collide(tmp_path: Path) -> None:
    """What is literal around a variable is hidden too."""
    (tmp_path / "images.yaml").write_text("a: x.io/b\n")
    (tmp_path / "auth.yaml").write_text(
        "x.io: {username: me, password: 'pre-${X_IO_PASSWORD}-post'}\n"
        "localhost:5000: {username: me, password: s3cret}\n"
    )
    trees = [read_tree(tmp_path / name) for name in ("images.yaml", "auth.yaml")]
    document = read_pair(trees[0], trees[1], Options(), ENVIRON)
    written = write(document, title="Converted.")
    assert written.secrets == {
        "X_IO_PASSWORD_2": "pre-",
        "X_IO_PASSWORD_3": "-post",
        "LOCALHOST_5000_PASSWORD": "s3cret",
    }
    assert 'password: "${X_IO_PASSWORD_2}${X_IO_PASSWORD}${X_IO_PASSWORD_3}"' in written.text


def test_what_is_written_reads_well(tmp_path: Path) -> None:
    """One destination is no list; what could not be said stands above its entry."""
    path = tmp_path / "config.json"
    images = {"q.io/a:1": "x.io/a", f"q.io/b:1@{DIGEST}": ["x.io/b:1", "y.io/b:1"], "c": ""}
    path.write_text(json.dumps({"auth": {"x.io": {"insecure": True}}, "images": images}))
    document = read_whole(read_tree(path), Options(registry="d.io"), ENVIRON)
    written = write(document, title="Converted.", state="state/config")
    assert (
        written.text
        == f"""\
# Converted.
version: 1
state:
  path: "state/config"

registries:
  "x.io":
    insecure: true

defaults:
  overwrite: always

images:
  - source: "q.io/a:1"
    destination: "x.io/a"
  # it is copied by its digest; its tag is not looked at
  - source: "q.io/b@{DIGEST}"
    destination:
      - "x.io/b:1"
      - "y.io/b:1"
  - source: "c"
    destination: "d.io/${{DEFAULT_NAMESPACE}}/c"
"""
    )
