"""What fails, lies or is spoilt among referrers takes nothing from what is good, and is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import (
    AccessDenied,
    IntegrityError,
    NotFound,
    ProtocolError,
    Rejected,
    StoreError,
    TransientError,
)
from imgmigrate.events import Outcome, Warned
from imgmigrate.oci.companions import fallback_tag
from imgmigrate.oci.manifest import Manifest
from imgmigrate.oci.reference import Digest
from tests.fakes.memory import index
from tests.planning.attached import SBOM, SCAN, SIGNATURE, kinds, refer, say, sign
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

API = f"{NEW}/team/api"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two registries with the API."""
    world = World(tmp_path)
    world.old.has_referrers = world.new.has_referrers = True
    return world


@pytest.mark.parametrize("has_api", [True, False])
async def test_where_tags_may_not_be_listed_they_are_asked_for_by_name(
    world: World, has_api: bool
) -> None:
    """A robot that may only pull brings signatures all the same; the list is tried once."""

    def deny(repo: str, what: str) -> None:
        raise AccessDenied(f"{OLD}/{repo}", "denied (403)")

    world.old.has_referrers = has_api
    world.old.hooks["list_tags"] = deny
    first, second = world.seed("1"), world.seed("2")
    refer(world, first, SBOM)
    sign(world, first)
    sign(world, second)
    say(world, "all", ", tags: ['1', '2']")
    own = ["sbom", "signature"] if has_api else ["signature"]
    assert kinds(await world.plan()) == {"1": own, "2": ["signature"]}
    assert world.old.calls["list_tags"] == 1


class TestFailure:
    """A registry that cannot tell does not hold up an image that nothing is required of."""

    def fail(self, world: World) -> None:
        def down(repo: str, what: str) -> None:
            raise TransientError(f"{OLD}/{repo}", "unavailable (503)")

        world.old.hooks["referrers"] = down

    async def test_its_image_goes_and_the_next_plan_asks_again(self, world: World) -> None:
        """The row says why; then a row of its own brings what was missed."""
        digest = world.seed("1")
        found = refer(world, digest, SIGNATURE)
        self.fail(world)
        plan = await world.plan()
        assert "503" in (plan.changes[0].referrers_unread or "")
        assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
        assert (await world.plan()).changes == ()
        [told] = [event for event in world.sink.events if isinstance(event, Warned)]
        assert "of 1 image still cannot be asked for" in told.message
        failing = await world.plan(refresh_referrers=True)
        assert rows(failing) == {f"{API}:1": ("error", "unreadable")}
        world.old.hooks.clear()
        assert rows(await world.plan()) == {f"{API}:1": ("refer", "new_referrers")}
        await world.migrate()
        assert ("team/api", found) in world.new.manifests
        assert (await world.plan()).changes == ()

    @pytest.mark.parametrize(("error", "most"), [(AccessDenied, 1), (TransientError, 3)])
    async def test_a_repository_that_fails_is_not_asked_for_each_image(
        self, world: World, error: type[StoreError], most: int
    ) -> None:
        """Neither in the first plan nor in a later one, which asks for what is pending."""

        def refuse(repo: str, what: str) -> None:
            raise error(f"{OLD}/{repo}", "it is refused")

        for number in range(200):
            world.seed(str(number))
        world.old.hooks["referrers"] = refuse
        await world.migrate()
        # As many as are asked at the same time, and then no more.
        assert world.old.calls["referrers"] <= 32 + most
        world.old.calls.clear()
        assert (await world.plan(parallelism=1)).changes == ()
        assert world.old.calls["referrers"] == most

    async def test_a_tag_that_a_rule_does_not_take_is_not_asked_for_in_each_plan(
        self, world: World
    ) -> None:
        """Cosign's tags have no artifact type: a rule that names one takes none of them."""
        digest = world.seed("1")
        say(world, f"[{SCAN}]")
        await world.migrate()
        sign(world, digest)
        world.old.calls.clear()
        assert (await world.plan()).changes == ()
        assert world.old.calls["referrers"] == 0

    async def test_what_requires_something_waits(self, world: World) -> None:
        """Nobody knows whether it is signed."""
        world.seed("1")
        say(world, "{required: [signature]}")
        self.fail(world)
        assert rows(await world.plan()) == {f"{API}:1": ("error", "not_referred")}


async def test_what_refers_to_something_else_is_left_out(world: World) -> None:
    """A list says what it likes; the manifest tells."""
    digest = world.seed("1")
    stranger = refer(world, Digest.of(b"other"), SIGNATURE)
    listing = index(world.old.manifests["team/api", stranger])
    world.old.has_referrers = False
    world.old.seed("team/api", fallback_tag(digest), listing, {})
    assert kinds(await world.plan()) == {"1": []}


async def test_a_chain_without_end_is_cut(world: World) -> None:
    """What is within the bounds goes, so nobody strips an image by attaching one; told as well."""
    image_digest = digest = world.seed("1")
    for number in range(12):
        digest = refer(world, digest, SIGNATURE, str(number))
    good = refer(world, image_digest, SBOM)
    [change] = (await world.plan()).changes
    assert good in [each.digest for each in change.referrers or ()]
    assert len(change.referrers or ()) == 9
    assert "more refers to it" in (change.referrers_unread or "")


class TestBad:
    """Whoever may attach something to an image cannot take its signatures from it."""

    def spoil(self, world: World, digest: Digest, error: type[StoreError]) -> None:
        def fail(repo: str, what: str) -> None:
            if what == digest:
                raise error(f"{OLD}/{repo}@{what}", "it is spoilt")

        world.old.hooks["manifest"] = world.old.hooks["referrers"] = fail

    @pytest.mark.parametrize("error", [ProtocolError, IntegrityError, Rejected, TransientError])
    async def test_what_cannot_be_read_is_left_out_alone(
        self, world: World, error: type[StoreError]
    ) -> None:
        """The row says so, and the next plan asks again."""
        digest = world.seed("1")
        good, bad = refer(world, digest, SIGNATURE), refer(world, digest, SIGNATURE, "bad")
        self.spoil(world, bad, error)
        plan = await world.plan()
        [change] = plan.changes
        assert [each.digest for each in change.referrers or ()] == [good]
        assert "it is spoilt" in (change.referrers_unread or "")
        await world.apply(plan)
        assert (await world.plan()).changes == ()
        world.old.hooks.clear()
        assert rows(await world.plan()) == {f"{API}:1": ("refer", "new_referrers")}

    async def test_nor_does_it_hold_up_what_is_required_and_there(self, world: World) -> None:
        """A good one is enough."""
        digest = world.seed("1")
        refer(world, digest, SIGNATURE)
        self.spoil(world, refer(world, digest, SIGNATURE, "bad"), ProtocolError)
        say(world, "{required: [signature]}")
        assert rows(await world.plan()) == {f"{API}:1": ("copy", "new")}

    async def test_what_is_listed_and_not_there_is_told(self, world: World) -> None:
        """In the row; nothing waits for it."""
        digest = world.seed("1")
        gone = refer(world, digest, SIGNATURE)
        self.spoil(world, gone, NotFound)
        [change] = (await world.plan()).changes
        assert change.referrers_missing == ("signature",)
        assert change.referrers_unread is None


class TestLists:
    """What a list says of types is no proof: a manifest is what it says itself."""

    def list_as(self, world: World, digest: Digest, named: Digest, artifact_type: str) -> None:
        document = index(world.old.manifests["team/api", named]).document
        document["manifests"][0] |= {"artifactType": artifact_type, "size": 7}
        listing = Manifest.parse(json.dumps(document).encode())
        world.old.seed("team/api", fallback_tag(digest), listing, {})

    async def test_a_scan_that_is_called_a_signature_is_none(self, world: World) -> None:
        """So it satisfies nothing that is required."""
        world.old.has_referrers = False
        digest = world.seed("1")
        self.list_as(world, digest, refer(world, digest, SCAN), SIGNATURE)
        say(world, "{required: [signature]}")
        assert rows(await world.plan(sizes="never")) == {f"{API}:1": ("error", "not_referred")}

    @pytest.mark.parametrize("has_api", [True, False])
    async def test_a_signature_that_is_called_a_scan_goes_along(
        self, world: World, has_api: bool
    ) -> None:
        """Whoever writes the list cannot hide it."""
        world.old.has_referrers = has_api
        digest = world.seed("1")
        self.list_as(world, digest, refer(world, digest, SIGNATURE), SCAN)
        assert kinds(await world.plan()) == {"1": ["signature"]}
