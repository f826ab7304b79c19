"""A PostgreSQL server of our own, and a PgBouncer before it, on ports that nobody else has.

Both refuse to run as root, so root starts them as the user that Debian's package makes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.ports import answers, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Pooler", "Server", "pooled", "serve"]

USER = "postgres"
PASSWORD = "s3cret-enough"
PATIENCE = 60.0
QUICK = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "64MB",
    "max_connections": "40",
    "unix_socket_directories": "",
    "jit": "off",
}


def binary(name: str) -> str:
    """Find a program of the newest PostgreSQL, which Debian puts beside the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else name


def as_user(*command: str) -> list[str]:
    """Make a command of root's one of the server's user."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]


@dataclass
class Server:
    """One cluster; it may be stopped and started again where it was."""

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its database `team`, for its owner."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/team"

    def create(self) -> None:
        """Make the cluster, and the database in it."""
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self.folder, password):
                shutil.chown(path, USER, USER)
        made = as_user(
            binary("initdb"), "-D", str(self.data), "-U", USER, "--no-sync", "--no-locale",
            "-E", "UTF8", "--auth=scram-sha-256", f"--pwfile={password}",
        )  # fmt: skip
        subprocess.run(made, check=True, capture_output=True, cwd="/")
        self.start()
        self.psql("CREATE DATABASE team", database="postgres")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = [f"-c{name}={value}" for name, value in QUICK.items()]
        command = as_user(binary("postgres"), "-D", str(self.data), "-p", str(self.port), *settings)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.psql("SELECT 1", database="postgres")
            except subprocess.CalledProcessError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stop at once; whoever is connected is thrown out."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(PATIENCE)
        self._process = None

    def psql(self, statement: str, *, database: str = "team") -> str:
        """Run a statement as the owner."""
        command = [
            binary("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
            "-p", str(self.port), "-U", USER, "-d", database, "-c", statement,
        ]  # fmt: skip
        environ = {**os.environ, "PGPASSWORD": PASSWORD}
        done = subprocess.run(command, check=True, capture_output=True, env=environ, text=True)
        return done.stdout.strip()

    @property
    def is_running(self) -> bool:
        return self._process is not None


@dataclass
class Pooler:
    """A PgBouncer in transaction mode: each transaction gets the next of its few connections."""

    server: Server
    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """The database behind it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/team"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it."""
        users = self.folder / "users.txt"
        users.write_text(f'"{USER}" "{PASSWORD}"\n')
        config = self.folder / "pgbouncer.ini"
        config.write_text(
            "[databases]\n"
            f"team = host=127.0.0.1 port={self.server.port} dbname=team\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\n"
            "pool_mode = transaction\ndefault_pool_size = 6\nserver_round_robin = 1\n"
            "max_client_conn = 50\nquery_wait_timeout = 20\n"
        )
        if os.geteuid() == 0:
            for path in (self.folder, users, config):
                shutil.chown(path, USER, USER)
        with (self.folder / "log").open("ab") as log:
            command = as_user("/usr/sbin/pgbouncer", str(config))
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        try:
            deadline = time.monotonic() + PATIENCE
            while not answers(self.port):
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)


@contextmanager
def serve() -> Iterator[Server]:
    """Run a server in a folder of its own, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="imgmigrate-pg-"))
    server = Server(folder)
    try:
        server.create()
        yield server
    finally:
        if server.is_running:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def pooled(server: Server) -> Iterator[Pooler]:
    """Run a pooler before a server, in a folder of its own, which goes with it."""
    with tempfile.TemporaryDirectory(prefix="imgmigrate-pgb-") as folder:
        pooler = Pooler(server, Path(folder))
        with pooler.running():
            yield pooler
