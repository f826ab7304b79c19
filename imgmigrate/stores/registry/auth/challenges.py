"""Read `WWW-Authenticate` with a tokenizer, never by splitting at commas.

Pure. One header line may hold several challenges, a quoted `scope` holds commas and spaces,
and every character comes from the server. Grammar: RFC 9110 sections 5.6 and 11.6.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Challenge", "parse_challenges"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=+(?=\s*(?:,|$))")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_GAP = re.compile(r"[\s,]*")
_EQUALS = re.compile(r"\s*=\s*")
# A real challenge holds three or four; the rest of a longer one is ignored.
MOST_PARAMETERS = 32


class Challenge(Struct, frozen=True):
    """One way to authenticate that a server offers; scheme and parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """A parameter, or None if it is absent or empty."""
        return self.parameters.get(name) or None

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes it asks for; they are separated by spaces."""
        return tuple(self.parameters.get("scope", "").split())


def parse_challenges(lines: Iterable[str]) -> tuple[Challenge, ...]:
    """Read every challenge of every header line; what cannot be read ends its line."""
    return tuple(challenge for line in lines for challenge in _line(line))


def _line(text: str) -> Iterator[Challenge]:
    position = _skip(_GAP, text, 0)
    while scheme := _TOKEN.match(text, position):
        position = _skip(_GAP, text, scheme.end())
        if blob := _TOKEN68.match(text, position):
            position = _skip(_GAP, text, blob.end())
        parameters: dict[str, str] = {}
        while found := _parameter(text, position):
            name, value, position = found
            if len(parameters) < MOST_PARAMETERS:
                parameters.setdefault(name, value)
            position = _skip(_GAP, text, position)
        yield Challenge(scheme[0].lower(), parameters)


def _parameter(text: str, position: int) -> tuple[str, str, int] | None:
    name = _TOKEN.match(text, position)
    equals = _EQUALS.match(text, name.end()) if name else None
    if name is None or equals is None:
        return None
    quoted = _QUOTED.match(text, equals.end())
    if quoted:
        return name[0].lower(), re.sub(r"\\(.)", r"\1", quoted[1]), quoted.end()
    bare = re.compile(r"[^\s,\"]+").match(text, equals.end())
    return (name[0].lower(), bare[0], bare.end()) if bare else None


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position
