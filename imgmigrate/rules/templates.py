"""Fill in where a rule's images go: placeholders, flattened names and renamed tags.

Pure. A placeholder is known from the source's name, but for `{tag}`, which stays in a
destination's tag until there is one. What comes out is checked against the naming rules, so
that a name which no registry takes is an error of the config and not of an upload.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from imgmigrate.errors import ConfigError
from imgmigrate.matching import compile_regex, has_wildcard, split_target
from imgmigrate.oci.reference import (
    LAYOUTS,
    Digest,
    is_tag,
    layout_address,
    parse_endpoint,
    relative_path,
)
from imgmigrate.rules.globs import stand_in
from imgmigrate.rules.rule import Destination

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgmigrate.oci.reference import Reference, Repository
    from imgmigrate.rules.rule import GlobRule, Rule

__all__ = [
    "Renaming",
    "Template",
    "check_names",
    "concrete_rule",
    "has_placeholder",
    "parse_joint",
    "parse_renaming",
    "parse_template",
    "sample_rule",
    "values_of",
]

PLACEHOLDERS = ("registry", "repository", "match", "namespace", "name", "tag", "digest")
# Those that differ between the repositories of one glob.
_TELLING = frozenset({"repository", "match", "namespace", "name"})
TAG = "{tag}"
# The separators within a segment of a name (reference grammar).
_JOINTS = ("-", "_", "__", ".")
_FIELD = re.compile(r"\{([^{}]*)\}")
_GROUP = re.compile(r"\\(.?)", re.DOTALL)


class Template(Struct, frozen=True):
    """A destination as written; `name` is its repository, `tag` what stands behind the colon."""

    text: str
    name: str
    tag: str = ""

    @property
    def fields(self) -> frozenset[str]:
        """The placeholders that it uses."""
        return frozenset(_FIELD.findall(self.text))

    @property
    def tells_apart(self) -> bool:
        """Tell whether two repositories of one glob go to different places."""
        return not self.fields.isdisjoint(_TELLING)

    @property
    def tag_names(self) -> tuple[str, ...]:
        """The new tags by position, as written; none where `{tag}` says what becomes of each."""
        return tuple(self.tag.split(",")) if self.tag and TAG not in self.tag else ()

    def fill(self, values: Mapping[str, str], base: str) -> Destination:
        """Put the values in; ValueError names a result that is no destination.

        `base` is the folder that layouts are relative to.
        """
        name = self._filled_name(values)
        try:
            found = parse_endpoint(name)
        except ValueError as error:
            msg = f"{self.text!r} becomes {name!r}: {error}"
            raise ValueError(msg) from None
        if found.tag is not None or found.digest is not None:
            msg = f"{self.text!r} becomes {name!r}, which is not a repository"
            raise ValueError(msg)
        repository = found.repository
        if repository.is_layout:
            repository = layout_address(repository, base)
        if TAG in self.tag:
            return Destination(repository, form=_filled(self.tag, {**values, "tag": TAG}))
        names = tuple(_filled(each, values) for each in self.tag_names)
        for each in names:
            if not is_tag(each):
                msg = f"{self.text!r} becomes the tag {each!r}, which is none"
                raise ValueError(msg)
        return Destination(repository, names)

    def as_glob(self) -> str:
        """Write the repository with a wildcard for each placeholder: all that it may become."""
        return _FIELD.sub("**", self.name)

    def _filled_name(self, values: Mapping[str, str]) -> str:
        """Fill the repository; an empty `{namespace}` takes its slash along."""
        scheme = LAYOUTS if self.name.startswith(LAYOUTS) else ""
        segments = []
        for segment in self.name.removeprefix(scheme).split("/"):
            filled = _filled(segment, values)
            if filled or not _FIELD.search(segment):
                segments.append(filled)
        return scheme + "/".join(segments)


def has_placeholder(text: str) -> bool:
    """Tell whether a destination is meant to be filled in."""
    return "{" in text or "}" in text


def parse_template(text: str, *, has_match: bool, has_digest: bool) -> Template:
    """Read a destination with placeholders; ValueError says which of them cannot be filled."""
    if has_placeholder(_FIELD.sub("", text)):
        msg = "a brace has no partner; a placeholder is written {repository}"
        raise ValueError(msg)
    name, separator, target = split_target(text)
    if separator == "@":
        msg = "a digest cannot be chosen at a destination; leave it out"
        raise ValueError(msg)
    for name_ in _FIELD.findall(text):
        if name_ not in PLACEHOLDERS:
            import difflib

            near = difflib.get_close_matches(name_, PLACEHOLDERS, 1)
            meant = f"did you mean {{{near[0]}}}?" if near else f"known: {_list(PLACEHOLDERS)}"
            msg = f"{{{name_}}} is no placeholder; {meant}"
            raise ValueError(msg)
    if TAG in name:
        msg = "{tag} can only stand behind the colon: a repository does not depend on a tag"
        raise ValueError(msg)
    if "{match}" in text and not has_match:
        msg = "{match} is what a wildcard of the source matched, and it has none"
        raise ValueError(msg)
    if "{digest}" in text and not has_digest:
        msg = "{digest} is the digest that the source names, and it names none"
        raise ValueError(msg)
    if TAG in target and (has_digest or "," in target):
        because = "a source digest has none" if has_digest else "one form serves all tags"
        msg = f"{{tag}} cannot stand there: {because}"
        raise ValueError(msg)
    if has_wildcard(text):
        msg = "a wildcard has no meaning in a destination; {match} is what the source's matched"
        raise ValueError(msg)
    template = Template(text, name, target)
    for each in (target,) if TAG in target else template.tag_names:
        if not is_tag(_FIELD.sub("x", each)):
            msg = f"{each!r} is not a tag"
            raise ValueError(msg)
    return template


def parse_joint(text: str) -> str:
    """Check what `flatten` joins segments with."""
    if text not in _JOINTS:
        msg = f"{text!r} cannot join the segments of a name; use one of {_list(_JOINTS)}"
        raise ValueError(msg)
    return text


def values_of(
    source: Repository,
    *,
    base: str,
    joint: str | None = None,
    prefix: str | None = None,
    digest: Digest | None = None,
) -> dict[str, str]:
    """What the placeholders stand for.

    `joint` flattens names; `prefix` is what stands before the first wildcard of a glob. Of a
    layout with an absolute path they are what they would be if it were relative to `base`.
    """
    path = relative_path(source.path, base) if source.is_layout else source.path
    namespace, _, name = path.rpartition("/")
    names = {"repository": path, "namespace": namespace, "name": name}
    if prefix is not None:
        names["match"] = source.path[len(prefix) :]
    if joint is not None:
        names = {key: value.replace("/", joint) for key, value in names.items()}
    if not source.is_layout:
        names["registry"] = source.store
    if digest is not None:
        # No tag holds a colon; this is how the specification writes digests as tags.
        names["digest"] = digest.replace(":", "-")
    return names


def concrete_rule(rule: GlobRule, source: Repository, base: str) -> Rule:
    """Make the rule of one repository that a glob matched; ConfigError names a bad result."""
    prefix = re.split(r"[*?]", rule.rule.source.path, maxsplit=1)[0]
    values = values_of(source, base=base, joint=rule.joint, prefix=prefix)
    try:
        filled = [each.fill(values, base) for each in rule.destinations]
    except ValueError as error:
        message = f"for {source}, {error}"
        hint = 'change the destination, join segments with flatten: "-", or exclude the repository'
        raise ConfigError(message, file=rule.rule.file, line=rule.rule.line, hint=hint) from None
    if rule.names is not None:
        filled = [replace(each, repository=rule.names.name(each.repository)) for each in filled]
    destinations = tuple(dict.fromkeys(filled))
    return replace(rule.rule, source=source, destinations=destinations, from_glob=True)


def sample_rule(rule: GlobRule, base: str) -> Rule:
    """Make the rule of some repository that a glob might match, for what is said of all."""
    return concrete_rule(rule, stand_in(rule.rule.source), base)


def check_names(rule: Rule, source: Reference, addresses: tuple[Reference, ...]) -> None:
    """Refuse what renaming made of a tag where it is none, or is where it came from."""
    for address in addresses:
        message = hint = ""
        if address.tag is not None and not is_tag(address.tag):
            message = f"{source} would become {address.tag!r}, which is not a tag"
            hint = "change rename, or what stands behind the destination's colon"
        elif address == source:
            message = f"source and destination are the same: {source}"
            hint = "rename the tag, or leave it out"
        elif address.repository == source.repository and rule.selects(address.tag or ""):
            message = f"{source} would become {address.tag}, which the rule takes as a source too"
            hint = "select the tags more narrowly, or choose another repository"
        if message:
            raise ConfigError(message, file=rule.file, line=rule.line, hint=hint)


class Renaming(Struct, frozen=True):
    """How tags are renamed: exact ones first, then by the first regex that matches."""

    exact: tuple[tuple[str, str], ...] = ()
    patterns: tuple[_Substitution, ...] = ()

    @property
    def written(self) -> tuple[tuple[str, str], ...]:
        """What becomes what, as the config has it, in the order in which it is tried."""
        return (*self.exact, *((each.text, each.replacement) for each in self.patterns))

    def of(self, tag: str) -> str:
        """The new name of a tag; the same where nothing applies."""
        for old, new in self.exact:
            if old == tag:
                return new
        for each in self.patterns:
            if each.expression.search(tag):
                return each.apply(tag)
        return tag


@dataclass(frozen=True, slots=True)
class _Substitution:
    r"""Replace all that a regex matches; `\1` is its first group."""

    text: str
    replacement: str
    expression: Any = field(repr=False, compare=False)

    def apply(self, tag: str) -> str:
        """Replace every match."""
        replaced: str = self.expression.sub(
            lambda match: _GROUP.sub(
                lambda group: match.group(int(group[1])) or "", self.replacement
            ),
            tag,
        )
        return replaced


def parse_renaming(renames: Mapping[str, str]) -> Renaming:
    """Read `rename`; ValueError says which of its entries is wrong."""
    exact: dict[str, str] = {}
    patterns = []
    for old, new in renames.items():
        if old.startswith("/"):
            patterns.append(_substitution(old, new))
            continue
        for text in (old, new):
            if not is_tag(text):
                msg = f"{text!r} is not a tag; a pattern to rename by is a /regex/"
                raise ValueError(msg)
        exact[old] = new
    _refuse_cycles(exact)
    return Renaming(tuple(exact.items()), tuple(patterns))


def _substitution(text: str, replacement: str) -> _Substitution:
    expression = compile_regex(text)
    for group in _GROUP.findall(replacement):
        if not group.isdigit() or int(group) > expression.groups:
            msg = (
                f"{replacement!r}: \\{group} names no group of {text}, "
                f"which has {expression.groups}"
            )
            raise ValueError(msg)
    return _Substitution(text, replacement, expression)


def _refuse_cycles(exact: Mapping[str, str]) -> None:
    """Tags are renamed once, so what goes round in a circle means something else."""
    olds: dict[str, str] = {}
    for old, new in exact.items():
        first = olds.setdefault(new, old)
        if first != old:
            msg = f"{first} and {old} both become {new}; give one of them another name"
            raise ValueError(msg)
    for start in exact:
        chain = [start]
        while (following := exact.get(chain[-1])) is not None:
            if following == start:
                msg = f"{' -> '.join([*chain, start])} goes round in a circle; remove one of them"
                raise ValueError(msg)
            if following in chain:
                break
            chain.append(following)


def _filled(text: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            msg = f"{{{found[1]}}} has no value here"
            raise ValueError(msg)
        return values[found[1]]

    return _FIELD.sub(value, text)


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)
