"""Read what an entry of `images` says of many repositories, and of other names for images.

Pure. `rules.py` makes rules and asks here about wildcards, placeholders, `flatten` and
`rename`; every mistake is an error at its key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.matching import split_target
from imgmigrate.oci.reference import LAYOUTS
from imgmigrate.rules.globs import parse_exclusion, parse_glob
from imgmigrate.rules.rule import GlobRule
from imgmigrate.rules.templates import (
    TAG,
    check_names,
    has_placeholder,
    parse_joint,
    parse_renaming,
    parse_template,
    sample_rule,
    values_of,
)

if TYPE_CHECKING:
    from imgmigrate.config.reading.schema import ImageModel
    from imgmigrate.config.reading.tree import KeyPath, Tree
    from imgmigrate.errors import ConfigError
    from imgmigrate.matching import Pattern
    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.rules.layouts import LayoutNames
    from imgmigrate.rules.rule import Destination, Rule
    from imgmigrate.rules.templates import Renaming, Template

__all__ = ["Mapper"]


class Mapper:
    """Reads the mapping of one entry; `base` is the folder that layouts are relative to."""

    def __init__(self, tree: Tree, path: KeyPath, base: str, names: LayoutNames) -> None:
        self.tree, self.path, self.base, self.names = tree, path, base, names
        # What the placeholders of a destination stand for.
        self.values: dict[str, str] = {}

    def glob(self, name: str, path: KeyPath) -> Repository:
        """Read a source with wildcards; its path is the glob."""
        if name.startswith(f"{LAYOUTS}~"):
            raise self._error("~ is not expanded", path, "write oci:${HOME}/...")
        try:
            return parse_glob(name, self.base)[0]
        except ValueError as error:
            raise self._error(str(error), path) from None

    def learn(self, image: ImageModel, source: Repository, digest: Digest | None) -> None:
        """Note what the placeholders of a single repository stand for."""
        self.values = values_of(source, base=self.base, joint=self._joint(image), digest=digest)

    def fill(self, text: str, path: KeyPath, digest: Digest | None) -> Destination:
        """Fill in one destination of a single repository."""
        template = self._template(text, path, digest=digest)
        try:
            return template.fill(self.values, self.base)
        except ValueError as error:
            raise self._error(str(error), path) from None

    def renaming(self, image: ImageModel, digest: Digest | None) -> Renaming | None:
        """Read `rename`."""
        path = (*self.path, "rename")
        if not image.rename:
            return None
        if digest is not None:
            message = "the source names a digest, and no tag that could be renamed"
            raise self._error(message, path, "name the tag at the destination: :tag")
        for number, text in enumerate(image.destination):
            target = split_target(text)[2]
            if target and TAG not in target:
                message = "it renames tags by position, and rename: does too"
                hint = "keep one of the two, or write {tag} behind the colon"
                raise self._error(message, (*self.path, "destination", number), hint)
        try:
            return parse_renaming(image.rename)
        except ValueError as error:
            raise self._error(str(error), path) from None

    def check(self, rule: Rule, image: ImageModel) -> None:
        """Check what becomes of the tags of a single repository that are known already."""
        if image.exclude_repositories:
            message = "the source names one repository, so there is none to leave out"
            hint = "remove it, or use a wildcard in the source"
            raise self._error(message, (*self.path, "exclude_repositories"), hint)
        if rule.rename or any(each.form != TAG for each in rule.destinations):
            for tag in rule.explicit_tags:
                check_names(rule, rule.source.at(tag), rule.addresses(tag))

    def many(self, rule: Rule, image: ImageModel) -> GlobRule:
        """Make a rule of many repositories; filled in once, so that mistakes show at once."""
        if rule.digest is not None:
            message = "a digest belongs to one repository"
            hint = "name the repository, or leave the digest out"
            raise self._error(message, (*self.path, "source"), hint)
        found = GlobRule(
            rule,
            self._pattern(rule.source),
            self._exclusions(image, rule.source),
            tuple(
                self._telling(text, (*self.path, "destination", number))
                for number, text in enumerate(image.destination)
            ),
            self._joint(image),
            self.names,
        )
        sample = sample_rule(found, self.base)
        for number, destination in enumerate(sample.destinations):
            is_one = self.names.are_one(destination.repository, sample.source)
            is_same = is_one and destination.form == TAG
            if is_same and not destination.tags and not rule.rename:
                message = f"source and destination are the same: {rule.source}"
                where = (*self.path, "destination", number)
                raise self._error(message, where, "change one of them")
        return found

    def _pattern(self, source: Repository) -> Pattern:
        return parse_glob(str(source))[1]

    def _exclusions(self, image: ImageModel, source: Repository) -> tuple[Pattern, ...]:
        found = []
        for number, text in enumerate(image.exclude_repositories):
            try:
                found.append(parse_exclusion(text, source))
            except ValueError as error:
                where = (*self.path, "exclude_repositories", number)
                raise self._error(str(error), where) from None
        return tuple(found)

    def _telling(self, text: str, path: KeyPath) -> Template:
        template = self._template(text, path, digest=None, has_match=True)
        if not template.tells_apart:
            message = "every repository that the wildcard matches would go to the same place"
            hint = 'add a placeholder: "registry.new/{repository}", or {match} or {name}'
            raise self._error(message, path, hint)
        return template

    def _joint(self, image: ImageModel) -> str | None:
        if image.flatten is None:
            return None
        path = (*self.path, "flatten")
        if not any(has_placeholder(text) for text in image.destination):
            hint = 'write destination: "registry.new/{repository}"'
            raise self._error("no destination has a placeholder to flatten", path, hint)
        try:
            return parse_joint(image.flatten)
        except ValueError as error:
            raise self._error(str(error), path) from None

    def _template(
        self, text: str, path: KeyPath, *, digest: Digest | None, has_match: bool = False
    ) -> Template:
        if text.startswith(f"{LAYOUTS}~"):
            raise self._error("~ is not expanded", path, "write oci:${HOME}/...")
        try:
            return parse_template(text, has_match=has_match, has_digest=digest is not None)
        except ValueError as error:
            raise self._error(str(error), path) from None

    def _error(self, message: str, path: KeyPath, hint: str | None = None) -> ConfigError:
        return self.tree.error(message, path, hint=hint)
