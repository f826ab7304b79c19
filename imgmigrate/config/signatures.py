"""Whose signatures images need: `verify:` of a config, and of a trusted file. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imgmigrate.config.guards import layout_names, read_pattern
from imgmigrate.config.values.paths import resolve_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from imgmigrate.config.reading.schema import VerifyModel
    from imgmigrate.config.reading.tree import KeyPath, Tree
    from imgmigrate.errors import ConfigError
    from imgmigrate.matching import Pattern
    from imgmigrate.oci.reference import Reference

__all__ = ["KeyFile", "KeylessSigner", "SignatureRule", "build_signature_rules"]


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A public key as the config names it, and where it is; `tree` and `at` are for errors."""

    name: str
    path: Path
    tree: Tree
    at: KeyPath

    def error(self, message: str, hint: str | None = None) -> ConfigError:
        """Make the error that names where the config names this key."""
        return self.tree.error(f"{self.name}: {message}", self.at, hint=hint)


@dataclass(frozen=True, slots=True)
class KeylessSigner:
    """Who signs without a key, and who vouches for that; `tree` and `at` are for errors."""

    identity: str
    issuer: str
    root: KeyFile | None
    tree: Tree
    at: KeyPath

    def error(self, message: str, hint: str | None = None) -> ConfigError:
        """Make the error that names where the config names this signer."""
        return self.tree.error(message, self.at, hint=hint)


@dataclass(frozen=True, slots=True)
class SignatureRule:
    """One entry of `verify`: whose signature an image from such a source needs.

    By one of the keys, or by who signs without one.
    """

    match: Pattern
    base: str
    keys: tuple[KeyFile, ...] = ()
    keyless: KeylessSigner | None = None

    def concerns(self, source: Reference) -> bool:
        """Tell whether it is about an image from a source, by whichever of its names.

        One that is pinned is also meant by its tag alone, and by its digest alone.
        """
        return any(self.match.matches_reference(name) for name in _names(source, self.base))


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


def _names(source: Reference, base: str) -> Iterator[Reference]:
    for each in layout_names(source, base):
        yield each
        if each.tag is not None and each.digest is not None:
            yield replace(each, digest=None)
            yield replace(each, tag=None)
