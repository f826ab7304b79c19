"""Pins: which digest each address gets, in a file that people review line by line.

`encode_pins` and `decode_pins` are the file, `locked` makes a config of it that asks a source
only for pinned digests. The file lies beside the config and is committed with it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from imgmigrate.config.load import decode_other, read_file
from imgmigrate.config.reading.schema import raise_all
from imgmigrate.config.reading.tree import Mapping, Scalar, parse_only
from imgmigrate.config.untrusted import refuse_link
from imgmigrate.errors import ConfigError, FileUnwritable
from imgmigrate.files import write_output
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.remedies import remedy
from imgmigrate.rules.rule import Destination
from imgmigrate.rules.templates import concrete_rule

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.config.reading.tree import Tree
    from imgmigrate.oci.reference import Repository
    from imgmigrate.rules.rule import GlobRule, Rule

__all__ = [
    "Pin",
    "Pins",
    "decode_pins",
    "encode_pins",
    "lock_config",
    "locked",
    "pins_path",
    "read_pins",
    "respelled_pins",
    "write_pins",
]

VERSION = "1"
# Meant to be committed and read by others; it holds no secrets.
SHARED_FILE = 0o644

# What stands above them, for people.
_ABOUT = "# Which image each address gets. Commit it.\n"
# What git writes around the two sides of a conflict.
_CONFLICTS = ("<<<<<<<", "=======", ">>>>>>>")
_ANEW = "write it anew: imgmigrate pin"


@dataclass(frozen=True, slots=True)
class Pin:
    """One address and the image it gets. `source` is a tag, or a digest that the rule names."""

    address: Reference
    source: Reference
    digest: Digest
    line: int = field(default=0, compare=False)

    @property
    def origin(self) -> str:
        """The image as one text: `repository:tag@digest`."""
        return str(self.source) if self.source.digest else f"{self.source}@{self.digest}"


Pins = dict[Reference, Pin]


def pins_path(config: Config) -> Path:
    """Where the pins of a config lie: beside it, `imgmigrate.lock.yaml` for `imgmigrate.yaml`."""
    return config.base / f"{config.path.stem}.lock.yaml"


def encode_pins(pins: Iterable[Pin], about: str = _ABOUT) -> bytes:
    """Lay out the file: one line an address, sorted, nothing else that would change with them.

    `about` are the comments at its head.
    """
    # A JSON text is a YAML text; quoted, no name can be mistaken for anything else.
    quote = json.JSONEncoder(ensure_ascii=False).encode
    ordered = sorted(pins, key=lambda pin: str(pin.address))
    lines = [f"  {quote(str(pin.address))}: {quote(pin.origin)}\n" for pin in ordered]
    head = f"{about}version: {VERSION}\n"
    return (head + ("pins:\n" + "".join(lines) if lines else "pins: {}\n")).encode()


def write_pins(path: Path, pins: Pins, about: str = _ABOUT) -> bool:
    """Write the file, atomically; False if it says so already and is left alone."""
    data = encode_pins(pins.values(), about)
    try:
        if path.exists() and path.read_bytes() == data:
            return False
        write_output(path, data, mode=SHARED_FILE)
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror}"
        raise FileUnwritable(message, hint="nothing was changed; mend it and pin again") from None
    return True


def read_pins(path: Path) -> Pins:
    """Read the file; ConfigError with its line for what nobody but a person can have written."""
    if not path.exists():
        raise _missing(path)
    return decode_pins(decode_other(read_file(path), str(path)), str(path))


def locked(config: Config) -> Config:
    """Make a config that asks for what the pins beside it say, and remembers which they were."""
    path = pins_path(config)
    if not path.exists():
        raise _missing(path)
    if config.is_untrusted:
        refuse_link(path)
    data = read_file(path)
    made = lock_config(config, decode_pins(decode_other(data, str(path)), str(path)), path)
    return dataclasses.replace(made, lock_sha256=hashlib.sha256(data).hexdigest())


def decode_pins(text: str, file: str) -> Pins:
    """Parse the text of a file; `file` is for messages."""
    if not any(line.strip() and not line.startswith("#") for line in text.splitlines()):
        raise ConfigError("it is empty", file=file, line=1, hint=_ANEW)
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_CONFLICTS):
            message = "a merge left its marks here"
            raise ConfigError(message, file=file, line=number, hint=f"keep one side, or {_ANEW}")
    tree = parse_only(text, file, ("version", "pins"), "a file of pins")
    for key in tree.root.entries:
        if key not in ("version", "pins"):
            raise tree.error("is not a known key", (key,), hint=_ANEW)
    version = tree.node(("version",))
    if not isinstance(version, Scalar) or version.value != VERSION:
        message = f"this imgmigrate reads pins of version {VERSION} alone"
        raise tree.error(message, ("version",), hint=f"use a newer imgmigrate, or {_ANEW}")
    entries = tree.node(("pins",))
    if not isinstance(entries, Mapping):
        raise tree.error("must be a mapping of addresses to images", ("pins",), hint=_ANEW)
    pins: Pins = {}
    errors = []
    for key in entries.entries:
        try:
            pin = _pin(tree, key)
            pins[pin.address] = pin
        except ConfigError as error:
            errors.append(error)
    raise_all(errors)
    return pins


def _missing(path: Path) -> ConfigError:
    hint = "write it first: imgmigrate pin"
    return ConfigError("there is no such file", file=str(path), hint=hint)


def _pin(tree: Tree, key: str) -> Pin:
    path = ("pins", key)
    node = tree.node(path)
    if not isinstance(node, Scalar):
        raise tree.error("must be one text: repository:tag@digest", path, hint=_ANEW)
    name, _, digest_text = node.value.rpartition("@")
    try:
        address = Reference.parse(key)
        digest = Digest.parse(digest_text)
        source = Reference.parse(name)
    except ValueError as error:
        hint = f"write repository:tag@digest, or {_ANEW}"
        raise tree.error(str(error), path, hint=hint) from None
    if source.tag is None:
        source = source.repository.at(digest)
    pin = Pin(address, source, digest, tree.line(path))
    if (str(address), pin.origin) != (key, node.value):
        # One image, one spelling: else an address could be there twice.
        message = f"is not how imgmigrate writes {address} from {pin.origin}"
        raise tree.error(message, path, hint=_ANEW)
    if address.tag is None and address.digest is None:
        raise tree.error("the address names no tag", path, hint=_ANEW)
    return pin


def lock_config(config: Config, pins: Pins, file: Path) -> Config:
    """Make a config that asks for exactly the pins, each by its digest.

    ConfigError names every pin that no rule asks for, and everything asked for without a pin.
    """
    pins = respelled_pins(config, pins)
    finder = _Finder(config)
    found: list[Rule] = []
    errors: list[ConfigError] = []
    pinned: set[tuple[str, int]] = set()
    for pin in pins.values():
        rules = finder.rules(pin)
        pinned |= {_place(rule) for rule in rules}
        if rules:
            found.append(_as_pinned(rules[0], pin))
            continue
        message = f"no rule asks for this from {pin.source}"
        key = f'pins."{pin.address}"'
        hint = "write the pins anew: imgmigrate pin"
        errors.append(ConfigError(message, file=str(file), line=pin.line, key=key, hint=hint))
    errors += _unpinned(config, pins, pinned, file)
    raise_all(errors)
    return dataclasses.replace(config, rules=tuple(found), globs=())


def respelled_pins(config: Config, pins: Pins) -> Pins:
    """Give the layouts in pins the names that the config has for them now, by real path."""
    ends = (end.repository for pin in pins.values() for end in (pin.address, pin.source))
    if not any(repository.is_layout for repository in ends):
        return pins
    spelling = config.spelling(pin.source.repository for pin in pins.values())
    found = {}
    for pin in pins.values():
        address, source = spelling.destination(pin.address), spelling.source(pin.source)
        found[address] = dataclasses.replace(pin, address=address, source=source)
    return found


def _unpinned(
    config: Config, pins: Pins, pinned: set[tuple[str, int]], file: Path
) -> Iterable[ConfigError]:
    """Name what the rules ask for and the file lacks, a rule without any pin once."""
    for rule in (*config.rules, *(each.rule for each in config.globs)):
        lacking = [each for _, each in rule.explicit_addresses() if each not in pins]
        if lacking:
            message = f"{lacking[0]} has no pin in {file.name}"
            if len(lacking) > 1:
                message += f", nor have {len(lacking) - 1} more addresses of this rule"
            alone = remedy("pin", upgrade=str(lacking[0]))
            hint = f"imgmigrate pin, or this alone: {alone}"
        elif _place(rule) not in pinned and not rule.allows_none:
            message = f"the rule has no pin in {file.name}"
            hint = "imgmigrate pin; a rule that may select nothing says so: tags: {..., min: 0}"
        else:
            continue
        yield ConfigError(message, file=rule.file, line=rule.line, hint=hint)


def _place(rule: Rule) -> tuple[str, int]:
    return rule.file, rule.number


def _as_pinned(rule: Rule, pin: Pin) -> Rule:
    """Make of a rule one that asks for this image alone."""
    tags = (pin.address.tag,) if pin.address.tag else ()
    return replace(
        rule,
        digest=pin.digest,
        pinned_tag=pin.source.tag,
        tags=(),
        selection=None,
        rename=None,
        from_glob=False,
        destinations=(Destination(pin.address.repository, tags),),
    )


class _Finder:
    """Finds the rules that ask for a pin; those that name its repository come first."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._by_source: dict[Repository, list[Rule]] = {}
        self._named: defaultdict[Repository, list[Rule]] = defaultdict(list)
        for rule in config.rules:
            self._named[rule.source].append(rule)

    def rules(self, pin: Pin) -> list[Rule]:
        source = pin.source.repository
        if source not in self._by_source:
            globs = [self._concrete(each, source) for each in self._config.globs]
            made = [rule for rule in globs if rule is not None]
            self._by_source[source] = [*self._named[source], *made]
        return [rule for rule in self._by_source[source] if _asks(rule, pin)]

    def _concrete(self, rule: GlobRule, source: Repository) -> Rule | None:
        if not rule.takes(Reference(source)):
            return None
        return concrete_rule(rule, source, str(self._config.base))


def _asks(rule: Rule, pin: Pin) -> bool:
    """Tell whether a rule asks for a pin, as far as names tell: what is newest, the pins say."""
    if rule.digest is not None:
        return pin.source.digest == rule.digest and pin.address in rule.digest_addresses()
    tag = pin.source.tag
    return tag is not None and rule.selects(tag) and pin.address in rule.addresses(tag)
