"""Make rules of the entries of `images`, and refuse those that contradict themselves or others.

Pure but for the names of layouts. A source may name its tags inline, as image-syncer writes
them: `a/b:v1,v2`, `a/b:/regex/`; a destination may rename exact tags by position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from imgmigrate.config.guards import read_kept_for, read_kept_name
from imgmigrate.config.mapping import Mapper
from imgmigrate.config.reading.includes import Part
from imgmigrate.config.reading.schema import raise_all
from imgmigrate.config.values.tags import TagsModel, build_selection
from imgmigrate.errors import ConfigError
from imgmigrate.matching import Pattern, has_wildcard, parse_tag_pattern, split_target
from imgmigrate.oci.platforms import IndexForm
from imgmigrate.oci.reference import (
    LAYOUTS,
    Digest,
    Reference,
    Repository,
    is_tag,
    layout_address,
    parse_endpoint,
)
from imgmigrate.rules.rule import Destination, GlobRule, Rule
from imgmigrate.rules.templates import has_placeholder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgmigrate.config.model import Defaults
    from imgmigrate.config.reading.schema import FileModel, ImageModel
    from imgmigrate.config.reading.tree import KeyPath, Tree
    from imgmigrate.rules.layouts import LayoutNames

__all__ = ["build_rules"]


_NAME_SOME = "name some in platforms:, or remove it"


def build_rules(
    tree: Tree,
    model: FileModel,
    base: Path,
    names: LayoutNames,
    included: Sequence[Part] = (),
) -> tuple[tuple[Rule, ...], tuple[GlobRule, ...]]:
    """Build every rule in order; one that repeats another is left out, the first stays.

    Those of the main file come first. A ConfigError names every entry that is wrong. Layouts
    get their `names` here.
    """
    rules: list[Rule | GlobRule] = []
    errors: list[ConfigError] = []
    builders: list[_Builder] = []
    for part in (Part(tree, model.images), *included):
        for index, image in enumerate(part.images):
            try:
                builders.append(_Builder(part.tree, ("images", index), str(base), names))
                rules.append(builders[-1].build(len(builders), image, model.defaults))
            except ConfigError as error:
                errors.append(error)
    cut = any((rule.rule if isinstance(rule, GlobRule) else rule).platforms for rule in rules)
    form = model.defaults.index
    if form not in (None, IndexForm.UNWRAP) and not cut and not errors:
        errors.append(tree.error(_no_platforms(form), ("defaults", "index"), hint=_NAME_SOME))
    raise_all(errors)
    single = [rule for rule in rules if isinstance(rule, Rule)]
    globs = [rule for rule in rules if isinstance(rule, GlobRule)]
    return _without_repetition(builders, single), tuple(globs)


class _Builder:
    """Reads one entry; knows its place for messages."""

    def __init__(self, tree: Tree, path: KeyPath, base: str, names: LayoutNames) -> None:
        self.tree, self.path, self.base, self.names = tree, path, base, names
        self.mapper = Mapper(tree, path, base, names)

    def build(self, number: int, image: ImageModel, defaults: Defaults) -> Rule | GlobRule:
        image = _with_defaults(image, defaults)
        source, digest, tags = self._source(image)
        is_glob = has_wildcard(source.path)
        self.mapper.learn(image, source, digest)
        destinations = tuple(
            dict.fromkeys(
                self._destination(text, number, digest, tags)
                for number, text in enumerate(() if is_glob else image.destination)
            )
        )
        rule = Rule(
            number=number,
            file=self.tree.file,
            line=self.tree.line(self.path),
            source=source,
            digest=digest,
            tags=tags,
            destinations=destinations,
            overwrite=image.overwrite or defaults.overwrite,
            platforms=defaults.platforms if image.platforms is None else image.platforms,
            index=self._index(image, defaults),
            foreign_layers=image.foreign_layers or defaults.foreign_layers,
            selection=build_selection(image.tags) if isinstance(image.tags, TagsModel) else None,
            immutable_tags=tuple(
                self._pattern(text, (*self.path, "immutable_tags", index))
                for index, text in enumerate(image.immutable_tags)
            ),
            rename=self.mapper.renaming(image, digest),
            keep_previous=read_kept_name(
                self.tree, image.keep_previous, (*self.path, "keep_previous")
            ),
            keep_previous_for=read_kept_for(
                self.tree, image.keep_previous_for, (*self.path, "keep_previous_for")
            ),
            is_delta=image.source_is_delta,
            referrers=image.referrers or defaults.referrers,
        )
        if is_glob:
            return self._many(rule, image)
        self._refuse_itself(rule)
        self.mapper.check(rule, image)
        return rule

    def _index(self, image: ImageModel, defaults: Defaults) -> IndexForm | None:
        """Say what becomes of an index that is cut; nothing where none is."""
        platforms = defaults.platforms if image.platforms is None else image.platforms
        if platforms or (image.index or defaults.index) is IndexForm.UNWRAP:
            return image.index or defaults.index
        if image.index is not None:
            raise self._error(_no_platforms(image.index), (*self.path, "index"), _NAME_SOME)
        return None

    def _many(self, rule: Rule, image: ImageModel) -> GlobRule:
        found = self.mapper.many(rule, image)
        for number, template in enumerate(found.destinations):
            if template.tag_names:
                path = (*self.path, "destination", number)
                self._check_renaming(template.tag_names, None, rule.tags, path)
        return found

    def _source(
        self, image: ImageModel
    ) -> tuple[Repository, Digest | None, tuple[Pattern, ...] | None]:
        path = (*self.path, "source")
        name, separator, target = split_target(image.source)
        if has_placeholder(name):
            hint = "write the name out; ${NAME} would be a variable"
            raise self._error("a placeholder has no meaning in a source", path, hint)
        if separator and image.tags is not None:
            hint = "keep either tags: or what stands behind the repository"
            raise self._error("it names tags, and tags: does too", path, hint)
        digest: Digest | None = None
        tags: tuple[Pattern, ...] | None = None
        if separator == "@":
            digest, tags = self._digest(name, target, path), ()
        elif separator:
            texts = [target] if target.startswith("/") else target.split(",")
            tags = tuple(self._pattern(text, path) for text in texts)
        elif image.tags is not None and not isinstance(image.tags, TagsModel):
            tags = tuple(
                self._pattern(text, (*self.path, "tags", number))
                for number, text in enumerate(image.tags)
            )
        return self._repository(name, separator, target, path), digest, tags

    def _digest(self, name: str, text: str, path: KeyPath) -> Digest:
        tagged, separator, tag = split_target(name)
        if separator:
            message = f"it names a tag and a digest; {tag!r} would be ignored"
            hint = f"write {tagged}@..., and the tag at the destination: :{tag}"
            raise self._error(message, path, hint)
        try:
            return Digest.parse(text)
        except ValueError as error:
            raise self._error(str(error), path) from None

    def _pattern(self, text: str, path: KeyPath) -> Pattern:
        try:
            return parse_tag_pattern(text)
        except ValueError as error:
            raise self._error(str(error), path) from None

    def _repository(self, name: str, separator: str, target: str, path: KeyPath) -> Repository:
        if has_wildcard(name):
            return self.mapper.glob(name, path)
        if separator == ":" and "/" not in name and target.isdigit() and _is_host(name):
            message = f"{name}:{target} is a registry, without a repository"
            raise self._error(message, path, f"write {name}:{target}/repository")
        if name.startswith(f"{LAYOUTS}~"):
            raise self._error("~ is not expanded", path, "write oci:${HOME}/...")
        try:
            found = parse_endpoint(name)
        except ValueError as error:
            raise self._error(str(error), path) from None
        repository = found.repository
        return layout_address(repository, self.base) if repository.is_layout else repository

    def _destination(
        self,
        text: str,
        number: int,
        digest: Digest | None,
        tags: tuple[Pattern, ...] | None,
    ) -> Destination:
        path = (*self.path, "destination", number)
        if has_placeholder(text):
            filled = self.mapper.fill(text, path, digest)
            filled = replace(filled, repository=self.names.name(filled.repository))
            if filled.tags:
                self._check_renaming(filled.tags, digest, tags, path)
            return filled
        if has_wildcard(text):
            raise self._error("a wildcard has no meaning in a destination", path, "name it")
        name, separator, target = split_target(text)
        if separator == "@":
            if self._digest(name, target, path) != digest:
                message = "a digest cannot be chosen at a destination"
                raise self._error(message, path, "leave it out")
            separator = target = ""
        names = tuple(target.split(",")) if separator else ()
        for each in names:
            if not is_tag(each):
                raise self._error(f"{each!r} is not a tag", path, "name the new tags: :a,b")
        if names:
            self._check_renaming(names, digest, tags, path)
        repository = self._repository(name, separator, target, path)
        return Destination(self.names.name(repository), names)

    def _check_renaming(
        self,
        names: tuple[str, ...],
        digest: Digest | None,
        tags: tuple[Pattern, ...] | None,
        path: KeyPath,
    ) -> None:
        exact = [each.text for each in tags or () if each.is_exact]
        if digest is not None:
            if len(names) != 1:
                raise self._error("a digest gets one tag", path, "name one tag")
        elif tags is None or len(exact) != len(tags):
            message = "tags are renamed by position, so the source must name each exactly"
            raise self._error(message, path, "name the source's tags, or leave these out")
        elif len(names) != len(exact):
            message = f"it names {len(names)} tags, the source {len(exact)}"
            raise self._error(message, path, "name as many, in the same order")
        elif len(set(exact)) != len(exact):
            message = "the source names a tag twice, so its new name is unclear"
            raise self._error(message, path, "write two rules")

    def _refuse_itself(self, rule: Rule) -> None:
        for number, destination in enumerate(rule.destinations):
            if not self.names.are_one(destination.repository, rule.source):
                continue
            if rule.rename or destination.form != "{tag}":  # the tags tell (check_names)
                continue
            unchanged = not destination.tags or any(
                old == new for old, new in zip(rule.explicit_tags, destination.tags, strict=False)
            )
            if unchanged:
                path = (*self.path, "destination", number)
                message = f"source and destination are the same: {rule.source}"
                raise self._error(message, path, "change one of them")

    def clash(self, message: str, hint: str) -> ConfigError:
        """Make an error of the whole entry."""
        return self._error(message, self.path, hint)

    def _error(self, message: str, path: KeyPath, hint: str | None = None) -> ConfigError:
        return self.tree.error(message, path, hint=hint)


def _with_defaults(image: ImageModel, defaults: Defaults) -> ImageModel:
    """Fill in the tags that an entry says nothing of; those behind its source say it too."""
    found: dict[str, object] = {}
    if image.tags is None and defaults.tags is not None and not split_target(image.source)[1]:
        found["tags"] = defaults.tags
    if "immutable_tags" not in image.model_fields_set:
        found["immutable_tags"] = defaults.immutable_tags
    return image.model_copy(update=found)


def _place(first: Rule, seen_from: Rule) -> str:
    elsewhere = f"{first.file}, " if first.file != seen_from.file else ""
    return f"{elsewhere}line {first.line}"


def _names(rule: Rule) -> str:
    return ", ".join(rule.platforms) or "all"


def _no_platforms(form: IndexForm | None) -> str:
    return f"{form} is about an index that is cut to platforms, and no platforms are named"


def _forms(rule: Rule) -> str:
    return rule.index or "what suits its destination"


def _is_host(name: str) -> bool:
    return name == "localhost" or "." in name


def _difference(first: Rule, rule: Rule) -> tuple[str, str, str] | None:
    """Say what else two rules differ in that ask for one thing: what, this one, the first."""
    if first.overwrite != rule.overwrite:
        return "overwrite", rule.overwrite, first.overwrite
    if first.is_delta != rule.is_delta:
        return "source_is_delta", str(rule.is_delta).lower(), str(first.is_delta).lower()
    if first.platforms != rule.platforms:
        return "platforms", _names(rule), _names(first)
    if first.foreign_layers != rule.foreign_layers:
        return "foreign_layers", rule.foreign_layers, first.foreign_layers
    if first.index != rule.index:
        return "index", _forms(rule), _forms(first)
    if first.referrers != rule.referrers:
        return "referrers", str(rule.referrers), str(first.referrers)
    return None


def _without_repetition(builders: Sequence[_Builder], rules: list[Rule]) -> tuple[Rule, ...]:
    """Refuse two sources or two policies for one address; drop rules that were there before."""
    seen: dict[Reference, tuple[Reference, Rule]] = {}
    kept: dict[object, Rule] = {}
    errors = []
    for rule in rules:
        for source, address in rule.explicit_addresses():
            first_source, first = seen.setdefault(address, (source, rule))
            difference, clash = _difference(first, rule), None
            if first_source != source:
                clash = f"from {source}, and from {first_source}"
            elif difference:
                clash = "with {} {}, and {}".format(*difference)
            if clash:
                message = f"{address} is asked {clash} in {_place(first, rule)}"
                errors.append(builders[rule.number - 1].clash(message, "keep one of the two"))
                break
        asked = (
            rule.source,
            rule.digest,
            rule.tags,
            rule.selection,
            rule.destinations,
            rule.rename,
        )
        first = kept.setdefault(asked, rule)
        difference = _difference(first, rule)
        if difference and rule.has_patterns:
            message = "{} asks the same with {} {}".format(_place(first, rule), *difference[::2])
            errors.append(builders[rule.number - 1].clash(message, "keep one"))
    raise_all(errors)
    return tuple(kept.values())
