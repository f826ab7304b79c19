"""Registries' settings: the longest key wins, variables are resolved on first use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from imgmigrate.config.model import RegistryConfig, Tls
from imgmigrate.errors import ConfigError
from imgmigrate.redaction import redact

if TYPE_CHECKING:
    from tests.config.conftest import Load, Refuse

IMAGES = "images:\n- source: q.io/a/b\n  destination: x.io/a/b\n"


def config(registries: str) -> str:
    return f"version: 1\n{IMAGES}registries:\n{registries}"


KEYS = """\
  "quay.io": {concurrency: 1}
  "quay.io/team": {concurrency: 2}
  "quay.io/team/app": {concurrency: 3}
  "localhost:5000": {plain_http: true}
  "registry-1.docker.io": {concurrency: 4}
  "docker.io/library": {concurrency: 5}
  "Mixed.Case": {concurrency: 6}
"""


@pytest.mark.parametrize(
    ("host", "repo", "concurrency"),
    [
        ("quay.io", None, 1),
        ("quay.io", "other/app", 1),
        ("quay.io", "team", 2),
        ("quay.io", "team/other", 2),
        ("quay.io", "team/app", 3),
        ("quay.io", "team/app/deep", 3),
        ("quay.io", "team/apps", 2),
        ("quay.io", "teams/app", 1),
        ("quay.io:443", "team/app", 3),
        ("quay.io.:0443", "team/app", 3),
        ("docker.io:443", "library/nginx", 5),
        ("localhost", "a", 16),
        ("docker.io", "team/app", 4),
        ("index.docker.io", "team/app", 4),
        ("docker.io", "library/nginx", 5),
        ("mixed.case", "a", 6),
        ("MIXED.case", "a", 6),
        ("elsewhere.io", "a", 16),
    ],
)
def test_the_longest_key_on_segment_borders_wins(
    load: Load, host: str, repo: str | None, concurrency: int
) -> None:
    """Hosts are normalised first; without a match the defaults hold."""
    assert load(config(KEYS)).registry(host, repo).concurrency == concurrency


def test_variables_in_a_name_are_filled_in_on_loading(load: Load) -> None:
    """Alone and as a part, with a default; Docker Hub may be named by its login's key."""
    text = config(
        '  "${REG}": {concurrency: 1}\n'
        '  "${ACCOUNT}.ecr.io/${TEAM:-x}": {concurrency: 2}\n'
        '  "https://index.docker.io/v1/": {concurrency: 3}\n'
    )
    found = load(text, REG="r.io:5000", ACCOUNT="12")
    assert found.registry("r.io:5000").concurrency == 1
    assert found.registry("12.ecr.io", "x/app").concurrency == 2
    assert found.registry("docker.io", "library/nginx").concurrency == 3


def test_a_name_with_an_unset_variable_is_refused(refuse: Refuse) -> None:
    """With its line, and what to do."""
    said = refuse(config('  "${REG}": {}\n'))
    assert 'prod.yaml:6: registries."${REG}": the environment variable REG is not set' in said


def test_everything_can_be_said_of_a_registry(load: Load, tmp_path: Path) -> None:
    """Texts become the types that they stand for, paths are relative to the config."""
    for name in ("ca.pem", "c.pem", "k.pem"):
        (tmp_path / name).touch()
    found = load(
        config(
            "  q.io:\n"
            "    username: user\n"
            "    password: hunter22\n"
            "    concurrency: 3\n"
            "    plain_http: no\n"
            "    tls: {ca_file: ca.pem, client_cert: ./c.pem, client_key: k.pem, verify: false}\n"
        )
    ).registry("q.io")
    tls = Tls(
        ca_file=tmp_path / "ca.pem",
        client_cert=tmp_path / "c.pem",
        client_key=tmp_path / "k.pem",
        verify=False,
    )
    assert found == RegistryConfig(username="user", password="hunter22", concurrency=3, tls=tls)


def test_a_command_is_found_from_the_config_or_in_path(load: Load, tmp_path: Path) -> None:
    """A path is relative to the config's folder, a bare name is looked up; arguments expand."""
    text = config(
        "  q.io: {credential_command: [./login.sh, '${WHO}', ./x]}\n"
        "  r.io: {credential_command: [vault, read]}\n"
    )
    found = load(text, WHO="me")
    assert found.registry("q.io").credential_command == (f"{tmp_path}/login.sh", "me", "./x")
    assert found.registry("r.io").credential_command == ("vault", "read")
    assert "read" not in repr(found.registry("r.io"))


SECRET = '  q.io: {username: "${USER_}", password: "${PASS}"}\n'


def test_variables_are_resolved_on_first_use_and_once(load: Load) -> None:
    """Loading needs no secrets; the value is hidden from every text from then on."""
    environ = {"USER_": "user", "PASS": "pa$${ss}word"}
    found = load(config(SECRET), **environ)
    first = found.registry("q.io", "a/b")
    assert (first.username, first.password) == ("user", "pa$${ss}word")
    assert found.registry("q.io") is first
    assert redact("it is pa$${ss}word") == "it is ***"


def test_a_password_is_in_no_representation(load: Load) -> None:
    """Neither of the settings nor of the config, resolved or not."""
    found = load(config("  q.io: {username: user, password: hunter22}\n"))
    assert redact("hunter22") == "***"
    assert "hunter22" not in repr(found.registry("q.io"))
    assert "hunter22" not in repr(found)


def test_an_unset_variable_is_an_error_on_first_use(load: Load, tmp_path: Path) -> None:
    """It names the variable, the file, the line and the key."""
    found = load(config(SECRET), USER_="user")
    assert found.registry("elsewhere.io") == RegistryConfig()
    with pytest.raises(ConfigError) as caught:
        found.registry("q.io")
    assert str(caught.value) == (
        f'{tmp_path}/prod.yaml:6: registries."q.io".password: the environment variable PASS '
        "is not set; set it, or give it a default: ${NAME:-default}"
    )


def test_empty_credentials_by_variable_are_none(load: Load) -> None:
    """With `${VAR:-}` one config serves with and without a login."""
    text = config('  q.io: {username: "${U:-}", password: "${P:-}"}\n')
    assert load(text).registry("q.io") == RegistryConfig()
    with pytest.raises(ConfigError, match="password: is empty"):
        load(text, U="user").registry("q.io")


@pytest.mark.parametrize(
    ("entry", "environ", "words"),
    [
        ("concurrency: '${N}'", {"N": "many"}, "concurrency: must be a whole number"),
        ("plain_http: '${N}'", {"N": "perhaps"}, "plain_http: must be true or false"),
        ("tls: {verify: '${N}'}", {"N": "perhaps"}, "tls.verify: must be true or false"),
        ("tls: {ca_file: missing.pem}", {}, "tls.ca_file: there is no file"),
        ("tls: {ca_file: '${N}/ca.pem'}", {"N": "~"}, "~ is not expanded"),
        ("tls: {client_cert: .}", {}, "tls.client_cert: there is no file"),
    ],
)
def test_what_only_the_environment_knows_is_checked_on_first_use(
    load: Load, entry: str, environ: dict[str, str], words: str
) -> None:
    """With the same words and place as on loading."""
    found = load(config(f"  q.io: {{{entry}}}\n"), **environ)
    with pytest.raises(ConfigError, match=words) as caught:
        found.registry("q.io")
    assert caught.value.line == 6


def test_variables_of_every_type_are_resolved(load: Load, tmp_path: Path) -> None:
    """Not only credentials come from the environment."""
    (tmp_path / "ca.pem").touch()
    entry = "  q.io: {concurrency: '${N}', plain_http: '${H}', tls: {ca_file: '${D}/ca.pem'}}\n"
    found = load(config(entry), N="3", H="true", D=str(tmp_path)).registry("q.io")
    assert (found.concurrency, found.plain_http) == (3, True)
    assert found.tls.ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("registries", "expected"),
    [
        ("  q.io: {username: x}\n", 'registries."q.io": username and password belong together'),
        ("  q.io: {password: '${X}'}\n", "username and password belong together"),
        ("  q.io: {username: '', password: ''}\n", None),
        (
            "  q.io: {user: x}\n",
            'registries."q.io".user: is not a known key; did you mean username?',
        ),
        ("  q.io: {credential_command: x}\n", "must be a list of a program and its arguments"),
        ("  q.io: {credential_command: []}\n", "must be a list of a program and its arguments"),
        ("  q.io: {credential_command: {a: b}}\n", "must be a list of a program and its"),
        ("  q.io: {credential_command: [[x]]}\n", "credential_command[0]: must be a text"),
        ("  q.io: {credential_command: ['']}\n", "credential_command names no program"),
        (
            "  q.io: {username: x, password: y, credential_command: [z]}\n",
            "credential_command stands instead of username and password",
        ),
        ("  q.io: {rate_limit: 0}\n", "rate_limit: must be a number of requests per second"),
        ("  q.io: {bandwidth: 5 Mbit/s}\n", "bandwidth: must be bytes per second, such as 200Mi"),
        ("  q.io: {proxy: proxy:3128}\n", "proxy: must be an HTTP proxy such as http://proxy"),
        ("  q.io/a: {rate_limit: 5}\n", "rate_limit: is a registry's, not a path's; write it un"),
        ("  q.io: {concurrency: 0}\n", "concurrency: must be a whole number; from 1 to 1024"),
        ("  q.io: {concurrency: 1025}\n", "concurrency: must be a whole number"),
        ("  q.io: {concurrency: 1.5}\n", "concurrency: must be a whole number"),
        ("  q.io: {plain_http: perhaps}\n", "plain_http: must be true or false"),
        ("  q.io: {tls: x}\n", "tls: must be a mapping"),
        ("  q.io: {tls: {client_key: k.pem}}\n", "tls: client_key needs a client_cert"),
        ("  q.io: {tls: {ca_fle: x}}\n", "tls.ca_fle: is not a known key; did you mean ca_file?"),
        ("  q.io: {username: [x], password: y}\n", "username: must be a text"),
        ("  q.io: {username: x, password: '${X'}\n", "password: its ${...} is not a variable"),
        ("  q.io: x\n", 'registries."q.io": must be a mapping'),
        ("  - q.io\n", "registries: must be a mapping"),
        ("  https://q.io: {}\n", "is not a registry's name; write host[:port]"),
        ("  quay: {}\n", "registries.quay: is not a registry's name"),
        ("  q.io/: {}\n", "is not a registry's name"),
        ("  q.io/Team: {}\n", "is not a registry's name"),
        ("  'q.io/*': {}\n", "is not a registry's name"),
        ("  q.io/a:v1: {}\n", "is not a registry's name"),
        ("  'oci:x': {}\n", "is not a registry's name"),
        ("  docker.io: {}\n  index.docker.io: {}\n", "names the same registry as line 6"),
        ("  q.io: {}\n  Q.io: {}\n", "names the same registry as line 6"),
    ],
)
def test_wrong_settings_are_refused_on_loading(
    load: Load, refuse: Refuse, registries: str, expected: str | None
) -> None:
    """What can be known without the environment is said at once."""
    if expected is None:
        assert load(config(registries)).registry("q.io") == RegistryConfig()
    else:
        assert expected in refuse(config(registries))


def test_no_message_shows_a_wrong_password(refuse: Refuse) -> None:
    """A password of the wrong shape is still a password."""
    said = refuse(config("  q.io: {username: x, password: [hunter22], concurrency: 0}\n"))
    assert "hunter22" not in said


def test_settings_alone_want_both_credentials_or_none() -> None:
    """The model holds by itself, whoever builds it."""
    with pytest.raises(ValidationError, match="belong together"):
        RegistryConfig(username="x")
    with pytest.raises(ValidationError, match="needs a client_cert"):
        Tls(client_key=Path("k"))


@pytest.mark.parametrize("clear", ["plain_http", "insecure"])
def test_the_port_of_https_is_never_spoken_to_in_the_clear(refuse: Refuse, clear: str) -> None:
    """Its one spelling has no port, so another would be asked than the one that is written."""
    text = config(f'  "quay.io:443": {{{clear}: true}}\n')
    assert "port 443 is that of HTTPS" in refuse(text)


def test_two_spellings_of_one_registry_are_one_entry(refuse: Refuse) -> None:
    """Else one of the two would be without effect, in silence."""
    text = config('  "quay.io:443": {concurrency: 1}\n  "quay.io": {concurrency: 2}\n')
    assert "names the same registry" in refuse(text)


PLACES = """\
  "q.io": {username: me, password: "hunter22"}
  "q.io/some":
    username: "${REG_USER}"
    password: "${REG_PASSWORD:-word}-${REG_USER}"
  "q.io/asks": {credential_command: [ask, "${TOKEN}"]}
  "q.io/none": {concurrency: 3}
"""


@pytest.mark.parametrize(
    ("repo", "place"),
    [
        ("a", 'registries."q.io".password'),
        ("some/app", 'registries."q.io/some".password, from the variables REG_USER, REG_PASSWORD'),
        ("asks", 'registries."q.io/asks".credential_command'),
        ("none", None),
    ],
)
def test_where_a_login_is_written_is_said_without_it(
    load: Load, repo: str, place: str | None
) -> None:
    """File, line, key and the names of variables: the environment is not looked at."""
    said = load(config(PLACES)).registries.login_place("q.io", repo)
    line = {"a": 6, "some/app": 9, "asks": 10}.get(repo)
    assert said is None if place is None else str(said).endswith(f"prod.yaml:{line}: {place}")


def test_without_an_entry_no_login_is_written(load: Load) -> None:
    """What a registry without an entry is asked with is elsewhere."""
    assert load(config(PLACES)).registries.login_place("elsewhere.io", "a") is None
