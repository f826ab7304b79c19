"""ECR, Alibaba Cloud's ACR and GitHub list by their own APIs, whole, or say what is missing."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    NotFound,
    ProtocolError,
    RateLimited,
    Rejected,
    StoreError,
)
from imgmigrate.events import Retrying
from imgmigrate.stores.registry.quirks import quirks_of
from imgmigrate.stores.registry.vendors.alibaba import AccessKey, signed_headers
from imgmigrate.stores.registry.vendors.api import api_root
from tests.fakes.registry import FakeRegistry
from tests.fakes.registry.profiles import AlibabaAcr, Ecr, Ghcr
from tests.support.clock import ManualClock
from tests.support.images import image
from tests.support.quirks import give_quirks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.stores.registry.conftest import Connect, Recorder

R = TypeVar("R", bound=FakeRegistry)
INSTANCE = "registry.aliyuncs.com:cn-beijing:china:cri-abcdef012345"
NAMES = ("other/x", "team/a", "team/b/c")


@pytest.fixture(autouse=True)
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have the keys that the fakes know, and nothing of the machine's own cloud."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "ALIBABA_CLOUD_SECURITY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", Ecr.access_key[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", Ecr.access_key[1])
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", AlibabaAcr.access_key[0])
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", AlibabaAcr.access_key[1])


@asynccontextmanager
async def filled(registry: R, monkeypatch: pytest.MonkeyPatch, *names: str) -> AsyncIterator[R]:
    """Run a registry that has images, under its vendor's name."""
    async with registry:
        give_quirks(registry, monkeypatch)
        for name in names or NAMES:
            registry.put_image(name, "v1", image())
        yield registry


def login(registry: FakeRegistry) -> RegistryConfig:
    user = registry.user
    return RegistryConfig(plain_http=True, username=user.name, password=user.password)


def many(count: int) -> list[str]:
    return [f"team/r{number:03}" for number in range(count)]


def enterprise() -> AlibabaAcr:
    """An instance of the Enterprise Edition."""
    registry = AlibabaAcr()
    registry.service = INSTANCE
    return registry


@pytest.mark.parametrize(
    ("host", "place", "region"),
    [
        ("12.dkr.ecr.eu-west-1.amazonaws.com", "api.ecr.eu-west-1.amazonaws.com", "eu-west-1"),
        (
            "12.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "api.ecr.cn-north-1.amazonaws.com.cn",
            "cn-north-1",
        ),
        (
            "12.dkr.ecr-fips.us-east-1.amazonaws.com",
            "ecr-fips.us-east-1.amazonaws.com",
            "us-east-1",
        ),
        ("registry.cn-beijing.aliyuncs.com", "cr.cn-beijing.aliyuncs.com", "cn-beijing"),
        ("registry-vpc.cn-beijing.aliyuncs.com", "cr.cn-beijing.aliyuncs.com", "cn-beijing"),
        (
            "crpi-0a1b.cn-hangzhou.personal.cr.aliyuncs.com",
            "cr.cn-hangzhou.aliyuncs.com",
            "cn-hangzhou",
        ),
        ("acme-registry.cn-shanghai.cr.aliyuncs.com", "cr.cn-shanghai.aliyuncs.com", "cn-shanghai"),
        ("ghcr.io", "api.github.com", None),
        ("registry.example.com", None, None),
    ],
)
def test_the_name_of_a_registry_tells_where_it_is_listed(
    host: str, place: str | None, region: str | None
) -> None:
    """A region's API is at that region's host, in China's partition too."""
    quirks = quirks_of(host)
    assert (quirks.listing_host, quirks.region) == (place, region)
    assert quirks.account == ("12" if "ecr" in host else None)


async def test_an_api_at_a_host_of_its_own_is_asked_with_tls(connect: Connect) -> None:
    """Whatever is said of the registry: what opens the API never travels in the clear."""
    remote = connect("ghcr.io", RegistryConfig(plain_http=True)).remote
    assert (remote.origin, api_root(remote)) == ("http://ghcr.io", "https://api.github.com")


@pytest.mark.parametrize(
    ("make", "glob", "expected"),
    [
        (Ecr, "**", list(NAMES)),
        (Ecr, "team/**", ["team/a", "team/b/c"]),
        (AlibabaAcr, "**", list(NAMES)),
        (AlibabaAcr, "team/*", ["team/a"]),
        (enterprise, "**", list(NAMES)),
        (enterprise, "team/*", ["team/a"]),
        (Ghcr, "team/**", ["team/a", "team/b/c"]),
        (Ghcr, "other/*", ["other/x"]),
    ],
)
async def test_what_the_glob_asks_for_is_listed(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    make: type[FakeRegistry],
    glob: str,
    expected: list[str],
) -> None:
    """Requests are signed as the cloud checks them, and answered with every repository."""
    async with filled(make(), monkeypatch) as registry:
        assert await connect(registry.host, login(registry)).list_repositories(glob) == expected
        assert registry.count("GET", "/v2/_catalog") == 0


@pytest.mark.parametrize(
    ("make", "method", "path"),
    [
        (Ecr, "POST", "^/$"),
        (AlibabaAcr, "GET", "^/repos/team"),
        (enterprise, "POST", "InstanceId=cri-abcdef012345"),
        (Ghcr, "GET", "^/orgs/team/packages"),
    ],
)
async def test_lists_are_read_to_the_last_page(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    make: type[FakeRegistry],
    method: str,
    path: str,
) -> None:
    """Two hundred and five repositories are three pages, whatever a page is told by."""
    async with filled(make(), monkeypatch, *many(205)) as registry:
        store = connect(registry.host, login(registry))
        assert await store.list_repositories("team/*") == many(205)
        assert registry.count(method, path, status=200) == 3


@pytest.mark.parametrize("make", [AlibabaAcr, enterprise])
async def test_smaller_pages_than_asked_for_are_all_read(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, make: type[AlibabaAcr]
) -> None:
    """What a page holds is the API's to say."""
    registry = make()
    registry.api_page = 30
    async with filled(registry, monkeypatch, *many(65)):
        store = connect(registry.host, login(registry))
        assert await store.list_repositories("team/*") == many(65)


@pytest.mark.parametrize("make", [AlibabaAcr, enterprise])
async def test_a_list_that_is_shorter_than_it_says_is_an_error(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, make: type[AlibabaAcr]
) -> None:
    """A part of the repositories is not taken for all of them."""
    registry = make()
    registry.hidden = 2
    async with filled(registry, monkeypatch):
        with pytest.raises(ProtocolError, match="it lists 3 of 5 repositories"):
            await connect(registry.host, login(registry)).list_repositories("**")


async def assert_refused(
    connect: Connect, registry: FakeRegistry, error: type[StoreError], reason: str
) -> None:
    """Check that listing everything ends with exactly this kind of error.

    What is refused for its rate is waited for, on a clock that hurries.
    """
    store = connect(registry.host, login(registry), clock=ManualClock(hurried=True))
    with pytest.raises(error, match=reason) as caught:
        await store.list_repositories("**")
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("make", "glob"), [(Ecr, "**"), (AlibabaAcr, "**"), (enterprise, "**"), (Ghcr, "team/**")]
)
async def test_an_empty_list_is_an_error(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    make: type[FakeRegistry],
    glob: str,
) -> None:
    """Nothing to see mostly means that we may not see it."""
    async with make() as registry:
        give_quirks(registry, monkeypatch)
        with pytest.raises(NotFound, match=r"it is empty|no organization or user"):
            await connect(registry.host, login(registry)).list_repositories(glob)


@pytest.mark.parametrize(
    ("status", "kind", "error", "reason"),
    [
        (400, "AccessDeniedException", AccessDenied, "right ecr:DescribeRepositories"),
        (403, "AccessDeniedException", AccessDenied, "right ecr:DescribeRepositories"),
        (400, "UnrecognizedClientException", AuthenticationError, "aws sso login"),
        (400, "com.amazonaws#ExpiredTokenException", AuthenticationError, "aws sso login"),
        (400, "ThrottlingException", RateLimited, "ThrottlingException: words"),
        (400, "InvalidParameterException", Rejected, "InvalidParameterException: words"),
    ],
)
async def test_what_ecr_refuses_is_told_by_its_type(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    kind: str,
    error: type[StoreError],
    reason: str,
) -> None:
    """AWS says 400 to most: the type in the body tells a missing right from a wrong key."""
    registry = Ecr()
    registry.api_refusal = (status, kind, "words")
    async with filled(registry, monkeypatch):
        await assert_refused(connect, registry, error, reason)


@pytest.mark.parametrize(
    ("status", "code", "error", "reason"),
    [
        (404, "InvalidAccessKeyId.NotFound", AuthenticationError, "ALIBABA_CLOUD_ACCESS_KEY_ID"),
        (403, "NoPermission", AccessDenied, "right to read ACR"),
        (404, "NAMESPACE_NOT_EXIST", NotFound, "NAMESPACE_NOT_EXIST: words"),
        (400, "Throttling.User", RateLimited, "Throttling.User: words"),
    ],
)
@pytest.mark.parametrize("make", [AlibabaAcr, enterprise])
async def test_what_alibaba_refuses_is_told_by_its_code(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    make: type[AlibabaAcr],
    status: int,
    code: str,
    error: type[StoreError],
    reason: str,
) -> None:
    """A key that is not known is 404 there, which is no missing repository."""
    registry = make()
    registry.api_refusal = (status, code, "words")
    async with filled(registry, monkeypatch):
        await assert_refused(connect, registry, error, reason)


async def test_an_answer_that_says_it_failed_is_an_error(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alibaba Cloud also fails with 200."""
    async with filled(enterprise(), monkeypatch) as registry:
        body = b'{"IsSuccess": false, "Code": "INSTANCE_NOT_EXIST"}'
        registry.fail("POST", "InstanceId", status=200, body=body)
        with pytest.raises(ProtocolError, match="its list failed: INSTANCE_NOT_EXIST"):
            await connect(registry.host, login(registry)).list_repositories("**")


@pytest.mark.parametrize(
    ("make", "method", "body"),
    [
        (Ecr, "POST", b'{"repositories": null}'),
        (Ecr, "POST", b"{}"),
        (AlibabaAcr, "GET", b'{"data": {"total": "many", "repos": []}}'),
        (enterprise, "POST", b'{"IsSuccess": true}'),
        (Ghcr, "GET", b'{"message": "hello"}'),
    ],
)
async def test_an_answer_that_is_no_list_is_an_error(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    make: type[FakeRegistry],
    method: str,
    body: bytes,
) -> None:
    """What cannot be read is not taken for empty."""
    async with filled(make(), monkeypatch) as registry:
        registry.fail(method, "^/($|[?]|repos|orgs)", status=200, body=body)
        with pytest.raises(ProtocolError, match="not a list of them"):
            await connect(registry.host, login(registry)).list_repositories("team/*")


@pytest.mark.parametrize(
    ("make", "variable", "reason"),
    [
        (Ecr, "AWS_ACCESS_KEY_ID", "aws sso login"),
        (AlibabaAcr, "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "set ALIBABA_CLOUD_ACCESS_KEY_ID"),
    ],
)
async def test_keys_that_are_not_there_are_asked_for(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    make: type[FakeRegistry],
    variable: str,
    reason: str,
) -> None:
    """The registry's own password does not open the cloud's API, and is not sent to it."""
    monkeypatch.delenv(variable)
    async with filled(make(), monkeypatch) as registry:
        with pytest.raises(AuthenticationError, match=reason):
            await connect(registry.host, login(registry)).list_repositories("**")
        assert registry.count("*", "^/($|[?]|repos)") == 0


@pytest.mark.parametrize(
    ("make", "variable"),
    [
        (Ecr, "AWS_SECRET_ACCESS_KEY"),
        (AlibabaAcr, "ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
        (enterprise, "ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
    ],
)
async def test_a_wrong_secret_is_refused_and_never_shown(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, make: type[FakeRegistry], variable: str
) -> None:
    """The signature does not match; the secret is in no message."""
    monkeypatch.setenv(variable, "Wrong-Secret-1")
    async with filled(make(), monkeypatch) as registry:
        with pytest.raises(
            AuthenticationError, match=r"SignatureDoesNotMatch|InvalidSignature"
        ) as e:
            await connect(registry.host, login(registry)).list_repositories("**")
        assert "Wrong-Secret-1" not in str(e.value)


async def test_ecr_without_its_extra_says_how_to_get_it(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS's library is not a dependency of everybody."""
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    async with filled(Ecr(), monkeypatch) as registry:
        with pytest.raises(Rejected, match=r"pip install 'imgmigrate\[aws\]'"):
            await connect(registry.host, login(registry)).list_repositories("**")


async def test_a_profile_that_does_not_exist_is_told(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What AWS's own library finds wrong becomes an error of ours."""
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    async with filled(Ecr(), monkeypatch) as registry:
        with pytest.raises(AuthenticationError, match="nowhere"):
            await connect(registry.host, login(registry)).list_repositories("**")


async def test_public_ecr_is_not_listed(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the owner of a public registry may; nothing is asked."""
    registry = Ecr()
    registry.vendor_host = "public.ecr.aws"
    async with filled(registry, monkeypatch):
        with pytest.raises(Rejected, match=r"only to their owner.*name its repositories"):
            await connect(registry.host, login(registry)).list_repositories("team/**")
        assert not registry.requests


@pytest.mark.parametrize("make", [AlibabaAcr, enterprise])
async def test_a_request_that_is_sent_again_is_signed_again(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, sink: Recorder, make: type[AlibabaAcr]
) -> None:
    """A signature's nonce is taken once: the second attempt needs one of its own."""
    async with filled(make(), monkeypatch) as registry:
        registry.drop("*", "^/($|[?]|repos)", when="answer")
        store = connect(registry.host, login(registry))
        assert await store.list_repositories("**") == list(NAMES)
        assert len(registry.nonces) == 2
        assert any(isinstance(event, Retrying) for event in sink.events)


async def test_an_instance_that_the_challenge_does_not_name_is_an_error(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Enterprise Edition's API wants the instance; the account's other list is another."""
    async with filled(AlibabaAcr(), monkeypatch) as registry:
        store = connect(registry.host, login(registry))
        store.remote.host = "acme-registry-vpc.cn-beijing.cr.aliyuncs.com"
        with pytest.raises(ProtocolError, match="does not name the instance"):
            await store.list_repositories("**")


async def test_a_users_packages_are_listed_where_there_is_no_organization(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in a name tells whose it is."""
    registry = Ghcr()
    registry.people = frozenset({"team"})
    async with filled(registry, monkeypatch):
        store = connect(registry.host, login(registry))
        assert await store.list_repositories("team/**") == ["team/a", "team/b/c"]


@pytest.mark.parametrize(
    ("refusal", "error", "reason"),
    [
        ((403, "You need at least read:packages scope"), AccessDenied, "scope read:packages"),
        ((401, "Bad credentials"), AuthenticationError, "scope read:packages"),
        ((404, "Not Found"), NotFound, "scope read:packages"),
        ((403, "API rate limit exceeded for user"), AccessDenied, "rate limit renews"),
    ],
)
async def test_what_github_refuses_names_the_scope(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    refusal: tuple[int, str],
    error: type[StoreError],
    reason: str,
) -> None:
    """Too few rights look like anything at GitHub, even like a missing owner."""
    registry = Ghcr()
    registry.list_refusal = refusal
    async with filled(registry, monkeypatch):
        with pytest.raises(error, match=reason):
            await connect(registry.host, login(registry)).list_repositories("team/**")


async def test_github_lists_nothing_without_a_token(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anonymous pulls work, the list does not; it is not even asked for."""
    async with filled(Ghcr(), monkeypatch) as registry:
        with pytest.raises(AuthenticationError, match="scope read:packages"):
            await connect(registry.host).list_repositories("team/**")
        assert registry.count("GET", "/packages") == 0


def test_signature_v3_is_that_of_its_documentation() -> None:
    """The published example: fixed parameters, and the signature that they must give."""
    key = AccessKey("YourAccessKeyId", "YourAccessKeySecret")
    image_id = "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"
    url = f"https://ecs.cn-shanghai.aliyuncs.com/?ImageId={image_id}&RegionId=cn-shanghai"
    now = datetime(2023, 10, 26, 10, 22, 32, tzinfo=UTC)
    nonce = "3156853299f313e23d1673dc12e1703d"
    found = signed_headers(key, "RunInstances", "2014-05-26", "POST", url, b"", now, nonce)
    expected = "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    assert found["Authorization"].endswith(f"Signature={expected}")
    assert "YourAccessKeySecret" not in repr(key)
