"""Alibaba Cloud's ACR: the repositories of an account's region, or of an instance.

The registry tells by the service of its challenge which API is the right one: the Personal
Edition's (cr, 2016-06-07) or, for an instance `cri-...`, the Enterprise Edition's (cr,
2018-12-01); Harbor's adapter does the same. A registry's password opens only the registry: the
API wants requests signed with an AccessKey (signature V3, ACS3-HMAC-SHA256), found where
Alibaba Cloud's own tools look.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from msgspec import Struct

from imgmigrate.errors import AccessDenied, AuthenticationError, ProtocolError, StoreError
from imgmigrate.redaction import hide
from imgmigrate.stores.registry.vendors.api import PAGE, Api, api_root, challenge_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["AccessKey", "list_below", "signed_headers"]

KEY_ID, KEY_SECRET = "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
# With a temporary key.
TOKEN = "ALIBABA_CLOUD_SECURITY_TOKEN"
_ALGORITHM = "ACS3-HMAC-SHA256"
_INSTANCE = re.compile(r"registry\.aliyuncs\.com:.*:(cri-[a-z0-9]+)")
_ENTERPRISE_HOST = "-registry"
# An unknown key is 404 there, a wrong secret 400 (error center: "common errors").
_UNKNOWN = ("InvalidAccessKeyId", "InvalidSecurityToken", "SignatureDoesNotMatch", "MissingAccess")
_DENIED = ("NoPermission", "NoPrivilege", "Forbidden", "NOT_AUTHORIZED", "USER_NOT")


@dataclass(frozen=True, slots=True)
class AccessKey:
    """What signs; every secret in it is hidden from all messages."""

    name: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        hide(self.secret)
        hide(self.token)


class _Edition(Struct, frozen=True):
    """One edition's API: what it calls the list, and how its answers are laid out."""

    action: str
    version: str
    method: str
    path: str
    query: Mapping[str, str]
    # The keys of the page's number in a request, and of what an answer holds.
    page: str
    total: str
    entries: str
    namespace: str
    name: str
    size: str

    def target(self, number: int) -> str:
        """The path and query of a page."""
        query = {**self.query, self.page: str(number), "PageSize": str(PAGE)}
        return f"{self.path}?{urlencode(sorted(query.items()), quote_via=quote, safe='~')}"


async def list_below(remote: Remote, segments: tuple[str, ...]) -> list[str]:
    """List the repositories of a namespace, or of all that the AccessKey may see."""
    api = Api(remote, api_root(remote))
    key = _access_key(api.subject)
    edition = await _edition(remote, api.subject, segments[0] if segments else "")

    async def sign(method: str, url: str, body: bytes) -> Mapping[str, str]:
        now, nonce = datetime.now(UTC), uuid.uuid4().hex
        return signed_headers(key, edition.action, edition.version, method, url, body, now, nonce)

    api = Api(remote, api.root, sign=sign)
    number, total = 1, 0

    async def ask(target: str) -> tuple[Any, Answer]:
        return await api.send(edition.method, target)

    def names(document: Any) -> list[str]:
        nonlocal total
        if document.get("IsSuccess") is False:
            code = str(document.get("Code"))
            raise ProtocolError(api.subject, f"its list failed: {code}", code=code)
        data = document.get("data", document)
        total = int(data[edition.total])
        return [f"{each[edition.namespace]}/{each[edition.name]}" for each in data[edition.entries]]

    def following(document: Any, _: Answer) -> str | None:
        nonlocal number
        # It may give fewer at once than it was asked for.
        size = int(document.get("data", document)[edition.size])
        if number * size >= total or size < 1:
            return None
        number += 1
        return edition.target(number)

    try:
        found = await api.collect(edition.target(1), ask, names, following)
    except StoreError as error:
        raise _refused(error) from None
    api.check_count(total, len(found))
    return found


def signed_headers(
    key: AccessKey,
    action: str,
    version: str,
    method: str,
    url: str,
    body: bytes,
    now: datetime,
    nonce: str,
) -> dict[str, str]:
    """Sign a request by V3; its query must be sorted and quoted by RFC 3986 already.

    alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature
    """
    parts = urlsplit(url)
    headers = {
        "host": parts.netloc,
        "x-acs-action": action,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-acs-date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce,
        "x-acs-version": version,
    }
    if key.token:
        headers["x-acs-security-token"] = key.token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    digest = headers["x-acs-content-sha256"]
    canonical = "\n".join((method, parts.path or "/", parts.query, lines, names, digest))
    text = f"{_ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(key.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = (
        f"{_ALGORITHM} Credential={key.name},SignedHeaders={names},Signature={signature}"
    )
    return headers


def _access_key(subject: str) -> AccessKey:
    name, secret = os.environ.get(KEY_ID), os.environ.get(KEY_SECRET)
    if not name or not secret:
        cause = "Alibaba Cloud lists repositories to an AccessKey, not to a registry's user"
        hint = f"set {KEY_ID} and {KEY_SECRET} of a user who may read ACR"
        raise AuthenticationError(subject, cause, hint=hint)
    return AccessKey(name, secret, os.environ.get(TOKEN) or None)


async def _edition(remote: Remote, subject: str, namespace: str) -> _Edition:
    service, _ = await challenge_of(remote)
    instance = _INSTANCE.fullmatch(service)
    if instance is not None:
        query = {"InstanceId": instance[1], "RepoStatus": "NORMAL"}
        if namespace:
            query["RepoNamespaceName"] = namespace
        return _Edition(
            "ListRepository",
            "2018-12-01",
            "POST",
            "/",
            query,
            page="PageNo",
            total="TotalCount",
            entries="Repositories",
            namespace="RepoNamespaceName",
            name="RepoName",
            size="PageSize",
        )
    if remote.host.partition(".")[0].removesuffix("-vpc").endswith(_ENTERPRISE_HOST):
        cause = "its challenge does not name the instance (cri-...) that its API asks for"
        raise ProtocolError(subject, cause, hint="name its repositories one by one")
    return _Edition(
        "GetRepoListByNamespace" if namespace else "GetRepoList",
        "2016-06-07",
        "GET",
        f"/repos/{quote(namespace, safe='')}" if namespace else "/repos",
        {},
        page="Page",
        total="total",
        entries="repos",
        namespace="repoNamespace",
        name="repoName",
        size="pageSize",
    )


def _refused(error: StoreError) -> StoreError:
    """What Alibaba Cloud says by a name, whatever the status."""
    code = error.code or ""
    if code.startswith(_UNKNOWN):
        kind: type[StoreError] = AuthenticationError
        hint = f"check {KEY_ID} and {KEY_SECRET}, and the machine's clock"
    elif code.startswith(_DENIED) or isinstance(error, AccessDenied):
        kind, hint = AccessDenied, "the AccessKey's user needs the right to read ACR (cr:List*)"
    else:
        return error
    return error.remade(kind, hint=hint)
