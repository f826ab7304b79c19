"""Alibaba Cloud's ACR: namespaces that must exist, and no manifest with the empty config."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.server import FakeRegistry
from tests.fakes.registry.signatures import is_signed_for_alibaba
from tests.support.images import OCI_EMPTY

if TYPE_CHECKING:
    from tests.fakes.registry.access import User

_REPOS = re.compile(r"/repos(?:/([a-z0-9_-]+))?")


class AlibabaAcr(FakeRegistry):
    """registry.REGION.aliyuncs.com."""

    vendor_host = "registry.cn-beijing.aliyuncs.com"
    scheme = "token"
    token_path = "/auth"
    # What the Personal Edition says; an instance says its name last (Harbor's adapter).
    service = "registry.aliyuncs.com:cn-beijing:26842"
    # protocol 3.3; repositories come into being below them if the namespace says so.
    namespaces = frozenset({"team"})
    # Listed by the vendor's own API alone (Harbor's adapter).
    catalog_status = 404
    # What signs requests to its API.
    access_key = ("LTAI-fake", "Secret-of-the-Key-1")
    # What the API answers to everything: a status, a code and a message; None: what it should.
    api_refusal: tuple[int, str, str] | None = None
    # The most that it gives at once, whatever it is asked for.
    api_page = 100
    # So many repositories are counted and not listed.
    hidden = 0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.nonces: set[str] = set()

    async def answer(self, call: Call) -> web.StreamResponse:
        """Answer the API too, which is at cr.REGION.aliyuncs.com."""
        if "x-acs-action" not in call.request.headers:
            return await super().answer(call)
        if not is_signed_for_alibaba(call, self.access_key):
            return _refusal(400, "SignatureDoesNotMatch", "Specified signature is not matched")
        nonce = call.request.headers["x-acs-signature-nonce"]
        if nonce in self.nonces:
            return _refusal(400, "SignatureNonceUsed", "Specified signature nonce was used already")
        self.nonces.add(nonce)
        if self.api_refusal is not None:
            return _refusal(*self.api_refusal)
        action, version = (call.request.headers[f"x-acs-{key}"] for key in ("action", "version"))
        if action == "ListRepository":
            assert (call.method, version) == ("POST", "2018-12-01")
            assert (self.service or "").endswith(f":{call.query['InstanceId']}")
            return self._instance(call)
        found = _REPOS.fullmatch(call.path)
        assert found is not None
        assert (call.method, version) == ("GET", "2016-06-07")
        assert action == ("GetRepoListByNamespace" if found[1] else "GetRepoList")
        number, page, total = self._repos(call, "Page", found[1])
        repos = [{"repoNamespace": space, "repoName": name} for space, name in page]
        data = {"total": total, "page": number, "pageSize": self.api_page, "repos": repos}
        return web.json_response({"data": data, "requestId": "F11E3C4C"})

    def _instance(self, call: Call) -> web.Response:
        number, page, total = self._repos(call, "PageNo", call.query.get("RepoNamespaceName"))
        entries = [{"RepoNamespaceName": space, "RepoName": name} for space, name in page]
        document = {
            "IsSuccess": True,
            "Code": "success",
            "TotalCount": str(total),
            "PageNo": number,
            "PageSize": self.api_page,
            "Repositories": entries,
        }
        return web.json_response(document)

    def _repos(
        self, call: Call, key: str, namespace: str | None
    ) -> tuple[int, list[tuple[str, str]], int]:
        names = [
            (space, name)
            for space, _, name in (each.partition("/") for each in sorted(self.repositories))
            if namespace in (None, space)
        ]
        number, size = int(call.query[key]), self.api_page
        return number, names[(number - 1) * size : number * size], len(names) + self.hidden

    def granted(self, user: User | None, repo: str, asked: frozenset[str]) -> set[str]:
        """Grant nothing in a namespace that is not there."""
        return super().granted(user, repo, asked) if self.has_namespace(repo) else set()

    def check_manifest(
        self, repo: str, ref: str, media_type: str, document: dict[str, Any]
    ) -> None:
        """Refuse the empty config, as of attestations (protocol 3.3)."""
        if document.get("config", {}).get("mediaType") == OCI_EMPTY:
            raise Refusal(400, "MANIFEST_INVALID", f"config {OCI_EMPTY} is not supported")


def _refusal(status: int, code: str, message: str) -> web.Response:
    """Say no as Alibaba Cloud's APIs do."""
    document = {"RequestId": "B31A", "HostId": "cr", "Code": code, "Message": message}
    return web.json_response(document, status=status)
