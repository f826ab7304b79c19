"""Refuse images that are not signed by whom the config names (`verify`).

Asked for are images that a row would write, or take over as they are: what is recorded and
unchanged has no row, and costs nothing. It is the image at the source that has to be signed,
whatever of it is chosen; what is signed as a whole holds for all that it consists of.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import StoreError
from imgmigrate.events import Warned
from imgmigrate.observing.problems import failed
from imgmigrate.observing.signatures import find_flaws
from imgmigrate.plan import Action, Change, Reason
from imgmigrate.signing.keyless import Keyless
from imgmigrate.signing.keys import LARGEST_KEY, PublicKey, read_public_key
from imgmigrate.signing.verdict import flaw_of, told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imgmigrate.config.signatures import KeyFile, SignatureRule
    from imgmigrate.events import Sink
    from imgmigrate.observing.observe import Observer
    from imgmigrate.observing.referrers import Listings
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.signing.verdict import Judge
    from imgmigrate.state.record import State
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["Keyring", "SignatureCheck", "read_keys"]

_RELATIVE = "the path is relative to the folder of the file that names it"
_TAKES = (Action.COPY, Action.UPDATE, Action.ADOPT)


class Keyring(Struct, frozen=True):
    """A rule of the config, and who judges by it; `names` are for people."""

    rule: SignatureRule
    judge: Judge
    names: str


class _Question(Struct, frozen=True):
    """What rows have in common that get one answer."""

    repository: Repository
    digest: Digest
    keyrings: tuple[int, ...]


class SignatureCheck(Struct, frozen=True):
    """Makes error rows of what would bring an image without the signatures that it needs."""

    observer: Observer
    cache: ManifestCache
    state: State
    keyrings: Sequence[Keyring]
    listings: Listings
    # What a layout's path is relative to.
    base: Path
    # None where only a part of the images is asked for.
    sink: Sink | None = None
    # The rows are about records, whatever the rules ask for: their own sources are meant.
    of_records: bool = False

    async def settle(
        self, changes: Sequence[Change], asked: Mapping[Reference, Asked]
    ) -> list[Change]:
        """Ask for each image once, whatever number of rows it has."""
        self._tell_idle(asked)
        questions = {
            change.address: question
            for change in changes
            if (question := self._question(change, asked)) is not None
        }
        wanted = list(dict.fromkeys(questions.values()))
        found = await self.observer.each(wanted, self._refusal, lambda each: each.repository.store)
        refusals = dict(zip(wanted, found, strict=True))
        return [
            self._settled(change, refusals[questions[change.address]])
            if change.address in questions
            else change
            for change in changes
        ]

    def _tell_idle(self, asked: Mapping[Reference, Asked]) -> None:
        """Tell of rules that are about no image at all: they may be misspelt."""
        if self.sink is None:
            return
        for keyring in self.keyrings:
            rule = keyring.rule
            if not any(rule.concerns(each.source, self.base) for each in asked.values()):
                message = f"verify: {rule.match} is about no image that the rules ask for"
                self.sink.emit(Warned("nothing_verified", message))

    def _question(self, change: Change, asked: Mapping[Reference, Asked]) -> _Question | None:
        """What has to be signed for a row, and by which of the rules; None if nothing has to."""
        if change.source is None or change.action not in _TAKES:
            return None
        each = asked.get(change.address)
        named = change.source.reference if self.of_records else each.source if each else None
        if named is None:
            return None
        concerned = tuple(
            number
            for number, keyring in enumerate(self.keyrings)
            if keyring.rule.concerns(named, self.base)
        )
        if not concerned:
            return None
        source = change.source
        return _Question(source.reference.repository, source.digest, concerned)

    async def _refusal(self, question: _Question) -> str | None:
        """Say why an image is refused; None if each rule about it is satisfied."""
        place = self.observer.place(question.repository)
        tags = await self.observer.tags_about(question.repository, question.digest)
        keyrings = [self.keyrings[number] for number in question.keyrings]
        try:
            if isinstance(tags, StoreError):
                raise tags
            judges = [keyring.judge for keyring in keyrings]
            flaws = await find_flaws(
                place, question.digest, tags, judges, self.cache, self.listings
            )
        except StoreError as error:
            return f"nobody can tell whether it is signed: {error}"
        for keyring, found in zip(keyrings, flaws, strict=True):
            if found is not None:
                return f"{told(found)}; needed is one by {keyring.names}"
        return None

    def _settled(self, change: Change, refusal: str | None) -> Change:
        if refusal is None or change.source is None:
            return change
        detail = f"source {change.source.reference}@{change.source.digest.short}: {refusal}"
        record = self.state.record(change.address)
        return failed(change.address, Reason.NOT_VERIFIED, detail, record)


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
