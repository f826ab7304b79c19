"""Run Azurite, Microsoft's own imitation of Azure's Blob Storage, on a free loopback port.

It comes from npm (`make azurite`). Plain Python, no event loop; it dies with the block.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from base64 import b64decode, b64encode
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.registries import request

if TYPE_CHECKING:
    from collections.abc import Iterator

# Every Azurite's own, as its manual prints them.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CONTAINER = "team"
POLLS, POLL_PAUSE = 1200, 0.05
_PLACE = Path(__file__).parents[2] / ".venvs" / "azurite" / "node_modules" / ".bin"


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running Azurite with one container."""

    host: str

    def environment(self) -> dict[str, str]:
        """What Azure's own tools are told to find it."""
        return {
            "AZURE_STORAGE_CONNECTION_STRING": (
                f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
                f"BlobEndpoint=http://{self.host}/{ACCOUNT};"
            )
        }


@contextmanager
def serve(folder: Path) -> Iterator[Azurite]:
    """Serve an empty container; its log is in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "azurite.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                *(_azurite(), "--blobPort", "0", "--inMemoryPersistence"),
                *("--skipApiVersionCheck", "--disableTelemetry"),
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        host = _host(process, log)
        _make_container(host)
        yield Azurite(host)
    finally:
        process.kill()
        process.wait()


def _azurite() -> str:
    beside = _PLACE / "azurite-blob"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("azurite-blob")
    assert found, "azurite-blob is missing: make azurite"
    return found


def _host(process: subprocess.Popen[bytes], log: Path) -> str:
    """Read from its log on which port it listens."""
    for _ in range(POLLS):
        text = log.read_text()
        if "successfully" in text and "http://" in text:
            return text.rpartition("http://")[2].split()[0].rstrip("/")
        assert process.poll() is None, text
        time.sleep(POLL_PAUSE)
    raise AssertionError(log.read_text())


def _make_container(host: str) -> None:
    """Make the container, signed with the account's key ("Authorize with Shared Key")."""
    date, version = formatdate(usegmt=True), "2021-08-06"
    signed = (
        f"PUT{12 * chr(10)}x-ms-date:{date}\nx-ms-version:{version}\n"
        f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    )
    signature = b64encode(digest(b64decode(KEY), signed.encode(), sha256)).decode()
    headers = {
        "Content-Type": "",
        "x-ms-date": date,
        "x-ms-version": version,
        "Authorization": f"SharedKey {ACCOUNT}:{signature}",
    }
    path = f"/{ACCOUNT}/{CONTAINER}?restype=container"
    made = request(host, "PUT", path, body=b"", headers=headers)
    assert made.status == 201, made
