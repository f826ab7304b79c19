"""A stranger's config: what it asks for beyond the trusted file is refused, all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from imgmigrate.config.trusted import load_trusted
from imgmigrate.config.untrusted import check_place
from imgmigrate.errors import ConfigError
from imgmigrate.foreign.load import load_config
from imgmigrate.oci.reference import Repository
from imgmigrate.planning.desired.pins import locked
from imgmigrate.workspace import open_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.model import Config

TRUSTED = """\
version: 1
registries:
  "q.io": {}
  "n.io/team": {plain_http: true, username: ci, password: "${PW}"}
variables: [TEAM]
include: ["teams/*.yaml"]
state: {path: kept/state}
"""
RULE = "images: [{source: q.io/a, destination: n.io/team/a}]\n"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


class Strange(Protocol):
    """Load a stranger's config within a trusted file; keywords are the environment."""

    def __call__(self, text: str, **environ: str) -> Config: ...


@pytest.fixture
def strange(tmp_path: Path) -> Strange:
    """The config lies in `checkout`, the trusted file outside of it."""
    (tmp_path / "trusted.yaml").write_text(TRUSTED)
    (tmp_path / "checkout").mkdir()

    def load(text: str, **environ: str) -> Config:
        path = tmp_path / "checkout" / "prod.yaml"
        if not path.is_symlink():
            path.write_text(f"version: 1\n{text}")
        trusted = load_trusted(tmp_path / "trusted.yaml", environ=environ)
        return load_config(path, environ=environ, trusted=trusted)

    return load


def refused(strange: Strange, text: str, **environ: str) -> list[str]:
    """Every refusal of a config, without its folder."""
    with pytest.raises(ConfigError) as caught:
        strange(text, **environ)
    assert caught.value.exit_code == 64
    lines = str(caught.value).splitlines()
    return [line.partition("/checkout/")[2] for line in lines]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('registries: {q.io: {credential_command: [sh, -c, "id"]}}', "it runs a program"),
        ("registries: {q.io: {username: a, password: b}}", "it chooses who we are there"),
        ("registries: {q.io: {proxy: 'http://evil'}}", "through a host of its choice"),
        ("registries: {q.io: {plain_http: true}}", "credentials in the clear"),
        ("registries: {q.io: {insecure: true}}", "it takes anybody for the registry"),
        ("registries: {q.io: {tls: {verify: false}}}", "it takes anybody for the registry"),
        ("registries: {q.io: {tls: {ca_file: /etc/shadow}}}", "it reads a file"),
        ("registries: {q.io: {tls: {client_cert: x, client_key: y}}}", "it reads a file"),
        ("registries: {Q.IO:443: {proxy: 'http://evil'}}", "through a host of its choice"),
        ("registries: {q.io/a: {proxy: 'http://evil'}}", "is a registry's, not a path's"),
        ("registries: {evil.io: {}}", "does not name this registry"),
        ("registries: {n.io: {}}", "does not name this registry"),
        ("registries: {q.io: {rate_limit: '${AWS}'}}", "${AWS} is not a variable"),
        ("registries: {n.io/team: {username: ci, password: '${AWS}'}}", "as a password"),
        ("state: {path: elsewhere}", "only the trusted file says"),
        ("state: {path: '${TEAM}/state'}", "only the trusted file says"),
        ("include: [/etc/shadow]", "it reads other files"),
        ("include: /proc/self/environ", "it reads other files"),
        ("name: '${AWS}'", "${AWS} is not a variable"),
        ("protect: ['n.io/${AWS:-x}/**']", "${AWS} is not a variable"),
        ("known_conflicts: [{because: '${AWS}'}]", "${AWS} is not a variable"),
    ],
)
def test_what_only_the_trusted_file_may_say_is_refused(
    strange: Strange, text: str, expected: str
) -> None:
    """Each with its line, and before anything else is said of it."""
    found = refused(strange, f"{text}\n{RULE}", AWS=SECRET, TEAM="team")
    assert any(line.startswith("prod.yaml:2: ") and expected in line for line in found)
    assert SECRET not in "\n".join(found)


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ("evil.io/a", "n.io/team/a", "source: the trusted file does not name the registry evil.io"),
        ("evil.io/**", "n.io/team/{match}", "does not name the registry evil.io"),
        ("nginx", "n.io/team/nginx", "does not name the registry docker.io"),
        (
            "q.io/a",
            "n.io/other/a",
            "destination[0]: the trusted file does not name the registry n.io",
        ),
        ("q.io/a", "n.io/te*m/a", "does not name the registry n.io"),
        ("q.io/a", "{repository}", "its registry has to be named"),
        ("q.io/a", "evil.io/{repository}", "does not name the registry evil.io"),
        ("q.io/${AWS}", "n.io/team/a", "${AWS} is not a variable that the trusted file names"),
        ("${TEAM}.io/a", "n.io/team/a", "does not name the registry ***.io"),
        ("q.io/a:${AWS}", "n.io/team/a", "${AWS} is not a variable that the trusted file names"),
        ("oci:../disk", "n.io/team/a", "this layout lies outside the config's folder"),
        ("oci:/etc/*", "n.io/team/a", "this layout lies outside the config's folder"),
        ("oci:/*", "n.io/team/a", "this layout lies outside the config's folder"),
        ("oci:link/disk", "n.io/team/a", "this layout lies outside the config's folder"),
        ("oci:link/**", "n.io/team/a", "this layout lies outside the config's folder"),
        ("q.io/a", "oci:out/{repository}/../../..", "lies outside the config's folder"),
    ],
)
def test_only_trusted_places_are_sources_and_destinations(
    strange: Strange, tmp_path: Path, source: str, destination: str, expected: str
) -> None:
    """Whether they are named, filled in, or found by a wildcard; links are followed first."""
    (tmp_path / "checkout" / "link").symlink_to("/etc")
    rule = f'images: [{{source: "{source}", destination: ["{destination}"]}}]\n'
    found = refused(strange, rule, AWS=SECRET, TEAM="wJalrXUtnFEMI")
    assert any(expected in line for line in found)
    assert "wJalrXUtnFEMI" not in "\n".join(found)


def test_all_refusals_are_told_at_once(strange: Strange, tmp_path: Path) -> None:
    """Also more than a screen of them, and those of included files."""
    (tmp_path / "checkout" / "teams").mkdir()
    team = "images: [{source: 'evil.io/${AWS}', destination: n.io/team/x}]\n"
    (tmp_path / "checkout" / "teams" / "x.yaml").write_text(team)
    rules = "".join(f"- {{source: evil.io/{n}, destination: n.io/x/{n}}}\n" for n in range(20))
    main = f"include: ['teams/*.yaml']\nregistries: {{q.io: {{insecure: true}}}}\nimages:\n{rules}"
    found = refused(strange, main)
    assert len(found) == 1 + 2 * 20 + 1
    assert sum(line.startswith("teams/x.yaml:1: images[0].source: ") for line in found) == 1


def test_what_the_trusted_file_says_too_may_stand_in_the_config(
    strange: Strange, tmp_path: Path
) -> None:
    """So that one config serves both jobs; its registries are the trusted file's all the same."""
    (tmp_path / "checkout" / "teams").mkdir()
    (tmp_path / "checkout" / "teams" / "x.yaml").write_text(RULE.replace("q.io/a", "q.io/b:1"))
    found = strange(
        "state: {path: kept/state}\n"
        "include: teams/*.yaml\n"
        "registries:\n"
        "  n.io/team: {plain_http: true, username: ci, password: '${PW}', concurrency: 900}\n"
        "  q.io: {plain_http: false, tls: {verify: true}, rate_limit: 1}\n"
        "images: [{source: 'q.io/${TEAM}', destination: 'n.io/team/x'}]\n",
        TEAM="crew",
        PW="secret-of-ci",
    )
    assert [str(rule.source) for rule in found.rules] == ["q.io/crew", "q.io/b"]
    settings = found.registry("n.io", "team/a")
    assert (settings.password, settings.concurrency) == ("secret-of-ci", 16)
    assert found.registry("q.io").rate_limit is None
    assert (found.is_untrusted, found.state) == (True, tmp_path / "kept/state")
    assert open_workspace(found).kept is None


@pytest.mark.parametrize("name", ["prod.yaml", "prod.known-conflicts.yaml"])
def test_a_link_in_the_place_of_a_file_is_not_read(
    strange: Strange, tmp_path: Path, name: str
) -> None:
    """A checkout may hold links, and what they lead to would be told line by line."""
    (tmp_path / "secret").write_text(f"key: {SECRET}\n")
    (tmp_path / "checkout" / name).symlink_to(tmp_path / "secret")
    (line,) = refused(strange, RULE)
    assert line.startswith(f"{name}: it is a link that leads out of its folder")


def test_pins_are_not_read_through_a_link(strange: Strange, tmp_path: Path) -> None:
    """Nor is the file of the pins."""
    (tmp_path / "secret").write_text(f"pins: {SECRET}\n")
    (tmp_path / "checkout" / "prod.lock.yaml").symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match="a link that leads out"):
        locked(strange(RULE))


def test_an_included_link_is_not_read(strange: Strange, tmp_path: Path) -> None:
    """A pattern that is allowed may match a link."""
    (tmp_path / "secret").write_text(RULE)
    (tmp_path / "checkout" / "teams").mkdir()
    (tmp_path / "checkout" / "teams" / "x.yaml").symlink_to(tmp_path / "secret")
    (line,) = refused(strange, f"include: ['teams/*.yaml']\n{RULE}")
    assert "include[0]: it leads out of the config's folder" in line


def test_a_folder_that_a_link_leads_to_is_refused(strange: Strange, tmp_path: Path) -> None:
    """`deploy/prod.yaml` below a link is somewhere else."""
    (tmp_path / "checkout" / "deploy").symlink_to("/etc")
    found = strange(RULE)
    with pytest.raises(ConfigError, match="lies outside the config's folder"):
        check_place(found, Repository("oci:", "deploy/images"))


@pytest.mark.parametrize(
    ("store", "path"), [("evil.io", "a"), ("n.io", "other"), ("n.io", "teams"), ("oci:", "..")]
)
def test_a_place_that_is_found_later_is_refused_then(
    strange: Strange, store: str, path: str
) -> None:
    """Whatever led there: a wildcard, a placeholder, a record of another config."""
    found = strange(RULE)
    check_place(found, Repository("n.io", "team/deeper"))
    with pytest.raises(ConfigError):
        check_place(found, Repository(store, path))


def test_the_file_of_another_tool_is_not_read(strange: Strange, tmp_path: Path) -> None:
    """Its settings are looked through by nobody."""
    config = tmp_path / "checkout" / "prod.yaml"
    trusted = load_trusted(tmp_path / "trusted.yaml", environ={})
    config.write_text('{"auth": {}, "images": {"q.io/a": "n.io/team/a"}}')
    with pytest.raises(ConfigError, match="this is image-syncer's config"):
        load_config(config, environ={}, trusted=trusted)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1\npolicies: []\n", "policies: is not supported yet"),
        ("version: 1\nimages: []\n", "images: is not a known key"),
        ("version: 2\n", "version: "),
        ("registries: {}\n", "version: is missing"),
        ("version: 1\nvariables: ['${TEAM}']\n", r"variables\[0\]: .*not a variable's name"),
        ("version: 1\nregistries: {q.io: {proxi: x}}\n", "proxi: is not a known key"),
        ("version: 1\nregistries: {q.io: {username: x}}\n", "belong together"),
        ("version: 1\nstate: {path: ~/x}\n", "state.path: ~ is not expanded"),
    ],
)
def test_a_wrong_trusted_file_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    """What is meant to keep something out must not be misread."""
    (tmp_path / "trusted.yaml").write_text(text)
    with pytest.raises(ConfigError, match=expected):
        load_trusted(tmp_path / "trusted.yaml", environ={})


class TestKeys:
    """A stranger's `verify` reads no file elsewhere, and takes nothing from the trusted one."""

    def test_keys_lie_in_the_folder_of_the_config(self, strange: Strange, tmp_path: Path) -> None:
        """By whichever way they would lead out, and whatever is there."""
        (tmp_path / "checkout/in.pub").write_text("")
        (tmp_path / "checkout/link.pub").symlink_to(tmp_path / "trusted.yaml")
        for key in ("/etc/passwd", "../trusted.yaml", "link.pub", "${TEAM}/shadow", "/nowhere"):
            text = f"verify: [{{match: q.io/**, key: [in.pub, '{key}']}}]\n{RULE}"
            [line] = refused(strange, text, TEAM="/etc")
            assert "it reads a file outside the config's folder" in line, key
        who = "identity: me, issuer: them, trusted_root: ../trusted.yaml"
        [line] = refused(strange, f"verify: [{{match: q.io/**, {who}}}]\n{RULE}")
        assert "it reads a file outside the config's folder" in line
        config = strange(f"verify: [{{match: q.io/**, key: in.pub}}]\n{RULE}")
        assert [key.name for rule in config.signatures for key in rule.keys] == ["in.pub"]

    def test_the_trusted_file_asks_besides(self, strange: Strange, tmp_path: Path) -> None:
        """Its keys are seen from its own folder, and hold whatever the config says."""
        (tmp_path / "ours.pub").write_text("")
        (tmp_path / "checkout/theirs.pub").write_text("")
        with (tmp_path / "trusted.yaml").open("a") as file:
            file.write("verify: [{match: q.io/**, key: ours.pub}]\n")
        config = strange(f"verify: [{{match: q.io/a, key: theirs.pub}}]\n{RULE}")
        found = [key.path for rule in config.signatures for key in rule.keys]
        assert found == [tmp_path / "ours.pub", tmp_path / "checkout/theirs.pub"]
        assert [len(strange(RULE).signatures)] == [1]
