"""Globs that a user gives over addresses; one that matches nothing is a typing error.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.errors import UsageError
from imgmigrate.matching import parse_pattern

if TYPE_CHECKING:
    from imgmigrate.matching import Pattern
    from imgmigrate.oci.reference import Reference, Repository

__all__ = ["Globs"]


class Globs:
    """Globs over addresses that remember which of them ever matched."""

    def __init__(self, parameter: str, texts: tuple[str, ...], *, of: str = "this plan") -> None:
        self._parameter, self._of = parameter, of
        self._unmatched = set(texts)
        self._patterns: list[tuple[str, Pattern]] = []
        for text in texts:
            try:
                self._patterns.append((text, parse_pattern(text)))
            except ValueError as error:
                raise UsageError(str(error), parameter=parameter, value=text) from None

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def match(self, address: Reference) -> bool:
        """Tell whether some glob matches, and note each that does."""
        hits = [text for text, pattern in self._patterns if pattern.matches_reference(address)]
        self._unmatched.difference_update(hits)
        return bool(hits)

    def may_match(self, repository: Repository) -> bool:
        """Tell whether some glob may match an address of a repository; notes nothing."""
        return any(pattern.may_match(repository) for _, pattern in self._patterns)

    def repositories(self) -> set[Repository] | None:
        """All repositories that some glob may match something of; None if nobody can list them."""
        found = [pattern.only_repository() for _, pattern in self._patterns]
        named = {each for each in found if each is not None}
        return named if None not in found else None

    def may_match_first(self, repository: Repository) -> bool:
        """Tell whether some glob that matched nothing so far may match in a repository."""
        return any(
            pattern.may_match(repository)
            for text, pattern in self._patterns
            if text in self._unmatched
        )

    def may_match_in(self, store: str) -> bool:
        """Tell whether some glob may match an address in a store; notes nothing."""
        return any(pattern.may_match_in(store) for _, pattern in self._patterns)

    def excuse(self, repository: Repository) -> None:
        """Take a glob that may match an address of an unreadable repository as no typing error."""
        hits = (text for text, pattern in self._patterns if pattern.may_match(repository))
        self._unmatched.difference_update(hits)

    def check(self) -> None:
        """Refuse a glob that matched nothing: it is a typing error."""
        for text in sorted(self._unmatched):
            cause = f"matches no address of {self._of}"
            hint = "globs match destinations, such as registry.new/team/**:v1.*"
            raise UsageError(cause, parameter=self._parameter, value=text, hint=hint)
