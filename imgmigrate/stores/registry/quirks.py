"""Facts about particular registries, one row each; nothing else in the program names a vendor.

A row needs a documented reason. What a registry can be asked, or shows by its answers, is
learnt from the answers instead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from imgmigrate.stores.registry.quotas import ALL, READS, USUAL, WRITES, Kind, Quota

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "EXPIRED",
    "INNER_PATH",
    "NO_PULLS",
    "NO_PULLS_HINT",
    "SERVICES",
    "SHARED_DOMAINS",
    "Quirks",
    "quirks_of",
]


class Quirks(Struct, frozen=True):
    """How one registry differs from the rest.

    `api_host` answers for it, `token_hosts` may receive its credentials although they are
    hosts of their own, and `login_key` is its name in docker's `config.json`. A blob of more
    than `largest_body` bytes is sent in chunks, never where it does not take them
    (`takes_chunks`). Listings above `most_tags` tags are incomplete. `cuts_absent`: a push to a
    repository that does not exist ends with a cut connection, not with an answer. `quotas`
    are the requests that it counts together; each kind is in exactly one of them. `listing`
    is how its repositories are listed (`catalog.py`), and `listing_host` where; None: learnt.
    `region` and `account` are what a cloud's registry tells in its name; in a row,
    `listing_host` may hold what the pattern names, in braces.
    `keeps_uploads`: an upload session outlives a request that broke off, and says how far it is.
    A repository's name has at most `most_segments` there. `deletes_tags`: a tag is deleted by
    its name and nothing goes with it; elsewhere a placeholder is deleted by its digest, which
    is right wherever deleting is offered at all. `archives`: images that are archived are listed,
    and who asks for one is answered that it is not there; `restoring` is how to have one back.
    `takes_sparse`: it takes an index some of whose images it does not have; None: not known.
    `mounts`: it was seen to mount blobs. `gives_ranges`: a part of a blob can be
    read; `takes_posts`: a small blob can be sent in one POST, None: found out by asking;
    `tags_page`: how many names a page of a list may be asked for.
    """

    api_host: str | None = None
    token_hosts: frozenset[str] = frozenset()
    login_key: str | None = None
    is_metered: bool = False
    mounts_need_manifest: bool = False
    mounts: bool = False
    largest_body: int | None = None
    takes_chunks: bool = True
    most_tags: int | None = None
    listing: str | None = None
    listing_host: str | None = None
    region: str | None = None
    account: str | None = None
    most_segments: int | None = None
    cuts_absent: bool = False
    keeps_uploads: bool = False
    deletes_tags: bool = False
    archives: bool = False
    takes_sparse: bool | None = None
    restoring: str = "restore it there"
    gives_ranges: bool = True
    takes_posts: bool | None = None
    # ECR answers 405 above 1000; every other registry clamps by itself.
    tags_page: int = 1000
    quotas: tuple[Quota, ...] = USUAL


# Requests that quotas count together (protocol 3.7). GHCR and GAR count all of them.
_TOGETHER = (Quota(ALL),)
# Docker Hub counts manifest reads, and has a guard against abuse that refuses HEADs alone
# (protocol 3.7: some 300 in 8 minutes): each waits for its own kind and nothing else.
_HUB_PULLS, _HUB_HEADS = frozenset({Kind.MANIFEST_READ}), frozenset({Kind.MANIFEST_HEAD})
_HUB = (
    Quota(_HUB_PULLS),
    Quota(_HUB_HEADS),
    Quota(READS - _HUB_PULLS - _HUB_HEADS),
    Quota(WRITES),
)
# What lists referrers is an action of its own, with a quota of its own: of ECR's API by design,
# of ACR's as seen. Its refusals must not slow down pulls and pushes.
_REFERRERS = frozenset({Kind.REFERRERS})
_ACR = (Quota(READS - _REFERRERS), Quota(_REFERRERS), Quota(WRITES))
# ECR's quotas a second, unless the account has others.
_ECR = (
    Quota(READS - _REFERRERS),
    Quota(_REFERRERS),
    Quota(frozenset({Kind.UPLOAD_START}), rate=100, burst=10),
    Quota(frozenset({Kind.UPLOAD_DATA}), rate=500, burst=50),
    Quota(frozenset({Kind.MANIFEST_WRITE}), rate=10, burst=10),
)
# quay.io's for each address and HTTP/1.1 (protocol 3.7).
_QUAY = (
    Quota(frozenset({Kind.LISTING}), rate=5, burst=2),
    Quota(
        frozenset({Kind.MANIFEST_HEAD, Kind.MANIFEST_READ, Kind.MANIFEST_WRITE}), rate=50, burst=10
    ),
    Quota(frozenset({Kind.BLOB_READ, Kind.UPLOAD_START, Kind.UPLOAD_DATA}), rate=50, burst=50),
    Quota(frozenset({Kind.OTHER, Kind.REFERRERS}), rate=60),
)

_ECR_ROW = Quirks(
    # A blob can be mounted only once a manifest in its repository names it.
    mounts_need_manifest=True,
    # A repository must exist: dotnet/sdk-container-builds#279.
    cuts_absent=True,
    # docs.aws.amazon.com/AmazonECR/latest/userguide/archive-image.html
    archives=True,
    # PutImage answers ReferencedImagesNotFoundException
    # (docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html).
    takes_sparse=False,
    restoring="restore it there (aws ecr update-image-storage-class)",
    quotas=_ECR,
    # docs.aws.amazon.com/general/latest/gr/ecr.html
    listing="ecr",
    listing_host="api.ecr.{region}.amazonaws.com{cn}",
)
_ALIBABA_ROW = Quirks(
    # alibabacloud.com/help/en/acr/developer-reference/api-cr-2018-12-01-endpoint
    listing="alibaba",
    listing_host="cr.{region}.aliyuncs.com",
)

_ROWS: tuple[tuple[re.Pattern[str], Quirks], ...] = (
    (
        # A manifest GET is a pull, and pulls are counted per six hours (docs.docker.com/usage).
        re.compile(r"docker\.io"),
        Quirks(
            api_host="registry-1.docker.io",
            token_hosts=frozenset({"auth.docker.io"}),
            login_key="https://index.docker.io/v1/",
            is_metered=True,
            listing="docker-hub",
            listing_host="hub.docker.com",
            most_segments=2,  # NAMESPACE/NAME (docs.docker.com/docker-hub/repos/create)
            # "Resuming an interrupted upload": docs.docker.com/reference/api/registry/latest,
            # Get blob upload status. ACR says that it cannot (Azure/azure-sdk-for-python#29738),
            # ECR's offset stands still (protocol 3.2), distribution 2.8 loses the session.
            keeps_uploads=True,
            quotas=_HUB,
        ),
    ),
    (
        re.compile(
            r"(?P<account>[0-9]+)\.dkr\.ecr\."
            r"(?P<region>[a-z0-9-]+)\.amazonaws\.com(?P<cn>\.cn)?"
        ),
        _ECR_ROW,
    ),
    (
        re.compile(
            r"(?P<account>[0-9]+)\.dkr\.ecr-fips\."
            r"(?P<region>[a-z0-9-]+)\.amazonaws\.com(?P<cn>\.cn)?"
        ),
        replace(_ECR_ROW, listing_host="ecr-fips.{region}.amazonaws.com{cn}"),
    ),
    (
        # Only their owners list public repositories (API of ECR Public: DescribeRepositories).
        # PutImage answers ReferencedImagesNotFoundException
        # (docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_PutImage.html).
        re.compile(r"public\.ecr\.aws"),
        Quirks(listing="ecr-public", takes_sparse=False),
    ),
    (
        # The Personal Edition's hosts, of old and of today.
        re.compile(
            r"(registry(-vpc|-internal)?|crpi-[a-z0-9]+(-vpc)?)"
            r"\.(?P<region>[a-z0-9-]+)(\.personal\.cr)?\.aliyuncs\.com"
        ),
        _ALIBABA_ROW,
    ),
    (
        # The Enterprise Edition's hosts begin with the instance's name.
        re.compile(r"[a-z0-9-]+-registry(-vpc)?\.(?P<region>[a-z0-9-]+)\.cr\.aliyuncs\.com"),
        _ALIBABA_ROW,
    ),
    (
        # Bodies above some 20 MB are answered 413 or cut (goharbor/harbor#23015).
        re.compile(r"[a-z0-9-]+\.azurecr\.(io|cn|us|de)"),
        Quirks(largest_body=16 * 1024 * 1024, listing="acr", quotas=_ACR),
    ),
    (
        # Of several PATCHes only the last is kept (protocol 3.3).
        re.compile(r"ghcr\.io"),
        Quirks(
            takes_chunks=False,
            listing="github",
            listing_host="api.github.com",
            quotas=_TOGETHER,
        ),
    ),
    (
        # Neither chunked uploads nor whole listings of more than 10,000 tags
        # (cloud.google.com/artifact-registry/docs/docker: "limitations"). No manifest is deleted
        # while a tag names it, tags are by their names (GoogleCloudPlatform/gcr-cleaner).
        re.compile(r"[a-z0-9-]+-docker\.pkg\.dev|([a-z]+\.)?gcr\.io"),
        Quirks(
            takes_chunks=False,
            most_tags=10_000,
            listing="google",
            deletes_tags=True,
            quotas=_TOGETHER,
        ),
    ),
    (
        # Many requests a second end in 429 (quay/quay's nginx configuration).
        re.compile(r"quay\.io"),
        Quirks(listing="quay", quotas=_QUAY),
    ),
)
_NONE = Quirks()
# Domains below which anybody can rent a name: a neighbour there is a stranger.
SHARED_DOMAINS = frozenset(
    {
        "amazonaws.com",
        "amazonaws.com.cn",
        "appspot.com",
        "azure.com",
        "azurecr.io",
        "azurewebsites.net",
        "cloudfront.net",
        "duckdns.org",
        "fly.dev",
        "github.io",
        "gitlab.io",
        "herokuapp.com",
        "jfrog.io",
        "netlify.app",
        "ngrok-free.app",
        "ngrok.io",
        "nip.io",
        "onrender.com",
        "pages.dev",
        "run.app",
        "sslip.io",
        "trycloudflare.com",
        "vercel.app",
        "windows.net",
        "workers.dev",
    }
)
# What ECR answers (403 DENIED) when its twelve hours are over: the right is not what is missing.
EXPIRED = "token has expired"
# What Docker Hub's 429 names when no pulls are left, apart from its guard against abuse.
NO_PULLS = "increase-rate-limit"
NO_PULLS_HINT = "log in to Docker Hub or wait until its pull limit renews"
# Nexus links to the path behind its connector's port (nexus-public#1011).
INNER_PATH = re.compile(r"^/repository/[^/]+(?=/v2/)")
# Registries that people run under names of their own, by the service that they ask tokens for:
# Harbor's core/service/token, and GitLab's own default (docs.gitlab.com: registry.issuer).
SERVICES = {"harbor-registry": "harbor", "container_registry": "gitlab"}


def quirks_of(host: str) -> Quirks:
    """Look up a registry by the host[:port] that users write."""
    for pattern, row in _ROWS:
        if (found := pattern.fullmatch(host)) is not None:
            return _located(row, found.groupdict(""))
    return _NONE


def _located(row: Quirks, told: Mapping[str, str]) -> Quirks:
    """Fill in what the name itself tells of where a registry is, and whose."""
    if "region" not in told:
        return row
    place = row.listing_host.format(**told) if row.listing_host else None
    account = told.get("account") or None
    return replace(row, listing_host=place, region=told["region"], account=account)
