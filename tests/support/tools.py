"""Run the independent tools: skopeo and umoci, with nothing of the user's own settings."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from tests.support.cli import TIMEOUT

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
NO_TLS = ("--src-tls-verify=false", "--dest-tls-verify=false")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command and return its stdout; AssertionError with its stderr if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=ENVIRONMENT | {"HOME": "/nonexistent"},
        stdin=subprocess.DEVNULL,
        cwd=cwd,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stderr}"
    return done.stdout


def skopeo_copy(source: str, destination: str, *options: str) -> None:
    """Copy an image, all platforms, digests kept; over plain HTTP unless told otherwise.

    An end is what skopeo calls it: `docker://host/repo:tag`, `oci:path:tag`, `dir:path`.
    Nested indexes are beyond skopeo.
    """
    chosen = options or ("--all", "--preserve-digests")
    run("skopeo", "--insecure-policy", "copy", "--quiet", *NO_TLS, *chosen, source, destination)


def skopeo_inspect(reference: str, *options: str) -> dict[str, Any]:
    """Describe an image of the host's platform as skopeo sees it."""
    command = ["skopeo", "--insecure-policy", "inspect", "--tls-verify=false", *options, reference]
    document = json.loads(run(*command))
    assert isinstance(document, dict)
    return document
