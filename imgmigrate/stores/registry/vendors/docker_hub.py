"""Docker Hub: the repositories of a namespace, from a host of its own (docs.docker.com: Hub API).

Private ones are listed for who logs in there, which gives a token for this API alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imgmigrate.errors import ProtocolError, Rejected
from imgmigrate.redaction import hide
from imgmigrate.stores.registry.vendors.api import PAGE, Api, api_root, entries

if TYPE_CHECKING:
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["list_below"]


async def list_below(remote: Remote, segments: tuple[str, ...]) -> list[str]:
    """List the repositories of a namespace."""
    api = Api(remote, api_root(remote))
    if not segments:
        hint = f"name the namespace: {remote.host}/NAMESPACE/*"
        raise Rejected(api.subject, "it lists no more than one namespace", hint=hint)
    api = Api(remote, api.root, await _authorization(api, segments[0]))
    stated: list[object] = []

    def names(document: Any) -> list[str]:
        stated.append(document.get("count"))
        return [f"{segments[0]}/{each['name']}" for each in entries(document["results"])]

    def following(document: Any, _: Answer) -> str | None:
        link = document.get("next")
        return str(link) if link else None

    namespace = quote(segments[0], safe="")
    target = f"/v2/namespaces/{namespace}/repositories?page=1&page_size={PAGE}"
    found = await api.walk(target, names, following)
    api.check_count(stated[-1], len(found))
    return found


async def _authorization(api: Api, namespace: str) -> str | None:
    credential = await api.remote.auth.credential(namespace)
    if credential is None or not credential.password:
        return None
    login = {"identifier": credential.username, "secret": credential.password}
    document, _ = await api.get("/v2/auth/token", data=login)
    token = document.get("access_token") if isinstance(document, dict) else None
    if not isinstance(token, str) or not (token.isascii() and token.isprintable()):
        raise ProtocolError(api.subject, "its login answered without a token")
    hide(token, "token")
    return f"Bearer {token}"
