"""What the rules of a config want of each registry: what a probe has to try.

No I/O; settings are looked up, so variables of `registries` are resolved here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from imgmigrate.errors import ConfigError
from imgmigrate.rules.globs import any_path, stand_in
from imgmigrate.rules.templates import sample_rule

if TYPE_CHECKING:
    from imgmigrate.config.model import Config, RegistryConfig
    from imgmigrate.oci.reference import Repository
    from imgmigrate.rules.rule import GlobRule

__all__ = ["Needs", "needs_of", "settings_of"]


class Needs(Struct, frozen=True):
    """What the rules want of one registry with one set of settings.

    `lists` is a source whose tags are listed, `reads` one of which a tag or digest is read, and
    `writes` a destination: the first of each kind. `globs` are all sources' globs, and `fills`
    stands for a destination whose name depends on what the glob of `filling` finds. `trouble` is
    why the settings cannot be used.
    """

    host: str
    lists: str | None = None
    reads: tuple[str, str] | None = None
    writes: str | None = None
    trouble: ConfigError | None = None
    globs: tuple[str, ...] = ()
    fills: str | None = None
    filling: GlobRule | None = None

    @property
    def finds(self) -> str | None:
        """The glob that is tried: the first."""
        return self.globs[0] if self.globs else None

    @property
    def known(self) -> str | None:
        """The repository that it is first about, if a rule names one."""
        return self.lists or (self.reads[0] if self.reads else None) or self.writes

    @property
    def sample(self) -> str | None:
        """What the settings are looked up by: a repository, even one that stands for others."""
        glob = any_path(self.finds) if self.finds else None
        return self.known or glob or self.fills

    @property
    def roles(self) -> tuple[str, ...]:
        """What the registry is to the rules."""
        is_source = self.lists or self.reads or self.finds
        is_destination = self.writes or self.fills
        return (*(("source",) if is_source else ()), *(("destination",) if is_destination else ()))


def needs_of(config: Config) -> tuple[Needs, ...]:
    """Gather what the rules want, by host and settings, in the order of hosts."""
    found: dict[tuple[str, object], Needs] = {}

    def note(repository: Repository, kind: str, what: Any, **more: Any) -> None:
        if repository.is_layout:
            return
        settings = settings_of(config, stand_in(repository))
        trouble = settings if isinstance(settings, ConfigError) else None
        key = (repository.store, str(trouble) if trouble else settings)
        old = found.get(key) or Needs(repository.store, trouble=trouble)
        if kind == "globs":
            what = tuple(dict.fromkeys((*old.globs, what)))
        elif getattr(old, kind):
            what, more = getattr(old, kind), {}
        found[key] = replace(old, **{kind: what}, **more)

    for rule in config.rules:
        if rule.has_patterns:
            note(rule.source, "lists", rule.source.path)
        exact = rule.digest or next(iter(rule.explicit_tags), None)
        if exact is not None:
            note(rule.source, "reads", (rule.source.path, exact))
        for destination in rule.destinations:
            note(destination.repository, "writes", destination.repository.path)
    for glob in config.globs:
        source = glob.rule.source
        note(source, "globs", source.path)
        for destination in sample_rule(glob, str(config.base)).destinations:
            path = destination.repository.path
            note(destination.repository, "fills", path, filling=glob)
    return tuple(sorted(found.values(), key=lambda needs: (needs.host, needs.sample or "")))


def settings_of(config: Config, repository: Repository) -> RegistryConfig | ConfigError:
    """Look up the settings of a repository's registry, or why they cannot be used."""
    try:
        return config.registry(repository.store, repository.path)
    except ConfigError as error:
        return error
