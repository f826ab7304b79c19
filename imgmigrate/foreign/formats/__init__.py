"""One format a file, and the table of them: a new one is a file and a row here.

Each is read by a `read(given)` of its module, which is loaded when a file of it is met.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imgmigrate.config.reading.tree import Tree
    from imgmigrate.foreign.document import Document

__all__ = ["FORMATS", "Given", "read"]

FORMATS = {
    "image-syncer": "image_syncer",
    "regsync": "regsync",
    "skopeo": "skopeo",
    "dregsy": "dregsy",
    "list": "lists",
    "yaml": "any_yaml",
}


class Given(Struct, frozen=True):
    """Files of one format, and what else says where images go; each format takes its part.

    `to` and `scoped` are skopeo's and those of lists, `suffix` and `all_platforms` skopeo's;
    `registry`, `namespace`, `os` and `arch` image-syncer's, whose variables are looked for in
    `environ`.
    """

    form: str
    files: tuple[Path, ...]
    environ: Mapping[str, str]
    to: str | None = None
    scoped: bool = False
    suffix: str = ""
    registry: str | None = None
    namespace: str | None = None
    os: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()
    all_platforms: bool = False

    def tree(self) -> Tree:
        """Read the one file; UsageError if there are more."""
        from imgmigrate.foreign.document import read_tree

        if len(self.files) != 1:
            hint = f"imgmigrate convert {self.form} FILE"
            raise UsageError(f"{self.form} has one file", hint=hint)
        return read_tree(self.files[0])


def read(given: Given) -> Document:
    """Read files of one of `FORMATS`; ConfigError or UsageError says what is wrong with them."""
    module = import_module(f"{__name__}.{FORMATS[given.form]}")
    try:
        document: Document = module.read(given)
    except ConfigError:
        _refuse_others(given)
        raise
    if not document.images:
        _refuse_others(given)
    return document


def _refuse_others(given: Given) -> None:
    """Say whose file was named by mistake, where it is plainly another's; it tells nothing else."""
    from imgmigrate.config.load import decode, read_file
    from imgmigrate.foreign.recognise import foreign_error, kind_of, own_kinds

    for path in given.files:
        kind = kind_of(decode(read_file(path), str(path)), str(path))
        if kind is not None and kind not in own_kinds(given.form):
            raise foreign_error(kind, str(path)) from None
