"""Layouts as sources: what others named is taken where it is clear, and else told."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import ProtocolError
from imgmigrate.events import NamesSkipped
from imgmigrate.stores.layout.source import LayoutSource
from imgmigrate.stores.layout.store import LayoutStore
from tests.support.images import image
from tests.support.layouts import REF_NAME, write_layout
from tests.support.tools import run, skopeo_copy

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.events import Event


class Heard:
    """A sink that keeps what it heard of skipped names."""

    def __init__(self) -> None:
        self.events: list[NamesSkipped] = []

    def emit(self, event: Event) -> None:
        """Keep it."""
        assert isinstance(event, NamesSkipped)
        self.events.append(event)


@pytest.fixture
def heard() -> Heard:
    """The sink of `source`."""
    return Heard()


@pytest.fixture
def source(tmp_path: Path, heard: Heard) -> LayoutSource:
    """A source whose paths are relative to the test's folder."""
    return LayoutSource(tmp_path, heard)


@pytest.mark.parametrize(
    ("names", "tags", "skipped"),
    [
        (["foo/bar:1.0.0"], ["1.0.0"], []),
        (["docker.io/library/x:1.2", "ghcr.io/y:1.3"], ["1.2", "1.3"], []),
        (["app:3.10", "localhost:5000/team/app:v1"], ["3.10", "v1"], []),
        (["1.0", "foo/bar:2.0"], ["1.0", "2.0"], []),
        (["1.0", "foo/bar:1.0"], ["1.0"], ["foo/bar:1.0"]),
        (["a/x:1", "b/y:1", "c/z:2"], ["2"], ["a/x:1", "b/y:1"]),
        (["1.0+b1", "-0.2.0", "", "x/y", "h:5000/x"], [], ["", "-0.2.0", "1.0+b1"]),
        (["foo/bar@sha256:" + "0" * 64], [], ["foo/bar@sha256:" + "0" * 64]),
        (["foo/bar:1.0@sha256:" + "0" * 64], [], ["foo/bar:1.0@sha256:" + "0" * 64]),
        (["foo bar:1", "foo/bar:1 0", ":1", "foo:" + "x" * 129], [], [":1"]),
        (["x\n/y:1", "\ud800:1", "ünï/x:1"], [], ["\ud800:1"]),
    ],
)
async def test_names_are_read_by_their_tag_where_that_is_clear(
    source: LayoutSource,
    tmp_path: Path,
    names: list[str],
    tags: list[str],
    skipped: list[str],
) -> None:
    """Each name is a tag of the source, or is told; none is silently left out."""
    for name in names:
        write_layout(tmp_path / "app", name, image(name.encode(errors="replace").decode()))
    told: list[str] = []
    assert sorted(await source.list_tags("app", skip=told.append)) == sorted(tags)
    for tag in tags:
        assert await source.head("app", tag)
    assert len(told) == len(names) - len(tags)
    assert set(skipped) <= set(told)


async def test_two_names_of_one_image_are_clear(source: LayoutSource, tmp_path: Path) -> None:
    """It is the digest that is ambiguous, or not."""
    told: list[str] = []
    for name in ("1.0", "foo/bar:1.0", "docker.io/foo/bar:1.0"):
        write_layout(tmp_path / "app", name, image("a"))
    assert await source.list_tags("app", skip=told.append) == ["1.0"]
    found = await source.manifest("app", "1.0")
    assert found.digest == image("a").top
    assert told == []


async def test_a_tag_without_a_path_is_itself(source: LayoutSource, tmp_path: Path) -> None:
    """A name with a path never changes what a plain tag means."""
    write_layout(tmp_path / "app", "foo/bar:1.0", image("other"))
    write_layout(tmp_path / "app", "1.0", image("a"))
    found = await source.manifest("app", "1.0")
    assert found.digest == image("a").top


async def test_a_destination_is_read_by_exact_names(tmp_path: Path) -> None:
    """Whoever pulls `1.0` from it asks for that name: another does not stand in for it."""
    store = LayoutStore(tmp_path)
    write_layout(tmp_path / "app", "foo/bar:1.0", image("a"))
    assert await store.list_tags("app") == []
    assert await store.head("app", "1.0") is None


async def test_a_name_that_is_no_text_is_told(source: LayoutSource, tmp_path: Path) -> None:
    """An annotation may be anything that JSON has."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    path = tmp_path / "app/index.json"
    document = json.loads(path.read_bytes())
    for value in (7, ["1.1"], {"a": 1}, None):
        document["manifests"].append(document["manifests"][0] | {"annotations": {REF_NAME: value}})
    path.write_text(json.dumps(document))
    told: list[str] = []
    assert await source.list_tags("app", skip=told.append) == ["1.0"]
    assert sorted(told) == ["(dict)", "(int)", "(list)"]


async def test_thousands_of_names_are_told_each(source: LayoutSource, tmp_path: Path) -> None:
    """None is left out by the layout; what is said of so many is for who asked."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    path = tmp_path / "app/index.json"
    document = json.loads(path.read_bytes())
    [entry] = document["manifests"]
    document["manifests"] = [
        entry | {"annotations": {REF_NAME: f"+{number}" * 1000}} for number in range(5000)
    ]
    path.write_text(json.dumps(document))
    told: list[str] = []
    assert await source.list_tags("app", skip=told.append) == []
    assert len(told) == 5000


@pytest.mark.integration
async def test_what_other_tools_name_with_a_path_is_read(
    source: LayoutSource, tmp_path: Path
) -> None:
    """Skopeo takes such names, and what it wrote under one is read by the tag."""
    write_layout(tmp_path / "one", "1.0", image("a"))
    skopeo_copy(f"oci:{tmp_path}/one:1.0", f"oci:{tmp_path}/two:docker.io/library/app:2.0")
    assert run("umoci", "ls", "--layout", tmp_path / "two").split() == ["docker.io/library/app:2.0"]
    assert await source.list_tags("two") == ["2.0"]
    found = await source.manifest("two", "2.0")
    assert found.raw == image("a").raw


class TestFolders:
    """Names of folders below a glob."""

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            (b"a:b", "in/a:b"),
            (b"x@sha256:" + b"a" * 64, "in/x@sha256:" + "a" * 64),
            (b"new\nline", "in/new\nline"),
            (b"bad\xff", "in/bad\\xff"),
            (b"\xed\xa0\x80", "in/\\xed\\xa0\\x80"),
        ],
    )
    async def test_what_cannot_be_addressed_is_told(
        self, source: LayoutSource, heard: Heard, tmp_path: Path, name: bytes, told: str
    ) -> None:
        """The others go on; below such a folder a layout cannot be addressed either."""
        write_layout(tmp_path / "in/good", "1", image("a"))
        write_layout(tmp_path / "moved", "1", image("a"))
        os.rename(tmp_path / "moved", os.fsencode(tmp_path / "in") + b"/" + name)
        assert await source.list_repositories("in/**") == ["in/good"]
        [event] = heard.events
        assert (str(event.repository), event.names, event.total) == ("oci:in/**", (told,), 1)
        event.warning.message.encode()
        assert "\n" not in event.warning.message
        assert "no valid repository name" in event.warning.message

    @pytest.mark.parametrize("name", ["sp ace", "UP", "ünï", "we`|ird<b>", "esc\x1b[31m", "-x"])
    async def test_what_can_be_addressed_is_listed(
        self, source: LayoutSource, heard: Heard, tmp_path: Path, name: str
    ) -> None:
        """A layout's path may be what a registry's repository may not."""
        write_layout(tmp_path / "in" / name, "1", image("a"))
        assert await source.list_repositories("in/**") == [f"in/{name}"]
        assert await source.list_tags(f"in/{name}") == ["1"]
        assert heard.events == []

    async def test_a_link_to_a_layout_is_told(
        self, source: LayoutSource, heard: Heard, tmp_path: Path
    ) -> None:
        """It is not followed, and not left out in silence either."""
        write_layout(tmp_path / "in/good", "1", image("a"))
        write_layout(tmp_path / "secret", "1", image("a"))
        (tmp_path / "in/link").symlink_to(tmp_path / "secret")
        (tmp_path / "in/file").symlink_to(tmp_path / "secret/index.json")
        assert await source.list_repositories("in/*") == ["in/good"]
        assert [event.names for event in heard.events] == [("in/link (a link)",)]

    async def test_what_the_glob_does_not_match_is_nobodys_matter(
        self, source: LayoutSource, heard: Heard, tmp_path: Path
    ) -> None:
        """A rule for some folders warns of those alone."""
        write_layout(tmp_path / "in/good", "1", image("a"))
        write_layout(tmp_path / "in/other/a:b", "1", image("a"))
        assert await source.list_repositories("in/g*") == ["in/good"]
        assert await source.list_repositories("in/g**") == ["in/good"]
        assert heard.events == []

    async def test_a_layout_named_by_hand_may_be_a_link(
        self, source: LayoutSource, tmp_path: Path
    ) -> None:
        """Who names it means it; only what is found inside is not followed."""
        write_layout(tmp_path / "disk/app", "1", image("a"))
        (tmp_path / "current").symlink_to(tmp_path / "disk/app")
        assert await source.list_tags("current") == ["1"]
        (tmp_path / "disk/app/index.json").rename(tmp_path / "index.json")
        (tmp_path / "disk/app/index.json").symlink_to(tmp_path / "index.json")
        with pytest.raises(ProtocolError, match="not a regular file"):
            await source.list_tags("current")
