"""Globs of the command line over addresses; one that matches nothing is a typing error.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.errors import UsageError
from imgmigrate.matching import parse_pattern

if TYPE_CHECKING:
    from imgmigrate.matching import Pattern
    from imgmigrate.oci.reference import Reference

__all__ = ["Globs"]


class Globs:
    """Globs over addresses that remember which of them ever matched."""

    def __init__(self, option: str, texts: tuple[str, ...], *, of: str = "this plan") -> None:
        self._option, self._of = option, of
        self._unmatched = set(texts)
        self._patterns: list[tuple[str, Pattern]] = []
        for text in texts:
            try:
                self._patterns.append((text, parse_pattern(text)))
            except ValueError as error:
                message = f"--{option} {text}: {error}"
                raise UsageError(message) from None

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def match(self, address: Reference) -> bool:
        """Tell whether some glob matches, and note each that does."""
        hits = [text for text, pattern in self._patterns if pattern.matches_reference(address)]
        self._unmatched.difference_update(hits)
        return bool(hits)

    def check(self) -> None:
        """Refuse a glob that matched nothing: it is a typing error."""
        for text in sorted(self._unmatched):
            message = f"--{self._option} {text}: matches no address of {self._of}"
            hint = "globs match destinations, such as registry.new/team/**:v1.*"
            raise UsageError(message, hint=hint)
