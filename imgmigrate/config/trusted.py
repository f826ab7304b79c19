"""Read the trusted file: what a config that a stranger wrote may use.

It is the operator's, and lies where a pull request cannot change it. Its registries stand
instead of those of the config, with their credentials and their ways into the network.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from imgmigrate.config.load import decode, read_file
from imgmigrate.config.places import read_state
from imgmigrate.config.reading.schema import NOT_YET, StateModel, VerifyModel, validate
from imgmigrate.config.reading.tree import parse_tree
from imgmigrate.config.reading.variables import Environment
from imgmigrate.config.registries import Registries
from imgmigrate.config.signatures import build_signature_rules
from imgmigrate.schemas.models import STRICT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgmigrate.config.reading.tree import KeyPath, Tree
    from imgmigrate.config.signatures import SignatureRule
    from imgmigrate.config.values.backends import Backend

__all__ = ["Trusted", "TrustedModel", "load_trusted"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What later versions will know.
_LATER = ("policies", "policy")


class TrustedModel(BaseModel):
    """What a config that a stranger wrote may use; all else is refused."""

    model_config = STRICT

    version: Literal["1"] = Field(description="Always 1.")
    registries: dict[str, dict[str, Any]] = Field(
        default={},
        description="All that is connected to, by host[:port] or host[:port]/path, with the "
        "settings that registries have in a config; they stand instead of the config's.",
    )
    variables: list[str] = Field(
        default=[], description="Names of environment variables that the config may use."
    )
    include: list[str] = Field(
        default=[],
        description="Patterns that the config may include, as it writes them; the files have to "
        "lie in its folder.",
    )
    state: StateModel | None = Field(
        default=None, description="Where the state is, seen from this file's folder; only read."
    )
    verify: list[VerifyModel] = Field(
        default=[],
        description="Whose signatures images need, whatever the config says besides; keys are "
        "seen from this file's folder.",
    )


@dataclass(frozen=True, slots=True)
class Trusted:
    """A trusted file, checked. `place` is its `state` as written, `state` where that is."""

    path: Path
    registries: Registries = field(repr=False)
    variables: frozenset[str] = frozenset()
    include: frozenset[str] = frozenset()
    place: str | None = None
    state: Path | Backend | None = None
    signatures: tuple[SignatureRule, ...] = ()


def load_trusted(path: Path, *, environ: Mapping[str, str] | None = None) -> Trusted:
    """Read and check a trusted file; ConfigError says what is wrong with it, and where.

    Its own variables are those of `environ`, by default the process's, whatever `variables` says:
    that is for the config.
    """
    environ = Environment.of(os.environ if environ is None else environ)
    tree = parse_tree(decode(read_file(path), str(path)), str(path))
    base = Path(os.path.abspath(path)).parent
    with environ.unshown():
        return _checked(path, tree, environ, base)


def _checked(path: Path, tree: Tree, environ: Environment, base: Path) -> Trusted:
    _refuse_unknown(tree)
    model = validate(TrustedModel, tree.plain(), tree)
    for number, name in enumerate(model.variables):
        if not _NAME.fullmatch(name):
            hint = "write the names alone, without ${}"
            raise tree.error(f"{name!r} is not a variable's name", ("variables", number), hint=hint)
    place = state = None
    if model.state is not None:
        place = model.state.path or model.state.backend
        state = read_state(tree, model.state, base, environ)
    return Trusted(
        path,
        Registries(tree, environ, base),
        frozenset(model.variables),
        frozenset(model.include),
        place,
        state,
        build_signature_rules(tree, model.verify, base),
    )


def _refuse_unknown(tree: Tree) -> None:
    known = tuple(TrustedModel.model_fields)
    for key in tree.root.entries:
        where: KeyPath = (key,)
        if key in _LATER:
            raise tree.error(NOT_YET, where, hint="remove it, or wait for a version that has it")
        if key not in known:
            raise tree.error("is not a known key", where, hint=f"known here: {', '.join(known)}")
