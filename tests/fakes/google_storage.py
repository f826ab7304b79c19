"""Google Cloud Storage as far as a state needs it: objects with generations, by the XML API.

No emulator of it minds conditions there. Its own words are in "XML API: request headers", under
`x-goog-if-generation-match`: 0 is for an object that is not there, else 412.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BUCKET", "serve"]

BUCKET = "team"


@contextmanager
def serve() -> Iterator[str]:
    """Serve one empty bucket and give its URL."""
    objects: dict[str, tuple[bytes, int]] = {}
    lock, last = threading.Lock(), 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            wanted = self.headers.get("x-goog-if-generation-match")
            with lock:
                nonlocal last
                there = objects.get(self.path, (b"", 0))[1]
                if not self.path.startswith(f"/{BUCKET}/"):
                    self._refuse(404, "NoSuchBucket")
                elif wanted is not None and int(wanted) != there:
                    self._refuse(412, "PreconditionFailed")
                else:
                    last += 1
                    objects[self.path] = data, last
                    self._answer(200, b"", last)

        def do_GET(self) -> None:
            if self.path in objects:
                self._answer(200, *objects[self.path])
            else:
                is_ours = self.path.startswith(f"/{BUCKET}/")
                self._refuse(404, "NoSuchKey" if is_ours else "NoSuchBucket")

        do_HEAD = do_GET  # noqa: N815

        def do_DELETE(self) -> None:
            objects.pop(self.path, None)
            self._answer(204, b"", 0)

        def log_message(self, *_: object) -> None:
            pass

        def _refuse(self, status: int, code: str) -> None:
            self._answer(status, f"<Error><Code>{code}</Code></Error>".encode(), 0)

        def _answer(self, status: int, body: bytes, generation: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if generation:
                self.send_header("ETag", f'"{generation:x}"')
                self.send_header("x-goog-generation", str(generation))
                self.send_header("Last-Modified", formatdate(usegmt=True))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
