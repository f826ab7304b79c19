"""Read the glob of a rule's source, and what it leaves out.

Pure. A glob is of repositories within one store: the registry's name is always written out,
so that a rule says whom it asks.
"""

from __future__ import annotations

import re

from imgmigrate.matching import Pattern, has_wildcard, parse_pattern, split_target
from imgmigrate.oci.reference import (
    DOCKER_HUB,
    LAYOUTS,
    Repository,
    is_repository_path,
    layout_address,
    naming_fault,
    parse_endpoint,
)

__all__ = ["any_path", "parse_exclusion", "parse_glob", "stand_in"]

_WILDCARDS = re.compile(r"[*?]+")


def parse_glob(text: str, base: str | None = None) -> tuple[Repository, Pattern]:
    """Read a source with wildcards, a tag behind it left aside; ValueError says what is wrong.

    The repository's path is the glob; layouts are relative to the folder `base`.
    """
    name = split_target(text)[0]
    repository = _layouts(name, base) if name.startswith(LAYOUTS) else _registry(name)
    return repository, parse_pattern(str(repository))


def parse_exclusion(text: str, source: Repository) -> Pattern:
    """Read one entry of `exclude_repositories`; ValueError also if it can match nothing."""
    pattern = parse_pattern(text)
    if text.startswith("/"):
        return pattern
    name, separator, _ = split_target(text)
    if separator:
        msg = f"{text!r} names a tag; it leaves out whole repositories: {name!r}"
        raise ValueError(msg)
    if not name.startswith(LAYOUTS) and "/" not in name and not has_wildcard(name):
        hint = f"{source.store}/{name}"
    elif has_wildcard(name):
        first = name.partition("/")[0]
        known = has_wildcard(first) or name.startswith(LAYOUTS) == source.is_layout
        is_own = has_wildcard(first) or source.is_layout or _store(first) == source.store
        hint = "" if known and is_own else f"{source.store}/{name}"
    else:
        hint = "" if _named(name).store == source.store else f"{source.store}/{name}"
    if hint:
        msg = f"{text!r} matches nothing at {source.store}; write {hint!r}"
        raise ValueError(msg)
    return pattern


def stand_in(glob: Repository) -> Repository:
    """A repository that a glob might match, for what is said of all of them."""
    return Repository(glob.store, any_path(glob.path))


def any_path(glob: str) -> str:
    """The path of a repository that a glob of paths might match."""
    return _WILDCARDS.sub("any", glob)


def _layouts(name: str, base: str | None) -> Repository:
    path = name.removeprefix(LAYOUTS)
    wildcard = _WILDCARDS.search(path)
    if wildcard and ".." in path[wildcard.start() :].split("/"):
        msg = f"{name!r}: .. cannot stand behind a wildcard"
        raise ValueError(msg)
    repository = parse_endpoint(name).repository
    return layout_address(repository, base) if base is not None else repository


def _registry(name: str) -> Repository:
    host, slash, path = name.partition("/")
    is_host = "." in host or ":" in host or host == "localhost"
    if has_wildcard(host) and (slash or is_host or not host.strip("*?")):
        msg = f"{name!r}: a wildcard cannot stand for a registry; write host/**"
        raise ValueError(msg)
    if not is_host:
        host, path = DOCKER_HUB, name
    elif not path:
        msg = f"{name!r} is a registry, without a repository; write {host}/**"
        raise ValueError(msg)
    host = _store(host)
    if host == DOCKER_HUB and "/" not in path and path != "**":
        path = f"library/{path}"
    if not is_repository_path(_WILDCARDS.sub("x", path)):
        msg = f"{path!r} matches no repository: {naming_fault(path)}"
        raise ValueError(msg)
    return Repository(host, path)


def _store(host: str) -> str:
    return parse_endpoint(f"{host}/x/x").repository.store


def _named(name: str) -> Repository:
    return parse_endpoint(name).repository
