"""Load a config from a file, whoever's format it is in: the same checks, the same rules.

What reads other formats, or says whose they are, is loaded when such a file is met.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from imgmigrate.config.load import build_config, check_version, decode, read_file
from imgmigrate.config.reading.text import is_image_syncer, parse_config_text
from imgmigrate.config.reading.variables import Environment
from imgmigrate.config.untrusted import Bounds
from imgmigrate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.config.reading.tree import Tree
    from imgmigrate.config.trusted import Trusted
    from imgmigrate.foreign.document import Document
    from imgmigrate.foreign.formats import Given
    from imgmigrate.foreign.formats.image_syncer import Options

__all__ = [
    "check",
    "load_config",
    "load_list",
    "load_pair",
    "load_whole",
]


def load_config(
    path: Path, *, environ: Mapping[str, str] | None = None, trusted: Trusted | None = None
) -> Config:
    """Read and check a config; ConfigError says what is wrong, where, and how to mend it.

    `environ` is where variables come from, by default the process's environment. A config of
    image-syncer, which has `auth` and `images`, is read as what it is. With `trusted` the config
    is a stranger's: all that it may not ask for is refused at once, and what is left reaches
    nothing but the trusted registries.
    """
    environ = Environment.of(os.environ if environ is None else environ)
    bounds = Bounds(trusted, environ, path) if trusted is not None else None
    data = read_file(path)
    tree = _parse(data, str(path))
    if is_image_syncer(tree):
        if bounds is not None:
            message = "this is image-syncer's config, and of a stranger only imgmigrate's is read"
            raise ConfigError(message, file=str(path), hint="imgmigrate convert image-syncer")
        return load_whole(path, environ=environ)
    check_version(tree)
    return build_config(path, tree, data, environ, bounds=bounds)


def load_whole(
    path: Path, options: Options | None = None, *, environ: Mapping[str, str] | None = None
) -> Config:
    """Load a file with `auth` and `images`; ConfigError says what is wrong with it."""
    from imgmigrate.foreign.document import read_tree
    from imgmigrate.foreign.formats.image_syncer import Options, read_whole

    environ = Environment.of(os.environ if environ is None else environ)
    document = read_whole(read_tree(path), options or Options(), environ)
    return _config(path, document, environ, options)


def load_pair(
    images: Path,
    auth: Path | None,
    options: Options | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Load rules and credentials from a file each; without credentials docker's are used."""
    from imgmigrate.foreign.formats.image_syncer import Options, read_pair
    from imgmigrate.foreign.recognise import LOGINS, PAIR, WHOLE

    environ = Environment.of(os.environ if environ is None else environ)
    rules = _part(images, PAIR, WHOLE)
    # Keys without a value may be logins that are not said.
    logins = None if auth is None else _part(auth, LOGINS, PAIR, WHOLE)
    document = read_pair(rules, logins, options or Options(), environ)
    return _config(images, document, environ, options)


def load_list(
    given: Given, *, plain_http: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Config:
    """Load a list of images, or what YAML names; the registries in `plain_http` speak no TLS."""
    from imgmigrate.foreign.document import Entry
    from imgmigrate.foreign.formats import read

    environ = Environment.of(os.environ if environ is None else environ)
    document = read(given)
    if not document.images:
        raise ConfigError("it names no image", file=document.file)
    document.registries = [Entry(each, {"plain_http": True}, (each,), 1) for each in plain_http]
    document.notes = document.warnings()
    return _config(given.files[0], document, environ, (given.to, given.scoped))


def check(path: Path, document: Document) -> None:
    """Check all that can be checked without the environment; ConfigError names the places."""
    trees = document.image_tree(), document.registry_tree()
    build_config(path, trees[0], b"", _Anything(), registries_tree=trees[1])


class _Anything(dict[str, str]):
    """An environment in which every variable is set, each to a name of its own."""

    def get(self, key: str, _: object = None) -> str:
        """Give what may stand in a host's name, a repository's and a tag."""
        return "x." + "".join(each for each in key.lower() if each.isalnum()) + "x"


def _parse(data: bytes, file: str) -> Tree:
    """Read our own file, or image-syncer's; ConfigError says whose it is if it is another's."""
    text = decode(data, file)
    try:
        tree = parse_config_text(text, file)
    except ConfigError:
        from imgmigrate.foreign.recognise import WHOLE, kind_of

        if kind_of(text, file) == WHOLE:
            return parse_config_text(text, file, nulls=True)
        _refuse_others(text, file)
        raise
    keys = tree.root.entries.keys()
    is_ours = "version" in keys and keys & {"images", "include"}
    if not is_ours and not is_image_syncer(tree):
        _refuse_others(text, file)
    return tree


def _refuse_others(text: str, file: str) -> None:
    """Say whose file it is, if it is plainly another's."""
    from imgmigrate.foreign.recognise import OURS, foreign_error, kind_of

    kind = kind_of(text, file)
    if kind not in (None, OURS):
        raise foreign_error(kind, file) from None


def _part(path: Path, *kinds: str) -> Tree:
    """Read a part of image-syncer's config; ConfigError says whose file it is instead."""
    from imgmigrate.foreign.document import read_tree
    from imgmigrate.foreign.recognise import foreign_error, kind_of, kind_of_tree

    try:
        tree = read_tree(path)
    except ConfigError:
        kind = kind_of(decode(read_file(path), str(path)), str(path))
        if kind is None:
            raise
        raise foreign_error(kind, str(path)) from None
    kind = kind_of_tree(tree)
    if kind is not None and kind not in kinds:
        raise foreign_error(kind, str(path))
    return tree


def _config(path: Path, document: Document, environ: Mapping[str, str], options: object) -> Config:
    return build_config(
        path,
        document.image_tree(),
        _identity(path, options),
        environ,
        registries_tree=document.registry_tree(),
        notes=tuple(document.notes),
        is_lenient=document.is_lenient,
    )


def _identity(path: Path, options: object) -> bytes:
    """What the config's sha256 is of: credentials may change between a plan and its apply."""
    from imgmigrate.foreign.formats.image_syncer import Options

    data = read_file(path)
    if options is None or options == Options():
        return data
    return data + b"\0" + hashlib.sha256(repr(options).encode()).digest()
