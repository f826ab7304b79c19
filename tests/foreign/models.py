"""What regsync, skopeo sync and dregsy copy, by their manuals: small, slow, and not our code.

Each model gives the pairs of source and address that a tool copies, where every repository of
the source host lists the given tags. `ours` gives those of a config of ours.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from imgmigrate.oci.reference import Reference, Repository
from imgmigrate.planning.desired.select import choose
from imgmigrate.rules.templates import concrete_rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.config.model import Config
    from imgmigrate.rules.rule import Rule

Listing = dict[str, list[str]]
Copies = set[tuple[str, str]]
Numbers = tuple[int, int, int]
# Four numbers, and whether nothing stands behind a hyphen: what does makes a pre-release.
Order = tuple[int, ...]


def ours(config: Config, host: str, listing: Listing) -> Copies:
    """Every copy that a config asks for."""
    found: Copies = set()
    rules: list[Rule] = list(config.rules)
    for glob in config.globs:
        for path in listing:
            repository = Repository(host, path)
            if glob.takes(Reference(repository)):
                rules.append(concrete_rule(glob, repository, "/"))
    for rule in rules:
        if rule.digest is not None:
            source = str(rule.source.at(rule.digest))
            found |= {(source, str(each)) for each in rule.digest_addresses()}
            continue
        for tag in choose(rule, listing.get(rule.source.path, [])).tags:
            source = str(rule.source.at(tag))
            found |= {(source, str(each)) for each in rule.addresses(tag)}
    return found


# regsync: regexes between ^ and $; sets are joined, within one everything must agree.


def regsync(rule: dict[str, Any], listing: Listing) -> Copies:
    """The copies of one entry of `sync`."""
    host, _, name = rule["source"].partition("/")
    if rule["type"] == "registry":
        wanted = [each for each in listing if _allowed(rule.get("repos", {}), each)]
        places = {each: f"{rule['target']}/{each}" for each in wanted}
    else:
        places = {name: rule["target"]}
    sets = [*rule.get("tagSets", [])]
    if any(rule.get("tags", {}).values()):
        sets.append(rule["tags"])
    return {
        (f"{host}/{repo}:{tag}", f"{place}:{tag}")
        for repo, place in places.items()
        for tag in listing.get(repo, [])
        if not sets or any(_in_set(each, tag) for each in sets)
    }


def _allowed(lists: dict[str, list[str]], text: str) -> bool:
    allow, deny = lists.get("allow", []), lists.get("deny", [])
    if allow and not any(re.search(f"^{each}$", text) for each in allow):
        return False
    return not any(re.search(f"^{each}$", text) for each in deny)


def _in_set(tags: dict[str, list[str]], tag: str) -> bool:
    ranges = tags.get("semverRange", [])
    version = _loose(tag)
    if ranges and (version is None or not any(_regsync_range(each, version) for each in ranges)):
        return False
    return _allowed(tags, tag)


def _loose(tag: str) -> Order | None:
    """Read a version of up to four numbers, with whatever suffix."""
    found = re.fullmatch(r"v?(\d+(?:\.\d+){0,3})(-.*)?", tag)
    if found is None:
        return None
    return (*([int(each) for each in found[1].split(".")] + [0, 0, 0])[:4], int(not found[2]))


def _regsync_range(text: str, version: Order) -> bool:
    for part in text.split():
        found = re.fullmatch(r"(\^|~|>=|<=|>|<|=|)v?(.*)", part)
        assert found is not None
        wanted = _loose(found[2])
        assert wanted is not None
        major, minor, patch = wanted[:3]
        if found[1] == "^":
            above = (0, 0, patch + 1, 0, 1)
            above = (0, minor + 1, 0, 0, 1) if minor else above
            above = (major + 1, 0, 0, 0, 1) if major else above
            inside = wanted <= version < above
        elif found[1] == "~":
            inside = wanted <= version < (major, minor + 1, 0, 0, 1)
        else:
            inside = _compared(found[1], version, wanted)
        if not inside:
            return False
    return True


# skopeo: Masterminds/semver, where a missing number means any.


def skopeo(
    config: dict[str, Any], to: str, listing: Listing, *, scoped: bool, suffix: str
) -> Copies:
    """The copies of a whole file."""
    found: Copies = set()
    for host, registry in config.items():
        tests: list[tuple[str, Callable[[str], bool]]] = []
        for repo, regex in registry.get("images-by-tag-regex", {}).items():
            tests.append((repo, partial(_matches, regex, False)))
        for repo, text in registry.get("images-by-semver", {}).items():
            tests.append((repo, partial(masterminds, text)))
        wanted = [(repo, [t for t in listing.get(repo, []) if test(t)]) for repo, test in tests]
        for repo, tags in registry.get("images", {}).items():
            wanted.append((repo, tags or listing.get(repo, [])))
        for repo, tags in wanted:
            place = f"{host}/{repo}" if scoped else repo.rpartition("/")[2]
            for tag in tags:
                mark = "@" if ":" in tag else ":"
                end = "" if ":" in tag else suffix
                found.add((f"{host}/{repo}{mark}{tag}", f"{to}/{place}{mark}{tag}{end}"))
    return found


def masterminds(text: str, tag: str) -> bool:
    """Tell whether a tag is in a range; pre-releases never are, as these ranges name none."""
    version = _numbers(tag)
    text = re.sub(r"(\S+) - (\S+)", r">=\1 <=\2", text)
    text = re.sub(r"([=<>~^!])\s+", r"\1", text)
    return version is not None and any(
        all(_masterminds_one(each, version) for each in re.split(r"[\s,]+", side.strip()))
        for side in text.split("||")
    )


def _masterminds_one(text: str, version: Numbers) -> bool:
    found = re.fullmatch(r"(=>|>=|=<|<=|!=|~>|[=><~^]|)v?([\dx.*]+)", text)
    assert found is not None
    sign = {"=>": ">=", "=<": "<=", "~>": "~", "": "="}.get(found[1], found[1])
    given = [int(each) for each in found[2].split(".") if each.isdigit()]
    wanted = (*given, 0, 0, 0)[:3]
    count = len(given)
    same = version[:count] == wanted[:count]
    if sign == "=":
        return same
    if sign == "!=":
        return not same
    if sign == "~":
        return version >= wanted and version[: min(count, 2)] == wanted[: min(count, 2)]
    if sign == "^":
        first = next((n for n, each in enumerate(given) if each), count - 1)
        return version >= wanted and version[: first + 1] == wanted[: first + 1]
    if sign == ">":
        return version > wanted and not (count < 3 and same)
    if sign == "<=":
        return version <= wanted or (count < 3 and same)
    return version >= wanted if sign == ">=" else version < wanted


# dregsy: blang/semver; selectors are joined, `keep` is asked of what was not named.


def dregsy(hosts: tuple[str, str], mapping: dict[str, Any], listing: Listing) -> Copies:
    """The copies of one mapping."""
    written, to = mapping["from"], mapping.get("to", "")
    is_regex = written.startswith("regex:")
    repos = (
        [each for each in listing if re.search(_anchored(written[6:]), each)]
        if is_regex
        else [written]
    )
    found: Copies = set()
    for repo in repos:
        place = f"/{repo}"
        if to.startswith("regex:"):
            regex, _, replacement = to[6:].partition(",")
            place = re.sub(regex, re.sub(r"\$(\d)", r"\\\1", replacement), place)
        elif to:
            place = f"/{to}{place}" if is_regex else f"/{to}"
        for tag in dregsy_tags(mapping.get("tags", []), listing.get(repo, [])):
            found.add((f"{hosts[0]}/{repo}:{tag}", f"{hosts[1]}{place}:{tag}"))
    return found


def dregsy_tags(selectors: list[str], listed: list[str]) -> list[str]:
    """The tags that a mapping copies."""
    named: list[str] = []
    tests: list[Callable[[str], bool]] = []
    keeps: list[Callable[[str], bool]] = []
    count = 0
    for each in selectors:
        kind, _, value = each.partition(":")
        if re.fullmatch(r"keep:\s+latest\s+\d+", each):
            count = int(each.split()[-1])
        elif kind == "semver":
            tests.append(partial(_blang, value))
        elif kind in ("regex", "keep"):
            inverted = value.strip().startswith("!")
            regex = _anchored(value.strip().removeprefix("!"))
            (tests if kind == "regex" else keeps).append(partial(_matches, regex, inverted))
        else:
            named.append(each)
    if not (named or tests):
        tests.append(lambda _: True)
    found = [tag for tag in listed if any(each(tag) for each in tests)]
    found = [tag for tag in found if all(each(tag) for each in keeps)]
    found += [tag for tag in named if tag not in found]
    read = {each: version for each in found if (version := _blang_version(each))}
    versions = sorted(read, key=lambda each: (read[each], each), reverse=True)
    if count and versions:
        found = [each for each in found if each not in read] + versions[:count]
    elif count:
        found = sorted(found)[-count:]
    return found


def _blang_version(tag: str) -> Order | None:
    """Three numbers where a suffix follows, which semver.org has to allow, one to three else."""
    if not re.fullmatch(r"v?\d+(\.\d+){0,2}|v?\d+\.\d+\.\d+(-[a-z][0-9a-z.-]*)?", tag):
        return None
    return _loose(tag)


def is_blangs(tag: str) -> bool:
    """Tell whether dregsy takes a tag for a version."""
    return _blang_version(tag) is not None


def _blang(text: str, tag: str) -> bool:
    version = _blang_version(tag)
    return version is not None and any(
        all(
            _compared(part[0], version, (*_padded(part[1]), 0, 1))
            for part in re.findall(r"(>=|<=|==|!=|[<>=!]|)\s*(\d+\.\d+\.\d+)", side)
        )
        for side in text.split("||")
    )


def _matches(regex: str, inverted: bool, text: str) -> bool:
    return (re.search(regex, text) is None) == inverted


def _anchored(regex: str) -> str:
    return f"{'' if regex.startswith('^') else '^'}{regex}{'' if regex.endswith('$') else '$'}"


def _numbers(tag: str) -> Numbers | None:
    """A plain version; the listings of these tests have no others where a range decides."""
    return _padded(tag) if re.fullmatch(r"v?\d+(\.\d+){0,2}", tag) else None


def _padded(text: str) -> Numbers:
    major, minor, patch = ([int(each) for each in text.lstrip("v").split(".")] + [0, 0])[:3]
    return major, minor, patch


def _compared(sign: str, left: Order, right: Order) -> bool:
    return {
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
        "!=": left != right,
        "!": left != right,
    }.get(sign, left == right)
