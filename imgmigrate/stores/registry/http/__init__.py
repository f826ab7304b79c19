"""Sessions, timeouts, retries and redirects; the only importer of aiohttp.

While it is imported aiohttp makes two TLS contexts, and each reads all certificates of this
machine: a tenth of a plan's start, for contexts that are not used here (`trust.py` has its own).
They read them before their first connection instead; whoever else uses aiohttp notices nothing.
"""

from __future__ import annotations

import ssl
from typing import Any


class _Late(ssl.SSLContext):
    """A context that becomes a usual one, with this machine's certificates, when it is used."""

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:
        self.__class__ = ssl.SSLContext  # type: ignore[assignment]
        self.set_default_verify_paths()
        return self.wrap_bio(*given, **named)


def _defer(context: ssl.SSLContext) -> None:
    context.__class__ = _Late


ssl.SSLContext.set_default_verify_paths = _defer  # type: ignore[assignment, method-assign]
try:
    import aiohttp  # noqa: F401
finally:
    del ssl.SSLContext.set_default_verify_paths
