"""Check signed requests as clouds do, from what arrived and by nobody else's code.

AWS: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
Alibaba Cloud: alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fakes.registry.calls import Call

_FIELDS = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")


def is_signed_for_aws(
    call: Call, body: bytes, key: tuple[str, str], region: str, service: str
) -> bool:
    """Tell whether a request bears the right Signature V4 of an access key."""
    scheme, fields = _authorization(call)
    moment = call.request.headers.get("X-Amz-Date", "")
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    if scheme != "AWS4-HMAC-SHA256" or fields.get("Credential") != f"{key[0]}/{scope}":
        return False
    signed = f"{scheme}\n{moment}\n{scope}\n{_canonical(call, fields['SignedHeaders'], body)}"
    derived = f"AWS4{key[1]}".encode()
    for part in (*scope.split("/"), signed):
        derived = hmac.new(derived, part.encode(), hashlib.sha256).digest()
    return derived.hex() == fields.get("Signature")


def is_signed_for_alibaba(call: Call, key: tuple[str, str]) -> bool:
    """Tell whether a request without a body bears the right Signature V3 of an access key."""
    scheme, fields = _authorization(call)
    names = fields.get("SignedHeaders", "")
    own = {name.lower() for name in call.request.headers if name.lower().startswith("x-acs-")}
    if scheme != "ACS3-HMAC-SHA256" or fields.get("Credential") != key[0]:
        return False
    if not own <= set(names.split(";")) or "x-acs-signature-nonce" not in own:
        return False
    signed = f"{scheme}\n{_canonical(call, names, b'')}"
    expected = hmac.new(key[1].encode(), signed.encode(), hashlib.sha256).hexdigest()
    return expected == fields.get("Signature")


def _authorization(call: Call) -> tuple[str, dict[str, str]]:
    scheme, _, rest = call.request.headers.get("Authorization", "").partition(" ")
    return scheme, dict(_FIELDS.findall(rest))


def _canonical(call: Call, names: str, body: bytes) -> str:
    """The hash of the canonical request, which both clouds lay out alike."""
    query = "&".join(sorted(call.raw_query.split("&")))
    headers = "".join(
        f"{name}:{call.request.headers.get(name, '').strip()}\n" for name in names.split(";")
    )
    digest = hashlib.sha256(body).hexdigest()
    text = "\n".join((call.method, call.path, query, headers, names, digest))
    return hashlib.sha256(text.encode()).hexdigest()
