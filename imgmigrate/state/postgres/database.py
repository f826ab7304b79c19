"""Reach the PostgreSQL server that a state is in, and say what is wrong when that fails.

The only module that knows asyncpg. PgBouncer may stand between, in transaction mode: a server's
connection is ours from BEGIN to COMMIT only. So everything is asked in a transaction, and nothing
is left in a session: no prepared statement, no setting, no lock, no search path.
"""

from __future__ import annotations

import os
import re
import ssl
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from imgmigrate.errors import StateAway, StateError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from types import ModuleType

__all__ = ["Database", "Session"]

# What the statements call the schema; a URL may name another: `?schema=team_b`.
SCHEMA = "imgmigrate"
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# Seconds for a connection to stand, and for one statement: whoever says nothing longer is away.
CONNECT_TIMEOUT = 15.0
STATEMENT_TIMEOUT = 60.0
# Seconds for a goodbye.
CLOSE_TIMEOUT = 2.0
# SQLSTATEs of what another try may mend: the server shuts down or starts, has no connection left,
# lost a race, or (08) does not speak to us; PostgreSQL's Appendix A.
_AWAY = ("08", "53300", "57P", "57014", "40", "55P03", "25P03")


class Database:
    """Where a state is: its server, its database there, and its schema in that."""

    def __init__(self, url: str) -> None:
        """Take a URL as libpq does, and `schema` among its options; UsageError if it is none."""
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True)
        self.place = url
        self.schema = dict(options).get("schema", SCHEMA)
        if not _SCHEMA.fullmatch(self.schema):
            raise UsageError(
                f"state {url}: {self.schema!r} is no name of a schema",
                hint="lower-case letters, digits and _ only, at most 63",
            )
        query = urlencode([each for each in options if each[0] != "schema"])
        self._url = parts._replace(query=query).geturl()
        self.identity = _identity(url, self.schema)

    def sql(self, statement: str) -> str:
        """Put the schema's own name into a statement."""
        return statement.replace(f"{SCHEMA}.", f'"{self.schema}".')

    async def connect(self) -> Any:
        """Open a connection; StateAway if nobody answers."""
        with self.explained() as asyncpg:
            return await asyncpg.connect(
                self._url,
                timeout=CONNECT_TIMEOUT,
                command_timeout=STATEMENT_TIMEOUT,
                statement_cache_size=0,
            )

    @contextmanager
    def explained(self) -> Iterator[ModuleType]:
        """Turn what asyncpg, which is given, raises into what a reader understands."""
        try:
            import asyncpg  # not before it is needed: it takes a while, and may be missing
        except ImportError:
            raise UsageError(
                f"state {self.place}: PostgreSQL needs asyncpg, which is not installed",
                hint="pip install 'imgmigrate[postgres]'",
            ) from None
        try:
            yield asyncpg
        except ssl.SSLError as error:
            raise self._error(
                f"its TLS is not trusted: {error.reason or error}",
                hint="check sslmode and sslrootcert in its URL",
            ) from None
        except asyncpg.PostgresError as error:
            raise self._refused(error.sqlstate or "", str(error)) from None
        except asyncpg.ClientConfigurationError as error:
            raise self._error(f"cannot be asked for so: {error}", hint="check its URL") from None
        except (asyncpg.DataError, asyncpg.UnsupportedServerFeatureError) as error:
            raise self._error(f"cannot be used: {error}") from None
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise self.away(str(error) or type(error).__name__) from None

    def away(self, cause: str) -> StateAway:
        """Say that nobody answers."""
        return StateAway(
            f"state {self.place}: gives no answer: {cause}",
            hint="check that the server runs and can be reached from here, then run it again",
        )

    def _error(self, cause: str, *, hint: str | None = None) -> StateError:
        return StateError(f"state {self.place}: {cause}", hint=hint)

    def _refused(self, code: str, said: str) -> StateError:
        if code in ("28P01", "28000"):
            return self._error(
                f"refuses the login: {said}",
                hint="its password is taken from PGPASSWORD or ~/.pgpass, its user from PGUSER or"
                " the URL",
            )
        if code == "3D000":
            return self._error(
                f"has no such database: {said}", hint="create it (createdb), or check the URL"
            )
        if code == "42501":
            return self._error(
                f"a right is missing: {said}",
                hint=f"GRANT CREATE ON DATABASE ... TO the user, or create the schema"
                f" {self.schema} for it; who only plans needs USAGE and SELECT there",
            )
        if code == "25006":
            return self._error(
                f"is read-only: {said}",
                hint="name the primary, or add target_session_attrs=read-write to the URL",
            )
        if code in ("53100", "53200"):
            return self._error(f"its server is full: {said}", hint="free some space there")
        if code.startswith(_AWAY):
            return self.away(said)
        return self._error(f"the server refuses: {said} ({code})")


class Session:
    """A connection that stands when it is asked for something, and is opened anew if it fell."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._connection: Any = None

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False) -> AsyncIterator[None]:
        """Do all of a block or none of it; StateAway may have done either.

        In a `snapshot` every question is answered as of the first, and nothing is written.
        """
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = self._connection = await self.database.connect()
        isolation = "repeatable_read" if snapshot else "read_committed"
        try:
            with self.database.explained():
                async with connection.transaction(isolation=isolation, readonly=snapshot):
                    yield
        except StateAway:
            self.drop()
            raise

    async def rows(self, statement: str, *values: Any) -> Sequence[Any]:
        """Ask, and take every row."""
        found: Sequence[Any] = await self._connection.fetch(self.database.sql(statement), *values)
        return found

    async def row(self, statement: str, *values: Any) -> Any:
        """Ask, and take the first row; None if there is none."""
        return await self._connection.fetchrow(self.database.sql(statement), *values)

    async def run(self, statement: str, *values: Any) -> None:
        """Do it."""
        await self._connection.execute(self.database.sql(statement), *values)

    def drop(self) -> None:
        """Let the connection go without a word: its end is told nothing more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        """Say goodbye, if there is anybody."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            with self.database.explained():
                await connection.close(timeout=CLOSE_TIMEOUT)
        except StateError:
            connection.terminate()


def _identity(url: str, schema: str) -> str:
    """What tells a state from every other, whoever logs in and with which options."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    hosts = parts.netloc.rpartition("@")[2] or options.get("host") or os.environ.get("PGHOST", "")
    database = parts.path.strip("/") or options.get("dbname") or os.environ.get("PGDATABASE", "")
    return f"postgresql://{hosts.lower()}/{quote(database, safe='%')}?schema={schema}"
