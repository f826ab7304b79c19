"""Read where a state is: a folder of this machine, or a backend that several machines share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate.config.reading.variables import expand
from imgmigrate.config.values.backends import Backend, is_backend, read_backend
from imgmigrate.config.values.paths import place_of, resolve_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgmigrate.config.reading.schema import StateModel
    from imgmigrate.config.reading.tree import Tree

__all__ = ["name_place", "read_place", "read_state"]


def read_state(
    tree: Tree, model: StateModel, base: Path, environ: Mapping[str, str] | None = None
) -> Path | Backend:
    """Check what a file says of its state; with `environ` its variables are expanded first.

    ConfigError names the key that is wrong.
    """
    key = "path" if model.path is not None else "backend"
    try:
        text = str(model.path or model.backend)
        if environ is not None:
            text = expand(text, environ)
        if model.backend is not None:
            return read_backend(
                text, base, branch=model.branch, remote=model.remote, lease=model.lease
            )
        return resolve_path(text, base)
    except ValueError as error:
        raise tree.error(str(error), ("state", key)) from None


def read_place(text: str, base: Path) -> Path | Backend:
    """Read a place that was typed: a backend's URL, or a folder seen from the current one.

    ValueError says what is wrong with a URL.
    """
    return read_backend(text, base) if is_backend(text) else Path(text).absolute()


def name_place(state: Path | Backend, base: Path, named: str) -> str:
    """Say where a state is as seen from a config's folder, for people and other machines."""
    return str(state) if isinstance(state, Backend) else place_of(state, base, named=Path(named))
