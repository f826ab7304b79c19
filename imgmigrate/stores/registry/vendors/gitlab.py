"""GitLab: the repositories of a group or a project, from GitLab itself (its API v4).

GitLab is where its token server is; a personal, group or project access token that may read
the API is what its registry takes for a password.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from imgmigrate.errors import NotFound, ProtocolError, Rejected
from imgmigrate.stores.registry.auth.realms import may_receive_credentials
from imgmigrate.stores.registry.vendors.api import PAGE, Api, after_link, entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["list_below"]


async def list_below(remote: Remote, segments: tuple[str, ...], realm: str) -> list[str]:
    """List the repositories of the group or the project that the glob names."""
    credential = await remote.auth.credential("/".join(segments) or None)
    parts = urlsplit(realm)
    root = f"{parts.scheme}://{parts.netloc}"
    api = Api(remote, root, f"Bearer {credential.password}" if credential else None)
    is_own = may_receive_credentials(root, remote.origin, remote.quirks.token_hosts)
    if not is_own and (credential or remote.wire.is_confined):
        cause = f"it says that GitLab is at {root}, which may not have its credentials"
        raise ProtocolError(api.subject, cause)
    if not segments:
        hint = f"name the group: {remote.host}/GROUP/**"
        raise Rejected(api.subject, "it lists no more than one group", hint=hint)
    for target in _places(segments):
        with suppress(NotFound):
            return await api.walk(f"{target}?page=1&per_page={PAGE}", _paths, _following(target))
    cause = f"there is no group or project {'/'.join(segments)}, or it may not be read (404)"
    raise NotFound(api.subject, cause, status=404)


def _places(segments: tuple[str, ...]) -> Iterator[str]:
    """A group's repositories are those of all its projects; an image's path may be in a glob."""
    yield f"/api/v4/groups/{quote('/'.join(segments), safe='')}/registry/repositories"
    for end in range(len(segments), 1, -1):
        project = quote("/".join(segments[:end]), safe="")
        yield f"/api/v4/projects/{project}/registry/repositories"


def _following(target: str) -> Callable[[Any, Answer], str | None]:
    """The next page by `Link`, or by the number beside it where a proxy took the link away."""

    def following(document: Any, answer: Answer) -> str | None:
        number = answer.number("X-Next-Page")
        page = f"{target}?page={number}&per_page={PAGE}" if number else None
        return after_link(document, answer) or page

    return following


def _paths(document: Any) -> list[str]:
    return [str(each["path"]) for each in entries(document)]
