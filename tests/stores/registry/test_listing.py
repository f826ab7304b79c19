"""Tag lists are complete or an error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import NotFound, ProtocolError
from imgmigrate.stores.registry import listing
from tests.fakes.registry import FakeRegistry, Hostile
from tests.support.images import image

if TYPE_CHECKING:
    from tests.stores.registry.conftest import Connect


def fill(registry: FakeRegistry, count: int) -> list[str]:
    names = [f"v{number:04}" for number in range(count)]
    for name in names:
        registry.put_image("a/b", name, image())
    return names


@pytest.mark.parametrize("absolute", [True, False])
async def test_every_page_is_followed(
    fake_registry: FakeRegistry, connect: Connect, absolute: bool
) -> None:
    """Links are followed verbatim until there is none, whatever page size was asked for."""
    fake_registry.page_size, fake_registry.absolute_links = 3, absolute
    names = fill(fake_registry, 10)
    assert await connect(fake_registry.host).list_tags("a/b") == names
    pages = fake_registry.matching("GET", "/tags/list")
    assert [page.query["n"] for page in pages] == ["1000", "3", "3", "3"]


async def test_unknown_repository_is_not_found(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Absence is told from emptiness."""
    with pytest.raises(NotFound, match=f"{fake_registry.host}/none"):
        await connect(fake_registry.host).list_tags("none")


@pytest.mark.parametrize("tags", [None, []])
async def test_null_and_empty_lists_are_empty(
    fake_registry: FakeRegistry, connect: Connect, tags: list[str] | None
) -> None:
    """Some registries say null when they mean none."""
    fake_registry.fail("GET", "/tags/list", status=200, body=json.dumps({"tags": tags}).encode())
    assert await connect(fake_registry.host).list_tags("a") == []


@pytest.mark.parametrize(
    "content", [b"<html>login</html>", b"[]", b"{}", b'{"tags": "x"}', b'{"tags": {"a": 1}}']
)
async def test_answer_that_is_no_list_is_an_error(
    fake_registry: FakeRegistry, connect: Connect, content: bytes
) -> None:
    """A page that cannot be read is never an empty one."""
    fake_registry.fail("GET", "/tags/list", status=200, body=content)
    with pytest.raises(ProtocolError, match="tag list"):
        await connect(fake_registry.host).list_tags("a")


async def test_names_that_are_no_tags_are_dropped(connect: Connect) -> None:
    """What could be misused in a path, and what registries leave lying about, is not a tag."""
    async with Hostile() as registry:
        names = fill(registry, 1)
        registry.extra_tags = ("../x", "a b", f"sha256:{'0' * 64}", "_uploads", "", "x" * 129)
        assert await connect(registry.host).list_tags("a/b") == names


async def test_list_that_never_ends_is_refused(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a most of pages."""
    monkeypatch.setattr(listing, "MOST_PAGES", 20)
    async with Hostile() as registry:
        fill(registry, 1)
        registry.endless_pages = True
        with pytest.raises(ProtocolError, match="does not end"):
            await connect(registry.host).list_tags("a/b")
        assert registry.arrivals == 20


async def test_list_that_turns_in_a_circle_is_refused(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A page seen before means that the end is never reached."""
    fill(fake_registry, 1)
    link = {"Link": '</v2/a/b/tags/list?n=1000>; rel="next"'}
    fake_registry.rewrite("GET", "/tags/list", link)
    with pytest.raises(ProtocolError, match="does not end"):
        await connect(fake_registry.host).list_tags("a/b")


async def test_list_never_continues_at_another_host(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A link to elsewhere is an attack."""
    fill(fake_registry, 1)
    link = {"Link": f'<http://{fake_registry.cdn_host}/v2/x>; rel="next"'}
    fake_registry.rewrite("GET", "/tags/list", link)
    with pytest.raises(ProtocolError, match="another host"):
        await connect(fake_registry.host).list_tags("a/b")
    assert not fake_registry.cdn_requests


async def test_walk_that_loses_its_place_starts_again(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A cursor tag deleted in mid-walk costs a restart, not the list."""
    fake_registry.page_size = 3
    names = fill(fake_registry, 5)
    fake_registry.fail("GET", "last=", status=404, times=1)
    assert await connect(fake_registry.host).list_tags("a/b") == names
