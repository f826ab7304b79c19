"""Match tags and references by one language: exact names, globs and regexes.

Pure. `*` and `?` stay inside one path segment, `**` crosses `/`; the colon before a tag and the
`@` before a digest separate like `/`, and no wildcard crosses them; a pattern without such a
part matches every tag and digest. A `**` that is a whole segment also stands for no segment.
`/.../` is a regex in google-re2's syntax, unanchored, of a whole reference or of a tag; behind
a glob and a colon (`host/team/*:/^v/`) it is a regex of the tag alone.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import re2

from imgmigrate.oci.reference import LAYOUTS, is_tag, normalise_host, parse_endpoint

if TYPE_CHECKING:
    from imgmigrate.oci.reference import Reference, Repository

__all__ = [
    "Pattern",
    "compile_regex",
    "has_wildcard",
    "literal_segments",
    "parse_pattern",
    "parse_tag_pattern",
    "split_target",
]

_WILDCARDS = frozenset("*?")


@dataclass(frozen=True, slots=True)
class _Part:
    """One side of a separator: a literal text, or an expression that must match it."""

    text: str
    expression: Any = None
    anchored: bool = True

    def matches(self, value: str) -> bool:
        if self.expression is None:
            return value == self.text
        search = self.expression.fullmatch if self.anchored else self.expression.search
        return search(value) is not None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern; equal to another if both were written alike.

    `is_exact` tells a plain name, which needs no listing to be found. A pattern does not know
    whether it is meant for tags or for references: the caller asks the one it means.
    """

    text: str
    is_exact: bool
    _whole: _Part = field(repr=False, compare=False)
    _repository: _Part | None = field(default=None, repr=False, compare=False)
    _tag: _Part | None = field(default=None, repr=False, compare=False)
    _digest: _Part | None = field(default=None, repr=False, compare=False)
    _reference: Reference | None = field(default=None, repr=False, compare=False)

    def matches_tag(self, tag: str) -> bool:
        """Tell whether the whole pattern, read as that of a tag, matches `tag`."""
        return self._whole.matches(tag)

    def matches_reference(self, reference: Reference) -> bool:
        """Tell whether the pattern, read as that of an address, matches `reference`.

        An exact pattern also matches the name that it normalises to (`nginx` is
        `docker.io/library/nginx`); a glob matches only what is written.
        """
        if self._reference is not None:
            wanted = self._reference
            return reference.repository == wanted.repository and (
                (wanted.tag is None and wanted.digest is None)
                or (wanted.tag == reference.tag and wanted.digest == reference.digest)
            )
        if self._repository is None:
            return self._whole.expression is not None and self._whole.matches(str(reference))
        if not self._repository.matches(str(reference.repository)):
            return False
        if self._tag is not None:
            return reference.tag is not None and self._tag.matches(reference.tag)
        if self._digest is not None:
            return reference.digest is not None and self._digest.matches(reference.digest)
        return True

    def may_match(self, repository: Repository) -> bool:
        """Tell whether, read as that of an address, it may match something of a repository."""
        if self._reference is not None:
            return repository == self._reference.repository
        if self._repository is None:
            return self._whole.expression is not None
        return self._repository.matches(str(repository))

    def only_repository(self) -> Repository | None:
        """The one repository that it may match something of, read as that of an address.

        None if that may be several, or none.
        """
        if self._reference is not None:
            return self._reference.repository
        if self._repository is None or self._repository.expression is not None:
            return None
        named = _reference(self._repository.text)
        if named is None or str(named.repository) != self._repository.text:
            return None
        return named.repository

    def may_match_in(self, store: str) -> bool:
        """Tell whether, read as that of an address, it may match something in a store."""
        if self._reference is not None:
            return store == self._reference.repository.store
        if self._repository is None:
            return self._whole.expression is not None
        host, slash, _ = self._repository.text.partition("/")
        if self._repository.text.startswith(LAYOUTS):
            return store == LAYOUTS
        return not slash or has_wildcard(host) or host == store

    def __str__(self) -> str:
        return self.text


def parse_pattern(text: str) -> Pattern:
    """Parse an exact name, a glob or a `/regex/`; ValueError says what is wrong."""
    if not text:
        msg = "a pattern cannot be empty"
        raise ValueError(msg)
    if text.startswith("/"):
        return Pattern(text, is_exact=False, _whole=_regex(text))
    name, separator, target = split_target(text)
    if target.startswith("/"):
        tag = _regex(target)
        return Pattern(text, is_exact=False, _whole=tag, _repository=_names(name), _tag=tag)
    if not has_wildcard(text):
        return Pattern(text, is_exact=True, _whole=_Part(text), _reference=_reference(text))
    _check_glob(text)
    return Pattern(
        text,
        is_exact=False,
        _whole=_glob(text),
        _repository=_names(name),
        _tag=_glob(target) if separator == ":" else None,
        _digest=_glob(target) if separator == "@" else None,
    )


def parse_tag_pattern(text: str) -> Pattern:
    """Parse a pattern that is meant for tags alone; ValueError also if no tag can match it."""
    pattern = parse_pattern(text)
    if text.startswith("/"):
        return pattern
    filled = text.replace("*", "x").replace("?", "x")
    if not is_tag(filled):
        kind = "is not a tag" if pattern.is_exact else "matches no tag"
        hint = "several tags are a list: [a, b]" if "," in text else "/.../ would be a regex"
        msg = f"{text!r} {kind}; {hint}"
        raise ValueError(msg)
    return pattern


def compile_regex(text: str) -> Any:
    """Compile what stands between the slashes of a `/regex/`; ValueError says what is wrong."""
    return _regex(text).expression


def split_target(text: str) -> tuple[str, str, str]:
    """Split `name:tag` or `name@digest` into name, separator and the rest.

    The separator is empty where there is none. A port's colon, the one of `oci:` and those
    inside a tag's `/regex/` do not separate.
    """
    scheme = LAYOUTS if text.startswith(LAYOUTS) else ""
    rest = text.removeprefix(LAYOUTS)
    head, colon, regex = rest.partition(":/")
    if colon and len(regex) > 1 and regex.endswith("/") and not regex.startswith("/"):
        return scheme + head, ":", f"/{regex}"
    start = rest.rfind("/") + 1
    for separator in ("@", ":"):
        position = rest.find(separator, start)
        if position >= 0:
            return scheme + rest[:position], separator, rest[position + 1 :]
    return text, "", ""


def literal_segments(glob: str) -> list[str]:
    """The segments of a path before the first that holds a wildcard."""
    segments = glob.split("/")
    wild = (number for number, each in enumerate(segments) if has_wildcard(each))
    return segments[: next(wild, len(segments))]


def has_wildcard(text: str) -> bool:
    """Tell whether `text` holds a `*` or a `?`."""
    return not _WILDCARDS.isdisjoint(text)


def _reference(text: str) -> Reference | None:
    """What an exact pattern names; None if it can only be meant for a tag."""
    try:
        return parse_endpoint(text)
    except ValueError:
        return None


def _names(name: str) -> _Part:
    """Make the part for repositories, written as they are printed: hosts and paths normalised."""
    if name.startswith(LAYOUTS):
        return _glob(LAYOUTS + posixpath.normpath(name.removeprefix(LAYOUTS)), LAYOUTS)
    host, slash, path = name.partition("/")
    if slash and not has_wildcard(host):
        name = f"{normalise_host(host)}/{path}"
    elif slash and "." in host:  # a printed host has no such port
        name = f"{host.removesuffix(':443')}/{path}"
    return _glob(name)


def _check_glob(text: str) -> None:
    host, _, path = text.partition("/")
    for character in path if host.startswith("[") else text:  # the brackets of an IPv6 host
        if character == "\\":
            msg = f"{text!r}: a backslash means nothing in a glob; use /.../ for a regex"
            raise ValueError(msg)
        if character in "{}[]" or character.isspace() or not character.isprintable():
            msg = f"{text!r}: {character!r} cannot be in a glob; its wildcards are *, ** and ?"
            raise ValueError(msg)


def _regex(text: str) -> _Part:
    if len(text) < 3 or not text.endswith("/"):
        msg = f"{text!r} is not a regex: write /.../ with something between the slashes"
        raise ValueError(msg)
    return _Part(text, _compile(text[1:-1]), anchored=False)


def _glob(text: str, prefix: str = "") -> _Part:
    """Translate a glob; `prefix` is the part of it that no wildcard can begin in."""
    if not has_wildcard(text):
        return _Part(text)
    segments = text.removeprefix(prefix).split("/")
    expression = re2.escape(prefix)
    for number, segment in enumerate(segments):
        is_last = number == len(segments) - 1
        if segment == "**" and not is_last:
            # A leading one also stands for the folder-like "oci:" of layouts.
            expression += "(?:oci:)?(?:.*/)?" if number == 0 and not prefix else "(?:.*/)?"
        else:
            expression += _segment(segment) + ("" if is_last else "/")
    return _Part(text, _compile(f"(?s){expression}"))


def _segment(text: str) -> str:
    found, position = "", 0
    while position < len(text):
        stars = len(text) - position - len(text[position:].lstrip("*"))
        if stars:
            found += ".*" if stars > 1 else "[^/]*"
        else:
            found += "[^/]" if text[position] == "?" else re2.escape(text[position])
        position += stars or 1
    return found


def _compile(expression: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "not valid"
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        msg = f"the regex /{expression}/ does not compile: {reason}"
        raise ValueError(msg) from None
