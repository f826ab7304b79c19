"""GitHub's container registry: the packages of an organization or a user, from GitHub's API.

A personal access token (classic) is what the registry takes for a password, and with the scope
`read:packages` it opens the API as well (docs.github.com/rest/packages/packages).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    NotFound,
    Rejected,
    StoreError,
    Symptom,
)
from imgmigrate.stores.registry.vendors.api import PAGE, Api, after_link, api_root, entries

if TYPE_CHECKING:
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["list_below"]

_SCOPE = (
    "its password must be a personal access token (classic) with the scope read:packages, "
    "authorized for the organization where that uses single sign-on"
)


async def list_below(remote: Remote, segments: tuple[str, ...]) -> list[str]:
    """List the container packages of an organization or a user that the token may read."""
    root = api_root(remote)
    subject = Api(remote, root).subject
    if not segments:
        hint = f"name the owner: {remote.host}/OWNER/**"
        raise Rejected(subject, "it lists no more than one owner", hint=hint)
    owner = segments[0]
    credential = await remote.auth.credential(owner)
    if credential is None or not credential.password:
        cause = f"GitHub lists packages to nobody without a token, and there is none for {owner}"
        raise AuthenticationError(subject, cause, hint=_SCOPE)
    api = Api(remote, root, f"Bearer {credential.password}")

    def names(document: Any) -> list[str]:
        return [f"{owner}/{each['name']}" for each in entries(document)]

    try:
        for kind in ("orgs", "users"):
            target = f"/{kind}/{quote(owner, safe='')}/packages"
            query = f"package_type=container&page=1&per_page={PAGE}"
            try:
                return await api.walk(f"{target}?{query}", names, after_link)
            except NotFound:
                continue
    except (AccessDenied, AuthenticationError) as error:
        raise _explained(error) from None
    cause = f"there is no organization or user {owner}, or it may not be seen (404)"
    raise NotFound(subject, cause, hint=_SCOPE, status=404)


def _explained(error: StoreError) -> StoreError:
    """GitHub refuses with 403 also whom it counts too many requests of."""
    is_counted = Symptom.RATE_LIMIT in error.symptoms
    hint = "wait until GitHub's rate limit renews" if is_counted else _SCOPE
    return error.remade(type(error), hint=hint)
