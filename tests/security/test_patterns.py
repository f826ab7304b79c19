"""No pattern of ours backtracks: its work grows with the text, whoever wrote that.

Every pattern is run over texts that are made of its own parts, which is what an attack is made
of. At this length a pattern whose work grows with the square takes minutes; the guard ends it.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import signal
import string
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

import pytest

import imgmigrate
from imgmigrate.errors import StoreError
from imgmigrate.redaction import hide, redact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, ModuleType

LENGTH = 100_000
# A hang guard, of computing: a linear pattern takes some milliseconds for each text.
GUARD_SECONDS = 10.0
MOST_PARTS = 16
# Those that look for a match from every place of a text.
_SEARCHES = ("search", "sub", "subn", "split", "findall", "finditer")
_ANCHORED = ("compile", "match", "fullmatch")
_CHARACTERS = string.ascii_letters + string.digits + " -._/=;:,\"'\\\n\x00*{}$~^"


@dataclass(frozen=True)
class Used:
    """A pattern, and whether it is looked for from every place, or from one."""

    pattern: re.Pattern[str]
    searches: bool

    @property
    def name(self) -> str:
        """What identifies it among all."""
        return f"{'search' if self.searches else 'match'} {self.pattern.pattern}"


def all_used() -> dict[str, Used]:
    """Every pattern: objects of modules at any depth, and literals that functions are given."""
    found: dict[str, Used] = {}
    root = Path(imgmigrate.__path__[0])
    for module in pkgutil.walk_packages([str(root)], "imgmigrate."):
        if module.name != "imgmigrate.__main__":
            for used in _of_module(importlib.import_module(module.name)):
                found[used.name] = used
    return found


def _of_module(module: ModuleType) -> Iterator[Used]:
    text = Path(str(module.__file__)).read_text()
    verbs = "|".join(_SEARCHES)
    searches_any = re.search(rf"\b(?!re\.)[a-z_]+\.(?:{verbs})\(", text) is not None
    for name, value in vars(module).items():
        if isinstance(value, re.Pattern):
            yield Used(value, re.search(rf"\b{name}\.(?:{verbs})\(", text) is not None)
        else:
            yield from (Used(each, searches_any) for each in _held(value, 4))
    for node in ast.walk(ast.parse(text)):
        verb, literal = _literal(node)
        if verb in (*_SEARCHES, *_ANCHORED):
            yield Used(re.compile(literal), verb in _SEARCHES)


def _held(value: Any, depth: int) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from _held(each, depth - 1)
    elif depth and isinstance(value, dict):
        yield from _held(tuple(value.values()), depth - 1)


def _literal(node: ast.AST) -> tuple[str, str]:
    """The function of `re` that is called, and the pattern if it is spelled out there."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="re"), attr=verb),
            args=[ast.Constant(value=str(text)), *_],
        ):
            return verb, text
    return "", ""


def parts_of(pattern: re.Pattern[str]) -> list[str]:
    """Short texts that parts of a pattern match, to repeat and to stand before and behind."""
    parts: dict[str, None] = {}
    _collect(parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE), parts)
    return sorted((each for each in parts if each), key=len)[:MOST_PARTS]


def _collect(tree: Any, parts: dict[str, None]) -> str:
    """One text that a part matches; those of all parts in it are kept."""
    text = ""
    for code, value in tree:
        if code is codes.LITERAL:
            text += chr(value)
            continue
        # What stands before a repeated part is the start from which that is looked at.
        parts[text] = None
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            text += _collect(value[2], parts) * max(1, min(value[0], 8))
        elif code is codes.SUBPATTERN:
            text += _collect(value[3], parts)
        elif code is codes.ATOMIC_GROUP:
            text += _collect(value, parts)
        elif code is codes.BRANCH:
            branches = [_collect(each, parts) for each in value[1]]
            text += next((each for each in branches if each), "")
        elif code in (codes.ASSERT, codes.ASSERT_NOT):
            _collect(value[1], parts)
        elif code is codes.IN:
            text += next((each for each in _CHARACTERS if _is_in(each, value)), "")
        elif code is codes.NOT_LITERAL:
            text += "a" if value != ord("a") else "b"
        elif code is codes.ANY:
            text += "a"
    parts[text] = None
    return text


def _is_in(character: str, members: Any) -> bool:
    negated = hit = False
    for code, value in members:
        if code is codes.NEGATE:
            negated = True
        elif code is codes.LITERAL:
            hit = hit or ord(character) == value
        elif code is codes.RANGE:
            hit = hit or value[0] <= ord(character) <= value[1]
        elif code is codes.CATEGORY:
            hit = hit or {
                codes.CATEGORY_SPACE: character.isspace(),
                codes.CATEGORY_NOT_SPACE: not character.isspace(),
                codes.CATEGORY_DIGIT: character.isdigit(),
                codes.CATEGORY_WORD: character.isalnum() or character == "_",
            }.get(value, False)
    return hit is not negated


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """End what takes too long; `re` looks for signals while it works."""

    def ring(_: int, __: FrameType | None) -> None:
        pytest.fail(f"still at work after {GUARD_SECONDS:.0f} s: {what}")

    before = signal.signal(signal.SIGPROF, ring)
    # Not ITIMER_REAL: a busy machine makes everything late, and pytest-timeout uses that one.
    signal.setitimer(signal.ITIMER_PROF, GUARD_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def attacks(pattern: re.Pattern[str]) -> Iterator[str]:
    """Parts repeated, alone and behind each other part, and with something else at the end."""
    parts = parts_of(pattern)
    for pump in dict.fromkeys([*parts, *(one + other for one in parts for other in parts[:4])]):
        body = pump * (LENGTH // len(pump))
        yield body
        yield f"{body}\x00!"
        yield f"{parts[-1]}{body}\x00"


def attack(used: Used) -> None:
    for text in attacks(used.pattern):
        with guarded(f"{used.name!r} on {text[:40]!r}..."):
            pattern: re.Pattern[Any] = used.pattern
            said = text.encode() if isinstance(pattern.pattern, bytes) else text
            if used.searches:
                pattern.sub(said[:0], said)
            else:
                pattern.match(said)
                pattern.fullmatch(said)


USED = all_used()


@pytest.mark.parametrize("used", USED.values(), ids=[each[:60] for each in USED])
def test_no_pattern_backtracks(used: Used) -> None:
    """Neither one that looks from every place of a text, nor one that begins at its start."""
    attack(used)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "searches"),
    [
        (r"\b(x-amz-[a-z-]+)=", True),
        (r"\{\{-?\s*(.*?)\s*-?\}\}", True),
        (r"(?:\s|/\*.*?\*/)*\{", False),
        (r"\s*,", True),
        (r"(a+)+b", False),
    ],
)
def test_a_pattern_that_backtracks_is_found(
    monkeypatch: pytest.MonkeyPatch, pattern: str, searches: bool
) -> None:
    """The attacks are attacks: the faults that were mended here would be seen again."""
    monkeypatch.setitem(globals(), "GUARD_SECONDS", 2.0)
    with pytest.raises(pytest.fail.Exception, match="still at work"):
        attack(Used(re.compile(pattern, re.DOTALL), searches))


WORDS = ("x-amz-", "x-goog-", "bearer ", "basic\t", '"token" ', "a://", "eyJ", "sig=", "::a", "%2F")


@pytest.mark.parametrize("word", WORDS)
def test_an_error_of_a_server_is_read_in_linear_time(word: str) -> None:
    """A megabyte of what redaction looks for costs an error a moment, and a log not much more."""
    text = word * (1_000_000 // len(word))
    with guarded(word):
        assert len(str(StoreError("registry.new", text))) < 2_100
        redact(text)


def test_a_secret_that_is_cut_in_two_is_not_shown() -> None:
    """However often a server repeats it, so that what is left of a long text is short."""
    secret = "s3cr3t-" + "k" * 93
    hide(secret)
    for shift in range(12):
        for gap in (" ", ",", ""):
            shown = str(StoreError("registry.new", "x" * shift + f"{gap}{secret}" * 1_000))
            assert "kkkk" not in shown
            assert "s3cr3t" not in shown
