"""Tag lists are complete or an error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import NotFound, ProtocolError
from imgmigrate.events import Warned
from imgmigrate.stores.registry.listing import pages as listing
from imgmigrate.stores.registry.quirks import Quirks
from imgmigrate.stores.registry.wire import remote
from tests.fakes.registry import FakeRegistry, Hostile
from tests.support.images import image

if TYPE_CHECKING:
    from tests.stores.registry.conftest import Connect, Recorder


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
        odd = ("../x", "a b", f"sha256:{'0' * 64}", "", "x" * 129, "-0.2.0", "1.0+b1")
        registry.extra_tags = (*odd, "_uploads")
        skipped: list[str] = []
        assert await connect(registry.host).list_tags("a/b", skip=skipped.append) == names
        assert skipped == [*odd]


async def test_what_is_no_text_is_told_too(fake_registry: FakeRegistry, connect: Connect) -> None:
    """Whatever stands where a tag should is left out, and never in silence."""
    body = json.dumps({"tags": ["v1", 1.2, None, ["x"], {"a": 1}]}).encode()
    fake_registry.fail("GET", "/tags/list", status=200, body=body)
    skipped: list[str] = []
    assert await connect(fake_registry.host).list_tags("a", skip=skipped.append) == ["v1"]
    assert skipped == ["1.2 (no text)", "null (no text)", "... (no text)", "... (no text)"]


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


FORMS = [
    '{path}?last=v0001&n=2; rel="next"',
    "<{path}?last=v0001&n=2>; rel='next'",
    "<{path}?last=v0001&n=2>",
    "{path}?last=v0001&n=2",
    '<{path}?last=v0001&n=2>; REL="NEXT"',
    '<{path}?last=v0001&n=2; rel="next"',
    '<?last=v0001&n=2>; rel="next"',
    '<http://127.0.0.1{path}?last=v0001&n=2>; rel="next"',
    '<https://127.0.0.1:{port}{path}?last=v0001&n=2>; rel="next"',
    "<https://127.0.0.1{path}?last=v0001&n=2>",
    '<http://registry.internal:5000{path}?last=v0001&n=2>; rel="next"',
    '<{path}?n=2>; rel="first", <{path}?last=v0001&n=2>; rel="next"',
]


@pytest.mark.parametrize("form", FORMS)
async def test_link_of_any_form_is_followed_at_the_own_origin(
    fake_registry: FakeRegistry, connect: Connect, form: str
) -> None:
    """What a proxy makes of a link never ends the list."""
    names = fill(fake_registry, 5)
    first = json.dumps({"tags": names[:2]}).encode()
    link = form.format(path="/v2/a/b/tags/list", port=fake_registry.host.partition(":")[2])
    headers = {"Link": link}
    fake_registry.fail("GET", "/tags/list", status=200, body=first, headers=headers, times=1)
    assert await connect(fake_registry.host).list_tags("a/b") == names
    assert not fake_registry.cdn_requests


@pytest.mark.parametrize(
    "link",
    ["garbage", "<>; rel=next", "</v2/a/b/x>", "<ftp://127.0.0.1/x>", "</x>, </y>", "next: </x>"],
)
async def test_link_that_leads_nowhere_is_an_error(
    fake_registry: FakeRegistry, connect: Connect, link: str
) -> None:
    """What is not understood is no end."""
    fill(fake_registry, 1)
    fake_registry.rewrite("GET", "/tags/list", {"Link": link})
    with pytest.raises(ProtocolError, match=f"{fake_registry.host}/a/b"):
        await connect(fake_registry.host).list_tags("a/b")


async def test_link_to_another_host_names_both_and_the_fix(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Who runs the proxy learns what it does wrong."""
    fill(fake_registry, 1)
    link = {"Link": '<http://elsewhere.example/x>; rel="next"'}
    fake_registry.rewrite("GET", "/tags/list", link)
    with pytest.raises(ProtocolError) as caught:
        await connect(fake_registry.host).list_tags("a/b")
    assert "http://elsewhere.example" in caught.value.cause
    assert f"not at http://{fake_registry.host}" in caught.value.cause
    assert "X-Forwarded-Proto" in (caught.value.hint or "")


async def test_list_with_too_many_tags_is_refused(
    fake_registry: FakeRegistry, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory has an end, however few the pages."""
    monkeypatch.setattr(listing, "MOST_TAGS", 5)
    fake_registry.page_size = 3
    fill(fake_registry, 10)
    with pytest.raises(ProtocolError, match="does not end"):
        await connect(fake_registry.host).list_tags("a/b")


async def test_last_page_may_be_empty(fake_registry: FakeRegistry, connect: Connect) -> None:
    """Pulp links on whenever a page is full."""
    names = fill(fake_registry, 2)
    link = {"Link": '</v2/a/b/tags/list?n=2&last=v0001>; rel="next"'}
    fake_registry.rewrite("GET", "/tags/list", link, times=1)
    assert await connect(fake_registry.host).list_tags("a/b") == names


async def test_cursor_is_followed_verbatim(fake_registry: FakeRegistry, connect: Connect) -> None:
    """Artifactory counts, ECR encrypts: what `last` means is the registry's own business."""
    names = fill(fake_registry, 2)
    link = {"Link": '</v2/a/b/tags/list?last=%2B1%2f=&n=1000>; rel="next"'}
    fake_registry.rewrite("GET", "/tags/list", link, times=1)
    assert await connect(fake_registry.host).list_tags("a/b") == names
    (page,) = fake_registry.matching("GET", "last=")
    assert page.query == {"last": "+1/=", "n": "1000"}


async def test_link_behind_a_connector_port_is_mended(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Nexus links to the path that its main port has."""
    names = fill(fake_registry, 2)
    link = {"Link": '</repository/docker-hosted/v2/a/b/tags/list?n=1&last=v0000>; rel="next"'}
    fake_registry.rewrite("GET", "/tags/list", link, times=1)
    assert await connect(fake_registry.host).list_tags("a/b") == names
    assert [each.path for each in fake_registry.requests] == ["/v2/a/b/tags/list"] * 2


async def test_list_as_long_as_asked_for_is_asked_for_without_a_length(
    fake_registry: FakeRegistry, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nexus' groups cut a list without a link: it is not taken for the whole."""
    monkeypatch.setattr(remote, "quirks_of", lambda _: Quirks(tags_page=3))
    names = fill(fake_registry, 5)
    fake_registry.rewrite("GET", "/tags/list", {"Link": None})
    assert await connect(fake_registry.host).list_tags("a/b") == names
    assert [each.query for each in fake_registry.requests] == [{"n": "3"}, {}]


@pytest.mark.parametrize("count", [2, 3])
async def test_registry_that_lists_only_so_many_is_warned_about(
    fake_registry: FakeRegistry,
    connect: Connect,
    sink: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    """GAR ends its lists at ten thousand without a word."""
    monkeypatch.setattr(remote, "quirks_of", lambda _: Quirks(most_tags=3))
    fill(fake_registry, count)
    await connect(fake_registry.host).list_tags("a/b")
    warned = [each for each in sink.events if isinstance(each, Warned)]
    assert [each.code for each in warned] == ["listing_incomplete"] * (count == 3)


async def test_web_page_instead_of_a_list_is_tried_again(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A front end's error page is neither an empty list nor the end."""
    names = fill(fake_registry, 2)
    headers = {"Content-Type": "text/html"}
    fake_registry.fail("GET", "/tags/list", status=200, body=b"<p>", headers=headers, times=1)
    assert await connect(fake_registry.host).list_tags("a/b") == names


async def test_walk_that_loses_its_place_for_ever_is_an_error(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A list without its last page is never taken for the whole."""
    fake_registry.page_size = 3
    fill(fake_registry, 5)
    fake_registry.fail("GET", "last=", status=404)
    with pytest.raises(ProtocolError, match="ends before its last page"):
        await connect(fake_registry.host).list_tags("a/b")


async def test_walk_that_loses_its_place_starts_again(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A cursor tag deleted in mid-walk costs a restart, not the list."""
    fake_registry.page_size = 3
    names = fill(fake_registry, 5)
    fake_registry.fail("GET", "last=", status=404, times=1)
    assert await connect(fake_registry.host).list_tags("a/b") == names
