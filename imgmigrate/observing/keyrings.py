"""Who has to have signed an image, by the config, and whether a signature of theirs is there.

The one place that tells: for whoever plans, and for whoever writes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import StoreError
from imgmigrate.observing.signatures import find_flaws
from imgmigrate.signing.keyless import Keyless
from imgmigrate.signing.keys import LARGEST_KEY, PublicKey, read_public_key
from imgmigrate.signing.verdict import flaw_of, told

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgmigrate.config.signatures import KeyFile, SignatureRule
    from imgmigrate.observing.observe import Observer
    from imgmigrate.observing.referrers import Listings
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.signing.verdict import Judge
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["Demand", "Keyring", "Verifier", "concerned", "read_keys"]

_RELATIVE = "the path is relative to the folder of the file that names it"


class Keyring(Struct, frozen=True):
    """A rule of the config, and who judges by it; `names` are for people."""

    rule: SignatureRule
    judge: Judge
    names: str


class Demand(Struct, frozen=True):
    """What rows have in common that get one answer: an image, and which rules are about it."""

    repository: Repository
    digest: Digest
    rules: tuple[int, ...]


def concerned(
    rules: Sequence[SignatureRule], named: Reference, digest: Digest, base: Path
) -> Demand | None:
    """Say what has to be signed of an image that goes by a name; None if nothing has to.

    A rule about this very digest is about it under whichever tag it is found. `base` is what a
    layout's path is relative to.
    """
    image = replace(named, digest=digest) if named.tag is not None else named
    found = tuple(number for number, rule in enumerate(rules) if rule.concerns(image, base))
    return Demand(named.repository, digest, found) if found else None


class Verifier(Struct, frozen=True):
    """Looks for signatures where an image comes from; `keyrings` are those of all rules."""

    observer: Observer
    cache: ManifestCache
    keyrings: Sequence[Keyring]
    listings: Listings

    async def refusal(self, demand: Demand) -> str | None:
        """Say why an image is refused; None if each rule about it is satisfied.

        StoreError if nobody can tell.
        """
        place = self.observer.place(demand.repository)
        keyrings = [self.keyrings[number] for number in demand.rules]
        tags = await self.observer.tags_about(demand.repository, demand.digest)
        if isinstance(tags, StoreError):
            raise tags
        judges = [keyring.judge for keyring in keyrings]
        flaws = await find_flaws(place, demand.digest, tags, judges, self.cache, self.listings)
        for keyring, found in zip(keyrings, flaws, strict=True):
            if found is not None:
                return f"{told(found)}; needed is one by {keyring.names}"
        return None


def read_keys(rules: Sequence[SignatureRule]) -> list[Keyring]:
    """Read the keys of all rules; ConfigError says which cannot be used, and why."""
    return [_keyring(rule) for rule in rules]


def _keyring(rule: SignatureRule) -> Keyring:
    signer = rule.keyless
    if signer is None:
        keys = [_read(file) for file in rule.keys]
        names = " or ".join(key.name for key in keys)
        return Keyring(rule, partial(flaw_of, keys=keys), names)
    root = signer.root
    if root is not None and not root.path.is_file():
        raise root.error("there is no such file", _RELATIVE)
    try:
        keyless = Keyless(signer.identity, signer.issuer, root.path if root else None)
    except ValueError as error:
        raise (root or signer).error(str(error)) from None
    except ImportError:
        message = "checking signatures without a key needs sigstore, which is not installed"
        raise signer.error(message, "pip install 'imgmigrate[verify]'") from None
    return Keyring(rule, keyless.flaw_of, f"{signer.identity} ({signer.issuer})")


def _read(file: KeyFile) -> PublicKey:
    try:
        with open(file.path, "rb") as opened:
            return read_public_key(opened.read(LARGEST_KEY + 1), file.name)
    except FileNotFoundError:
        raise file.error("there is no such file", _RELATIVE) from None
    except OSError as error:
        raise file.error(f"it cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise file.error(str(error), "cosign makes one with: cosign public-key") from None
    except ImportError:
        message = "checking signatures needs cryptography, which is not installed"
        raise file.error(message, "pip install 'imgmigrate[verify]'") from None
