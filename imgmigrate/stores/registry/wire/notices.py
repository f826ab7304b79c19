"""Tell the user what stops nothing, once: what a registry warns of, and what we find out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgmigrate.events import Warned
from imgmigrate.redaction import printable, redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgmigrate.events import Sink

__all__ = ["Notices"]

# A registry that warns of ever new things would fill the screen and the memory.
MOST_WARNINGS = 20
_WARNING = re.compile(r'\s*299 \S+ "((?:[^"\\]|\\.){1,4096})"')


class Notices:
    """The warnings about one registry."""

    def __init__(self, host: str, sink: Sink) -> None:
        self._host, self._sink = host, sink
        self._warned: set[tuple[str, str]] = set()

    def warn(self, code: str, message: str) -> None:
        """Tell the user something that stops nothing, once."""
        if (code, message) not in self._warned and len(self._warned) < MOST_WARNINGS:
            self._warned.add((code, message))
            self._sink.emit(Warned(code, message))

    def heed(self, lines: Iterable[str]) -> None:
        """Pass on what a registry warns of (distribution-spec "Warnings")."""
        for line in lines:
            if (found := _WARNING.match(line)) is not None:
                text = re.sub(r"\\(.)", r"\1", found[1])
                message = f"{self._host} warns: {printable(redact(text), 256)}"
                self.warn("registry_warning", message)
