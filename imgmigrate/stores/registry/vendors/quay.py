"""Quay: the repositories of a namespace (its API v1).

Only an OAuth token, which is a login with the user `$oauthtoken`, opens the API: robots and
passwords do not, and see what is public.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imgmigrate.errors import Rejected
from imgmigrate.stores.registry.vendors.api import Api, entries

if TYPE_CHECKING:
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["list_below"]

_OAUTH_USER = "$oauthtoken"


async def list_below(remote: Remote, segments: tuple[str, ...]) -> list[str]:
    """List the repositories of a namespace that the token may see."""
    credential = await remote.auth.credential("/".join(segments) or None)
    is_oauth = credential is not None and credential.username == _OAUTH_USER
    bearer = f"Bearer {credential.password}" if credential and is_oauth else None
    api = Api(remote, remote.origin, bearer)
    if not segments:
        hint = f"name the namespace: {remote.host}/NAMESPACE/**"
        raise Rejected(api.subject, "it lists no more than one namespace", hint=hint)
    namespace = segments[0]
    target = f"/api/v1/repository?namespace={quote(namespace, safe='')}&public=true"

    def names(document: Any) -> list[str]:
        return [
            f"{each['namespace']}/{each['name']}"
            for each in entries(document["repositories"])
            if each.get("kind") in (None, "image")
        ]

    def following(document: Any, _: Answer) -> str | None:
        token = document.get("next_page")
        return f"{target}&next_page={quote(str(token), safe='')}" if token else None

    found = await api.walk(target, names, following)
    if credential is not None and bearer is None:
        remote.warn(
            "listing_incomplete",
            f"{remote.host}/{namespace}: only public repositories are listed; private ones "
            f"need an OAuth token as the password of the user {_OAUTH_USER}",
        )
    return found
