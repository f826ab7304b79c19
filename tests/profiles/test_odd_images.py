"""What is no ordinary image: each arrives byte for byte, every way, or is refused beforehand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.applying.apply import apply_plan
from imgmigrate.events import Outcome
from imgmigrate.foreign.load import load_config
from imgmigrate.planning.planner import PlanOptions, make_plan
from imgmigrate.state.local.store import LocalState
from imgmigrate.verifying.verify import VerifyOptions, verify_records
from tests.fakes.registry import FakeRegistry
from tests.profiles.journey import rows
from tests.support.images import digest_of
from tests.support.odd_images import FOREIGN_LAYER, ODD, foreign, oci_artifact, schema_1

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.events import RunFinished
    from imgmigrate.plan import Plan
    from tests.support.images import Image


def configure(
    folder: Path, source: str, destination: str, *registries: FakeRegistry, **rule: object
) -> Config:
    """Write the one rule."""
    settings = {each.host: {"plain_http": True} for each in registries}
    document = {
        "version": 1,
        "registries": settings,
        "images": [{"source": source, "destination": destination, **rule}],
    }
    path = folder / "imgmigrate.yaml"
    path.write_text(json.dumps(document))
    return load_config(path, environ={})


async def migrate(config: Config) -> tuple[Plan, RunFinished]:
    """Plan and apply; then a second plan has nothing to do, and every byte is there."""
    plan = await make_plan(config, PlanOptions())
    ended = await apply_plan(config, plan)
    if set(ended.counts) == {Outcome.APPLIED}:
        assert (await make_plan(config, PlanOptions())).changes == ()
        records = list(LocalState(config.state).read().live())
        found = await verify_records(config, records, VerifyOptions(deep=True))
        assert (found.images, found.verdicts) == (len(records), ())
    return plan, ended


def in_registry(registry: FakeRegistry, image: Image) -> None:
    """Compare what a registry holds with an image, by bytes."""
    there = registry.repositories["app"]
    for digest, (media_type, raw) in image.manifests.items():
        assert (there.manifests[digest].media_type, there.manifests[digest].raw) == (
            media_type,
            raw,
        )
    for digest, data in image.blobs.items():
        assert registry.blobs[digest] == data


def in_layout(folder: Path, image: Image) -> None:
    """Compare what a layout holds with an image, by bytes."""
    parts = {digest: raw for digest, (_, raw) in image.manifests.items()} | dict(image.blobs)
    for digest, data in parts.items():
        assert (folder / "blobs" / digest.replace(":", "/")).read_bytes() == data
    entries = json.loads((folder / "index.json").read_bytes())["manifests"]
    assert [each["mediaType"] for each in entries if each["digest"] == image.top] == [
        image.media_type
    ]


async def test_odd_images_go_from_registry_to_registry(tmp_path: Path) -> None:
    """Every kind in one repository, with its media type and not one byte changed."""
    async with FakeRegistry() as old, FakeRegistry() as new:
        for kind, image in ODD.items():
            old.put_image("app", kind, image)
        config = configure(tmp_path, f"{old.host}/app", f"{new.host}/app", old, new)
        plan, ended = await migrate(config)
        assert rows(plan) == dict.fromkeys(ODD, ("copy", "new"))
        assert ended.counts == {Outcome.APPLIED: len(ODD)}, ended.unfinished
        for kind, image in ODD.items():
            assert new.tags("app")[kind] == image.top
            in_registry(new, image)
        assert digest_of(FOREIGN_LAYER) not in new.blobs


async def test_odd_images_go_through_a_layout(tmp_path: Path) -> None:
    """Into a layout, with the types that they have, docker's as well; and out of it again."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    async with FakeRegistry() as old, FakeRegistry() as new:
        for kind, image in ODD.items():
            old.put_image("app", kind, image)
        config = configure(tmp_path / "in", f"{old.host}/app", "oci:disk", old)
        _, ended = await migrate(config)
        assert ended.counts == {Outcome.APPLIED: len(ODD)}, ended.unfinished
        for image in ODD.values():
            in_layout(tmp_path / "in" / "disk", image)
        source = f"oci:{tmp_path / 'in' / 'disk'}"
        _, ended = await migrate(configure(tmp_path / "out", source, f"{new.host}/app", new))
        assert ended.counts == {Outcome.APPLIED: len(ODD)}, ended.unfinished
        for image in ODD.values():
            in_registry(new, image)


async def test_the_manifest_that_registries_refuse_goes_into_a_layout(tmp_path: Path) -> None:
    """OCI 1.1 dropped it: a registry says so for that image alone, and a layout has no opinion."""
    (tmp_path / "in").mkdir()
    async with FakeRegistry() as old, FakeRegistry() as new:
        old.put_image("app", "1", oci_artifact())
        old.put_image("app", "2", ODD["image"])
        _, ended = await migrate(configure(tmp_path / "in", f"{old.host}/app", "oci:disk", old))
        assert ended.counts == {Outcome.APPLIED: 2}
        in_layout(tmp_path / "in" / "disk", oci_artifact())
        config = configure(tmp_path, f"{old.host}/app", f"{new.host}/app", old, new)
        _, ended = await migrate(config)
        assert ended.counts == {Outcome.APPLIED: 1, Outcome.FAILED: 1}
        assert "is not a manifest type" in str(ended.unfinished[0].error)


async def test_what_cannot_be_copied_is_refused_while_planning(tmp_path: Path) -> None:
    """The row says why, nothing is asked of the destination for it, and the rest is planned."""
    async with FakeRegistry() as old, FakeRegistry() as new:
        old.put_image("app", "schema-1", schema_1())
        old.put_image("app", "nested", ODD["nested"])
        old.put_image("app", "chart", ODD["chart"])
        config = configure(
            tmp_path, f"{old.host}/app", f"{new.host}/app", old, new, platforms="linux/amd64"
        )
        plan, ended = await migrate(config)
        refused = ("error", "unsupported")
        assert rows(plan) == {
            "schema-1": refused,
            "nested": refused,
            "chart": ("copy", "new"),
        }
        told = {change.address.tag: change.detail or "" for change in plan.changes}
        assert "docker schema 1" in told["schema-1"]
        assert "it lists other indexes" in told["nested"]
        assert ended.counts == {Outcome.APPLIED: 1, Outcome.FAILED: 2}
        assert new.tags("app") == {"chart": ODD["chart"].top}


@pytest.mark.parametrize("is_layout", [False, True], ids=["registry", "layout"])
async def test_foreign_layers_are_copied_where_a_rule_says_so(
    tmp_path: Path, is_layout: bool
) -> None:
    """From their registry, never from their URLs; the plan, the record and `verify` know it."""
    image = foreign()
    async with FakeRegistry() as old, FakeRegistry() as new:
        old.put_image("app", "1", image)
        digest = digest_of(FOREIGN_LAYER)
        old.blobs[digest] = FOREIGN_LAYER
        old.repositories["app"].blobs.add(digest)
        destination = "oci:disk" if is_layout else f"{new.host}/app"
        config = configure(
            tmp_path, f"{old.host}/app", destination, old, new, foreign_layers="copy"
        )
        plan, ended = await migrate(config)
        (change,) = plan.changes
        assert (change.copies_foreign, change.skipped_layers) == (True, None)
        assert change.transfer_bytes == image.size + len(FOREIGN_LAYER)
        assert ended.counts == {Outcome.APPLIED: 1}, ended.unfinished
        if is_layout:
            in_layout(tmp_path / "disk", image)
            file = tmp_path / "disk" / "blobs" / digest.replace(":", "/")
            assert file.read_bytes() == FOREIGN_LAYER
            file.unlink()
        else:
            in_registry(new, image)
            assert new.blobs[digest] == FOREIGN_LAYER
            new.repositories["app"].blobs.remove(digest)
        found = await verify_records(config, LocalState(config.state).read().live())
        (verdict,) = found.verdicts
        assert [fault.digest for fault in verdict.faults] == [digest]


async def test_what_is_replaced_is_as_the_rule_has_it_now(tmp_path: Path) -> None:
    """A rule that copies foreign layers no more asks for none of them where it wrote again."""
    async with FakeRegistry() as old, FakeRegistry() as new:
        old.put_image("app", "1", foreign())
        digest = digest_of(FOREIGN_LAYER)
        old.blobs[digest] = FOREIGN_LAYER
        old.repositories["app"].blobs.add(digest)
        ends = (tmp_path, f"{old.host}/app", f"{new.host}/app", old, new)
        await migrate(configure(*ends, foreign_layers="copy"))
        new.repositories["app"].blobs.remove(digest)
        config = configure(*ends)
        (record,) = LocalState(config.state).read().live()
        assert record.copies_foreign, "what a rule says does not change what is recorded"
        plan = await make_plan(config, PlanOptions(replace=("**",)))
        await apply_plan(config, plan)
        (record,) = LocalState(config.state).read().live()
        assert record.copies_foreign is None
        found = await verify_records(config, [record])
        assert (found.images, found.verdicts) == (1, ())


async def test_a_foreign_layer_that_nobody_serves_fails_its_row_with_the_fix(
    tmp_path: Path,
) -> None:
    """Its URLs are a server's word, and are not followed."""
    async with FakeRegistry() as old, FakeRegistry() as new:
        old.put_image("app", "1", foreign())
        old.put_image("app", "2", ODD["image"])
        config = configure(
            tmp_path, f"{old.host}/app", f"{new.host}/app", old, new, foreign_layers="copy"
        )
        _, ended = await migrate(config)
        assert ended.counts == {Outcome.FAILED: 1, Outcome.APPLIED: 1}
        (receipt,) = ended.unfinished
        assert "write foreign_layers: skip in the rule" in str(receipt.error)


async def test_a_plan_tells_which_layers_stay_behind(tmp_path: Path) -> None:
    """By default they do; the row counts them, and their bytes are not among what is sent."""
    image = foreign()
    async with FakeRegistry() as old, FakeRegistry() as new:
        old.put_image("app", "1", image)
        config = configure(tmp_path, f"{old.host}/app", f"{new.host}/app", old, new)
        (change,) = (await make_plan(config, PlanOptions())).changes
        assert (change.copies_foreign, change.skipped_layers) == (None, 1)
        assert change.transfer_bytes == image.size
