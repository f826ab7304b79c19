"""Read plain lists of images, one a line, as releases and scripts have them.

A line is a name, as `docker pull` takes it; before it may stand `--platform=...`, behind it
where it goes: `SRC=>DST`, two columns, or `--alias=DST`. What begins with `#` is a comment.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgmigrate.config.load import decode, read_file
from imgmigrate.errors import ConfigError
from imgmigrate.foreign.reading.images import Listed, Places

if TYPE_CHECKING:
    from imgmigrate.foreign.document import Document
    from imgmigrate.foreign.formats import Given

__all__ = ["read"]

_COMMENT = re.compile(r"(?:^|\s)(?:#|//).*")
_OPTION = re.compile(r"--(platform|alias)(?:=|\s+)(\S+)\s*")
# A bullet, quotes, a comma at the end: lists that were once YAML, JSON or a script.
_AROUND = re.compile(r"^[-*]\s+|^(?:docker|podman|nerdctl|crictl)\s+(?:image\s+)?pull\s+")
_ARROW = re.compile(r"\s*(?:=>|->)\s*|\s+")


def read(given: Given) -> Document:
    """Read lists of images; `to` is where they go, below it by their last part or `scoped`."""
    places = Places(given)
    for path in given.files:
        for number, line in enumerate(decode(read_file(path), str(path)).splitlines(), 1):
            listed = _line(str(path), number, line)
            if listed is not None:
                places.add(listed)
    return places.document()


def _line(file: str, number: int, line: str) -> Listed | None:
    text = _COMMENT.sub("", line).strip()
    text = _AROUND.sub("", text)
    options = dict(_OPTION.findall(text))
    words = _ARROW.split(_OPTION.sub("", text).strip())
    words = [each.strip("\"',;") for each in words if each.strip("\"',;")]
    if not words:
        return None
    if len(words) > 2 or words[0].startswith("-"):
        message = "this is not one image, or one and where it goes"
        hint = "write NAME, NAME => PLACE, or --platform=OS/ARCH NAME"
        raise ConfigError(message, file=file, line=number, hint=hint)
    source, target = words[0], words[1] if len(words) > 1 else options.get("alias", "")
    platforms = tuple(each for each in options.get("platform", "").split(",") if each)
    return Listed(file, (), number, source, target, platforms)
