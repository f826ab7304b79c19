"""What the log tells of a request."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import StoreError
from imgmigrate.stores.registry.http.trace import shown
from imgmigrate.stores.retries import attempt_number
from tests.support.images import image

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry
    from tests.stores.registry.conftest import Connect


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://r.test/v2/", "https://r.test/v2/"),
        ("http://r.test:5000/v2/a/tags/list?n=100&last=1", None),
        ("https://r.test/v2/a/blobs/uploads/?mount=sha256:ab&from=b/c", None),
        ("https://auth.test/token?service=r&scope=repository:a:pull", None),
        ("https://user:hunter22@r.test/v2/", "https://r.test/v2/"),
        ("https://hunter22@r.test/", "https://r.test/"),
        (
            "https://r.test/u/1?_state=hunter22&digest=sha256:ab",
            "https://r.test/u/1?_state=***&digest=sha256:ab",
        ),
        (
            "https://s3.test/b?X-Amz-Date=hunter22&X-Amz-Signature=hunter22",
            "https://s3.test/b?X-Amz-Date=***&X-Amz-Signature=***",
        ),
        ("https://blob.test/b?se=hunter22&sig=hunter22%3D", "https://blob.test/b?se=***&sig=***"),
        (
            "https://cdn.test/b?verify=hunter22-1&hunter=hunter22=",
            "https://cdn.test/b?verify=***&hunter=***",
        ),
        ("https://r.test/v2/?N=hunter22&=hunter22", "https://r.test/v2/?N=***&=***"),
        ("https://r.test/v2/?hunter22&n=1", "https://r.test/v2/?***&n=1"),
    ],
)
def test_a_url_is_shown_without_what_is_as_good_as_a_login(url: str, said: str | None) -> None:
    """What is asked for is named one by one; a parameter that nobody knows has no value."""
    assert shown(url) == (said or url)
    assert "hunter22" not in shown(url)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log at debug, as it grows, with times and ports made plain."""
    caplog.set_level(logging.DEBUG, "imgmigrate")
    return Lines(caplog)


class Lines(list[str]):
    """What was logged of requests."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        super().__init__()
        self._caplog = caplog

    def take(self) -> list[str]:
        """All lines since the last time."""
        found = [
            re.sub(r"\d+ ms", "N ms", re.sub(r"//127[^/]+", "//host", record.getMessage()))
            for record in self._caplog.records
            if record.name.endswith("http.trace")
        ]
        self._caplog.clear()
        return found


async def test_each_request_is_a_line(
    fake_registry: FakeRegistry, connect: Connect, lines: Lines
) -> None:
    """Method, URL, status, time, attempt and bytes; what is tried again says so."""
    fake_registry.put_image("team/a", "1", image())
    store = connect(fake_registry.host)
    await store.list_tags("team/a")
    *_, last = lines.take()
    assert re.fullmatch(
        r"GET http://host/v2/team/a/tags/list(\?n=\d+)? 200, N ms, attempt 1, \d+ bytes", last
    )
    fake_registry.fail("GET", "/tags/list", status=502, times=2)
    await store.list_tags("team/a")
    attempts = [re.search(r" (\d+), N ms, attempt (\d)", each) for each in lines.take()]
    assert [each.groups() for each in attempts if each] == [
        ("502", "1"),
        ("502", "2"),
        ("200", "3"),
    ]
    assert attempt_number.get() == 1


async def test_a_request_without_an_answer_is_a_line_too(
    fake_registry: FakeRegistry, connect: Connect, lines: Lines
) -> None:
    """Its cause stands where the status would."""
    store = connect(fake_registry.host)
    fake_registry.drop("GET", "/tags/list", times=None)
    with pytest.raises(StoreError):
        await store.list_tags("team/a")
    assert all(re.search(r" failed \(.+\), N ms, attempt \d$", each) for each in lines.take()[1:])


async def test_nothing_is_made_for_a_log_that_nobody_reads(
    fake_registry: FakeRegistry,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At level info no request is looked at."""

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("imgmigrate.stores.registry.http.session.traced", refuse)
    caplog.set_level(logging.INFO, "imgmigrate")
    fake_registry.put_image("team/a", "1", image())
    assert await connect(fake_registry.host).list_tags("team/a") == ["1"]
