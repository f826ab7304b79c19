"""What a config guards: images from being deleted, moved or lost, and runs from old plans.

Pure. Patterns are over addresses, as everywhere.
"""

from __future__ import annotations

import os.path
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.config.values.quantities import read_duration
from imgmigrate.config.values.shares import read_share
from imgmigrate.matching import has_wildcard, parse_pattern
from imgmigrate.oci.reference import (
    LAYOUTS,
    Repository,
    normalise_host,
    parse_endpoint,
    relative_path,
)
from imgmigrate.rules.kept import parse_kept_name
from imgmigrate.rules.moves import parse_move

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.config.reading.schema import FileModel
    from imgmigrate.config.reading.tree import KeyPath, Tree
    from imgmigrate.config.values.shares import Share
    from imgmigrate.matching import Pattern
    from imgmigrate.oci.reference import Reference
    from imgmigrate.rules.kept import KeptName
    from imgmigrate.rules.moves import Move

__all__ = ["Guards", "build_guards", "read_kept_for", "read_kept_name", "read_pattern"]

# Whatever holds for other rules, the tags of this one are kept until somebody takes them away.
FOREVER = "forever"


class Guards(Struct, frozen=True):
    """`protect`, `max_delete`, a share of the recorded images, `moved`, `max_plan_age` in s.

    `keep_previous` names the tag of what an update or a delete replaces; a rule may say another,
    and for how many s such a tag is kept (`keep_previous_for`).
    The hosts of one set of `distinct` are known to be different registries.
    """

    protect: tuple[Pattern, ...] = ()
    max_delete: Share | None = None
    # `file:line`, for messages; the folder that the file is in is this machine's affair.
    max_delete_at: str = ""
    moved: tuple[Move, ...] = ()
    max_plan_age: float | None = None
    keep_previous: KeptName | None = None
    keep_previous_for: float | None = None
    distinct: tuple[frozenset[str], ...] = ()
    # The folder that layouts are relative to; empty where there is no config.
    base: str = ""

    def protects(self, address: Reference) -> bool:
        """Tell whether an image may not be deleted while the config says so.

        A layout is meant by its absolute and by its relative path, whichever its address has.
        """
        names = [address]
        if address.repository.is_layout and self.base and self.protect:
            path = os.path.normpath(os.path.join(self.base, address.repository.path))
            names += [
                replace(address, repository=Repository(LAYOUTS, each))
                for each in (path, relative_path(path, self.base))
            ]
        return any(pattern.matches_reference(name) for pattern in self.protect for name in names)

    def are_distinct(self, store: str, other: str) -> bool:
        """Tell whether two stores are known to be different: otherwise they may be one."""
        if store == other:
            return False
        if LAYOUTS in (store, other):
            return True
        return any(store in hosts and other in hosts for hosts in self.distinct)


def build_guards(tree: Tree, model: FileModel, base: Path) -> Guards:
    """Read the keys; ConfigError with their place if one is wrong.

    `base` is the folder that layouts are relative to.
    """
    return Guards(
        protect=tuple(
            read_pattern(tree, text, ("protect", index)) for index, text in enumerate(model.protect)
        ),
        max_delete=_share(tree, model.max_delete) if model.max_delete is not None else None,
        max_delete_at=f"{Path(tree.file).name}:{tree.line(('max_delete',))}",
        moved=tuple(
            _move(tree, each.old, each.new, ("moved", index))
            for index, each in enumerate(model.moved)
        ),
        max_plan_age=_duration(tree, model.max_plan_age) if model.max_plan_age else None,
        keep_previous=read_kept_name(tree, model.keep_previous, ("keep_previous",)),
        keep_previous_for=read_kept_for(tree, model.keep_previous_for, ("keep_previous_for",)),
        distinct=tuple(_distinct(tree, model.distinct)),
        base=str(base),
    )


def _distinct(tree: Tree, groups: list[str | list[str]]) -> Iterator[frozenset[str]]:
    """Read one list of hosts, or several; a host in a list of one is a typing error."""
    if all(isinstance(group, str) for group in groups):
        paths: list[KeyPath] = [("distinct",)] if groups else []
        lists = [[str(group) for group in groups]] if groups else []
    else:
        paths = [("distinct", number) for number in range(len(groups))]
        lists = [[group] if isinstance(group, str) else group for group in groups]
    for path, texts in zip(paths, lists, strict=True):
        hosts = {_host(tree, text, (*path, number)) for number, text in enumerate(texts)}
        if len(hosts) < 2:
            message = "it names one registry, and two are needed to be different"
            raise tree.error(message, path, hint="write distinct: [host-a, host-b]")
        yield frozenset(hosts)


def _host(tree: Tree, text: str, path: KeyPath) -> str:
    try:
        found = parse_endpoint(f"{text}/x/x").repository
    except ValueError:
        found = None
    if found is None or found.store != normalise_host(text):
        hint = "write host[:port], without a scheme, a path or a wildcard"
        raise tree.error(f"{text!r} is not a registry's name", path, hint=hint)
    return found.store


def read_pattern(tree: Tree, text: str, path: KeyPath, does: str = "protects") -> Pattern:
    """Read a glob over addresses; ConfigError if none can match. `does` is what it is for."""
    hint = "name addresses or globs, such as registry.new/team/**:v1.*"
    try:
        pattern = parse_pattern(text)
    except ValueError as error:
        raise tree.error(str(error), path, hint=hint) from None
    if not text.startswith(("/", LAYOUTS, "**")) and "/" not in text:
        message = f"{text!r} names no registry, so it {does} nothing"
        raise tree.error(message, path, hint=hint)
    return pattern


def _share(tree: Tree, text: str) -> Share:
    try:
        return read_share(text)
    except ValueError as error:
        raise tree.error(str(error), ("max_delete",)) from None


def _duration(tree: Tree, text: str) -> float:
    try:
        return read_duration(text)
    except ValueError as error:
        message = f"{text!r} {error}"
        raise tree.error(message, ("max_plan_age",)) from None


def read_kept_name(tree: Tree, text: str | None, path: KeyPath) -> KeptName | None:
    """Read `keep_previous`, of the whole config or of a rule; ConfigError if it makes no tag."""
    if text is None:
        return None
    try:
        return parse_kept_name(text)
    except ValueError as error:
        hint = 'write keep_previous: "{tag}-before-{date}"'
        raise tree.error(str(error), path, hint=hint) from None


def read_kept_for(tree: Tree, text: str | None, path: KeyPath) -> float | None:
    """Read `keep_previous_for`, of the whole config or of a rule: in s, and inf for `forever`."""
    if text is None or text == FOREVER:
        return None if text is None else inf
    try:
        return read_duration(text, needs_unit=True)
    except ValueError as error:
        hint = f"write keep_previous_for: 30d, or {FOREVER}"
        raise tree.error(f"{text!r} {error}", path, hint=hint) from None


def _move(tree: Tree, old: str, new: str, path: KeyPath) -> Move:
    try:
        move = parse_move(old, new)
    except ValueError as error:
        raise tree.error(str(error), path) from None
    stores = [_store(text) for text in (move.old, move.new)]
    if stores[0] != stores[1]:
        message = f"{old} and {new} are in two registries, and an image moves within one"
        raise tree.error(message, path, hint="leave it out: the image is copied there anyway")
    return move


def _store(text: str) -> str:
    if text.startswith(LAYOUTS):
        return LAYOUTS
    host = text.partition("/")[0]
    return host if has_wildcard(host) else normalise_host(host)
