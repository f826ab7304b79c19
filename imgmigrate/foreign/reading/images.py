"""Give each image of a list its place below one destination, and tell which two would share one.

Pure. Lists name images and nothing else: where they go is said once, for all of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from imgmigrate.config.reading.schema import raise_all
from imgmigrate.errors import ConfigError, UsageError
from imgmigrate.foreign.document import Document, Entry, Remark
from imgmigrate.matching import split_target
from imgmigrate.oci.reference import parse_endpoint

if TYPE_CHECKING:
    from imgmigrate.config.reading.tree import KeyPath
    from imgmigrate.foreign.formats import Given

__all__ = ["Listed", "Places"]

LATEST = "it names no tag, so its latest is copied"
_HOST = re.compile(r"localhost(?::\d+)?|\[[^\]]*\](?::\d+)?|[^/]*[.:][^/]*")
# What is for a shell, for envsubst, or for Helm to fill in.
_UNFILLED = re.compile(r"\$\(|\$\{?\w|\{\{|%\w+%|<\w+>")


class Listed(NamedTuple):
    """An image as a list names it, and where: `target` is a place of its own."""

    file: str
    path: KeyPath
    line: int
    source: str
    target: str = ""
    platforms: tuple[str, ...] = ()


class Places:
    """Collects images; ConfigError for what is no image, once all are read.

    Unless it is `strict`, what is no image is told and left out.
    """

    def __init__(self, given: Given, *, strict: bool = True) -> None:
        self._to = (given.to or "").removeprefix("docker://").rstrip("/")
        self._scoped = given.scoped
        self._strict = strict
        self._errors: list[ConfigError] = []
        # By where they go: a place is given once.
        self._taken: dict[str, Entry] = {}
        self._document = Document(str(given.files[0]))

    def add(self, listed: Listed) -> None:
        """Add an image; one that is there already may add its platforms."""
        unfilled = _UNFILLED.search(listed.source + listed.target)
        if unfilled is not None:
            self.leave(listed, "it holds a variable or a template, to be filled in first")
            return
        try:
            self._place(listed)
        except ValueError as error:
            if not self._strict:
                self.leave(listed, str(error))
                return
            self._errors.append(ConfigError(str(error), file=listed.file, line=listed.line))
        except ConfigError as error:
            self._errors.append(error)

    def leave(self, listed: Listed, reason: str) -> None:
        """Tell why an image is left out."""
        told = f"{reason}; the image is left out"
        self._document.remarks.append(Remark(listed.line, told, is_left=True, file=listed.file))

    def document(self) -> Document:
        """Give all that was added."""
        raise_all(self._errors)
        self._document.images = list(self._taken.values())
        return self._document

    def _place(self, listed: Listed) -> None:
        source = listed.source.removeprefix("docker://")
        remarks: tuple[str, ...] = ()
        name, separator, wanted = split_target(source)
        tag, _, digest = wanted.partition("@") if separator == ":" else ("", "", wanted)
        if separator == "@":
            name, _, tag = split_target(name)
        if not separator:
            tag, remarks = "latest", (LATEST,)
        found = parse_endpoint(f"{name}@{digest}" if digest else f"{name}:{tag}")
        destination = self._destination(listed, str(found.repository), tag)
        settings: dict[str, Any] = {"destination": destination}
        if listed.platforms:
            settings["platforms"] = list(listed.platforms)
        entry = Entry(
            f"{name}@{digest}" if digest else f"{name}:{tag}",
            settings,
            listed.path,
            listed.line,
            remarks,
            listed.file,
        )
        self._take(destination, entry)

    def _destination(self, listed: Listed, repository: str, tag: str) -> str:
        """Where an image goes, with its tag: a place of its own may be a whole one, or below."""
        target = listed.target.removeprefix("docker://")
        below, separator, renamed = split_target(target)
        host, slash, _ = below.partition("/")
        is_whole = bool(slash) and _HOST.fullmatch(host) is not None
        if not is_whole and not self._to:
            message = "where its image goes is not said"
            hint = "say it for all with `to`, such as registry.new/path"
            raise UsageError(f"{listed.file}:{listed.line}: {message}", hint=hint)
        if not is_whole:
            path = repository if self._scoped else repository.rpartition("/")[2]
            below = f"{self._to}/{below or path.replace(':', '-')}"
        if separator == "@":
            msg = f"{target!r}: a digest cannot be chosen at a destination"
            raise ValueError(msg)
        tag = renamed if separator else tag
        return f"{below}:{tag}" if tag else below

    def _take(self, destination: str, entry: Entry) -> None:
        # By its digest alone an image is another place.
        is_tagged = bool(split_target(destination)[1])
        key = destination if is_tagged else f"{destination}@{entry.name.rpartition('@')[2]}"
        first = self._taken.setdefault(key, entry)
        if parse_endpoint(first.name) != parse_endpoint(entry.name):
            message = f"{entry.name} goes where {first.name} goes too: {destination}"
            place = f"first in {first.file}:{first.line}"
            hint = f"{place}; keep whole names with `scoped`, or name another place for one"
            raise ConfigError(message, file=entry.file, line=entry.line, hint=hint)
        one, more = (each.settings.get("platforms") for each in (first, entry))
        if one and more:
            wanted = list(dict.fromkeys([*one, *more]))
            self._taken[key] = replace(first, settings={**first.settings, "platforms": wanted})
        elif one:
            # Once without a choice: all of them.
            self._taken[key] = replace(first, settings={"destination": destination})
