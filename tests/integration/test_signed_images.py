"""Signatures, SBOMs and attestations that real tools made go along with their images."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate import apply_plan, load_config, make_plan
from imgmigrate.events import Outcome
from imgmigrate.planning.planner import PlanOptions
from imgmigrate.state.base import open_state
from imgmigrate.verifying.verify import VerifyOptions, verify_records
from tests.support import registries
from tests.support.cli import write_config
from tests.support.images import OCI_INDEX, artifact, digest_of
from tests.support.layouts import layout_tags, read_blob
from tests.support.moves import run
from tests.support.signed_images import FOLDER, INDEX, Signed, grown, push_signed, signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgmigrate.events import RunFinished
    from imgmigrate.plan import Plan
    from tests.conftest import StartRegistry
    from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.integration

ALL = "referrers: all"
LIST = f"sha256-{INDEX[7:]}"


async def planned(folder: Path, **options: bool) -> Plan:
    """Plan by the config of a folder."""
    config = load_config(folder / "imgmigrate.yaml", environ={})
    return await make_plan(config, PlanOptions(**options))  # type: ignore[arg-type]


async def applied(folder: Path, plan: Plan) -> RunFinished:
    """Apply a plan to its end."""
    return await apply_plan(load_config(folder / "imgmigrate.yaml", environ={}), plan)


async def migrate(folder: Path) -> Plan:
    """Plan and apply; all is done and whole, as at the source, and a second plan is empty."""
    plan = await planned(folder)
    finished = await applied(folder, plan)
    assert set(finished.counts) == {Outcome.APPLIED}, [str(r.error) for r in finished.unfinished]
    again = await planned(folder)
    assert again.changes == ()
    config = load_config(folder / "imgmigrate.yaml", environ={})
    records = list((await open_state(config.state_place).look()).live())
    verified = await verify_records(config, records, VerifyOptions(deep=True, sources=True))
    assert (verified.images, verified.verdicts) == (len(records), ())
    assert verified.referrers
    return plan


def assert_arrived(
    sample: Signed, tags: dict[str, str], read: Callable[[str], bytes], *, api: bool
) -> None:
    """Everything is there byte for byte, and found in the way that the destination has."""
    lists = set(sample.lists.values())
    for digest, (_, raw) in sample.manifests.items():
        if digest not in lists:
            assert read(digest) == raw
    assert {tag: tags.get(tag) for tag in sample.cosign} == sample.cosign
    assert tags["1.0"] == INDEX
    if api:
        assert not set(sample.lists) & set(tags)
        return
    for tag in sample.lists:
        listed = {entry["digest"] for entry in json.loads(read(tags[tag]))["manifests"]}
        about = f"sha256:{tag.removeprefix('sha256-')}"
        assert listed == {each for each, subject in sample.referrers.items() if subject == about}


@pytest.mark.parametrize("from_api", [False, True])
@pytest.mark.parametrize("to_api", [False, True])
async def test_all_schemes_arrive_in_all_directions(
    tmp_path: Path,
    fake_registry: FakeRegistry,
    other_fake_registry: FakeRegistry,
    docker_registry: StartRegistry,
    from_api: bool,
    to_api: bool,
) -> None:
    """Between real registries, which have no API and need a list, and such as have one.

    cosign's tags, bundles, subjects, Notation, a child's signature, and what refers to referrers.
    """
    sample = grown(signed("referrers" if from_api else "fallback"))
    old, new = fake_registry, other_fake_registry
    old.referrers_api = new.referrers_api = True
    source = old.host if from_api else docker_registry("old").host
    target = new.host if to_api else docker_registry("new").host
    if from_api:
        sample.put(old, "app")
    else:
        await asyncio.to_thread(push_signed, source, "app", sample, lists=True)
    rule = f"  - {{source: {source}/app, destination: {target}/app, {ALL}}}"
    write_config(tmp_path, rule, source, target)
    plan = await migrate(tmp_path)
    assert {str(change.address.tag) for change in plan.changes} == {"1.0", "1.1"}
    await run(tmp_path, "verify", "--deep")
    if to_api:
        found = new.storage.repository("app")
        assert_arrived(sample, found.tags, lambda digest: found.manifests[digest].raw, api=True)
    else:
        await asyncio.to_thread(check_real, sample, target)


def check_real(sample: Signed, host: str) -> None:
    """Read all of it back from a real registry."""

    def read(ref: str) -> registries.RawManifest:
        found = registries.get_manifest(host, "app", ref)
        assert found is not None
        return found

    tags = {tag: read(tag).digest for tag in registries.list_tags(host, "app")}
    assert_arrived(sample, tags, lambda digest: read(digest).raw, api=False)


@pytest.mark.parametrize("name", ["fallback", "referrers"])
async def test_layouts_give_and_take_them(
    tmp_path: Path, fake_registry: FakeRegistry, name: str
) -> None:
    """From a layout of other tools to a registry with the API, and from there to a layout."""
    fake_registry.referrers_api = True
    first, second, sample = tmp_path / "first", tmp_path / "second", signed(name)
    for folder in (first, second):
        folder.mkdir()
    host = fake_registry.host
    write_config(
        first, f"  - {{source: 'oci:{FOLDER}/{name}', destination: {host}/app, {ALL}}}", host
    )
    await migrate(first)
    found = fake_registry.storage.repository("app")
    assert_arrived(sample, found.tags, lambda digest: found.manifests[digest].raw, api=True)
    write_config(second, f"  - {{source: {host}/app, destination: 'oci:out', {ALL}}}", host)
    await migrate(second)
    out = second / "out"
    assert_arrived(sample, layout_tags(out), lambda digest: read_blob(out, digest), api=False)


class TestLateSignature:
    """A signature that comes later goes along later, and the image stays as it is."""

    async def start(
        self, folder: Path, old: FakeRegistry, new: FakeRegistry, *, api: bool
    ) -> Signed:
        old.referrers_api = new.referrers_api = api
        sample = signed("referrers" if api else "fallback")
        sample.put(old, "app")
        repository = old.storage.repository("app")
        for tag in sample.cosign:
            del repository.tags[tag]
        rule = f"  - {{source: {old.host}/app, destination: {new.host}/app}}"
        write_config(folder, rule, old.host, new.host)
        await migrate(folder)
        return sample

    async def test_a_tag_of_cosigns_shows_in_a_list_that_is_read_anyway(
        self, tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
    ) -> None:
        """It needs no option: the row brings the tag, and the next plan is empty."""
        old, new = fake_registry, other_fake_registry
        sample = await self.start(tmp_path, old, new, api=True)
        old.storage.repository("app").tags.update(sample.cosign)
        plan = await planned(tmp_path)
        assert [(c.action.value, c.reason.value) for c in plan.changes] == [
            ("refer", "new_referrers")
        ]
        await migrate(tmp_path)
        assert new.tags("app").items() >= sample.cosign.items()

    async def test_a_subject_is_found_where_it_is_asked_for(
        self, tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
    ) -> None:
        """`refresh_referrers` asks for all images; a plan without it costs no request."""
        old, new = fake_registry, other_fake_registry
        sample = await self.start(tmp_path, old, new, api=True)
        document = json.loads(sample.manifests[next(iter(sample.referrers))][1])
        document["annotations"] = {"late": "yes"}
        raw = json.dumps(document).encode()
        late = old.storage.add_manifest("app", digest_of(raw), document["mediaType"], raw)
        asked = old.count("GET", "/referrers/")
        assert (await planned(tmp_path)).changes == ()
        assert old.count("GET", "/referrers/") == asked
        plan = await planned(tmp_path, refresh_referrers=True)
        [row] = plan.changes
        assert row.action.value == "refer"
        finished = await applied(tmp_path, plan)
        assert finished.counts == {Outcome.APPLIED: 1}
        assert late in new.storage.repository("app").manifests
        assert (await planned(tmp_path, refresh_referrers=True)).changes == ()


async def test_two_images_at_once_lose_nothing_of_one_list(
    tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """Two tags of one digest, and an entry that somebody else put there before."""
    old, new, sample = fake_registry, other_fake_registry, signed()
    sample.put(old, "app")
    for number in range(6):
        old.storage.repository("app").tags[f"again-{number}"] = INDEX
    foreign = artifact("foreign")
    new.put_image("app", "x", foreign)
    entry = {"mediaType": foreign.media_type, "digest": foreign.top, "size": len(foreign.raw)}
    listing = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    new.storage.add_manifest("app", LIST, OCI_INDEX, json.dumps(listing).encode())
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app}}"
    write_config(tmp_path, rule, old.host, new.host)
    await migrate(tmp_path)
    found = new.storage.repository("app")
    listed = json.loads(found.manifests[found.tags[LIST]].raw)["manifests"]
    assert listed[0] == entry
    about = {each for each, subject in sample.referrers.items() if subject == INDEX}
    assert {each["digest"] for each in listed} == about | {foreign.top}


@pytest.mark.parametrize("requires", [False, True])
async def test_a_foreign_tag_of_cosigns_is_not_overwritten(
    tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry, requires: bool
) -> None:
    """Its row is not done; the image waits for it only where a signature is required."""
    old, new, sample = fake_registry, other_fake_registry, signed()
    sample.put(old, "app")
    foreign = new.put_image("app", f"{LIST}.sig", artifact("foreign"))
    more = ", tags: ['1.0'], referrers: {required: [signature]}" if requires else ""
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app{more}}}"
    write_config(tmp_path, rule, old.host, new.host)
    finished = await applied(tmp_path, await planned(tmp_path))
    if requires:
        assert finished.counts == {Outcome.CONFLICT: 1}
    else:
        assert finished.counts == {Outcome.APPLIED: 1, Outcome.PARTLY: 1}
    assert new.tags("app")[f"{LIST}.sig"] == foreign
    assert ("1.0" in new.tags("app")) is not requires
