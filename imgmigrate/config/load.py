"""Make a config of a file: bytes -> tree -> variables -> schema -> rules.

Every error is a ConfigError with file, line, key and fix.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate.config.guards import build_guards
from imgmigrate.config.known import build_known, known_path, read_known
from imgmigrate.config.model import Config
from imgmigrate.config.places import name_place, read_state
from imgmigrate.config.reading.includes import read_includes
from imgmigrate.config.reading.schema import FileModel, IncludingModel, validate
from imgmigrate.config.reading.tree import Scalar, Tree
from imgmigrate.config.reading.variables import Environment, UnsetVariableError, expand
from imgmigrate.config.registries import Registries
from imgmigrate.config.rules import build_rules
from imgmigrate.config.signatures import build_signature_rules
from imgmigrate.config.values.backends import Backend
from imgmigrate.config.values.paths import default_place
from imgmigrate.errors import ConfigError
from imgmigrate.rules.layouts import LayoutNames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imgmigrate.config.reading.tree import KeyPath
    from imgmigrate.config.untrusted import Bounds

__all__ = ["build_config", "check_version", "decode", "decode_other", "read_file"]

VERSION = "1"


def build_config(
    path: Path,
    tree: Tree,
    data: bytes,
    environ: Mapping[str, str],
    *,
    registries_tree: Tree | None = None,
    notes: tuple[str, ...] = (),
    bounds: Bounds | None = None,
    is_lenient: bool = False,
) -> Config:
    """Check what a tree says and make a config of it; registries may come from another tree.

    ConfigError says what is wrong, where, and how to mend it. `environ` is where variables come
    from; it is kept, because those under `registries` are resolved when a registry is first used.
    Within `bounds` those of the trusted file stand instead of its own. A lenient one may name no
    image (`Config.is_lenient`).
    """
    environ = Environment.of(environ)
    with environ.unshown(), bounds.told() if bounds is not None else nullcontext():
        if bounds is not None:
            bounds.inspect_main(tree)
        made = _build(path, tree, data, environ, registries_tree or tree, bounds, is_lenient)
    return replace(made, notes=notes)


def _build(
    path: Path,
    tree: Tree,
    data: bytes,
    environ: Environment,
    registries_tree: Tree,
    bounds: Bounds | None,
    is_lenient: bool,
) -> Config:
    # Once, with all links: what is relative to it then means one place in every later step.
    base = Path(os.path.realpath(os.path.dirname(path)))
    form = IncludingModel if is_lenient or tree.node(("include",)) else FileModel
    model = validate(form, tree.plain((), _expander(tree, environ, bounds)), tree)
    registries = Registries(registries_tree, environ, base)
    included, more = read_includes(
        path,
        tree,
        model.include,
        read=read_file,
        decode=decode_other,
        expander=lambda part: _expander(part, environ, bounds),
        bounds=bounds,
    )
    rules, globs = build_rules(tree, model, base, LayoutNames(base), included)
    if not (rules or globs or is_lenient):
        hint = "write images: in one of them"
        raise tree.error("the included files hold no images", ("include",), hint=hint)
    state = read_state(tree, model.state, base) if model.state else base / default_place(path)
    named = (model.state.path if model.state else None) or ""
    if bounds is not None:
        registries, state = bounds.trusted.registries, bounds.trusted.state or state
    backend = state if isinstance(state, Backend) else None
    return Config(
        path=path,
        files=(path, *(Path(part.tree.file) for part in included)),
        base=base,
        state=base / default_place(path) if isinstance(state, Backend) else state,
        backend=backend,
        rules=rules,
        globs=globs,
        defaults=model.defaults,
        sha256=hashlib.sha256(data + more).hexdigest(),
        registries=registries,
        guards=build_guards(tree, model, base),
        signatures=(
            *(bounds.trusted.signatures if bounds is not None else ()),
            *build_signature_rules(tree, model.verify, base),
        ),
        known=build_known(tree, model.known_conflicts) + read_known(known_path(path)),
        name=model.name or path.name,
        place=name_place(state, base, named),
        is_untrusted=bounds is not None,
        has_state=bounds is None or bounds.trusted.state is not None,
        is_lenient=is_lenient,
        is_idle=not (rules or globs),
    )


def read_file(path: Path) -> bytes:
    """Read a config's bytes; ConfigError if that is not possible."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        message, hint = "there is no such file", "write a first one with: imgmigrate init"
    except IsADirectoryError:
        message, hint = "it is a folder", "name the file in it, such as imgmigrate.yaml"
    except OSError as error:
        message, hint = f"it cannot be read: {error.strerror}", "check its path and permissions"
    raise ConfigError(message, file=str(path), hint=hint)


def decode(data: bytes, file: str, *, is_shown: bool = True) -> str:
    """Make text of a config's bytes; ConfigError, which may show one, if they are not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f": byte 0x{data[error.start]:02X}" if is_shown else ""
        raise ConfigError(
            f"it is not UTF-8{byte}",
            file=file,
            line=line,
            hint="save it as UTF-8",
        ) from None


def decode_other(data: bytes, file: str) -> str:
    """Make text of the bytes of a file that the config names, and show nothing of it."""
    return decode(data, file, is_shown=False)


def check_version(tree: Tree) -> None:
    """First of all: a newer version may well have keys and forms that are unknown here."""
    node = tree.node(("version",))
    if node is None:
        hint = f"write version: {VERSION} at the top"
        raise tree.error("is missing", ("version",), hint=hint)
    if not isinstance(node, Scalar) or node.value != VERSION:
        found = repr(node.value) if isinstance(node, Scalar) else "this"
        message = f"{found} is not supported; this imgmigrate reads version {VERSION}"
        hint = f"write version: {VERSION}, or use a newer imgmigrate"
        raise tree.error(message, ("version",), hint=hint)


def _expander(
    tree: Tree, environ: Mapping[str, str], bounds: Bounds | None
) -> Callable[[str, KeyPath], str]:
    """Expand every value but those under `registries`, whose time comes later."""

    def convert(text: str, path: KeyPath) -> str:
        if path[0] == "registries" or "$" not in text:
            return text
        if bounds is not None and not bounds.may_expand(text):
            return text
        try:
            return expand(text, environ)
        except UnsetVariableError as error:
            hint = "set it, or give it a default: ${NAME:-default}"
            raise tree.error(str(error), path, hint=hint) from None
        except ValueError as error:
            raise tree.error(str(error), path) from None

    return convert
