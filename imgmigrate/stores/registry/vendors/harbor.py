"""Harbor: projects, and the repositories of each (its API v2.0).

The catalog is for administrators alone. Projects that are proxy caches hold what somebody once
pulled from elsewhere: they are left out unless the glob names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imgmigrate.stores.registry.vendors.api import PAGE, Api, after_link, entries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["list_below"]


async def list_below(remote: Remote, segments: tuple[str, ...]) -> list[str]:
    """List the repositories of the project that is named, or of all that are no proxy caches."""
    credential = await remote.auth.credential("/".join(segments) or None)
    api = Api(remote, remote.origin, credential.basic if credential else None)
    projects = [segments[0]] if segments else await _projects(api)
    found: list[str] = []
    for project in projects:
        found += await _repositories(api, project)
    return found


async def _projects(api: Api) -> list[str]:
    proxies: list[str] = []

    def own(document: Any) -> Iterator[str]:
        for each in entries(document):
            if each.get("registry_id"):
                proxies.append(str(each["name"]))
            else:
                yield str(each["name"])

    projects = await api.walk(f"/api/v2.0/projects?page=1&page_size={PAGE}", own, after_link)
    if proxies:
        message = f"{api.remote.host}: left out as proxy caches: {', '.join(sorted(proxies))}"
        api.remote.warn("proxy_projects_left_out", f"{message}; name them to take them")
    return projects


async def _repositories(api: Api, project: str) -> list[str]:
    stated: list[int | None] = []

    def following(document: Any, answer: Answer) -> str | None:
        stated.append(answer.number("X-Total-Count"))
        return after_link(document, answer)

    def names(document: Any) -> list[str]:
        return [str(each["name"]) for each in entries(document)]

    target = f"/api/v2.0/projects/{quote(project, safe='')}/repositories?page=1&page_size={PAGE}"
    found = await api.walk(target, names, following)
    api.check_count(stated[-1], len(found))
    return found
