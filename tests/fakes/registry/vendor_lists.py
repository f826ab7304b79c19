"""Pages of vendors' own lists of repositories: by number, each with `Link` and a count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fakes.registry.calls import Call


def numbered_page(call: Call, entries: Sequence[Any], size_key: str) -> web.Response:
    """Answer one page of a list, as Harbor and GitLab do."""
    page, link = cut(call, entries, size_key)
    headers = {"X-Total-Count": str(len(entries))}
    if link:
        headers["Link"] = f'<{link}>; rel="next"'
    return web.json_response(page, headers=headers)


def cut(call: Call, entries: Sequence[Any], size_key: str) -> tuple[list[Any], str | None]:
    """Cut a page of at most a hundred; the path of the next one."""
    number, size = int(call.query.get("page", 1)), min(int(call.query.get(size_key, 10)), 100)
    end = number * size
    link = f"{call.path}?page={number + 1}&{size_key}={size}" if end < len(entries) else None
    return list(entries[end - size : end]), link
