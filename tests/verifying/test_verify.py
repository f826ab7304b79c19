"""Verifying what a state records, and what a layout says of itself."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Checked
from imgmigrate.oci.reference import LAYOUTS, Repository
from imgmigrate.verifying.verdict import (
    Fault,
    Kind,
    Standing,
    Verdict,
    Verified,
    joined,
    most_severe,
)
from imgmigrate.verifying.verify import VerifyOptions, verify_layout, verify_records
from tests.support.images import image, two_platforms
from tests.support.layouts import write_layout
from tests.support.world import NEW, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.oci.reference import Digest

APP = Repository(LAYOUTS, "app")


def told(verified: Verified) -> dict[str, list[tuple[str, str]]]:
    """What is not whole: address -> kinds of faults and their parts."""
    return {
        str(verdict.address): [(fault.kind.value, fault.part) for fault in verdict.faults]
        for verdict in verified.verdicts
    }


def blob(layout: Path, digest: str) -> Path:
    """The file of a blob."""
    algorithm, _, name = digest.partition(":")
    return layout / "blobs" / algorithm / name


class TestRecords:
    """What a state records, against its destinations."""

    @pytest.fixture
    async def world(self, tmp_path: Path) -> World:
        """Three images, moved and recorded."""
        world = World(tmp_path)
        for tag in ("1", "2", "3"):
            world.seed(tag, b"base", tag.encode())
        await world.migrate()
        world.new.calls.clear()
        return world

    async def run(self, world: World) -> Verified:
        return await verify_records(world.workspace, world.state.live())

    async def test_a_finished_migration_is_whole(self, world: World) -> None:
        """Three tags, each blob once: the config, the base and three layers."""
        verified = await self.run(world)
        assert verified == Verified(3, 5, len(b"{}" + b"base" + b"123"), deep=False)
        assert most_severe(verified) is Standing.WHOLE
        assert world.new.calls == {"manifest": 3, "blob_size": 5}
        assert Checked(3, 3, None) in world.sink.events

    async def test_the_destination_alone_is_asked(self, world: World) -> None:
        """No cache answers for it, and the source may be gone."""
        world.old.manifests.clear()
        world.old.tags.clear()
        world.new.manifests.clear()
        verified = await self.run(world)
        assert [verdict.faults[0].kind for verdict in verified.verdicts] == [Kind.ABSENT] * 3

    async def test_each_image_has_its_own_verdict(self, world: World) -> None:
        """A shared blob that is gone breaks all that name it; what is changed is no gap."""
        world.new.blobs.pop(("team/api", _digest(world, b"2")))
        world.new.tags["team/api", "3"] = world.new.tags["team/api", "1"]
        verified = await self.run(world)
        assert told(verified) == {
            f"{NEW}/team/api:2": [("missing", "blob")],
            f"{NEW}/team/api:3": [("changed", "manifest")],
        }
        assert [verified.count(each) for each in Standing] == [1, 0, 1, 1, 0]
        assert most_severe(verified) is Standing.INCOMPLETE

    async def test_what_was_let_go_is_not_asked_for(self, world: World) -> None:
        """A record that is no longer live says nothing of the destination."""
        world.rules = world.rules.replace("}", ", tags: ['1', '2']}")
        plan = await world.plan(allow_delete=True)
        await world.apply(plan)
        live = [record for record in world.state.records.values() if record.is_live]
        verified = await verify_records(world.workspace, world.state.records.values())
        assert verified.images == len(live)


class TestLayouts:
    """What a layout lists, against itself."""

    async def run(self, base: Path, tag: str | None = None, *, deep: bool = False) -> Verified:
        return await verify_layout(base, APP, tag, VerifyOptions(deep=deep))

    @pytest.mark.parametrize("deep", [False, True])
    async def test_a_whole_layout_needs_no_config_and_no_state(
        self, tmp_path: Path, deep: bool
    ) -> None:
        """Every tag with all its platforms."""
        write_layout(tmp_path / "app", "1", two_platforms("one"))
        write_layout(tmp_path / "app", "2", image("two"))
        verified = await self.run(tmp_path, deep=deep)
        assert (verified.images, verified.verdicts) == (2, ())

    @pytest.mark.parametrize("what", ["blob", "child", "top"])
    async def test_a_file_that_is_gone_is_missing(self, tmp_path: Path, what: str) -> None:
        """As a garbage collection that was cut off leaves it: the index still lists the image."""
        made = two_platforms("one")
        write_layout(tmp_path / "app", "1", made)
        write_layout(tmp_path / "app", "2", image("two"))
        children = [digest for digest in made.manifests if digest != made.top]
        gone = {"blob": next(iter(made.blobs)), "child": children[0], "top": made.top}[what]
        blob(tmp_path / "app", gone).unlink()
        part = "blob" if what == "blob" else "manifest"
        assert told(await self.run(tmp_path)) == {"oci:app:1": [("missing", part)]}
        assert told(await self.run(tmp_path, "1")) == {"oci:app:1": [("missing", part)]}
        assert told(await self.run(tmp_path, "2")) == {}

    async def test_a_file_that_was_cut_has_another_size(self, tmp_path: Path) -> None:
        """A full disk, or a copy that was broken off."""
        made = image("one")
        write_layout(tmp_path / "app", "1", made)
        file = blob(tmp_path / "app", max(made.blobs, key=lambda each: len(made.blobs[each])))
        os.truncate(file, 100)
        assert told(await self.run(tmp_path)) == {"oci:app:1": [("size", "blob")]}
        assert told(await self.run(tmp_path, deep=True)) == {"oci:app:1": [("damaged", "blob")]}

    @pytest.mark.parametrize("deep", [False, True])
    async def test_a_manifest_with_other_bytes_is_damaged(self, tmp_path: Path, deep: bool) -> None:
        """Manifests are always read whole."""
        made = image("one")
        write_layout(tmp_path / "app", "1", made)
        blob(tmp_path / "app", made.top).write_bytes(made.raw.replace(b"2", b"3"))
        assert told(await self.run(tmp_path, deep=deep)) == {"oci:app:1": [("damaged", "manifest")]}

    async def test_a_link_out_of_the_layout_is_damage(self, tmp_path: Path) -> None:
        """It is not followed, and others' programs would not find the blob either."""
        made = image("one")
        write_layout(tmp_path / "app", "1", made)
        file = blob(tmp_path / "app", next(iter(made.blobs)))
        file.rename(tmp_path / "outside")
        file.symlink_to(tmp_path / "outside")
        assert told(await self.run(tmp_path)) == {"oci:app:1": [("damaged", "blob")]}

    async def test_what_has_no_name_is_verified_by_its_digest(self, tmp_path: Path) -> None:
        """Skopeo and umoci may leave entries without a tag."""
        made = image("one")
        write_layout(tmp_path / "app", "1", made)
        index = tmp_path / "app/index.json"
        document = json.loads(index.read_bytes())
        del document["manifests"][0]["annotations"]
        index.write_text(json.dumps(document))
        assert (await self.run(tmp_path)).images == 1
        blob(tmp_path / "app", next(iter(made.blobs))).unlink()
        assert told(await self.run(tmp_path)) == {f"oci:app@{made.top}": [("missing", "blob")]}

    @pytest.mark.parametrize(
        "content", [None, b"", b"[]", b'{"manifests": 3}', b'{"manifests": [17, {}]}']
    )
    async def test_an_index_that_is_none_is_told(
        self, tmp_path: Path, content: bytes | None
    ) -> None:
        """The blobs are there, and nobody can pull anything."""
        write_layout(tmp_path / "app", "1", image("one"))
        index = tmp_path / "app/index.json"
        index.unlink()
        if content is not None:
            index.write_bytes(content)
        verified = await self.run(tmp_path)
        assert told(verified) == {"oci:app": [("damaged", "index")]}
        assert most_severe(verified) is Standing.INCOMPLETE

    async def test_a_name_with_two_images_is_damage(self, tmp_path: Path) -> None:
        """Which of them a puller gets, nobody knows."""
        write_layout(tmp_path / "app", "1", image("one"))
        write_layout(tmp_path / "app", "2", image("two"))
        index = tmp_path / "app/index.json"
        index.write_text(index.read_text().replace('name": "2"', 'name": "1"'))
        for tag in (None, "1"):
            assert told(await self.run(tmp_path, tag)) == {"oci:app:1": [("damaged", "manifest")]}

    async def test_a_tag_that_is_not_there_is_absent(self, tmp_path: Path) -> None:
        """It was asked for by name."""
        write_layout(tmp_path / "app", "1", image("one"))
        assert told(await self.run(tmp_path, "2")) == {"oci:app:2": [("absent", "manifest")]}

    @pytest.mark.parametrize("there", [False, True])
    async def test_what_is_no_layout_cannot_be_read(self, tmp_path: Path, there: bool) -> None:
        """Neither whole nor incomplete: the path may be wrong, or the disk not mounted."""
        if there:
            (tmp_path / "app").mkdir()
            (tmp_path / "app/file").write_text("something")
        verified = await self.run(tmp_path)
        assert most_severe(verified) is Standing.UNREAD


def test_the_worst_decides() -> None:
    """What is not known before what is missing, that before what was changed."""
    whole = Verified(1, 2, 3, deep=True)
    changed = Verified(1, 1, 1, deep=True, verdicts=(_verdict(Kind.CHANGED),))
    broken = Verified(1, 1, 1, deep=True, verdicts=(_verdict(Kind.SIZE),))
    assert joined([whole, changed]).count(Standing.WHOLE) == 1
    assert most_severe(joined([whole, changed])) is Standing.CHANGED
    assert most_severe(joined([changed, broken])) is Standing.INCOMPLETE


def _verdict(kind: Kind) -> Verdict:
    return Verdict(APP.at("1"), None, (Fault(kind, "blob"),))


def _digest(world: World, data: bytes) -> Digest:
    (found,) = {digest for (_, digest), each in world.new.blobs.items() if each == data}
    return found
