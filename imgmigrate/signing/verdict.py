"""Whether a claim holds: signed by a trusted key, for this very image.

Pure. The signature comes first: what was signed is read only if a trusted key signed it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from imgmigrate.signing.claims import Form

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imgmigrate.oci.reference import Digest
    from imgmigrate.signing.claims import Claim
    from imgmigrate.signing.keys import PublicKey

__all__ = ["Judge", "flaw_of", "flaw_of_names", "told", "unreadable"]

OTHER_KEY = "made by another key, or changed since"
CHANGED = "made by this key, and changed since"
KEYLESS = "made without a key"
# Kinds of flaws that are named, and characters of one: each may repeat what a server says.
MOST_NAMED, LONGEST_FLAW = 3, 300


class Judge(Protocol):
    """Says why a claim does not hold for an image, of which it gets the bytes; None if it does."""

    def __call__(self, claim: Claim, digest: Digest, manifest: bytes, /) -> str | None:
        """Judge one claim."""


def flaw_of(claim: Claim, digest: Digest, manifest: bytes, keys: Sequence[PublicKey]) -> str | None:
    """Say why a claim does not hold for an image by one of the keys; None if it does.

    `manifest` are the image's bytes, which have this digest; only `Form.MANIFEST` needs them.
    """
    message = manifest if claim.form is Form.MANIFEST else claim.message
    if not any(key.verifies(each, message) for key in keys for each in claim.signatures):
        if claim.is_keyless:
            return KEYLESS
        if claim.form is not Form.MANIFEST and claim.key_id in {key.key_id for key in keys}:
            return CHANGED
        return OTHER_KEY
    return flaw_of_names(claim, digest)


def flaw_of_names(claim: Claim, digest: Digest) -> str | None:
    """Say which other image a claim is for, whose signature is borne out; None if it is this."""
    try:
        other = claim.names(digest)
    except ValueError as error:
        return unreadable(str(error))
    return None if other is None else f"made for another image ({other})"


def unreadable(why: str) -> str:
    """Say of a claim that it makes no sense."""
    return f"not to be read ({why})"


def told(flaws: Iterable[str]) -> str:
    """Say in one line why none of the signatures of an image holds."""
    counted = Counter(flaw[:LONGEST_FLAW] for flaw in flaws)
    total = counted.total()
    if not total:
        return "it has no signature"
    if total == 1:
        return f"its signature was {next(iter(counted))}"
    if len(counted) == 1:
        return f"its {total} signatures were {next(iter(counted))}"
    named = counted.most_common(MOST_NAMED)
    parts = [f"{number} {flaw}" for flaw, number in named]
    left = total - sum(number for _, number in named)
    if left:
        parts.append(f"{left} for other reasons")
    return f"none of its {total} signatures holds: {'; '.join(parts)}"
