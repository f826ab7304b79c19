"""Amazon ECR: the repositories of a private registry, from ECR's own API (2015-09-21).

A registry's password opens only the registry. The API wants requests that are signed with AWS's
own credentials, which are found as the `aws` command finds them; whoever may pull from a whole
registry needs the right `ecr:DescribeRepositories` besides.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from imgmigrate.errors import AccessDenied, AuthenticationError, Rejected, StoreError
from imgmigrate.redaction import hide
from imgmigrate.stores.registry.vendors.api import PAGE, Api, api_root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["list_below", "refuse_public"]

_HEADERS = {
    "Content-Type": "application/x-amz-json-1.1",
    "X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories",
}
# Errors common to all of AWS's APIs; they come with 400 or 403.
_DENIED = frozenset({"AccessDeniedException", "NotAuthorized", "OptInRequired"})
_UNKNOWN = frozenset(
    {
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "UnrecognizedClientException",
    }
)
_LOG_IN = "log in to AWS (aws sso login), or set AWS_PROFILE or AWS_ACCESS_KEY_ID and its secret"


async def list_below(remote: Remote, _: tuple[str, ...]) -> list[str]:
    """List the repositories of a registry, which is an account in a region."""
    quirks = remote.quirks
    api = Api(remote, api_root(remote))
    signed = await asyncio.to_thread(_signer, api.subject, quirks.region or "")

    async def sign(_: str, url: str, body: bytes) -> Mapping[str, str]:
        # Credentials may be asked for again meanwhile.
        return await asyncio.to_thread(signed, url, body)

    api = Api(remote, api.root, sign=sign)

    async def ask(token: str) -> tuple[Any, Answer]:
        wanted: dict[str, object] = {"registryId": quirks.account, "maxResults": PAGE}
        if token:
            wanted["nextToken"] = token
        return await api.send("POST", "/", json.dumps(wanted).encode(), _HEADERS)

    def names(document: Any) -> list[str]:
        return [str(each["repositoryName"]) for each in document["repositories"]]

    def following(document: Any, _: Answer) -> str | None:
        token = document.get("nextToken")
        return str(token) if token else None

    try:
        return await api.collect("", ask, names, following)
    except StoreError as error:
        raise _explained(error) from None


async def refuse_public(remote: Remote, _: tuple[str, ...]) -> list[str]:
    """Refuse to list public registries: AWS offers that to their owners alone."""
    subject = f"{remote.host} (list of repositories)"
    raise Rejected(subject, "ECR Public lists repositories only to their owner")


def _signer(subject: str, region: str) -> Callable[[str, bytes], Mapping[str, str]]:
    """Find AWS's credentials, which may take a while; what comes back signs with them."""
    try:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError:
        cause = "ECR's list needs requests that are signed, and botocore is not installed"
        raise Rejected(subject, cause, hint="pip install 'imgmigrate[aws]'") from None

    def refused(error: Exception) -> AuthenticationError:
        cause = f"AWS's credentials cannot be used: {error}"
        return AuthenticationError(subject, cause, hint=_LOG_IN)

    try:
        credentials = Session().get_credentials()
    except BotoCoreError as error:
        raise refused(error) from None
    if credentials is None:
        raise AuthenticationError(subject, "AWS's own credentials are not found", hint=_LOG_IN)

    def sign(url: str, body: bytes) -> Mapping[str, str]:
        try:
            frozen = credentials.get_frozen_credentials()
            hide(frozen.secret_key)
            hide(frozen.token)
            request = AWSRequest("POST", url, headers=dict(_HEADERS), data=body)
            SigV4Auth(frozen, "ecr", region).add_auth(request)
        except BotoCoreError as error:
            raise refused(error) from None
        return dict(request.headers.items())

    return sign


def _explained(error: StoreError) -> StoreError:
    """What AWS says by a name, whatever the status."""
    if error.code in _DENIED:
        kind: type[StoreError] = AccessDenied
        hint: str | None = "AWS's credentials need the right ecr:DescribeRepositories"
    elif error.code in _UNKNOWN:
        kind, hint = AuthenticationError, _LOG_IN
    else:
        return error
    return error.remade(kind, hint=hint)
