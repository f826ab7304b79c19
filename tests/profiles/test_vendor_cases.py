"""What single vendors do that no other does, met by a whole migration."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.fakes.registry.profiles import DockerHub, Ecr, Gar, Pulp, Quay
from tests.profiles.journey import rows, travel
from tests.profiles.vendors import VENDORS
from tests.support import images
from tests.support.images import Image, digest_of
from tests.support.registries import assert_equal

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from imgmigrate.errors import Side
    from tests.profiles.journey import Journey

MEBIBYTE = 1024 * 1024


class Visit(Protocol):
    """How a test opens one vendor's registry."""

    def __call__(self, name: str, role: Side) -> AbstractAsyncContextManager[Journey]:
        """Open it in a role, beside an ordinary one in the other."""


@pytest.fixture
def visit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Visit:
    """Open the registries of single vendors."""
    vendors = {vendor.name: vendor for vendor in VENDORS}
    return lambda name, role: travel(vendors[name], role, tmp_path, monkeypatch)


def large(size: int) -> Image:
    """Make an image with one layer of at least `size` bytes."""
    return images.image("large", layers=[images.layer("large", size)])


@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param("acr", 21 * MEBIBYTE, id="acr-cuts-bodies-at-20-MB"),
        pytest.param("ghcr", 5 * MEBIBYTE, id="ghcr-patches-of-4-MiB"),
        pytest.param("gar", 5 * MEBIBYTE, id="gar-no-chunks"),
        pytest.param("ecr", 11 * MEBIBYTE, id="ecr-parts-of-5-MiB"),
        pytest.param("artifactory", 5 * MEBIBYTE, id="artifactory-no-whole-put"),
        pytest.param("docker-hub", 5 * MEBIBYTE, id="docker-hub-no-large-put"),
    ],
)
async def test_profile_takes_a_large_layer(visit: Visit, name: str, size: int) -> None:
    """A layer above every limit of the vendor arrives whole, in the form that it takes."""
    async with visit(name, "destination") as journey:
        if isinstance(journey.new, DockerHub):
            journey.new.largest_whole_put = MEBIBYTE
        journey.put("1", large(size))
        (await journey.migrate()).assert_done()
        journey.assert_arrived("1", large(size))


@pytest.mark.parametrize("name", ["ecr", "quay", "harbor"])
async def test_profile_says_that_a_tag_is_immutable(visit: Visit, name: str) -> None:
    """A tag that may not be moved is one clear error, asked for once."""
    async with visit(name, "destination") as journey:
        journey.new.immutable = ("*",)
        journey.put("1", images.image("old"))
        (await journey.migrate()).assert_done()
        journey.put("1", images.image("new"))
        plan = await journey.plan()
        assert rows(plan) == {"1": ("update", "source_moved")}
        puts = journey.new.count("PUT", "/manifests/1$")
        ended = await journey.apply(plan)
        ended.assert_failed("1", "^destination .*immutable.*the tag cannot be overwritten there")
        assert journey.new.count("PUT", "/manifests/1$") == puts + 1
        journey.assert_arrived("1", images.image("old"))


async def test_profile_ecr_that_cuts_the_push_to_an_absent_repository(visit: Visit) -> None:
    """A cut connection where a repository is missing is told as what it is."""
    async with visit("ecr", "destination") as journey:
        assert isinstance(journey.new, Ecr)
        journey.new.cuts_absent = True
        journey.new_repo = "team/absent"
        journey.put("1", images.image())
        ended = await journey.migrate()
        ended.assert_failed("1", "^destination .*team/absent.*the repository does not exist")


async def test_profile_ecr_is_asked_only_for_mounts_that_it_can_make(visit: Visit) -> None:
    """A blob that no committed manifest names is sent: the mount would be refused."""
    async with visit("ecr", "destination") as journey:
        image = images.image()
        journey.put("1", image)
        journey.more_repos = ("team/other", "team/third")
        for repo in journey.more_repos:
            journey.new.storage.repository(repo)
        (await journey.migrate()).assert_done()
        for repo in (journey.new_repo, *journey.more_repos):
            assert_equal(journey.new.image(repo, "1"), image)
        assert journey.new.count("POST", "mount=", status=202) == 0


async def test_profile_pulp_that_is_slow_has_done_it_all_the_same(visit: Visit) -> None:
    """A manifest answered 429 is looked for before it is sent again."""
    async with visit("pulp", "destination") as journey:
        assert isinstance(journey.new, Pulp)
        journey.new.slow_manifests = 99
        journey.put("1", images.two_platforms())
        (await journey.migrate()).assert_done()
        journey.assert_arrived("1", images.two_platforms())
        assert journey.new.count("PUT", "/manifests/1$") == 1


async def test_profile_gar_answers_a_page_instead_of_a_manifest(visit: Visit) -> None:
    """HTML with status 200 is never a manifest, and the error names the source."""
    async with visit("gar", "source") as journey:
        assert isinstance(journey.old, Gar)
        journey.put("1", images.two_platforms())
        plan = await journey.plan(sizes="never")
        journey.old.lying_pages = 99
        ended = await journey.apply(plan)
        ended.assert_failed("1", f"^source {journey.old.host}/team/tools/app.*web page")
        assert not journey.new.tags(journey.new_repo)


async def test_profile_docker_hub_is_planned_without_a_pull(visit: Visit) -> None:
    """Planning asks with HEAD; applying reads each manifest once, however many tags show it."""
    async with visit("docker-hub", "source") as journey:
        hub = journey.old
        assert isinstance(hub, DockerHub)
        image = images.two_platforms()
        for tag in ("1", "1.0", "latest"):
            journey.put(tag, image)
        plan = await journey.plan()
        assert hub.pulls_left == hub.pulls_allowed
        (await journey.apply(plan)).assert_done()
        assert hub.pulls_left == hub.pulls_allowed - len(image.manifests)


async def test_profile_docker_hub_is_asked_for_tokens_by_name(visit: Visit) -> None:
    """Every scope names one repository of two parts, push first, and never all at once."""
    async with visit("docker-hub", "destination") as journey:
        journey.put("1", images.image())
        (await journey.migrate()).assert_done()
        name = journey.new_repo
        own = {f"repository:{name}:pull", f"repository:{name}:pull,push"}
        assert {scope for scopes in journey.new.token_requests for scope in scopes} <= own


async def test_profile_acr_token_holds_one_repository(visit: Visit) -> None:
    """Many repositories that share layers never make a header too large."""
    async with visit("acr", "destination") as journey:
        shared = images.layer("shared")
        for number in range(4):
            image = images.image(str(number), layers=[shared, images.layer(str(number))])
            journey.put("1", image)
            journey.new_repo = f"team/app{number}"
            (await journey.migrate()).assert_done()
            journey.assert_arrived("1", image)
        assert all(len(scopes) <= 2 for scopes in journey.new.token_requests)


async def test_profile_distribution_refuses_foreign_layers_for_good(visit: Visit) -> None:
    """A 500 that is known to be permanent is not asked for again (protocol 2.3)."""
    foreign = images.layer("foreign")
    base = images.image("base")
    kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    entry = images.descriptor(kind, foreign) | {"urls": ["https://example.com/layer"]}
    document = base.document | {"layers": [*base.document["layers"], entry]}
    raw = json.dumps(document).encode()
    manifests = {digest_of(raw): (base.media_type, raw)}
    image = replace(base, top=digest_of(raw), manifests=manifests)
    async with visit("distribution-2.8", "destination") as journey:
        journey.put("1", image)
        ended = await journey.migrate()
        ended.assert_failed("1", r"^destination .*\(500\).*foreign")
        assert journey.new.count("PUT", "/manifests/1$") == 1
        assert digest_of(foreign) not in journey.new.blobs


async def test_profile_quay_redirects_are_followed_without_credentials(visit: Visit) -> None:
    """Blobs come from the storage host, which sees a signature and nothing else."""
    async with visit("quay", "source") as journey:
        assert isinstance(journey.old, Quay)
        image = images.image()
        journey.put("1", image)
        (await journey.migrate()).assert_done()
        assert len(journey.old.cdn_requests) == len(image.blobs)
        assert not any(one.authorised for one in journey.old.cdn_requests)
