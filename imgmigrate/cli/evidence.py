"""Reports that are kept: where one goes, and who signs it (`--report`, `--sign`)."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from imgmigrate.cli.given.options import file_path
from imgmigrate.cli.outfile import check_place, save_to
from imgmigrate.errors import FileUnwritable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from imgmigrate.cli.given.options import Settings
    from imgmigrate.config.model import Config
    from imgmigrate.signing.dsse import Signer

__all__ = ["Evidence", "evidence_of", "evidence_options", "sign_option"]

# Whoever checks it is somebody else.
SHARED_FILE = 0o644
PASSPHRASE = "IMGMIGRATE_SIGN_PASSPHRASE"
# In bytes; a key of 16,384 bits has some 13 KB.
LARGEST_KEY = 64 * 1024


class Evidence(Struct, frozen=True):
    """A report on its way: its file, and its signer if it is to be signed."""

    out: Path
    signer: Signer | None
    # What `--sign` names, which may be a file.
    sign: str | None = None

    def check(self, settings: Settings, config: Config, plan: str | None) -> None:
        """Refuse, before any work, a place where it must not be written; `plan` is a file."""
        inputs = {"the key of --sign": self.sign, "the plan": plan}
        check_place(self.out, settings, config, option="--report", inputs=inputs)

    def save(self, settings: Settings, statement: bytes) -> None:
        """Sign a statement and write it; what it tells of is over by then, whatever happens."""
        from imgmigrate.signing.dsse import seal

        try:
            data = statement if self.signer is None else seal(statement, self.signer)
        except ValueError as error:
            unsigned = self.out.with_name(f"{self.out.name}.unsigned")
            save_to(settings, unsigned, statement + b"\n", mode=SHARED_FILE, what="report")
            message = f"{self.out}: the report is not written, as it could not be signed: {error}"
            hint = f"what it tells of is done and recorded; not signed, it is in {unsigned}"
            raise FileUnwritable(message, hint=hint) from None
        save_to(settings, self.out, data + b"\n", mode=SHARED_FILE, what="report")


sign_option = click.option(
    "--sign",
    metavar="KEY|COMMAND",
    help="Sign the report: by a PEM key, or by a program that gets the bytes and prints it.",
)


def evidence_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--report` and `--sign`."""
    report = click.option(
        "--report", metavar="FILE", type=file_path(), help="Write what was done, as in-toto."
    )
    return report(sign_option(function))


def evidence_of(report: Path | None, sign: str | None) -> Evidence | None:
    """Read what was given; UsageError if a report cannot be signed so."""
    if report is None:
        if sign is not None:
            message = "--sign signs a report, and there is none"
            raise UsageError(message, hint="name its file with --report")
        return None
    return Evidence(report, None if sign is None else _signer(sign), sign)


def _signer(text: str) -> Signer:
    """A file is a key, unless it is a program; anything else is a command."""
    if os.path.isfile(text) and (not os.access(text, os.X_OK) or _is_pem(Path(text))):
        return _key(Path(text))
    from imgmigrate.signing.signers import CommandSigner

    try:
        command = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--sign {text}: it is no command: {error}") from None
    if not command or shutil.which(command[0]) is None:
        message = f"--sign {text}: there is no such file, and no such program"
        hint = "name a private key in PEM, or a program with its arguments"
        raise UsageError(message, hint=hint)
    return CommandSigner(command)


def _is_pem(path: Path) -> bool:
    """Tell a key by how it begins: some file systems call every file a program."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_KEY).lstrip().startswith(b"-----BEGIN ")
    except OSError:
        return False


def _key(path: Path) -> Signer:
    from imgmigrate.signing.signers import read_private_key

    passphrase = os.environ.get(PASSPHRASE)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_KEY)
        return read_private_key(data, passphrase.encode() if passphrase else None)
    except OSError as error:
        raise UsageError(f"--sign {path}: it cannot be read: {error.strerror}") from None
    except ValueError as error:
        hint = f"the passphrase of an encrypted key is read from {PASSPHRASE}"
        raise UsageError(f"--sign {path}: {error}", hint=hint) from None
    except ImportError:
        message = f"--sign {path}: signing needs cryptography, which is not installed"
        raise UsageError(message, hint="pip install 'imgmigrate[verify]'") from None
