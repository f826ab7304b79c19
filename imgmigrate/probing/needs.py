"""What the rules of a config want of each registry: what a probe has to try.

No I/O; settings are looked up, so variables of `registries` are resolved here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imgmigrate.errors import ConfigError
from imgmigrate.rules.globs import any_path, stand_in
from imgmigrate.rules.templates import concrete_rule

if TYPE_CHECKING:
    from imgmigrate.config.model import Config, RegistryConfig
    from imgmigrate.oci.reference import Repository

__all__ = ["Needs", "needs_of"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What the rules want of one registry with one set of settings.

    `lists` is a source whose tags are listed, `reads` one of which a tag or digest is read, and
    `writes` a destination: the first of each kind. `finds` is a source's glob, and `fills` stands
    for a destination whose name depends on what a glob finds. `trouble` is why the settings
    cannot be used.
    """

    host: str
    lists: str | None = None
    reads: tuple[str, str] | None = None
    writes: str | None = None
    trouble: ConfigError | None = None
    finds: str | None = None
    fills: str | None = None

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

    def note(repository: Repository, kind: str, what: Any) -> None:
        if repository.is_layout:
            return
        settings = _settings(config, stand_in(repository))
        trouble = settings if isinstance(settings, ConfigError) else None
        key = (repository.store, str(trouble) if trouble else settings)
        old = found.get(key) or Needs(repository.store, trouble=trouble)
        found[key] = old if getattr(old, kind) else replace(old, **{kind: what})

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
        note(source, "finds", source.path)
        for destination in concrete_rule(glob, stand_in(source), str(config.base)).destinations:
            note(destination.repository, "fills", destination.repository.path)
    return tuple(sorted(found.values(), key=lambda needs: (needs.host, needs.sample or "")))


def _settings(config: Config, repository: Repository) -> RegistryConfig | ConfigError:
    try:
        return config.registry(repository.store, repository.path)
    except ConfigError as error:
        return error
