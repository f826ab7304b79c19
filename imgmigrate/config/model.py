"""What the rest of the program knows of a config: registries' settings, rules, destinations.

Frozen and checked; how it lies in a file is `schema.py`, how it is read `load.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

# Pydantic needs it at run time.
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from imgmigrate.config.guards import Guards
from imgmigrate.config.platforms import read_platforms
from imgmigrate.config.quantities import read_bandwidth, read_proxy, read_rate

# Pydantic needs these at run time.
from imgmigrate.config.tags import DefaultTags, PatternTexts  # noqa: TC001

if TYPE_CHECKING:
    from imgmigrate.config.kept import KeptName
    from imgmigrate.config.known import KnownConflict
    from imgmigrate.config.layouts import LayoutNames
    from imgmigrate.config.registries import Registries
    from imgmigrate.config.selection import Selection
    from imgmigrate.config.templates import Renaming, Template
    from imgmigrate.matching import Pattern
    from imgmigrate.oci.reference import Digest, Reference, Repository

__all__ = [
    "Config",
    "Defaults",
    "Destination",
    "GlobRule",
    "Overwrite",
    "RegistryConfig",
    "Rule",
    "Tls",
]

# Blob streams at once, reads and writes each (DESIGN section 3).
CONCURRENCY = 16
MOST_CONCURRENCY = 1024


class Overwrite(StrEnum):
    """Which differing destination tags a rule may replace (DESIGN section 3)."""

    OWNED = "owned"  # only what we recorded
    EQUIVALENT = "equivalent"  # also an index that lists the same children in other bytes
    ALWAYS = "always"
    NEVER = "never"  # differing tags are kept, and are no conflicts


class _Settings(BaseModel):
    """Frozen; a message never shows the input, which may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Tls(_Settings):
    """How a registry proves itself and we to it; paths are absolute once resolved."""

    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    verify: bool = True

    @model_validator(mode="after")
    def _key_needs_certificate(self) -> Tls:
        if self.client_key and not self.client_cert:
            msg = "client_key needs a client_cert"
            raise ValueError(msg)
        return self


class RegistryConfig(_Settings):
    """One entry of `registries`, its variables resolved. Both username and password, or none.

    `credential_command` is a program and its arguments, and stands instead of the two.
    `rate_limit` is in requests, `bandwidth` in bytes per second, reads and writes each.
    `insecure` is a whole host's.
    """

    username: str | None = None
    password: str | None = Field(None, repr=False)
    # Its arguments may hold secrets.
    credential_command: tuple[str, ...] | None = Field(None, min_length=1, repr=False)
    plain_http: bool = False
    # No certificate is checked, and a registry that speaks no TLS at all is asked in the clear.
    insecure: bool = False
    tls: Tls = Tls()
    concurrency: int = Field(CONCURRENCY, ge=1, le=MOST_CONCURRENCY)
    rate_limit: Annotated[float | None, BeforeValidator(read_rate)] = None
    bandwidth: Annotated[float | None, BeforeValidator(read_bandwidth)] = None
    # It may hold a password.
    proxy: Annotated[str | None, BeforeValidator(read_proxy), Field(repr=False)] = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> RegistryConfig:
        if bool(self.username) != bool(self.password):
            msg = "username and password belong together: give both or neither"
            raise ValueError(msg)
        if self.credential_command is not None and (self.username or self.password):
            msg = "credential_command stands instead of username and password: keep one of them"
            raise ValueError(msg)
        if self.insecure and self.plain_http:
            msg = "insecure finds out whether the registry speaks TLS, plain_http says no: keep one"
            raise ValueError(msg)
        if self.credential_command is not None and not self.credential_command[0]:
            msg = "credential_command names no program"
            raise ValueError(msg)
        return self


class Defaults(_Settings):
    """What holds for every rule that does not say otherwise."""

    overwrite: Overwrite = Overwrite.OWNED
    platforms: Annotated[tuple[str, ...], BeforeValidator(read_platforms)] = ()
    # For rules that name neither tags nor a digest.
    tags: DefaultTags | None = None
    immutable_tags: PatternTexts = []


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a rule's images go. `tags` rename the rule's exact tags by position; empty = keep.

    `form` is what becomes of every tag otherwise: a text with `{tag}` in it.
    """

    repository: Repository
    tags: tuple[str, ...] = ()
    form: str = "{tag}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of `images`; `number` counts from 1, `line` is where it begins in `file`.

    `tags` is None for all tags of the source, and empty for a source digest. A `selection`, where
    tags are selected by more than their names, stands instead of them.
    """

    number: int
    file: str
    line: int
    source: Repository
    digest: Digest | None
    tags: tuple[Pattern, ...] | None
    destinations: tuple[Destination, ...]
    overwrite: Overwrite = Overwrite.OWNED
    immutable_tags: tuple[Pattern, ...] = ()
    rename: Renaming | None = None
    # Made of a GlobRule for one of the repositories that it matches.
    from_glob: bool = False
    # In canonical form; none means all.
    platforms: tuple[str, ...] = ()
    selection: Selection | None = None
    # Of a digest that was pinned: the tag that it was found at.
    pinned_tag: str | None = None
    # None is what the whole config says.
    keep_previous: KeptName | None = None
    # Its source carries only what is new: what is not there says nothing.
    is_delta: bool = False

    @property
    def explicit_tags(self) -> tuple[str, ...]:
        """The tags that the rule names exactly, in its order, each once."""
        if self.selection is not None:
            return self.selection.explicit
        return tuple(dict.fromkeys(each.text for each in self.tags or () if each.is_exact))

    @property
    def has_patterns(self) -> bool:
        """Tell whether only a listing of the source shows all that the rule selects."""
        if self.selection is not None:
            return self.selection.needs_listing
        return self.tags is None or not all(each.is_exact for each in self.tags)

    @property
    def allows_none(self) -> bool:
        """Tell whether the rule says, by a `min` of 0, that it is no mistake to select nothing."""
        return self.selection is not None and self.selection.allows_none

    def selects(self, tag: str) -> bool:
        """Tell whether the rule wants this tag of its source, as far as its name tells."""
        if self.selection is not None:
            return self.selection.selects(tag)
        return self.tags is None or any(each.matches_tag(tag) for each in self.tags)

    def is_immutable(self, tag: str | None) -> bool:
        """Tell whether the source never moves this tag: once copied it needs no further look."""
        return tag is not None and any(each.matches_tag(tag) for each in self.immutable_tags)

    def addresses(self, tag: str) -> tuple[Reference, ...]:
        """Where a source tag goes, one reference for each destination."""
        return tuple(
            destination.repository.at(self._renamed(destination, tag))
            for destination in self.destinations
        )

    def digest_addresses(self) -> tuple[Reference, ...]:
        """Where the source digest goes; none for a rule of tags."""
        if self.digest is None:
            return ()
        return tuple(
            destination.repository.at(destination.tags[0] if destination.tags else self.digest)
            for destination in self.destinations
        )

    def explicit_addresses(self) -> tuple[tuple[Reference, Reference], ...]:
        """Every pair of source reference and address that is known without a listing."""
        pairs = [
            (self.source.at(tag), address)
            for tag in self.explicit_tags
            for address in self.addresses(tag)
        ]
        if self.digest is not None:
            pairs += [(self.source.at(self.digest), each) for each in self.digest_addresses()]
        return tuple(pairs)

    def _renamed(self, destination: Destination, tag: str) -> str:
        if not destination.tags:
            return destination.form.replace("{tag}", self.rename.of(tag) if self.rename else tag)
        return dict(zip(self.explicit_tags, destination.tags, strict=True)).get(tag, tag)


@dataclass(frozen=True, slots=True)
class GlobRule:
    """A rule for each repository that a glob matches.

    `rule` is what holds for all of them: its source is the glob, its destinations are none yet.
    `joint` joins the segments of a name that is put into a destination; None keeps the slashes.
    """

    rule: Rule
    pattern: Pattern
    exclude: tuple[Pattern, ...]
    destinations: tuple[Template, ...]
    joint: str | None = None
    # Gives the layouts that are made of it the names that other rules give them.
    names: LayoutNames | None = field(default=None, compare=False, repr=False)

    def takes(self, source: Reference) -> bool:
        """Tell whether the glob matches a repository and nothing excludes it."""
        return self.pattern.matches_reference(source) and not self.excludes(source)

    def excludes(self, source: Reference) -> bool:
        """Tell whether a repository is one of those to leave out."""
        return any(each.matches_reference(source) for each in self.exclude)


@dataclass(frozen=True, slots=True)
class Config:
    """A config, checked. `base` and `state` are absolute; `sha256` is of the file's bytes.

    Without a file behind it `sha256` is empty. `name` is what a state is bound to: the file's
    name with its suffix, unless the file says `name`; `place` is where its state is, seen from
    its folder.
    """

    path: Path
    base: Path
    state: Path
    rules: tuple[Rule, ...]
    defaults: Defaults
    sha256: str
    registries: Registries = field(repr=False)
    # What whoever plans must know of how the file was read.
    notes: tuple[str, ...] = ()
    globs: tuple[GlobRule, ...] = ()
    # Of the bytes of the pins that the rules were made of; empty where they were not.
    lock_sha256: str = ""
    # The files that it was read from: itself, and those that it includes.
    files: tuple[Path, ...] = ()
    guards: Guards = field(default_factory=Guards)
    # Of the config, then of the file beside it.
    known: tuple[KnownConflict, ...] = ()
    name: str = ""
    place: str = ""
    # A stranger wrote it: nothing is connected to but its `registries`, which are the operator's,
    # no folder is left, and nothing is written.
    is_untrusted: bool = False
    # False: where its state is, is not known here.
    has_state: bool = True
    # A state that was exported to this file; it is read instead of `state`.
    state_file: Path | None = None

    @property
    def cache(self) -> Path | None:
        """The folder of what was read once and holds for ever; None where nothing is written."""
        return None if self.is_untrusted else self.state / "cache"

    @property
    def is_oneshot(self) -> bool:
        """Tell whether no file stands behind it: it then asks for what it names, and no more."""
        return not self.sha256

    def registry(self, host: str, repo: str | None = None) -> RegistryConfig:
        """Settings for a registry, or for one repository of it: the longest key that matches.

        Resolves the entry's variables when it is first used: ConfigError if one is unset.
        """
        return self.registries.find(host, repo)
