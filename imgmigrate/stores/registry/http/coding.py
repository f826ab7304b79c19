"""Undo a content coding that nobody asked for.

We ask for `identity`, and some servers compress JSON all the same. Only for documents that are
read whole: a blob's digest is that of the bytes as they are stored.
"""

from __future__ import annotations

import zlib

__all__ = ["decoded"]

# zlib reads both formats with these window bits, and tells them apart by their first bytes.
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP = b"\x1f\x8b"


def decoded(body: bytes, coding: str | None, limit: int) -> bytes:
    """Decompress a body of at most `limit` bytes; ValueError if that cannot be done."""
    name = (coding or "identity").strip().lower()
    # What is labelled and not compressed is taken as it is.
    if name == "identity" or not body or (name in _CODINGS and body[:1] in (b"{", b"[")):
        return body
    if name not in _CODINGS:
        msg = f"the answer is compressed ({name[:20]}), which was not asked for"
        raise ValueError(msg)
    bits = _GZIP_OR_ZLIB
    if not body.startswith(_GZIP) and body[0] & 0x0F != zlib.DEFLATED:
        bits = -zlib.MAX_WBITS  # what some take "deflate" for (RFC 9110 8.4.1.2)
    expanding = zlib.decompressobj(bits)
    try:
        text = expanding.decompress(body, limit + 1)
    except zlib.error as error:
        msg = f"the answer cannot be decompressed: {error}"
        raise ValueError(msg) from None
    if len(text) > limit or not expanding.eof:
        msg = (
            f"the answer is longer than {limit} bytes"
            if len(text) > limit
            else ("the compressed answer ends too early")
        )
        raise ValueError(msg)
    return text
