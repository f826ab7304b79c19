"""Run Debian's docker-registry 2.8 on a free loopback port: the real thing.

Plain Python, no event loop. The server dies with the block, its files are the caller's.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.certificates import make_certificates
from tests.support.registries import Remote, request
from tests.support.token_server import ISSUER, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.certificates import Certificates
    from tests.support.images import Image
    from tests.support.seaweed import Seaweed
    from tests.support.token_server import TokenServer

# The one user of a registry with `htpasswd=True`.
USERNAME = "alice"
PASSWORD = "correct horse"
_HTPASSWD = f"{USERNAME}:$2y$05$imgmigratetestsalt000u3.yCZIhBDMtUZgBCGnONsxvOE6Q1rX.\n"

# The server starts within a tenth of a second; a machine under load gets a minute.
POLLS, POLL_PAUSE = 6000, 0.01

_ACCESS = re.compile(r'\S+ \S+ \S+ \[[^]]*\] "(\S+) (\S+) [^"]*" (\d+) (\d+) ')

_CONFIG = """\
version: 0.1
log: {{level: info, formatter: text}}
storage:
  {storage}
  delete: {{enabled: {delete}}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http:
  addr: 127.0.0.1:{port}
  secret: not a secret
{tls}{auth}"""


@dataclass(frozen=True, slots=True)
class Access:
    """A line of the access log."""

    method: str
    target: str
    status: int
    sent: int

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class DockerRegistry:
    """A running docker-registry."""

    remote: Remote
    folder: Path
    certificates: Certificates | None
    _process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def host(self) -> str:
        """The host and port to put into a reference."""
        return self.remote.host

    @property
    def url(self) -> str:
        """The root of its URLs."""
        return self.remote.url

    @property
    def ca_file(self) -> Path | None:
        """The authority of its certificate, if it speaks TLS."""
        return self.certificates.ca_file if self.certificates else None

    def access_log(self) -> list[Access]:
        """List the requests answered so far, in the order of their ends.

        A marker request is sent first and waited for, so that lines still on their way to the
        file are in it.
        """
        marker = f"/v2/?marker={time.monotonic_ns()}"
        request(self.remote, "GET", marker)
        for _ in _polls(self._process):
            lines = [_access(line) for line in self._text("access.log").splitlines()]
            if any(line and line.target == marker for line in lines):
                return [line for line in lines if line and "/v2/?marker=" not in line.target]
        raise AssertionError(self._text("server.log"))

    def uploads(self) -> dict[str, int]:
        """Count the committed uploads of each blob by digest."""
        return self._count(r"digest=(sha\d+(?:%3A|:)[0-9a-f]+)", "PUT")

    def mounts(self) -> dict[str, int]:
        """Count the mounts that succeeded of each blob by digest."""
        return self._count(r"mount=(sha\d+(?:%3A|:)[0-9a-f]+)", "POST")

    def stop(self) -> None:
        """Kill the server; its files stay."""
        self._process.kill()
        self._process.wait()

    def _count(self, pattern: str, method: str) -> dict[str, int]:
        counts: dict[str, int] = {}
        for line in self.access_log():
            found = re.search(pattern, line.target)
            if found and line.method == method and line.status == 201:
                digest = found[1].replace("%3A", ":")
                counts[digest] = counts.get(digest, 0) + 1
        return counts

    def _text(self, name: str) -> str:
        return (self.folder / name).read_text()


def put_on_disk(folder: Path, repo: str, tag: str, image: Image) -> None:
    """Put an image into the storage of a registry that is served from `folder`, now or later.

    As its filesystem driver keeps it, and many times faster than pushing it. Source:
    distribution's `registry/storage/paths.go`.
    """
    root = folder / "storage/docker/registry/v2"
    for digest, data in [*image.blobs.items(), *((d, m[1]) for d, m in image.manifests.items())]:
        algorithm, _, name = digest.partition(":")
        path = root / "blobs" / algorithm / name[:2] / name / "data"
        if not path.exists():
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
    below = root / "repositories" / repo
    tagged = below / "_manifests/tags" / tag
    links = {
        tagged / "current": image.top,
        tagged / "index" / image.top.replace(":", "/"): image.top,
    }
    links |= {below / "_layers" / each.replace(":", "/"): each for each in image.blobs}
    revisions = below / "_manifests/revisions"
    links |= {revisions / each.replace(":", "/"): each for each in image.manifests}
    for path, digest in links.items():
        path.mkdir(parents=True, exist_ok=True)
        (path / "link").write_text(digest)


def blob_file(folder: Path, digest: str) -> Path:
    """The file of a blob in the storage."""
    algorithm, _, name = digest.partition(":")
    (found,) = folder.glob(f"**/blobs/{algorithm}/{name[:2]}/{name}/data")
    return found


def lose_blob(folder: Path, digest: str) -> None:
    """Take a blob's bytes from the storage, behind the server's back; every link to it stays."""
    blob_file(folder, digest).unlink()


def lose_tag(folder: Path, repo: str, tag: str) -> None:
    """Take a tag from the storage, behind the server's back; its manifest stays."""
    (found,) = folder.glob(f"**/repositories/{repo}/_manifests/tags/{tag}")
    shutil.rmtree(found)


@contextmanager
def serve(
    folder: Path,
    *,
    htpasswd: bool = False,
    tokens: TokenServer | None = None,
    tls: bool = False,
    client_certificates: bool = False,
    s3: Seaweed | None = None,
    delete: bool = True,
    port: int = 0,
) -> Iterator[DockerRegistry]:
    """Serve from `folder`, which may hold the storage of an earlier or of a running server.

    With `tls` the certificate's authority is in `ca_file`, and with `client_certificates` only
    its clients are let in; with `htpasswd` only `USERNAME` and `PASSWORD` are; with `tokens`
    only who brings one of them. The storage may be a bucket of `s3` instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    certificates = make_certificates(folder) if tls else None
    (folder / "htpasswd").write_text(_HTPASSWD)
    files = f"certificate: {folder}/tls.pem, key: {folder}/tls.key"
    if client_certificates:
        files += f", clientcas: [{folder}/ca.pem]"
    config = _CONFIG.format(
        storage=s3.driver() if s3 else f"filesystem: {{rootdirectory: {folder / 'storage'}}}",
        delete=str(delete).lower(),
        port=port,
        tls=f"  tls: {{{files}}}\n" if tls else "",
        auth=_auth(folder, htpasswd, tokens),
    )
    (folder / "config.yml").write_text(config)
    with (folder / "access.log").open("wb") as out, (folder / "server.log").open("wb") as error:
        process = subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder)},
        )
    try:
        host = f"127.0.0.1:{_port(process, folder / 'server.log')}"
        username, password = (USERNAME, PASSWORD) if htpasswd else (None, None)
        client = certificates.client if certificates else None
        remote = Remote(host, username, password, client)
        yield DockerRegistry(remote, folder, certificates, process)
    finally:
        process.kill()
        process.wait()


def _auth(folder: Path, htpasswd: bool, tokens: TokenServer | None) -> str:
    if tokens is not None:
        names = f"service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {tokens.bundle}"
        return f"auth: {{token: {{realm: {tokens.url}, {names}}}}}\n"
    return f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n" if htpasswd else ""


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Wait until the server says where it listens; its socket is open then."""
    for _ in _polls(process):
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text())
        if found:
            return int(found[1])
    raise AssertionError(log.read_text())


def _polls(process: subprocess.Popen[bytes]) -> Iterator[None]:
    for _ in range(POLLS):
        yield
        if process.poll() is not None:
            return
        time.sleep(POLL_PAUSE)


def _access(line: str) -> Access | None:
    found = _ACCESS.match(line)
    return Access(found[1], found[2], int(found[3]), int(found[4])) if found else None
