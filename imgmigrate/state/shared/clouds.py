"""The clouds that have object stores: how each is opened, and what its refusals mean.

Endpoint, region and credentials are what the cloud's own tools take from the environment. What a
store says is untrusted, and its library's texts may hold signed URLs: only codes, statuses and the
store's own sentence leave this module.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from imgmigrate.errors import StateAway, StateError, UsageError
from imgmigrate.redaction import cleaned, hide, printable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CLOUDS", "RETRY_TIME", "Cloud", "Right", "endpoint_of", "explain"]

Right = Literal["read", "write", "delete"]

CONNECT_TIMEOUT, REQUEST_TIMEOUT = timedelta(seconds=5), timedelta(seconds=30)
# A store that stumbles is asked again for so long, within one call; longer, the caller decides.
RETRIES, RETRY_TIME = 6, timedelta(seconds=15)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(milliseconds=200), timedelta(seconds=3)
# How long credentials of a profile are believed before botocore is asked again.
BELIEVED = timedelta(minutes=5)
# Characters of a store's own sentence.
LONGEST_SENTENCE = 200


class Cloud(Struct, frozen=True):
    """One cloud, in its own words; `variables` are where it is told its endpoint, first one wins.

    `secrets` name the variables that hold secrets. `if_none` and `if_same` are its conditions.
    """

    name: str
    open: Callable[[str, str, str | None], Any]
    variables: tuple[str, ...]
    secrets: tuple[str, ...]
    bucket: str
    if_none: str
    if_same: str
    log_in: str
    rights: str
    # What else tells one account's bucket from another's.
    account: Callable[[], str] = str

    def lacks_object(self, error: FileNotFoundError) -> bool:
        """Tell whether the object is missing, not its bucket: HEAD requests tell no code."""
        return _Said.of(error).code not in _NO_BUCKET


def endpoint_of(cloud: Cloud) -> str | None:
    """The endpoint that the environment names; UsageError if it is no URL."""
    for name in cloud.variables:
        if value := os.environ.get(name):
            try:
                parts = urlsplit(value)
                is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
                is_url = is_url and (parts.port or 1) > 0 and not parts.username
            except ValueError:
                is_url = False
            if not is_url:
                cause = f"{name} must be a URL such as https://storage.example.com"
                raise UsageError(cause, hint="correct the variable, or unset it")
            return value.rstrip("/")
    return None


def explain(error: Exception, cloud: Cloud, place: str, right: Right) -> StateError:
    """Say what a store's failure means to who has a state there; it is not raised."""
    said = _Said.of(error)
    subject = f"state {place}"
    for codes, words in _MEANINGS:
        if said.code in codes:
            kind, cause, hint = words(cloud, right)
            return kind(f"{cause} ({said.status} {said.code})", subject=subject, hint=hint)
    if said.is_about_login:
        cause = "no credentials were found"
        return StateError(cause, subject=subject, hint=cloud.log_in)
    kind, cause, hint = _meaning_of(said, cloud, right)
    return kind(cause, subject=subject, hint=hint)


# What is meant by a code: the kind of error, its cause and its hint.
_Meaning = tuple[type[StateError], str, str]

_CHECK_NETWORK: Final = "see that the store and the way to it are up; nothing is lost"


def _no_bucket(cloud: Cloud, _: Right) -> _Meaning:
    return StateError, f"there is no such {cloud.bucket}", f"make it, or correct the {cloud.bucket}"


def _refused(cloud: Cloud, _: Right) -> _Meaning:
    return StateError, "its credentials were refused", cloud.log_in


def _skewed(_: Cloud, __: Right) -> _Meaning:
    cause = "the clock of this machine is too far from the store's for a signature"
    return StateError, cause, "set this machine's clock"


def _elsewhere(cloud: Cloud, _: Right) -> _Meaning:
    hint = "set AWS_REGION to the bucket's region, and AWS_ENDPOINT_URL if it is not Amazon's"
    return StateError, f"the {cloud.bucket} is in another region or at another endpoint", hint


def _denied(cloud: Cloud, right: Right) -> _Meaning:
    to = {"read": "read there", "write": "write there", "delete": "delete there"}[right]
    return StateError, f"its credentials have no right to {to}", f"they need {cloud.rights}"


def _unable(cloud: Cloud, _: Right) -> _Meaning:
    cause = f"the store does not know the conditions {cloud.if_none} and {cloud.if_same}"
    return StateError, cause, "use a store that does: without them two runs could write at once"


_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "InvalidBucketName"})
_REFUSED = frozenset(
    {
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"),
        *("TokenRefreshRequired", "AuthenticationFailed", "AuthorizationFailure"),
        *("InvalidAuthenticationInfo", "NoAuthenticationInformation", "InvalidSecurity"),
    }
)
_MEANINGS: tuple[tuple[frozenset[str], Callable[[Cloud, Right], _Meaning]], ...] = (
    (_NO_BUCKET, _no_bucket),
    (_REFUSED, _refused),
    (frozenset({"RequestTimeTooSkewed"}), _skewed),
    (
        frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect"}),
        _elsewhere,
    ),
    (frozenset({"NotImplemented"}), _unable),
)
# Statuses that may be another one in a moment.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONNECTING = {
    "Timeout": "it gave no answer in time",
    "Connect": "no connection to it came about",
}


def _meaning_of(said: _Said, cloud: Cloud, right: Right) -> _Meaning:
    """What is meant where the code is none that is known."""
    code = f" {said.code}" if said.code else ""
    if said.status in _PASSING:
        return StateAway, f"it has trouble of its own ({said.status}{code})", _CHECK_NETWORK
    if said.status == 401:
        return _with(_refused(cloud, right), f" (401{code})")
    if said.status == 403:
        return _with(_denied(cloud, right), f" (403{code})")
    if said.status == 501:
        return _with(_unable(cloud, right), f" (501{code})")
    if said.is_redirect:
        return _elsewhere(cloud, right)
    if said.is_untrusted:
        hint = "name the authority's certificate: SSL_CERT_FILE, or AWS_CA_BUNDLE for s3"
        return StateError, "its certificate is not trusted here", hint
    if said.failure:
        at = f" ({said.host})" if said.host else ""
        words = _CONNECTING.get(said.failure, "the connection to it broke")
        return StateAway, f"{words}{at}", _CHECK_NETWORK
    did = f"refused ({said.status}{code})" if said.status else "cannot be used"
    return StateError, f"it {did}: {said.sentence}", cloud.log_in


def _with(meaning: _Meaning, more: str) -> _Meaning:
    kind, cause, hint = meaning
    return kind, cause + more, hint


_STATUS = re.compile(r"status code: (\d{3})\b")
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,60})</Code>")
_SENTENCE = re.compile(r"<Message>([^<]{1,1000})")
_ASKED = re.compile(r"Error performing [A-Z]{1,10} (https?://[^\s?]{1,500})")
_FAILURE = re.compile(r"HttpError \{\s{1,60}kind: ([A-Za-z]{1,30})")
# Where machines of a cloud ask for their credentials.
_METADATA = frozenset({"169.254.169.254", "169.254.170.2", "metadata.google.internal"})
_LONGEST = 16_384


class _Said(Struct, frozen=True):
    """The facts of what obstore says of a failure, which it gives as text alone."""

    status: int | None
    code: str
    sentence: str
    host: str
    failure: str
    is_about_login: bool
    is_redirect: bool
    is_untrusted: bool

    @classmethod
    def of(cls, error: Exception) -> _Said:
        text = str(error)[:_LONGEST]
        status, code = _STATUS.search(text), _CODE.search(text)
        asked, failure = _ASKED.search(text), _FAILURE.search(text)
        sentence = _SENTENCE.search(text)
        host = urlsplit(asked[1]).netloc if asked else ""
        first = text.partition("\n")[0]
        return cls(
            status=int(status[1]) if status else None,
            code=code[1] if code else "",
            sentence=printable(cleaned(sentence[1] if sentence else first), LONGEST_SENTENCE),
            host=host,
            failure=failure[1] if failure else "",
            is_about_login=host.rpartition("@")[2].partition(":")[0] in _METADATA
            or "token request" in first
            or "MissingAccount" in text,
            is_redirect="Received redirect" in first or (status is not None and status[1] == "301"),
            is_untrusted="InvalidCertificate" in text,
        )


def _options(endpoint: str | None) -> dict[str, Any]:
    """What all stores are opened with."""
    return {
        "client_options": {
            "connect_timeout": CONNECT_TIMEOUT,
            "timeout": REQUEST_TIMEOUT,
            "user_agent": "imgmigrate",
            "allow_http": endpoint is not None and endpoint.startswith("http:"),
        },
        "retry_config": {
            "max_retries": RETRIES,
            "retry_timeout": RETRY_TIME,
            "backoff": {"init_backoff": FIRST_PAUSE, "max_backoff": LONGEST_PAUSE, "base": 2},
        },
    }


def _hide(cloud: Cloud) -> None:
    for name in cloud.secrets:
        hide(os.environ.get(name))


def _open_s3(bucket: str, prefix: str, endpoint: str | None) -> Any:
    """Open a bucket of S3, or of what speaks like it; path style unless the environment asks."""
    from obstore.store import S3Store

    _hide(CLOUDS["s3"])
    options = _options(endpoint)
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        with open(bundle, "rb") as file:
            options["client_options"]["root_certificate"] = file.read()
    if endpoint:
        options["endpoint"] = endpoint
    if not os.environ.get("AWS_ACCESS_KEY_ID"):
        options |= _profile()
    # Not every store knows the request that deletes many, and few are deleted.
    return S3Store(bucket, prefix=prefix, disable_bulk_delete=True, **options)


def _profile() -> dict[str, Any]:
    """Credentials and region of `AWS_PROFILE` and `~/.aws`, single sign-on included: botocore's.

    Without botocore, or where it finds nothing, obstore looks by itself: a web identity, the
    container's or the machine's role.
    """
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError:
        if os.environ.get("AWS_PROFILE"):
            cause = "AWS_PROFILE is read by botocore, which is not installed"
            raise UsageError(cause, hint="pip install 'imgmigrate[objectstore,aws]'") from None
        return {}
    try:
        session = Session()
        credentials, region = session.get_credentials(), session.get_config_variable("region")
    except BotoCoreError as error:
        raise StateError(f"AWS's credentials cannot be used: {error}", hint=_AWS) from None
    found: dict[str, Any] = {"region": region} if region else {}
    if credentials is None:
        return found

    def provide() -> dict[str, Any]:
        frozen = credentials.get_frozen_credentials()
        hide(frozen.secret_key)
        hide(frozen.token)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + BELIEVED,
        }

    return found | {"credential_provider": provide}


def _open_gs(bucket: str, prefix: str, endpoint: str | None) -> Any:
    """Open a bucket of Google Cloud Storage with the application's default credentials."""
    from obstore.store import GCSStore

    _hide(CLOUDS["gs"])
    options = _options(endpoint)
    if endpoint:
        options["base_url"] = endpoint
    if os.environ.get("STORAGE_EMULATOR_HOST"):
        # An emulator asks for none; `skip_signature` is for reading only.
        options["bearer_token"] = "emulator"
    return GCSStore(bucket, prefix=prefix, **options)


def _open_az(container: str, prefix: str, endpoint: str | None) -> Any:
    """Open a container of Azure's Blob Storage; also by the variables that `az` itself reads."""
    from obstore.store import AzureStore

    _hide(CLOUDS["az"])
    options, told = _options(endpoint), _connection()
    hide(told.get("AccountKey"))
    hide(told.get("SharedAccessSignature"))
    if endpoint := endpoint or told.get("BlobEndpoint"):
        options["endpoint"] = endpoint
        options["client_options"]["allow_http"] = endpoint.startswith("http:")
    for name, part, variables in (
        ("account_name", "AccountName", ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")),
        ("account_key", "AccountKey", ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY")),
        ("sas_key", "SharedAccessSignature", ("AZURE_STORAGE_SAS_TOKEN",)),
    ):
        values = (*(os.environ.get(each) for each in variables), told.get(part))
        if value := next(filter(None, values), None):
            options[name] = value
    return AzureStore(container, prefix=prefix, **options)


def _connection() -> dict[str, str]:
    """The parts of `AZURE_STORAGE_CONNECTION_STRING`."""
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    parts = (part.partition("=") for part in text.split(";"))
    return {name.strip(): value for name, is_one, value in parts if is_one}


def _azure_account() -> str:
    names = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
    named = next(filter(None, (os.environ.get(name) for name in names)), None)
    return named or _connection().get("AccountName", "")


_AWS: Final = (
    "log in as AWS's own tools do: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE (with"
    " pip install 'imgmigrate[aws]'), or the role of the machine"
)
CLOUDS: Final[dict[str, Cloud]] = {
    "s3": Cloud(
        name="S3",
        open=_open_s3,
        variables=("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        secrets=("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        bucket="bucket",
        if_none="If-None-Match: *",
        if_same="If-Match",
        log_in=_AWS,
        rights="s3:GetObject, s3:PutObject and s3:DeleteObject under the prefix, and s3:ListBucket",
    ),
    "gs": Cloud(
        name="Google Cloud Storage",
        open=_open_gs,
        variables=("GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST"),
        secrets=("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN"),
        bucket="bucket",
        if_none="x-goog-if-generation-match: 0",
        if_same="x-goog-if-generation-match",
        log_in="log in as Google's own tools do: GOOGLE_APPLICATION_CREDENTIALS, gcloud auth"
        " application-default login, or the identity of the machine",
        rights="the role Storage Object User (roles/storage.objectUser) on the bucket",
    ),
    "az": Cloud(
        name="Azure Blob Storage",
        open=_open_az,
        variables=("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        secrets=(
            *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY"),
            *("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY", "AZURE_CLIENT_SECRET"),
            *("AZURE_STORAGE_CLIENT_SECRET", "AZURE_STORAGE_CONNECTION_STRING"),
        ),
        bucket="container",
        if_none="If-None-Match: *",
        if_same="If-Match",
        log_in="log in as Azure's own tools do: AZURE_STORAGE_ACCOUNT_NAME with"
        " AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_CONNECTION_STRING, a client's secret, or a"
        " workload's or the machine's identity",
        rights="the role Storage Blob Data Contributor on the container",
        account=_azure_account,
    ),
}
