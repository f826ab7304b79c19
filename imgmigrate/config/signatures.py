"""Whose signatures images need: `verify:` of a config, and of a trusted file.

No file is read here; of layouts it is asked where they are.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.config.guards import read_pattern
from imgmigrate.config.values.paths import resolve_path
from imgmigrate.oci.reference import LAYOUTS, Reference, Repository, relative_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgmigrate.config.reading.schema import VerifyModel
    from imgmigrate.config.reading.tree import KeyPath, Tree
    from imgmigrate.errors import ConfigError
    from imgmigrate.matching import Pattern

__all__ = ["KeyFile", "KeylessSigner", "SignatureRule", "build_signature_rules"]


class KeyFile(Struct, frozen=True):
    """A public key as the config names it, and where it is; `tree` and `at` are for errors."""

    name: str
    path: Path
    tree: Tree
    at: KeyPath

    def error(self, message: str, hint: str | None = None) -> ConfigError:
        """Make the error that names where the config names this key."""
        return self.tree.error(f"{self.name}: {message}", self.at, hint=hint)


class KeylessSigner(Struct, frozen=True):
    """Who signs without a key, and who vouches for that; `tree` and `at` are for errors."""

    identity: str
    issuer: str
    root: KeyFile | None
    tree: Tree
    at: KeyPath

    def error(self, message: str, hint: str | None = None) -> ConfigError:
        """Make the error that names where the config names this signer."""
        return self.tree.error(message, self.at, hint=hint)


class SignatureRule(Struct, frozen=True):
    """One entry of `verify`: whose signature an image from such a source needs.

    By one of the keys, or by who signs without one.
    """

    match: Pattern
    base: str
    keys: tuple[KeyFile, ...] = ()
    keyless: KeylessSigner | None = None

    def concerns(self, source: Reference, base: Path | None = None) -> bool:
        """Tell whether it is about an image from a source, by whichever of its names.

        `base` is what a layout's path is relative to, if not the rule's own. One that is pinned is
        also meant by its tag alone, and by its digest alone; one that has no tag by any pattern
        about its repository: nobody gets around a pattern by leaving the tag out.
        """
        names = list(_names(source, base or Path(self.base), self.base))
        text = str(self.match)
        if source.tag is None and not text.startswith("/") and "@" not in text:
            return any(self.match.may_match(name.repository) for name in names)
        return any(self.match.matches_reference(name) for name in names)


def build_signature_rules(
    tree: Tree, entries: Sequence[VerifyModel], base: Path
) -> tuple[SignatureRule, ...]:
    """Check what stands below `verify`; ConfigError with its place if an entry is wrong.

    `base` is the folder that keys and layouts are relative to.
    """
    return tuple(_rule(tree, each, base, ("verify", n)) for n, each in enumerate(entries))


def _rule(tree: Tree, entry: VerifyModel, base: Path, at: KeyPath) -> SignatureRule:
    match = read_pattern(tree, entry.match, (*at, "match"), "asks")
    if match.is_exact and match.only_repository() is None:
        message = f"{entry.match!r} names no image, so it asks for nothing"
        raise tree.error(message, (*at, "match"))
    keys = tuple(_key(tree, text, base, (*at, "key", n)) for n, text in enumerate(entry.key))
    keyless = _keyless(tree, entry, base, at)
    if keys and keyless is not None:
        message = "a key and an identity are two signers"
        raise tree.error(message, (*at, "key"), hint="write an entry for each")
    if not keys and keyless is None:
        hint = "write key: cosign.pub, or identity and issuer"
        raise tree.error("is missing", (*at, "key"), hint=hint)
    return SignatureRule(match, str(base), keys, keyless)


def _keyless(tree: Tree, entry: VerifyModel, base: Path, at: KeyPath) -> KeylessSigner | None:
    named = {
        key: getattr(entry, key)
        for key in ("identity", "issuer", "trusted_root")
        if getattr(entry, key) is not None
    }
    if not named:
        return None
    for key in ("identity", "issuer"):
        if not named.get(key):  # whoever vouches for anybody vouches for nobody
            hint = "an identity is only as good as who vouches for it: write both"
            raise tree.error("is missing", (*at, key), hint=hint)
    root = entry.trusted_root
    file = None if root is None else _key(tree, root, base, (*at, "trusted_root"))
    return KeylessSigner(named["identity"], named["issuer"], file, tree, (*at, "identity"))


def _key(tree: Tree, text: str, base: Path, at: KeyPath) -> KeyFile:
    try:
        path = resolve_path(text, base)
    except ValueError as error:
        raise tree.error(str(error), at) from None
    return KeyFile(text, path, tree, at)


def _names(source: Reference, base: Path, own: str) -> Iterator[Reference]:
    """All names of a source: a layout's as written, and by its place, seen from `own` too."""
    names = {source}
    if source.repository.is_layout:
        path = os.path.normpath(os.path.join(base, source.repository.path))
        places = (path, os.path.realpath(path))
        paths = (name for each in places for name in (each, relative_path(each, own)))
        names |= {replace(source, repository=Repository(LAYOUTS, each)) for each in paths}
    for each in names:
        yield each
        if each.tag is not None and each.digest is not None:
            yield replace(each, digest=None)
            yield replace(each, tag=None)
