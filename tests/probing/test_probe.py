"""What `validate --online` tries, and what it makes of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import NoSink
from imgmigrate.foreign.load import load_config
from imgmigrate.probing import probe
from imgmigrate.probing.needs import needs_of
from imgmigrate.probing.probe import Report, Verdict, probe_all
from imgmigrate.render.reports.probe import probe_headline
from imgmigrate.stores.registry.http.limits import Timeouts
from tests.fakes.registry import FakeRegistry, User
from tests.support.images import image

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from imgmigrate.config.model import Config
    from tests.conftest import StartRegistry
    from tests.fakes.registry.access import Scheme
    from tests.fakes.registry.calls import Call

ME = User("me", "swordfish")
READER = User("reader", "swordfish", push=())
NAMES = ["reach", "log in", "pull", "push", "catalog", "referrers"]


class WithReferrers(FakeRegistry):
    """Has the API of distribution-spec 1.1."""

    async def answer(self, call: Call) -> web.StreamResponse:
        """Answer it with an index."""
        if "/referrers/" in call.path:
            from aiohttp import web

            self.authorise(call, (call.path.split("/referrers/")[0].removeprefix("/v2/"), "pull"))
            index = "application/vnd.oci.image.index.v1+json"
            return web.Response(body=b"{}", headers={"Content-Type": index})
        return await super().answer(call)


def config_of(folder: Path, *rules: str, registries: str = "") -> Config:
    path = folder / "imgmigrate.yaml"
    lines = "".join(f"  - {rule}\n" for rule in rules)
    path.write_text(f"version: 1\n{registries}images:\n{lines}")
    return load_config(path, environ={})


def entries(*registries: tuple[FakeRegistry, User, str]) -> str:
    lines = "".join(
        f'  "{registry.host}": {{plain_http: true, username: {user.name}, password: {password}}}\n'
        for registry, user, password in registries
    )
    return f"registries:\n{lines}"


def seeded(kind: type[FakeRegistry] = FakeRegistry, scheme: Scheme = "token") -> FakeRegistry:
    registry = kind(auth=scheme, users=[ME, READER])
    registry.private = ("*",)
    registry.put_image("team/a", "1", image())
    return registry


async def one(config: Config) -> Report:
    (report,) = await probe_all(config, sink=NoSink())
    return report


def verdicts(report: Report) -> dict[str, str]:
    return {check.name: check.verdict.value for check in report.checks}


def detail(report: Report, name: str) -> str:
    found = next(check for check in report.checks if check.name == name)
    return f"{found.detail}; {found.fix}"


@pytest.mark.parametrize("scheme", ["basic", "token"])
async def test_all_works_and_nothing_is_left(scheme: Scheme, tmp_path: Path) -> None:
    """Source and destination at once; the upload that was opened is cancelled."""
    async with seeded(WithReferrers, scheme) as registry:
        rule = f"{{source: {registry.host}/team/a, destination: {registry.host}/copy/a}}"
        config = config_of(tmp_path, rule, registries=entries((registry, ME, ME.password)))
        report = await one(config)
        assert verdicts(report) == dict.fromkeys(NAMES, "ok")
        assert report.works
        assert report.roles == ("source", "destination")
        assert not registry.storage.sessions
        assert "copy/a" not in registry.repositories
        assert registry.count("PUT", "") == 0


async def test_registry_without_extras_still_works(tmp_path: Path) -> None:
    """No rule needs a catalog or the referrers API."""
    async with seeded() as registry:
        registry.fail("GET", "_catalog", status=404)
        rule = f"{{source: {registry.host}/team/a, destination: 'oci:out'}}"
        config = config_of(tmp_path, rule, registries=entries((registry, ME, ME.password)))
        report = await one(config)
        assert verdicts(report) == {
            "reach": "ok",
            "log in": "ok",
            "pull": "ok",
            "catalog": "not offered",
            "referrers": "not offered",
        }
        assert report.works


@pytest.mark.parametrize("scheme", ["basic", "token"])
async def test_wrong_credentials_are_tried_once(scheme: Scheme, tmp_path: Path) -> None:
    """The rest cannot work then, and is not tried."""
    async with seeded(scheme=scheme) as registry:
        rule = f"{{source: {registry.host}/team/a, destination: {registry.host}/copy/a}}"
        config = config_of(tmp_path, rule, registries=entries((registry, ME, "wrong")))
        report = await one(config)
        assert verdicts(report) == {
            "reach": "ok",
            "log in": "failed",
            "pull": "not tried",
            "push": "not tried",
        }
        assert not report.works
        assert "the credentials of the config were refused" in detail(report, "log in")
        where = f'registries."{registry.host}".password: correct it there'
        assert where in detail(report, "log in")
        assert sum(each.authorised for each in registry.requests) == 1


async def test_right_that_is_missing_is_named(tmp_path: Path) -> None:
    """Who may only read cannot be a destination."""
    async with seeded() as registry:
        rule = f"{{source: {registry.host}/team/a, destination: {registry.host}/copy/a}}"
        registries = entries((registry, READER, READER.password))
        report = await one(config_of(tmp_path, rule, registries=registries))
        assert verdicts(report)["pull"] == "ok"
        assert verdicts(report)["push"] == "failed"
        assert "copy/a" in detail(report, "push")
        assert "lack push" in detail(report, "push")
        assert not report.works


async def test_upload_that_cannot_be_cancelled_is_told(tmp_path: Path) -> None:
    """The right to push is there all the same."""
    async with seeded() as registry:
        registry.fail("DELETE", "", status=405)
        rule = f"{{source: 'oci:in', destination: {registry.host}/copy/a}}"
        config = config_of(tmp_path, rule, registries=entries((registry, ME, ME.password)))
        report = await one(config)
        assert verdicts(report)["push"] == "ok"
        assert "cannot be cancelled" in detail(report, "push")


@pytest.mark.parametrize(
    ("tags", "reason"),
    [("[nowhere]", "team/a has no nowhere"), ("all of absent", "absent: not found")],
)
async def test_source_that_is_missing_is_told(tmp_path: Path, tags: str, reason: str) -> None:
    """The rule's own tag, or its repository."""
    async with seeded() as registry:
        source = f"{registry.host}/team/a" if tags.startswith("[") else f"{registry.host}/absent"
        rest = f", tags: {tags}" if tags.startswith("[") else ""
        rule = f"{{source: {source}, destination: 'oci:out'{rest}}}"
        config = config_of(tmp_path, rule, registries=entries((registry, ME, ME.password)))
        report = await one(config)
        assert verdicts(report)["pull"] == "failed"
        assert reason in detail(report, "pull")


async def test_anonymous_is_no_failure_by_itself(tmp_path: Path) -> None:
    """What is public can be pulled by anybody; pushing cannot work."""
    async with seeded() as registry:
        registry.private = ()
        plain = f'registries: {{"{registry.host}": {{plain_http: true}}}}\n'
        rule = f"{{source: {registry.host}/team/a, destination: 'oci:out'}}"
        report = await one(config_of(tmp_path, rule, registries=plain))
        assert verdicts(report)["log in"] == "not tried"
        assert verdicts(report)["pull"] == "ok"
        assert report.works
        rule = f"{{source: 'oci:in', destination: {registry.host}/x}}"
        report = await one(config_of(tmp_path, rule, registries=plain))
        assert "there are no credentials" in detail(report, "push")
        assert not report.works


async def test_every_registry_is_tried_whatever_becomes_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is not there, one is no registry, one lacks its variable; one works."""
    monkeypatch.setattr(probe, "TIMEOUTS", Timeouts(connect=5, first_retry=0))
    async with seeded() as good, FakeRegistry() as other:
        other.fail("GET", "^/v2/$", status=404)
        registries = (
            entries((good, ME, ME.password), (other, ME, "x" * 8))
            + '  "secret.example": {username: u, password: "${NOT_SET}"}\n'
            + '  "127.0.0.1:1": {plain_http: true}\n'
        )
        hosts = [good.host, other.host, "secret.example", "127.0.0.1:1"]
        destinations = ", ".join(f'"{host}/copy"' for host in hosts)
        rule = f"{{source: 'oci:in', destination: [{destinations}]}}"
        reports = await probe_all(config_of(tmp_path, rule, registries=registries), sink=NoSink())
        found = {report.host: report for report in reports}
        assert {host: found[host].works for host in hosts} == dict.fromkeys(hosts, False) | {
            good.host: True
        }
        assert "no registry is there" in detail(found[other.host], "reach")
        assert "cannot be reached" in detail(found["127.0.0.1:1"], "reach")
        assert "NOT_SET is not set" in detail(found["secret.example"], "settings")


async def test_settings_of_their_own_are_tried_by_themselves(tmp_path: Path) -> None:
    """Two users of one registry are two reports, told apart by a repository."""
    async with seeded() as registry:
        registries = entries((registry, ME, ME.password)) + (
            f'  "{registry.host}/team": '
            f"{{plain_http: true, username: reader, password: {READER.password}}}\n"
        )
        rule = f"{{source: 'oci:in', destination: [{registry.host}/mine, {registry.host}/team/x]}}"
        reports = await probe_all(config_of(tmp_path, rule, registries=registries), sink=NoSink())
        assert [(report.about, report.works) for report in reports] == [
            ("mine", True),
            ("team/x", False),
        ]


def test_needs_are_the_first_of_each_kind(tmp_path: Path) -> None:
    """One repository stands for all: a config may name thousands."""
    config = config_of(
        tmp_path,
        "{source: 'q.io/a:1,2', destination: x.io/a}",
        "{source: q.io/b, destination: x.io/b}",
        "{source: q.io/c, destination: 'oci:c'}",
        "{source: 'oci:d', destination: 'oci:e'}",
    )
    found = {needs.host: needs for needs in needs_of(config)}
    assert found.keys() == {"q.io", "x.io"}
    assert (found["q.io"].lists, found["q.io"].reads) == ("b", ("a", "1"))
    assert found["q.io"].roles == ("source",)
    assert (found["x.io"].writes, found["x.io"].roles) == ("a", ("destination",))


async def test_globs_are_listed_and_where_they_lead_is_pushed_to(tmp_path: Path) -> None:
    """What the list finds is read at the one side, and its place is tried at the other."""
    async with seeded() as source, seeded() as target:
        registries = entries((source, ME, ME.password), (target, ME, ME.password))
        rule = f"{{source: '{source.host}/team/**', destination: '{target.host}/{{repository}}'}}"
        reports = await probe_all(config_of(tmp_path, rule, registries=registries), sink=NoSink())
        found = {report.host: report for report in reports}
        assert verdicts(found[source.host]) == {
            "reach": "ok",
            "log in": "ok",
            "list": "ok",
            "pull": "ok",
        }
        assert "lists team/a" in detail(found[source.host], "pull")
        assert "1 repository matches team/**" in detail(found[source.host], "list")
        assert found[source.host].roles == ("source",)
        assert verdicts(found[target.host]) == {
            "reach": "ok",
            "log in": "ok",
            "push": "ok",
            "catalog": "ok",
        }
        assert detail(found[target.host], "push").startswith("team/a;")
        assert found[target.host].roles == ("destination",)
        assert all(report.works for report in reports)
        assert target.count("POST", "/v2/team/a/blobs/uploads") == 1
        assert not target.storage.sessions
        assert target.count("PUT", "") == 0
        assert source.count("GET", "_catalog") == 1


@pytest.mark.parametrize("password", [ME.password, "wrong"])
async def test_push_that_a_glob_leads_to_tells_of_a_missing_right(
    tmp_path: Path, password: str
) -> None:
    """It fails where we may not push; where the source lets nobody list it is not tried."""
    async with seeded() as source, seeded() as target:
        registries = entries((source, ME, password), (target, READER, READER.password))
        rule = f"{{source: '{source.host}/team/**', destination: '{target.host}/{{name}}'}}"
        reports = await probe_all(config_of(tmp_path, rule, registries=registries), sink=NoSink())
        found = {report.host: report for report in reports}[target.host]
        if password == ME.password:
            assert verdicts(found)["push"] == "failed"
            assert "lack push" in detail(found, "push")
            assert not found.works
        else:
            assert verdicts(found)["push"] == "not tried"
            assert f"what {source.host}/team/** matches is not known" in detail(found, "push")
            assert source.count("GET", "_catalog") == 0


async def test_push_is_tried_for_the_layouts_that_a_glob_matches(tmp_path: Path) -> None:
    """Folders are listed too, and what a rule leaves out is not where it goes."""
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (tmp_path / "in" / name / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    async with seeded() as target:
        rule = (
            f"{{source: 'oci:in/*', destination: '{target.host}/new/{{name}}', "
            "exclude_repositories: ['oci:in/a*']}"
        )
        config = config_of(tmp_path, rule, registries=entries((target, ME, ME.password)))
        report = await one(config)
        assert verdicts(report)["push"] == "ok"
        assert detail(report, "push").startswith("new/b;")


async def test_push_to_nowhere_that_is_known_is_not_tried(tmp_path: Path) -> None:
    """Layouts that are not there yet break nothing, and nothing was tried: both is told."""
    async with seeded() as target:
        rule = f"{{source: 'oci:in/*', destination: '{target.host}/new/{{name}}'}}"
        config = config_of(tmp_path, rule, registries=entries((target, ME, ME.password)))
        report = await one(config)
        assert verdicts(report)["push"] == "not tried"
        assert report.works
        assert probe_headline([report]) == (
            f"1 registry tried: what was tried works. Not tried: push at {target.host}."
        )


async def test_a_source_of_a_glob_without_tags_is_not_said_to_be_read(tmp_path: Path) -> None:
    """No image is read where there is none, and then it is not said to work."""
    async with seeded() as registry:
        registry.repositories["team/a"].tags.clear()
        rule = f"{{source: '{registry.host}/team/**', destination: 'oci:out/{{match}}'}}"
        config = config_of(tmp_path, rule, registries=entries((registry, ME, ME.password)))
        report = await one(config)
        assert verdicts(report)["pull"] == "not tried"
        assert "team/a has no tags to read" in detail(report, "pull")


@pytest.mark.parametrize(
    ("glob", "status", "reason"),
    [
        ("team/**", 404, "not found (404)"),
        ("team/**", 403, "name its repositories one by one"),
        ("none/**", None, "no repository matches none/**"),
    ],
)
async def test_glob_that_finds_nothing_breaks_a_report(
    tmp_path: Path, glob: str, status: int | None, reason: str
) -> None:
    """What cannot be listed cannot be planned."""
    async with seeded() as registry:
        if status is not None:
            registry.fail("GET", "_catalog", status=status)
        rule = f"{{source: '{registry.host}/{glob}', destination: 'oci:out/{{repository}}'}}"
        config = config_of(tmp_path, rule, registries=entries((registry, ME, ME.password)))
        report = await one(config)
        assert verdicts(report) == {
            "reach": "ok",
            "log in": "ok",
            "list": "failed",
            "pull": "not tried",
        }
        assert reason in detail(report, "list")
        assert not report.works


async def test_glob_is_not_listed_with_a_wrong_password(tmp_path: Path) -> None:
    """What cannot work after a failure is not tried."""
    async with seeded() as registry:
        rule = f"{{source: '{registry.host}/**', destination: 'oci:out/{{repository}}'}}"
        config = config_of(tmp_path, rule, registries=entries((registry, ME, "wrong")))
        assert verdicts(await one(config)) == {
            "reach": "ok",
            "log in": "failed",
            "list": "not tried",
            "pull": "not tried",
        }
        assert registry.count("GET", "_catalog") == 0


def test_needs_of_globs_stand_beside_those_of_named_repositories(tmp_path: Path) -> None:
    """One registry is one report, whatever the rules name there."""
    config = config_of(
        tmp_path,
        "{source: 'q.io/team/*', destination: 'x.io/{name}'}",
        "{source: q.io/b, destination: x.io/b}",
    )
    found = {needs.host: needs for needs in needs_of(config)}
    assert (found["q.io"].finds, found["q.io"].lists) == ("team/*", "b")
    assert (found["x.io"].fills, found["x.io"].writes) == ("any", "b")
    assert found["q.io"].sample == "b"


def test_only_what_is_needed_can_break_a_report() -> None:
    """A catalog that fails is told, and is nobody's trouble."""
    failed = probe.Check("catalog", Verdict.FAILED, is_needed=False)
    assert Report("q.io", ("source",), (failed,)).works
    assert not Report("q.io", ("source",), (probe.Check("pull", Verdict.FAILED),)).works


@pytest.mark.integration
async def test_a_real_registry_is_found_to_work(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """docker-registry with htpasswd, a private CA and no image yet: nothing is left behind."""
    registry = docker_registry(htpasswd=True, tls=True)
    known = registry.remote
    entry = f"username: {known.username}, password: {known.password}"
    entry += f", tls: {{ca_file: {registry.ca_file}}}"
    registries = f'registries: {{"{known.host}": {{{entry}}}}}\n'
    rule = f"{{source: 'oci:in', destination: {known.host}/copy/a}}"
    report = await one(config_of(tmp_path, rule, registries=registries))
    assert verdicts(report) == {
        "reach": "ok",
        "log in": "ok",
        "push": "ok",
        "catalog": "ok",
        "referrers": "not offered",
    }
