"""`convert`, and image-syncer's own options of plan, apply and validate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pytest

from imgmigrate.cli import commands
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.options import Settings
from imgmigrate.cli.output import Output

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.helpers import Cli, Engine

WHOLE = {
    "auth": {"x.io": {"username": "me", "password": "s3cret-pass", "insecure": True}},
    "images": {"q.io/a/b:1": "x.io/a/b", "q.io/c:2": ""},
}
OPTIONS = ("--registry", "x.io", "--namespace", "mirror")


@pytest.fixture
def files(cli: Cli) -> Path:
    """config.json, and the same as auth.yaml and images.yaml."""
    (cli.folder / "config.json").write_text("// ours\n" + json.dumps(WHOLE))
    (cli.folder / "auth.yaml").write_text(json.dumps(WHOLE["auth"]))
    (cli.folder / "images.yaml").write_text(json.dumps(WHOLE["images"]))
    return cli.folder


@pytest.mark.parametrize(
    "arguments",
    [("config.json",), ("auth.yaml", "images.yaml"), ("images.yaml", "auth.yaml")],
    ids=" ".join,
)
def test_image_syncers_files_become_one_config(
    cli: Cli, files: Path, arguments: tuple[str, ...]
) -> None:
    """In either order; the password is in a file that only its owner can read."""
    out = ("--out", "new.yaml")
    assert cli("convert", "image-syncer", *arguments, *OPTIONS, *out) == 0
    assert cli.out == "Wrote new.yaml.\n"
    assert "set -a; . ./new.env; set +a" in cli.err
    assert "s3cret" not in (files / "new.yaml").read_text() + cli.err
    assert (files / "new.env").stat().st_mode & 0o777 == 0o600
    assert "X_IO_PASSWORD=s3cret-pass\n" in (files / "new.env").read_text()
    assert cli("validate", "-c", "new.yaml") == 0
    assert "2 rules" in cli.out
    stem = "config" if len(arguments) == 1 else "images"
    assert f"state: state/{stem}\n" in cli.out


def test_a_config_on_stdout_names_its_variables(cli: Cli, files: Path) -> None:
    """Nothing is written then, and no password shown."""
    before = sorted(files.iterdir())
    assert cli("convert", "image-syncer", "config.json", *OPTIONS) == 0
    assert cli.out.startswith("# Converted from config.json of image-syncer.\nversion: 1\n")
    assert "X_IO_PASSWORD" in cli.err
    assert "s3cret" not in cli.out + cli.err
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize("out", [(), ("--out", "new.yaml")], ids=["stdout", "file"])
def test_passwords_go_where_they_are_wanted(cli: Cli, files: Path, out: tuple[str, ...]) -> None:
    """--env-file is private, said, and never overwritten; the config may be on stdout."""
    arguments = ("convert", "image-syncer", "config.json", *OPTIONS, "--env-file", "secret.env")
    assert cli(*arguments, *out) == 0
    secret = files / "secret.env"
    assert "X_IO_PASSWORD=s3cret-pass\n" in secret.read_text()
    assert secret.stat().st_mode & 0o777 == 0o600
    assert "set -a; . ./secret.env; set +a" in cli.err
    assert "s3cret" not in cli.out + cli.err
    assert not (files / "new.env").exists()
    (files / "new.yaml").unlink(missing_ok=True)
    assert cli(*arguments, *out) == 64
    assert "secret.env exists already" in cli.err


@pytest.mark.parametrize("name", ["new.yaml", "new.env"])
def test_no_file_is_overwritten(cli: Cli, files: Path, name: str) -> None:
    """Neither the config nor the passwords; then nothing is written at all."""
    (files / name).write_text("mine")
    before = sorted(files.iterdir())
    assert cli("convert", "image-syncer", "config.json", *OPTIONS, "--out", "new.yaml") == 64
    assert f"{name} exists already" in cli.err
    assert (files / name).read_text() == "mine"
    assert sorted(files.iterdir()) == before


def test_what_has_no_equivalent_is_a_warning_and_a_comment(cli: Cli) -> None:
    """On stderr with its place, in the config above the rule."""
    text = "sync: [{source: 'q.io/a:1', target: 'x.io/a:1', type: image, referrers: true}]\n"
    (cli.folder / "r.yaml").write_text(text)
    assert cli("convert", "regsync", "r.yaml") == 0
    assert "Warning: r.yaml:1: sync[0]: referrers has no equivalent" in cli.err
    assert "  # referrers has no equivalent" in cli.out


def test_skopeos_options_are_given_to_convert(cli: Cli) -> None:
    """Where images go, whole names and a suffix: what its own command line has."""
    (cli.folder / "s.yaml").write_text("q.io: {images: {a/b: ['1']}}\n")
    options = ("--to", "x.io/m", "--scoped", "--append-suffix", "-mirror")
    assert cli("convert", "skopeo", "s.yaml", *options, "--out", "new.yaml") == 0
    assert cli("validate", "-c", "new.yaml") == 0
    assert "x.io/m/q.io/a/b:{tag}-mirror" in (cli.folder / "new.yaml").read_text()


def test_skopeos_all_is_taken(cli: Cli) -> None:
    """Every platform is copied anyhow; without it that is told."""
    (cli.folder / "s.yaml").write_text("q.io: {images: {a/b: ['1']}}\n")
    assert cli("convert", "skopeo", "s.yaml", "--to", "x.io/m", "--all") == 0
    assert cli.err == ""
    assert cli("convert", "skopeo", "s.yaml", "--to", "x.io/m") == 0
    assert "without --all" in cli.err


def test_lists_become_one_config(cli: Cli) -> None:
    """Several files, and what is not said of an image is told once."""
    (cli.folder / "a.txt").write_text("nginx\nredis\n")
    (cli.folder / "b.txt").write_text("quay.io/a/app:1\n")
    assert cli("convert", "list", "a.txt", "b.txt", "--to", "x.io/m", "--out", "new.yaml") == 0
    assert "a.txt: it names no tag, so its latest is copied (2 times, in lines 1, 2)" in cli.err
    assert cli("validate", "-c", "new.yaml") == 0
    assert "3 rules" in cli.out


@pytest.mark.parametrize("command", ["plan", "validate"])
def test_a_list_is_planned_as_it_is(engine: Engine, cli: Cli, command: str) -> None:
    """A list and where it goes are enough; registries without TLS can be named."""
    (cli.folder / "images.txt").write_text("quay.io/a/app:1\n")
    named = ("--list", "images.txt", "--to", "x.io:5000/m", "--plain-http", "x.io:5000")
    if command == "validate":
        assert cli("validate", *named[:4]) == 0
        assert "-> x.io:5000/m/app" in cli.out
        return
    assert cli("plan", *named, "--scoped", "--out", "plan.out") == 0
    config = engine.planned[0][0]
    (rule,) = config.rules
    assert str(rule.destinations[0].repository) == "x.io:5000/m/quay.io/a/app"
    assert config.registry("x.io:5000").plain_http
    assert config.sha256


def test_yaml_that_names_images_is_planned_as_a_list(engine: Engine, cli: Cli) -> None:
    """By its ending."""
    (cli.folder / "zarf.yaml").write_text("components: [{images: ['quay.io/a/app:1']}]\n")
    assert cli("plan", "--list", "zarf.yaml", "--to", "x.io/m", "--out", "plan.out") == 0
    assert [str(rule.source) for rule in engine.planned[0][0].rules] == ["quay.io/a/app"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--list", "l.txt"), "l.txt:1: where its image goes is not said"),
        (("--list", "l.txt", "--to", "x.io", "--to", "y.io"), "--list has one destination"),
        (("--list", "l.txt", "--to", "x.io", "-c", "l.txt"), "--config belongs to another file"),
        (("--list", "l.txt", "--to", "x.io", "--from", "a"), "--from belongs to another file"),
        (("--list", "l.txt", "--to", "x.io", "--os", "linux"), "--os belongs to another file"),
        (("--list", "empty.txt", "--to", "x.io"), "empty.txt: it names no image"),
        (("--list", "wrong.txt", "--to", "x.io"), "wrong.txt:2: this is not one image, or one"),
        (("--list", "upper.txt", "--to", "x.io"), "upper.txt:1: 'Quay.io/A:1'"),
        (("--list", "two.txt", "--to", "x.io"), "two.txt:2: b.io/app:1 goes where a.io/app:1"),
        (("--list", "none.txt", "--to", "x.io"), "none.txt: there is no such file"),
        (("--scoped",), "--scoped is for a list of images"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_wrong_lists_are_refused(
    engine: Engine, cli: Cli, arguments: tuple[str, ...], expected: str
) -> None:
    """The error names the file, the line and the fix; nothing is planned."""
    for name, text in {
        "l.txt": "nginx:1\n",
        "empty.txt": "# none\n",
        "wrong.txt": "nginx:1\nthis is no image\n",
        "upper.txt": "Quay.io/A:1\n",
        "two.txt": "a.io/app:1\nb.io/app:1\n",
    }.items():
        (cli.folder / name).write_text(text)
    assert cli("plan", *arguments) == 64
    assert expected in cli.err
    assert not engine.planned


@pytest.mark.parametrize(
    ("name", "text", "kind", "command"),
    [
        (
            "r.yaml",
            "version: 1\nsync: [{source: a, target: b, type: image}]\n",
            "regsync's",
            "convert regsync r.yaml",
        ),
        (
            "d.yaml",
            "tasks: [{source: {registry: a.io}, target: {registry: b.io}}]\n",
            "dregsy's",
            "convert dregsy d.yaml",
        ),
        (
            "s.yaml",
            "q.io: {images: {a: []}}\nghcr.io:\n",
            "skopeo's",
            "convert skopeo s.yaml --to HOST/PATH",
        ),
        (
            "i.txt",
            "nginx:1\n\n# more\nquay.io/a/b@sha256:aa\n",
            "a list of images",
            "plan --list i.txt --to HOST/PATH",
        ),
        (
            "z.yaml",
            "components: [{images: [nginx]}]\n",
            "YAML that names images",
            "plan --list z.yaml --to HOST/PATH",
        ),
        (
            "m.yaml",
            "kind: Pod\nimage: a\n---\nimage: b\n",
            "YAML that names images",
            "plan --list m.yaml --to HOST/PATH",
        ),
        (
            "images.yaml",
            "q.io/a:1: x.io/a\n",
            "image-syncer's rules",
            "plan --images images.yaml --auth FILE",
        ),
        (
            "auth.yaml",
            "q.io: {username: a, password: b}\n",
            "image-syncer's credentials",
            "plan --images FILE --auth auth.yaml",
        ),
    ],
)
@pytest.mark.parametrize("option", ["--config", "--images"])
def test_anothers_file_is_recognised(
    cli: Cli, name: str, text: str, kind: str, command: str, option: str
) -> None:
    """The error says whose it is, and what reads it."""
    (cli.folder / name).write_text(text)
    if (name, option) == ("images.yaml", "--images"):
        assert cli("validate", option, name) == 0
        return
    assert cli("validate", option, name) == 64
    assert f"{name}: this looks like {kind}" in cli.err
    assert f"imgmigrate {command}" in cli.err


DREGSY = "tasks: [{source: {registry: a}, target: {registry: b}}]\n"


def test_the_command_for_anothers_file_can_be_typed(cli: Cli) -> None:
    """Its name is quoted where a shell would take it apart."""
    (cli.folder / "my dregsy.yaml").write_text(DREGSY)
    assert cli("validate", "--config", "my dregsy.yaml") == 64
    assert "imgmigrate convert dregsy 'my dregsy.yaml'" in cli.err


@pytest.mark.parametrize(
    "command",
    [
        "convert regsync",
        "convert skopeo --to x.io",
        "convert image-syncer",
        "convert list --to x.io",
        "convert yaml --to x.io",
        "validate --to x.io --list",
        "validate --images images.yaml --auth",
    ],
)
def test_anothers_file_is_recognised_wherever_it_is_named(cli: Cli, command: str) -> None:
    """Whoever named the wrong format is told the right one."""
    (cli.folder / "images.yaml").write_text("q.io/a:1: x.io/a\n")
    (cli.folder / "d.yaml").write_text(DREGSY)
    assert cli(*command.split(), "d.yaml") == 64
    assert "d.yaml: this looks like dregsy's" in cli.err
    assert "imgmigrate convert dregsy d.yaml" in cli.err


def test_a_config_of_ours_is_recognised_too(cli: Cli) -> None:
    """It is planned from, and not converted."""
    (cli.folder / "c.yaml").write_text(
        "version: 1\nimages: [{source: a.io/a, destination: b.io/a}]\n"
    )
    assert cli("convert", "regsync", "c.yaml") == 64
    assert "imgmigrate plan --config c.yaml" in cli.err


def test_rules_that_are_nobodys_are_said_not_to_be_image_syncers(cli: Cli) -> None:
    """No hint is given that leads to the next error."""
    (cli.folder / "i.yaml").write_text("images: [{src: a.io/a, dst: b.io/a}]\n")
    assert cli("validate", "--images", "i.yaml") == 64
    assert "this is not a file of image-syncer's rules" in cli.err
    (cli.folder / "i.txt").write_text("a sentence: of words,\nand more\n")
    assert cli("validate", "--images", "i.txt") == 64
    assert "version" not in cli.err


def test_a_list_in_yaml_is_a_list(cli: Cli) -> None:
    """Its top may be one, without a key."""
    (cli.folder / "l.yaml").write_text("- nginx:1\n- quay.io/a/b:2\n")
    assert cli("validate", "--config", "l.yaml") == 64
    assert "imgmigrate plan --list l.yaml --to HOST/PATH" in cli.err
    assert cli("validate", "--list", "l.yaml", "--to", "x.io/m") == 0
    assert "x.io/m/nginx:1" in cli.out
    assert "x.io/m/b:2" in cli.out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lines.yaml", "nginx:1\nquay.io/a/b:2\n"),
        ("pod.txt", "spec: {containers: [{image: 'nginx:1'}, {image: 'quay.io/a/b:2'}]}\n"),
        ("top.txt", '["nginx:1", "quay.io/a/b:2"]\n'),
    ],
)
def test_a_list_is_read_by_what_stands_in_it(cli: Cli, name: str, text: str) -> None:
    """Whatever it is called: else the hint would lead to the same error again."""
    (cli.folder / name).write_text(text)
    assert cli("validate", "--list", name, "--to", "x.io/m") == 0
    assert "x.io/m/nginx:1" in cli.out
    assert "x.io/m/b:2" in cli.out


@pytest.mark.parametrize(
    "text",
    [
        "images: [{source: a.io/a, destination: b.io/a}]\n",
        "version: 1\nimages: [{name: nginx}]\n",
        "version: 1\nimage: nginx\nimages: []\n",
        "defaults: {overwrite: always}\n",
        "a sentence: with words\n",
    ],
)
def test_a_config_of_ours_with_a_mistake_is_nobody_elses(cli: Cli, text: str) -> None:
    """A wrong guess would hide what is really wrong."""
    (cli.folder / "imgmigrate.yaml").write_text(text)
    assert cli("validate") == 64
    assert "looks like" not in cli.err


def test_names_that_fall_together_are_told_before_the_error(cli: Cli) -> None:
    """So that it says how they can be kept apart."""
    (cli.folder / "s.yaml").write_text("q.io:\n  images:\n    a/x: ['1']\n    b/x: ['1']\n")
    assert cli("convert", "skopeo", "s.yaml", "--to", "x.io/m") == 64
    assert cli.out == ""
    assert cli.err.index("--scoped") < cli.err.index("x.io/m/x:1 is asked from q.io/b/x:1")
    assert cli("convert", "skopeo", "s.yaml", "--to", "x.io/m", "--scoped") == 0


def test_why_nothing_is_left_is_told(cli: Cli) -> None:
    """A config whose rules cannot be said is no config, and each rule says why."""
    text = "sync: [{source: q.io, target: x.io, type: registry, repos: {allow: ['[a-z]+']}}]\n"
    (cli.folder / "r.yaml").write_text(text)
    assert cli("convert", "regsync", "r.yaml") == 64
    assert "line 1: repositories selected by the regex '[a-z]+' cannot be said" in cli.err
    assert "nothing in it can be converted" in cli.err


def test_what_is_written_fits_a_terminal(cli: Cli) -> None:
    """Long remarks go on in the next line."""
    rule = "{source: q.io/a, target: x.io/a, type: repository, platforms: [linux/amd64]}"
    (cli.folder / "r.yaml").write_text(f"sync: [{rule}]\n")
    assert cli("convert", "regsync", "r.yaml") == 0
    assert "  #   " in cli.out
    assert all(len(line) <= 80 for line in cli.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("image-syncer", "auth.yaml"), "one file of rules and one of credentials"),
        (("image-syncer", "none.json"), "there is no such file"),
        (("image-syncer", "images.yaml"), "there is no default registry"),
        (("regsync", "config.json", "images.yaml"), "regsync has one file"),
        (("skopeo", "config.json"), "--to"),
        (("regsync", "config.json", "--to", "x.io"), "--to is for list, yaml, skopeo"),
        (("list", "images.yaml", "--to", "x.io", "--all"), "--all is for skopeo"),
        (("dregsy", "config.json", "--append-suffix", "-x"), "--append-suffix is for skopeo"),
        (("dregsy", "config.json"), "config.json: this looks like image-syncer's"),
        (("nonsense", "config.json"), "image-syncer"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_wrong_files_are_refused(
    cli: Cli, files: Path, arguments: tuple[str, ...], expected: str
) -> None:
    """The error names what is wrong, and nothing is written."""
    before = sorted(files.iterdir())
    assert cli("convert", *arguments) == 64
    assert expected in cli.err
    assert cli.out == ""
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize(
    "named",
    [("--config", "config.json"), ("--auth", "auth.yaml", "--images", "images.yaml")],
    ids=" ".join,
)
def test_image_syncers_files_are_planned_as_they_are(
    engine: Engine, cli: Cli, files: Path, named: tuple[str, ...]
) -> None:
    """`plan` takes them, and says what they mean."""
    assert cli("plan", *named, *OPTIONS, "--out", "plan.out") == 0
    assert "overwrite: always" in cli.err
    config = engine.planned[0][0]
    assert [str(rule.destinations[0].repository) for rule in config.rules] == [
        "x.io/a/b",
        "x.io/mirror/c",
    ]
    assert config.registry("x.io").insecure


def test_commands_that_are_shown_repeat_the_files(cli: Cli, files: Path) -> None:
    """Those that look at the state take the files too."""
    settings = Settings(Output())
    settings.foreign = {"--images": files / "images.yaml", "--registry": "x.io"}
    settings.foreign |= {"--namespace": "mirror"}
    settings.given = {name: (str(value),) for name, value in settings.foreign.items()}
    named = f"--images {files}/images.yaml --registry x.io --namespace mirror"
    with click.Context(commands, obj=settings):
        assert again(settings, "apply", "plan.out") == f"imgmigrate apply {named} plan.out"
        assert again(settings, "state", "list") == f"imgmigrate state {named} list"


def test_validate_says_that_such_configs_overwrite(cli: Cli, files: Path) -> None:
    """Before anybody plans with them."""
    assert cli("validate", "-c", "config.json", *OPTIONS) == 0
    assert "overwrite: always" in cli.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--auth", "auth.yaml"), "--auth holds no rules"),
        (("--config", "config.json", "--images", "images.yaml"), "--images a part"),
        (("--registry", "x.io"), "none is named"),
        (("--config", "imgmigrate.yaml", "--registry", "x.io"), "not image-syncer's config"),
        (("--images", "config.json"), "give it alone: --config config.json"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_options_that_contradict_each_other_are_refused(
    engine: Engine, cli: Cli, files: Path, arguments: tuple[str, ...], expected: str
) -> None:
    """Nothing is ignored, as image-syncer does with --auth beside --config."""
    assert cli("plan", *arguments) == 64
    assert expected in cli.err
    assert not engine.planned


def test_a_choice_of_platforms_is_kept(cli: Cli, files: Path) -> None:
    """--os and --arch become platforms for all rules."""
    chosen = ("--os", "linux", "--arch", "amd64", "--arch", "arm64")
    assert cli("convert", "image-syncer", "config.json", *OPTIONS, *chosen) == 0
    lines = ["  platforms:", '    - "linux/amd64"', '    - "linux/arm64"']
    assert "\n".join(lines) in cli.out


def test_a_list_is_repeated_in_commands(cli: Cli) -> None:
    """With where it goes, and flags without a value."""
    settings = Settings(Output())
    settings.foreign = {"--list": cli.folder / "l.txt", "--to": ("x.io",), "--scoped": True}
    settings.given = {"--list": ("l.txt",), "--to": ("x.io",), "--scoped": ()}
    with click.Context(commands):
        said = again(settings, "apply", "plan.out")
    assert said == "imgmigrate apply --list l.txt --to x.io --scoped plan.out"
