"""Configs, registries and images that are wrong: what the user is told, and that nothing is lost.

Every test runs the real command. What must hold each time: the exit code of DESIGN section 9,
a message that names the object, the cause and the fix, no changed tag, no lost record.
"""

from __future__ import annotations

import asyncio
import json
import stat
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from tests.fakes.registry import FakeRegistry, Hostile, User
from tests.support import images, registries
from tests.support.cli import write_config
from tests.support.docker_registry import PASSWORD, USERNAME
from tests.support.machine import clear_cache
from tests.support.moves import SECOND, Move, assert_says, half_done, run, run_on_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry

pytestmark = pytest.mark.integration

# A layer of the image that waits, and a port where nobody listens.
LAYER = list(SECOND.blobs)[1]
NOBODY = "127.0.0.1:9"
SECRET = "Tr0ub4dor-and-3"


@pytest.fixture
async def move(
    tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> Move:
    """One image moved, one waiting."""
    return await half_done(tmp_path, fake_registry, other_fake_registry)


BAD_CONFIGS: dict[str, tuple[str | bytes, list[str]]] = {
    "broken": ("images: [\n", [":2", "this is not YAML", "check the indentation"]),
    "not UTF-8": (b"images: \xe9\n", [":2", "not UTF-8", "0xE9", "save it as UTF-8"]),
    "unknown key": (
        "images:\n  - {source: a.example/x, destination: b.example/x, tag: '1'}\n",
        [":3", "tag", "not a known key", "did you mean tags?"],
    ),
    "duplicate key": (
        "images:\n  - source: a.example/x\n    destination: b.example/x\n    source: c.example/x\n",
        [":5", "images[0].source", "twice", "line 3", "remove one"],
    ),
    "unset variable": (
        "images:\n  - {source: 'a.example/x', destination: '${NEW_HOST}/x'}\n",
        [":3", "destination", "NEW_HOST", "not set", "${NAME:-default}"],
    ),
    "unset password": (
        (
            "registries:\n"
            "  {old}: {{plain_http: true, username: me, password: '${{OLD_PASSWORD}}'}}\n"
            "images:\n  - {{source: '{old}/app', destination: '{new}/app'}}\n"
            "name: imgmigrate.yaml\n"  # whose the state is: what is wrong is the password alone
        ),
        [":3", "password", "OLD_PASSWORD", "not set", "${NAME:-default}"],
    ),
    "later key": (
        "images:\n  - {source: a.example/x, destination: b.example/x, protect: 2}\n",
        [":3", "protect", "not supported yet", "remove it"],
    ),
    "unquoted": (
        "images:\n  - source: a.example/x\n    destination: b.example/x\n    tags: *-rc*\n",
        [":5", "quote it"],
    ),
    "no images": ("images: []\n", [":2", "images", "at least one", "source: FROM"]),
    "bad name": (
        "images:\n  - {source: a.example/UPPER, destination: b.example/x}\n",
        [":3", "source", "UPPER", "lower"],
    ),
    "two sources for one": (
        (
            "images:\n  - {source: 'a.example/x:1', destination: b.example/x}\n"
            "  - {source: 'a.example/y:1', destination: b.example/x}\n"
        ),
        [":4", "line 3", "b.example/x:1", "a.example/x:1", "a.example/y:1", "keep one"],
    ),
    "onto itself": (
        "images:\n  - {source: a.example/x, destination: a.example/x}\n",
        [":3", "destination", "the same: a.example/x", "change one"],
    ),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
async def test_a_wrong_config_is_refused_at_its_line(move: Move, case: str) -> None:
    """File, line, key and fix are named; exit 64 before anything is asked."""
    text, words = BAD_CONFIGS[case]
    if isinstance(text, str):
        if "{{" in text:
            text = text.format(old=move.old.host, new=move.new.host)
        text = text.encode()
    (move.folder / "wrong.yaml").write_bytes(b"version: 1\n" + text)
    asked = len(move.old.requests)
    config = ("--config", "wrong.yaml", "--state", "state/imgmigrate")
    ran = await move.run("apply", "--auto-approve", *config, code=64)
    assert_says(ran.err, "wrong.yaml", *words)
    assert len(move.old.requests) == asked
    await move.assert_untouched()


@pytest.mark.parametrize("place", ["nowhere.yaml", "."])
async def test_a_config_that_is_no_file_is_named(move: Move, place: str) -> None:
    """The path, and how to get a config, stand in the error: exit 64."""
    ran = await move.run("plan", "-c", place, code=64)
    assert_says(ran.err, place, "imgmigrate init" if place != "." else "imgmigrate.yaml")
    await move.assert_untouched()


async def test_what_is_missing_at_the_source_leaves_only_itself_out(move: Move) -> None:
    """A repository and a tag that do not exist are error rows, exit 3; the rest is done."""
    here, there = move.old.host, move.new.host
    move.write_config(
        move.rule,
        f"  - {{source: {here}/no-such, destination: {there}/no-such}}",
        f"  - {{source: '{here}/app:no-tag', destination: {there}/other}}",
    )
    ran = await move.run("plan", "--out", "plan.out", code=3)
    assert_says(ran.out, f"source {here}/no-such: not found", "check its name")
    assert_says(ran.out, f"source {here}/app:no-tag: not found", "correct the config")
    await move.assert_untouched()
    ran = await move.run("apply", "plan.out", code=3)
    assert_says(ran.out, f"source {here}/no-such: not found", f"source {here}/app:no-tag")
    await move.assert_finished()


@pytest.mark.parametrize("side", ["source", "destination"])
async def test_a_host_that_cannot_be_reached_is_named(move: Move, side: str) -> None:
    """After its attempts the row is an error that names side, host and what to check."""
    ends = {"source": f"{move.old.host}/app", "destination": f"{move.new.host}/gone"}
    ends[side] = f"{NOBODY}/app:1" if side == "source" else f"{NOBODY}/app"
    rule = f"  - {{source: '{ends['source']}', destination: '{ends['destination']}'}}"
    move.write_config(move.rule, rule, registries=f"  '{NOBODY}': {{plain_http: true}}\n")
    ran = await move.run("plan", "--out", "plan.out", code=3, impatient=True)
    named = f"source {NOBODY}/app" if side == "source" else f"{NOBODY}/app:first"
    assert_says(ran.out, named, f"{NOBODY} cannot be reached: Connection refused", "check the name")
    await move.assert_untouched()
    await move.run("apply", "plan.out", code=3)
    await move.assert_finished()


@pytest.mark.parametrize("side", ["old", "new"])
async def test_a_host_that_goes_away_before_the_apply_is_named(move: Move, side: str) -> None:
    """The row fails after its time, exit 3; when the host is back the same plan finishes."""
    plan = await move.plan()
    registry = getattr(move, side)
    registry.drop("*", ".", times=None)
    wait = ("--wait-for-registries", "1s")
    ran = await move.run("apply", plan.name, *wait, code=3, impatient=True)
    name = "source" if side == "old" else "destination"
    assert_says(ran.out, f"{registry.host}/app", "connection", "imgmigrate apply plan.out")
    assert name in ran.out or move.address("second") in ran.out
    registry.clear()
    await move.assert_untouched()
    await move.run("apply", plan.name)
    await move.assert_finished()


@pytest.mark.parametrize("where", ["config", "docker", "nowhere"])
async def test_wrong_credentials_are_named_by_their_place(
    tmp_path: Path, home: Path, docker_registry: StartRegistry, where: str
) -> None:
    """Refused credentials are an error row that says whose they are; the secret is not shown."""
    old, new = docker_registry("old"), docker_registry("new", htpasswd=True)
    registries.push(old.remote, "app", "1", images.image("1"))
    registries.push(new.remote, "other", "1", images.image("other"))
    given = "config" if where == "config" else None
    _log_in(home, new.host, USERNAME, SECRET if where == "docker" else None)
    secret = f", username: {USERNAME}, password: '{SECRET}'" if given else ""
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app}}"
    write_config(
        tmp_path, rule, old.host, registries=f"  '{new.host}': {{plain_http: true{secret}}}\n"
    )
    ran = await run(tmp_path, "plan", "--out", "plan.out", code=3)
    says = {
        "config": ["401", "the credentials of the config were refused", "imgmigrate.yaml:"],
        "docker": ["401", f"the credentials of {home}/.docker/config.json were refused"],
        "nowhere": ["no credentials", f"docker login {new.host}", f'registries."{new.host}"'],
    }
    assert_says(ran.out, f"{new.host}/app:1", f"destination {new.host}", *says[where])
    assert SECRET not in ran.out + ran.err + (tmp_path / "plan.out").read_text()
    ran = await run(tmp_path, "apply", "plan.out", code=3)
    assert SECRET not in ran.out + ran.err
    assert registries.list_tags(new.remote, "app") == []
    assert registries.list_tags(new.remote, "other") == ["1"]

    right = f"username: {USERNAME}, password: '{PASSWORD}'"
    write_config(
        tmp_path, rule, old.host, registries=f"  '{new.host}': {{plain_http: true, {right}}}\n"
    )
    await run(tmp_path, "apply", "--auto-approve")
    registries.assert_same_image(old.remote, "app", "1", new.remote, "app", "1")


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"x" * len(SECOND.blobs[LAYER]), "its bytes have the digest"),
        (SECOND.blobs[LAYER][:-5], "where its manifest says"),
        (SECOND.blobs[LAYER] + b"12345", "where its manifest says"),
        (b"", "it has 0 bytes"),
    ],
    ids=["other bytes", "too short", "too long", "empty"],
)
async def test_a_blob_that_is_not_its_digest_is_never_committed(
    move: Move, data: bytes, cause: str
) -> None:
    """Only the image that needs it fails; source, blob and fix are named; mended, it finishes."""
    move.old.put_image("app", "third", images.image("third"))
    move.old.corrupt(LAYER, data)
    plan = await move.plan()
    ran = await move.run("apply", plan.name, code=3, impatient=True)
    blob = f"source {move.old.host}/app@{LAYER}: "
    assert_says(ran.out, move.address("second"), blob, cause, "push it there again")
    assert LAYER not in move.new.blobs
    third = {move.address("third"): images.image("third").top}
    assert move.destination() == move.before | third
    assert await move.recorded() == move.before | third
    move.old.clear()
    await move.run("apply", plan.name)
    await move.assert_finished(third=images.image("third"))


async def test_a_manifest_that_is_not_its_digest_is_never_written(move: Move) -> None:
    """A registry that serves other bytes for a digest fails the image by name: exit 3."""
    plan = await move.plan()
    clear_cache()
    other = images.image("another").raw
    move.old.fail("GET", f"/manifests/{SECOND.top}", status=200, body=other)
    ran = await move.run("apply", plan.name, code=3)
    assert_says(ran.out, f"source {move.old.host}/app@{SECOND.top}", "digest")
    await move.assert_untouched()


REFUSALS = {
    "immutable": ("PUT", "/manifests/second", 409, "TAG_IMMUTABLE", "choose another tag"),
    "denied": ("PUT", "/manifests/second", 403, "DENIED", "docker login"),
    "too large": ("PUT|PATCH", "/blobs/uploads/", 413, "SIZE_INVALID", "limits how much"),
    "no uploads": ("POST", "/blobs/uploads/", 403, "DENIED", "docker login"),
    "read only": ("PUT", "/manifests/second", 405, "UNSUPPORTED", "imgmigrate apply plan.out"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_destination_that_refuses_the_push_is_named(move: Move, case: str) -> None:
    """Address, status, the registry's own word and the fix; once allowed the same plan ends."""
    methods, path, status, code, fix = REFUSALS[case]
    plan = await move.plan()
    for method in methods.split("|"):
        move.new.fail(method, path, status=status, code=code)
    ran = await move.run("apply", plan.name, code=3)
    assert_says(ran.out, move.address("second"), f"({status})", code, fix)
    move.new.clear()
    await move.assert_untouched()
    await move.run("apply", plan.name)
    await move.assert_finished()


async def test_a_reader_who_pushes_is_told_what_is_missing(
    tmp_path: Path, fake_registry: FakeRegistry
) -> None:
    """Good credentials without the right to push: the place of the credentials and the right."""
    reader = User("reader", SECRET, push=())
    async with FakeRegistry(auth="token", users=[reader]) as new:
        fake_registry.put_image("app", "1", images.image("1"))
        new.put_image("app", "0", images.image("0"))
        rule = f"  - {{source: {fake_registry.host}/app, destination: {new.host}/app}}"
        login = f"  '{new.host}': {{plain_http: true, username: reader, password: '{SECRET}'}}\n"
        write_config(tmp_path, rule, fake_registry.host, registries=login)
        await run(tmp_path, "plan", "--out", "plan.out")
        ran = await run(tmp_path, "apply", "plan.out", code=3)
        assert_says(ran.out, f"{new.host}/app", "the credentials of the config lack push")
        assert new.tags("app") == {"0": images.image("0").top}


HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202egnp\r\nplan: all is well"
LEAKED = "eyJhbGciOiJub25lIn0.c2VjcmV0"


@pytest.mark.parametrize("form", ["text", "json", "terminal"])
async def test_what_a_server_says_never_reaches_the_terminal_raw(
    tmp_path: Path, fake_registry: FakeRegistry, form: str
) -> None:
    """Control characters, line breaks and tokens in answers are blanked in every output."""
    message = f"{HOSTILE} Bearer {LEAKED} https://me:{SECRET}@cdn.example/?token={SECRET}"
    body = json.dumps({"errors": [{"code": "DENIED\x1b[35m", "message": message}]}).encode()
    async with Hostile() as old:
        move = await half_done(tmp_path, old, fake_registry)
        old.extra_tags = ("\x1b[35mtag", "../../etc", "ok\nnot")
        old.fail("*", "/hostile/", status=403, body=body)
        move.new.fail("PUT", "/manifests/second", status=400, body=body)
        move.write_config(move.rule, f"  - {{source: {old.host}/hostile, destination: {NOBODY}/x}}")
        extra = ["--json"] if form == "json" else []
        shown = b""
        for command, code in ((["plan", "--out", "plan.out"], 3), (["apply", "plan.out"], 3)):
            arguments = [*command, *extra, "--log-level", "debug"]
            if form == "terminal":
                ended, text = await asyncio.to_thread(run_on_terminal, tmp_path, *arguments)
                assert ended == code, text
                shown += text.encode()
            else:
                ran = await move.run(*arguments, code=code)
                shown += (ran.out + ran.err).encode()
        assert b"DENIED" in shown
        assert b"all is well" in shown
        written = shown + b"".join(path.read_bytes() for path in _files(tmp_path))
        for bad in (
            "\x1b[2J",
            "\x1b]0;",
            "\x07",
            "\u202e",
            "\r\nplan: all",
            "\nplan: all",
            "\x1b[35m",
        ):
            assert bad.encode() not in written, bad
        for secret in (LEAKED, SECRET):
            assert secret.encode() not in written
        await move.assert_untouched()


@pytest.mark.parametrize(
    ("scheme", "place"),
    [("basic", "config"), ("basic", "docker"), ("token", "environment"), ("token", "docker")],
)
async def test_no_secret_is_ever_written(
    tmp_path: Path, home: Path, fake_registry: FakeRegistry, scheme: str, place: str
) -> None:
    """Password, its Basic form and tokens: in no plan, state, event or log at any level."""
    user = User("mover", SECRET)
    private = FakeRegistry(auth="basic" if scheme == "basic" else "token", users=[user])
    private.private = ("*",)
    async with private as old:
        old.put_image("app", "1", images.image("1"))
        given = {"config": SECRET, "environment": "${OLD_PASSWORD}"}.get(place)
        login = f", username: mover, password: '{given}'" if given else ""
        _log_in(home, old.host, "mover", SECRET if place == "docker" else None)
        rule = f"  - {{source: {old.host}/app, destination: {fake_registry.host}/app}}"
        settings = f"  '{old.host}': {{plain_http: true{login}}}\n"
        config = write_config(tmp_path, rule, fake_registry.host, registries=settings)
        old.fail("GET", "/blobs/", status=500, times=1, body=f"oops {SECRET}".encode())
        said = ""
        for arguments in (
            ["plan", "--out", "plan.out", "--json"],
            ["apply", "plan.out", "--json"],
            ["state", "list", "--json"],
        ):
            ran = await run(
                tmp_path, *arguments, "--log-level", "debug", env={"OLD_PASSWORD": SECRET}
            )
            said += ran.out + ran.err
        registries.assert_equal(fake_registry.image("app", "1"), images.image("1"))
        tokens = [*old.tokens, b64encode(f"mover:{SECRET}".encode()).decode(), SECRET]
        files = [path for path in _files(tmp_path) if path != config]
        written = said + "".join(path.read_text() for path in files)
        assert fake_registry.host in written
        assert [secret for secret in tokens if secret in written] == []
        readable = [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
        assert readable == []


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _log_in(home: Path, host: str, username: str, password: str | None) -> None:
    """Write what `docker login` leaves behind, if there is a password."""
    (home / ".docker").mkdir()
    if password:
        pair = b64encode(f"{username}:{password}".encode()).decode()
        document = {"auths": {host: {"auth": pair}}}
        (home / ".docker/config.json").write_text(json.dumps(document))
