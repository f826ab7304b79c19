"""`init` and `validate`."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.helpers import Cli


@pytest.mark.parametrize(
    "arguments", [["init"], ["init", "prod.yaml"], ["-c", "prod.yaml", "init"]]
)
def test_init_writes_a_config_that_is_valid(cli: Cli, arguments: list[str]) -> None:
    """The starter is valid as it stands, and the next commands are named."""
    name = "prod.yaml" if "prod.yaml" in arguments else "imgmigrate.yaml"
    assert cli(*arguments) == 0
    assert f"Wrote {name}" in cli.out
    assert "imgmigrate plan" in cli.out
    assert stat.S_IMODE((cli.folder / name).stat().st_mode) == 0o644
    assert cli("validate", "--config", name) == 0
    assert cli.out.startswith(f"{name} is valid: ")


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_init_never_overwrites(cli: Cli, kind: str) -> None:
    """Whatever has the name already stays as it is."""
    path = cli.folder / "imgmigrate.yaml"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    assert cli("init") == 64
    assert "exists already" in cli.err
    assert path.is_symlink() or path.is_dir() or path.read_text() == "mine"


def test_init_says_where_it_cannot_write(cli: Cli) -> None:
    """A folder that is not there is named."""
    assert cli("init", "missing/imgmigrate.yaml") == 1
    assert "missing/imgmigrate.yaml: cannot be written" in cli.err


def test_validate_says_what_it_found(cli: Cli) -> None:
    """Rules, registries, layouts and the state's place, without network."""
    (cli.folder / "imgmigrate.yaml").write_text(
        'version: 1\nstate: {path: "here"}\n'
        'registries: {"quay.io": {username: "${NOT_SET}", password: "${NOT_SET}"}}\n'
        "images:\n"
        '  - {source: "quay.io/a/b:1,2", destination: ["reg.new/x/b", "oci:out/b"]}\n'
        '  - {source: "nginx", destination: "reg.new/x/nginx"}\n'
    )
    assert cli("validate") == 0
    assert cli.out.splitlines() == [
        "imgmigrate.yaml is valid: 2 rules",
        "  1. quay.io/a/b (tags 1, 2)",
        "     -> reg.new/x/b",
        "     -> oci:out/b",
        "  2. docker.io/library/nginx (all tags)",
        "     -> reg.new/x/nginx",
        "registries: docker.io, quay.io, reg.new",
        "OCI layouts: 1",
        "state: here",
    ]


def test_validate_shows_rules_of_many_repositories(cli: Cli) -> None:
    """A wildcard and a placeholder are shown as written, and their registries are found."""
    (cli.folder / "imgmigrate.yaml").write_text(
        "version: 1\nimages:\n- source: 'harbor.old/team/**'\n"
        "  destination: ['acr.new/{repository}', 'oci:out/{match}']\n"
    )
    assert cli("validate") == 0
    assert "is valid: 1 rule\n  1. harbor.old/team/** (all tags)\n" in cli.out
    assert "     -> acr.new/{repository}\n     -> oci:out/{match}\n" in cli.out
    assert "registries: acr.new, harbor.old\n" in cli.out


def test_validate_names_file_and_line(cli: Cli) -> None:
    """A config error exits 64 and says where, on stderr."""
    path = cli.write_config()
    path.write_text(path.read_text() + "imagse: []\n")
    assert cli("validate") == 64
    assert cli.err.startswith("Error: imgmigrate.yaml:5: imagse: ")
    assert cli.out == ""


def test_without_a_config_init_is_advised(cli: Cli) -> None:
    """The first thing a new user does wrong has its fix."""
    assert cli("validate") == 64
    assert "imgmigrate init" in cli.err
