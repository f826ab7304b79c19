"""Seal a JSON line with a hash of its own bytes, and open it again only if they match.

Pure. The journal's lines and the snapshot's header are sealed the same way: an object whose
last key is `hash`, the first 32 hex digits of the sha256 of every byte before `,"hash"`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import ValidationError

__all__ = ["HASH_LENGTH", "encode", "explain", "seal", "unseal"]

# 128 bits find every accident; who may write the folder may forge any hash anyway.
HASH_LENGTH = 32
_MARK = b',"hash":"'
_END = b'"}'
_TAIL = len(_MARK) + HASH_LENGTH + len(_END)


def encode(document: dict[str, Any]) -> bytes:
    """Print an object compactly, in ASCII so that any path survives, without a newline."""
    return json.dumps(document, separators=(",", ":")).encode()


def seal(document: dict[str, Any]) -> tuple[bytes, str]:
    """Print a non-empty object as a sealed line with its newline; return it and its hash."""
    body = encode(document)[:-1]
    digest = _hash(body)
    return b"".join((body, _MARK, digest.encode(), _END, b"\n")), digest


def unseal(line: bytes) -> tuple[dict[str, Any], str]:
    """Parse a sealed line; ValueError says how it is damaged."""
    if not line.endswith(b"\n"):
        msg = "it is not complete"
        raise ValueError(msg)
    line = line[:-1]
    body, mark, digest, end = line[:-_TAIL], line[-_TAIL:][: len(_MARK)], line[-34:-2], line[-2:]
    if mark != _MARK or end != _END or _hash(body).encode() != digest:
        msg = "its hash does not match its bytes"
        raise ValueError(msg)
    try:
        document = json.loads(line)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        msg = "it is not a JSON object"
        raise ValueError(msg)
    return document, digest.decode()


def explain(error: ValueError) -> str:
    """One line of what a parser found wrong."""
    if isinstance(error, ValidationError):
        detail = error.errors()[0]
        return f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}"
    return str(error)


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:HASH_LENGTH]
