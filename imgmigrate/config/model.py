"""What the rest of the program knows of a config: registries' settings, rules, guards.

Frozen and checked; how it lies in a file is `schema.py`, how it is read `load.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Pydantic needs it at run time.
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from imgmigrate.config.guards import Guards
from imgmigrate.config.values.backends import Backend  # noqa: TC001
from imgmigrate.config.values.platforms import read_platforms
from imgmigrate.config.values.quantities import read_bandwidth, read_proxy, read_rate
from imgmigrate.config.values.referrers import read_referrers
from imgmigrate.config.values.tags import DefaultTags, PatternTexts  # noqa: TC001

# Pydantic needs these at run time.
from imgmigrate.oci.platforms import IndexForm  # noqa: TC001
from imgmigrate.rules.layouts import Spelling
from imgmigrate.rules.referrers import USUAL, ReferrerPolicy
from imgmigrate.rules.rule import ForeignLayers, Overwrite
from imgmigrate.schemas.models import STRICT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgmigrate.config.known import KnownConflict
    from imgmigrate.config.registries import Registries
    from imgmigrate.config.signatures import SignatureRule
    from imgmigrate.oci.reference import Repository
    from imgmigrate.rules.rule import GlobRule, Rule

__all__ = [
    "Config",
    "Defaults",
    "RegistryConfig",
    "Tls",
]

# Blob streams at once, reads and writes each (DESIGN section 3).
CONCURRENCY = 16
MOST_CONCURRENCY = 1024


class _Settings(BaseModel):
    """Frozen; a message never shows the input, which may be a secret."""

    model_config = STRICT


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
    tls: Tls = Field(default_factory=Tls)
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
    index: IndexForm | None = None
    foreign_layers: ForeignLayers = ForeignLayers.SKIP
    # For rules that name neither tags nor a digest.
    tags: DefaultTags | None = None
    immutable_tags: PatternTexts = []
    referrers: Annotated[ReferrerPolicy, BeforeValidator(read_referrers)] = USUAL


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
    # A rule that finds nothing, or an image without the wanted platforms, is told and skipped: so
    # does the tool whose file it is, which has no words to say otherwise.
    is_lenient: bool = False
    # It names no image at all, as such a file may: there is nothing to do, and nothing is let go.
    is_idle: bool = False
    # A state that was exported to this file; it is read instead of `state`.
    state_file: Path | None = None
    # Whose signatures images need; each that is about one has to be satisfied.
    signatures: tuple[SignatureRule, ...] = ()
    # Where a state that several machines share is; it is used instead of the folder `state`.
    backend: Backend | None = None

    @property
    def state_place(self) -> Path | Backend:
        """Where the state is."""
        return self.backend or self.state

    @property
    def is_oneshot(self) -> bool:
        """Tell whether no file stands behind it: it then asks for what it names, and no more."""
        return not self.sha256

    def spelling(
        self, sources: Iterable[Repository], *, first: Iterable[Repository] = ()
    ) -> Spelling:
        """Say what its rules call layouts now, of which older files have other names."""
        return Spelling(self.base, self.rules, self.globs, sources, first=first)

    def registry(self, host: str, repo: str | None = None) -> RegistryConfig:
        """Settings for a registry, or for one repository of it: the longest key that matches.

        Resolves the entry's variables when it is first used: ConfigError if one is unset.
        """
        return self.registries.find(host, repo)
