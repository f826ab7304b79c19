"""What a remote's refusal means to whoever reads it: ask again, or mend it.

Pure. Git says it in words only; where they are of no kind known here, the network is to blame and
it is asked again for a while.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgmigrate.errors import StateAway, StateError

if TYPE_CHECKING:
    from imgmigrate.state.shared.git.program import Ended

__all__ = ["declined", "refused", "rejection"]

_CREDENTIALS = re.compile(
    r"could not read (?:username|password)|authentication failed|terminal prompts disabled"
    r"|invalid (?:username|credentials)|permission denied|host key verification failed"
    r"|permission to \S{1,300} denied|write access to repository not granted|error: 40[13]\b"
    r"|not allowed to (?:push|upload)|read[- ]only",
    re.IGNORECASE,
)
# Names are bounded: a text that is nothing but beginnings of these is read in linear time, too.
_NOT_THERE = re.compile(
    r"repository (?:\S{1,300} )?not found|does not appear to be a git repository|error: 404\b"
    r"|not exported|repository .{0,300} does not exist|project you were looking for"
    r"|is not a git command|transport '.{0,100}' not allowed|service not enabled",
    re.IGNORECASE,
)
# Reasons of a remote that come of another's push at the same moment, or of its own trouble.
_PASSING = re.compile(
    r"stale info|fetch first|non-fast-forward|cannot lock ref|failed to update ref"
    r"|failed to report status|internal (?:server|api)|try again",
    re.IGNORECASE,
)
# A branch `a` is in the way of a branch `a/b`, and stays there.
_IN_THE_WAY = "; cannot create"


def refused(ended: Ended, where: str, subject: str) -> StateError:
    """Say why a remote could not be asked; `where` is the branch and the remote, with its URL."""
    told = ended.err
    if _NOT_THERE.search(told):
        return StateError(
            f"{where}: there is no such repository, or it is not shown to these credentials:"
            f" {_said(ended)}",
            subject=subject,
            hint="see git remote -v and what git fetch says in the checkout",
        )
    if _CREDENTIALS.search(told):
        return StateError(
            f"{where}: the credentials of the checkout were refused: {_said(ended)}",
            subject=subject,
            hint="git must be able to fetch and push there without asking anybody",
        )
    return StateAway(f"{where}: no answer: {_said(ended)}", subject=subject, hint="try again")


def rejection(ended: Ended) -> str | None:
    """The reason of a push's only line that says why it was not taken; None if there is none."""
    for line in ended.out.decode(errors="replace").splitlines():
        if line.startswith("!"):
            summary = line.rpartition("\t")[2]
            return summary.partition("(")[2].rpartition(")")[0] or summary
    return None


def declined(ended: Ended, reason: str, where: str, branch: str, subject: str) -> StateError:
    """Say why a remote took no push although nobody else had pushed."""
    told = f"{reason}: {_remote_words(ended)}" if _remote_words(ended) else reason
    if _PASSING.search(told) and _IN_THE_WAY not in told:
        return StateAway(f"{where}: the push was not taken: {told}", subject=subject)
    return StateError(
        f"{where}: the server declined the push: {told}",
        subject=subject,
        hint=f"let who runs this push to {branch} directly: exempt the branch from protection rules"
        " and hooks, or name one that is free (state: {backend: git, branch: NAME})",
    )


def _said(ended: Ended) -> str:
    """What the server said, or else ssh, or else git."""
    lines = [line.strip() for line in ended.err.splitlines()]
    ssh = next((line for line in lines if line.startswith(("ssh: ", "kex_exchange"))), "")
    return _remote_words(ended) or ssh or _denied(lines) or ended.words


def _denied(lines: list[str]) -> str:
    return next((line for line in lines if "Permission denied (" in line or "Host key" in line), "")


def _remote_words(ended: Ended) -> str:
    lines = (line.strip() for line in ended.err.splitlines() if line.startswith("remote:"))
    words = " ".join(filter(None, (line.removeprefix("remote:").strip() for line in lines)))
    return words[:300]
