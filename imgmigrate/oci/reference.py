"""Name things: endpoints, repositories, tags and digests; parse, validate, print.

Pure. Everything that a server or a user names passes through here before it is used in a
path, a URL or a message. Grammar: distribution-spec "Pulling manifests" and the reference
grammar of docker (distribution/reference).
"""

from __future__ import annotations

import hashlib
import os.path
import posixpath
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = [
    "LAYOUTS",
    "Digest",
    "Reference",
    "Repository",
    "is_tag",
    "naming_fault",
    "parse_endpoint",
]

# The store of all OCI layouts together; no registry host can be called this.
LAYOUTS = "oci:"
DOCKER_HUB = "docker.io"
_DOCKER_HUB_ALIASES = frozenset(
    {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)
# Host and path together, docker's limit; distribution-spec suggests it for clients too.
LONGEST_NAME = 255
LARGEST_PORT = 65_535
HTTPS_PORT = "443"
# Digits, leading zeros among them.
LONGEST_PORT = 9

_DIGEST = re.compile(r"(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(
    r"(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\.?"
    r"|\[[A-Fa-f0-9:.]+\])(?::[0-9]{1,5})?"
)


class Digest(str):
    """A validated `algorithm:hex` digest (sha256 or sha512); a plain string everywhere else."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Validate `text`; ValueError if it is not a digest of a known algorithm."""
        if isinstance(text, cls):
            return text
        if not isinstance(text, str) or not _DIGEST.fullmatch(text):
            msg = f"not a digest (sha256 or sha512 in lower-case hex): {str(text)[:150]!r}"
            raise ValueError(msg)
        return cls(text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Digest `data`."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The part after the colon."""
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """Twelve hex digits, for people."""
        return self.hex[:12]

    def hasher(self) -> hashlib._Hash:
        """Start a hash of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def matches(self, data: bytes) -> bool:
        """Tell whether `data` has this digest."""
        return Digest.of(data, self.algorithm) == self

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            cls.parse, core_schema.str_schema(), serialization=core_schema.to_string_ser_schema()
        )


def is_tag(text: str) -> bool:
    """Tell whether `text` is a tag by the specification."""
    return _TAG.fullmatch(text) is not None


def is_repository_path(text: str) -> bool:
    """Tell whether `text` is a repository name by the specification, without a host."""
    return len(text) <= LONGEST_NAME and _PATH.fullmatch(text) is not None


def is_layout_path(text: str) -> bool:
    """Tell whether a folder of this name can be addressed: `oci:` before it means it alone."""
    try:
        text.encode()  # a name that is no UTF-8 has halves of surrogate pairs
        return parse_endpoint(f"{LAYOUTS}{text}") == Reference(Repository(LAYOUTS, text))
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """Where images with one name live: a path within a store.

    `store` is a registry's `host[:port]` or `LAYOUTS`; `path` is the repository name, or the
    layout's normalised POSIX path, absolute or relative to the config's folder.
    """

    store: str
    path: str

    @property
    def is_layout(self) -> bool:
        """Tell whether this is a directory rather than a registry's repository."""
        return self.store == LAYOUTS

    def at(self, target: str | Digest) -> Reference:
        """Refer to a tag, or to a digest, in this repository."""
        if isinstance(target, Digest):
            return Reference(self, digest=target)
        return Reference(self, tag=target)

    def __str__(self) -> str:
        return f"{LAYOUTS}{self.path}" if self.is_layout else f"{self.store}/{self.path}"


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository, and possibly a tag or a digest in it."""

    repository: Repository
    tag: str | None = None
    digest: Digest | None = None

    @property
    def target(self) -> str:
        """The digest if there is one, else the tag: what a manifest request asks for."""
        found = self.digest or self.tag
        if found is None:
            msg = f"{self} names no tag or digest"
            raise ValueError(msg)
        return found

    def with_tag(self, tag: str) -> Reference:
        """Refer to another tag of the same repository."""
        return replace(self, tag=tag, digest=None)

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read what `str()` printed, or what a user wrote; ValueError says what is wrong."""
        return parse_endpoint(text)

    def __str__(self) -> str:
        if self.digest:
            return f"{self.repository}@{self.digest}"
        return f"{self.repository}:{self.tag}" if self.tag else str(self.repository)

    def __lt__(self, other: Reference) -> bool:
        return str(self) < str(other)

    @classmethod
    def _validated(cls, value: Any) -> Reference:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            msg = "not a reference: it is not a text"
            raise ValueError(msg)
        return cls.parse(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            cls._validated,
            serialization=core_schema.to_string_ser_schema(),
        )


def parse_endpoint(text: str) -> Reference:
    """Parse `host[:port]/repository[:tag|@digest]`, a Docker Hub short name or `oci:PATH[:tag]`.

    A ValueError says what is wrong. Docker Hub names normalise as docker does: `nginx` is
    `docker.io/library/nginx`. A first component is a host only if it holds a dot or a colon,
    or is `localhost`.
    """
    if text.startswith(LAYOUTS):
        return _parse_layout(text)
    if "://" in text:
        msg = f"{text!r} is a URL: write host[:port]/repository, without {text.split('://')[0]}://"
        raise ValueError(msg)
    rest, at, digest_text = text.partition("@")
    digest = Digest.parse(digest_text) if at else None
    name, tag = rest, None
    if ":" in rest.rsplit("/", 1)[-1] and ("/" in rest or not _looks_like_host_only(rest)):
        name, _, tag = rest.rpartition(":")
        if not is_tag(tag):
            msg = f"{tag!r} in {text!r} is not a tag"
            raise ValueError(msg)
    first, slash, path = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host = first
    else:
        host, path = DOCKER_HUB, name
    try:
        repository = _registry_repository(host, path)
    except ValueError as error:
        msg = f"{text!r}: {error}"
        raise ValueError(msg) from None
    return Reference(repository, None if digest else tag, digest)


def _looks_like_host_only(text: str) -> bool:
    """Tell a bare `host:5000` (an error) from `nginx:1.27` (a short name)."""
    name, _, port = text.partition(":")
    return name == "localhost" or ("." in name and port.isdigit())


# Of classes and alternatives, which globs elsewhere have.
_MISTAKEN_FOR_GLOBS = frozenset("[]{}!")


@lru_cache(maxsize=65536)  # a state names few repositories, many times each
def _registry_repository(host: str, path: str) -> Repository:
    if not _HOST.fullmatch(host) or not _is_sane(host):
        msg = f"{host!r} is not a registry host"
        raise ValueError(msg)
    host = normalise_host(host)
    if not path:
        msg = "it names no repository; write host[:port]/repository"
        raise ValueError(msg)
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if not is_repository_path(path) or len(host) + 1 + len(path) > LONGEST_NAME:
        msg = f"{path!r} is not a repository name: {naming_fault(path)}"
        raise ValueError(msg)
    return Repository(host, path)


def naming_fault(path: str) -> str:
    """Say what is wrong with a repository's name, which may be a glob.

    The rules are those of distribution-spec "Pulling manifests".
    """
    if not _MISTAKEN_FOR_GLOBS.isdisjoint(path):
        return "globs know *, ** and ? alone; name them one by one, or select by a wider glob"
    if path != path.lower():
        return "it must be lower case"
    return "its parts are of a-z and 0-9, with single ., _, __ or dashes between them"


def _is_sane(host: str) -> bool:
    name, port = _split_port(host)
    return int(port or 0) <= LARGEST_PORT and (name[0] != "[" or _address(name) is not None)


def login_host(text: str) -> str:
    """Give Docker Hub's host where a registry is named by the key of its login there.

    That is `https://index.docker.io/v1/`; what is another name comes back as it is.
    """
    host, _, path = text.removeprefix("https://").partition("/")
    is_hub = normalise_host(host) == DOCKER_HUB and path.rstrip("/") in ("v1", "v2")
    return DOCKER_HUB if is_hub else text


@lru_cache(maxsize=4096)  # each address of a state is asked about, and its hosts are few
def normalise_host(host: str) -> str:
    """Give each registry host its one spelling; what is no host comes back in lower case.

    Lower case, no trailing dot, the port as a number and left out where it is HTTPS's own, an
    IPv6 address as RFC 5952 writes it, and one name for Docker Hub. A name without a dot keeps
    its port: without one it would be read as the first part of a Docker Hub name.
    """
    name, port = _split_port(host.lower())
    if name.startswith("["):
        address = _address(name)
        name = name if address is None else f"[{address}]"
    elif name[:-1] and name.endswith("."):
        name, port = name[:-1], port or HTTPS_PORT
    number = str(int(port)) if port else ""
    if name in _DOCKER_HUB_ALIASES and number in ("", HTTPS_PORT):
        return DOCKER_HUB
    if number == HTTPS_PORT and ("." in name or name[:1] == "[" or name == "localhost"):
        return name
    return f"{name}:{number}" if number else name


def has_https_port(host: str) -> bool:
    """Tell whether a host is written with HTTPS's own port, which its one spelling leaves out."""
    return _split_port(host)[1].lstrip("0") == HTTPS_PORT


def _split_port(host: str) -> tuple[str, str]:
    """Split what is written as a port off a host; the other colons are of an IPv6 address."""
    name, colon, port = host.rpartition(":")
    is_number = port.isascii() and port.isdigit() and len(port) <= LONGEST_PORT
    is_port = colon and is_number and (host[:1] != "[" or name[-1:] == "]")
    return (name, port) if is_port else (host, "")


def _address(name: str) -> str | None:
    """Write an IPv6 address as RFC 5952 does; None if it is none."""
    try:
        found = IPv6Address(name.strip("[]"))
    except ValueError:
        return None
    # Versions of Python differ in how they print an IPv4 address within one.
    return f"::ffff:{found.ipv4_mapped}" if found.ipv4_mapped else str(found)


def normalise_address(text: str) -> str:
    """Write a printed address as it is printed now, where its host has got another spelling.

    Costs no parsing where it has not. A text that is no address comes back as it is.
    """
    host = text.partition("/")[0]
    if text.startswith(LAYOUTS) or normalise_host(host) == host:
        return text
    try:
        return str(parse_endpoint(text))
    except ValueError:
        return text


def _parse_layout(text: str) -> Reference:
    path, tag, digest = text.removeprefix(LAYOUTS), None, None
    head, at, last = path.rpartition("@")
    if at and "/" not in last:
        path, digest = head, Digest.parse(last)
    head, colon, last = path.rpartition(":")
    if colon and "/" not in last:
        if not is_tag(last):
            msg = f"{last!r} in {text!r} is not a tag"
            raise ValueError(msg)
        path, tag = head, None if digest else last
    if not path or "\x00" in path or "\n" in path:
        msg = f"{text!r} names no directory: write oci:PATH or oci:PATH:TAG"
        raise ValueError(msg)
    return Reference(Repository(LAYOUTS, posixpath.normpath(path)), tag, digest)


def layout_address(repository: Repository, base: str) -> Repository:
    """Give a layout the path that its address has: absolute if it was written so.

    Any other is relative to `base`, the config's folder, and moves with it.
    """
    path = repository.path
    if path.startswith("/"):
        return Repository(LAYOUTS, posixpath.normpath(f"/{path.lstrip('/')}"))
    return Repository(LAYOUTS, relative_path(path, base))


def relative_path(path: str, base: str) -> str:
    """Express a layout's path relative to `base`, an absolute folder, whatever links there are."""
    return os.path.relpath(os.path.join(base, path), base).replace(os.sep, "/")
