"""A command that prints what a test lays out, and notes that it was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Login"]


class Login:
    """A `credential_command`; it prints the text that was `set` last."""

    def __init__(self, folder: Path, answer: str = "") -> None:
        self._answer, self._asked = folder / "answer", folder / "asked"
        self.command = ("/bin/sh", "-c", 'echo >> "$1"; cat "$0"', self._answer, self._asked)
        self.set(answer)

    @property
    def words(self) -> tuple[str, ...]:
        """The command as the config has it."""
        return tuple(str(word) for word in self.command)

    @property
    def asked(self) -> int:
        """How often it ran."""
        return len(self._asked.read_text()) if self._asked.exists() else 0

    def set(self, answer: str) -> None:
        """Let it print this from now on."""
        self._answer.write_text(answer)
