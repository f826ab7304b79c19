"""What a checkout lends to a repository of our own: its remote and its credentials, in memory.

The checkout is only read. Whatever git writes goes into the private repository: a fetch with a
depth would make a whole clone a shallow one, and refs, FETCH_HEAD and objects are its owner's.
Its settings may depend on where it lies (`includeIf`), so git itself is asked for them there; they
may hold a token, so they are handed on in the environment and are written to no disk.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from imgmigrate.errors import StateError
from imgmigrate.redaction import hide
from imgmigrate.state.shared.git.program import Git

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Checkout", "private_git", "top_of", "visit"]

# Settings in the environment, GIT_CONFIG_COUNT, came with it.
OLDEST = (2, 31)
# Where many repositories are public, and who can look is anybody.
PUBLIC_HOSTS = ("bitbucket.org", "codeberg.org", "github.com", "gitlab.com")
# What it takes to reach a remote and to sign a commit; nothing that makes git do more.
_LENT = re.compile(
    r"(?:author|committer|credential|http|protocol|ssh|url|user)\..+"
    r"|core\.(?:askpass|gitproxy|sshcommand)"
)
_REMOTE = re.compile(
    r"remote\.(.+)\.(?:proxy|proxyauthmethod|pushurl|receivepack|serveroption|uploadpack|url|vcs)"
)
# Who wrote a commit where git knows nobody, as on most runners.
_NOBODY = {"NAME": "imgmigrate", "EMAIL": "imgmigrate@localhost"}


class _Setting(Struct, frozen=True):
    """One line of git's configuration; `scope` says which file it is from."""

    scope: str
    key: str
    value: str


class Checkout(Struct, frozen=True):
    """A checkout as git sees it, and the URL of the remote that was asked for."""

    top: Path
    hashes: str
    url: str
    settings: tuple[_Setting, ...]

    @property
    def public_host(self) -> str | None:
        """The host of the remote if everybody can look at many of its repositories."""
        host = self.url.partition("://")[2] or self.url
        host = host.rpartition("@")[2] if "@" in host.partition("/")[0] else host
        name = re.split("[/:]", host, maxsplit=1)[0].lower()
        return name if name in PUBLIC_HOSTS else None


async def visit(folder: Path, remote: str, subject: str) -> Checkout:
    """Look at the checkout that a folder is in; StateError if it is none or lacks the remote."""
    git = Git(folder, subject, {})
    version = (await git.here("version")).decode(errors="replace").strip()
    found = re.search(r"(\d{1,9})\.(\d{1,9})", version)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        message = f"{version} is too old"
        raise StateError(message, subject=subject, hint=f"install git {OLDEST[0]}.{OLDEST[1]}")
    ended = await git.run("rev-parse", "--show-object-format", "--show-toplevel")
    if ended.code:
        advice = re.search("git config --global --add safe.directory .+", ended.err)
        raise StateError(
            f"{folder} is in no checkout of a git repository: {ended.words}",
            subject=subject,
            hint=advice[0] if advice else "the config must lie in a clone that has the remote",
        )
    hashes, _, top = os.fsdecode(ended.out).removesuffix("\n").partition("\n")
    settings = tuple(await _settings(git))
    urls = {
        named[1]: each.value
        for each in reversed(settings)  # of several URLs the first is fetched from
        if (named := _REMOTE.fullmatch(each.key)) and each.key.endswith(".url")
    }
    if remote not in urls:
        others = f"it has {', '.join(sorted(urls))}" if urls else "it has none"
        raise StateError(
            f"the checkout {top} has no remote {remote}; {others}",
            subject=subject,
            hint=f"git remote add {remote} URL, or name another as git:BRANCH@REMOTE",
        )
    _hide(settings)
    return Checkout(Path(top), hashes, urls[remote], settings)


async def private_git(checkout: Checkout, place: Path, remote: str, subject: str) -> Git:
    """Make an empty repository at `place`, and a git in it that reaches the checkout's remote."""
    bare = Git(checkout.top, subject, {})
    hashes = f"--object-format={checkout.hashes}"
    words = ("init", "--quiet", "--bare", "--template=", "--initial-branch=none", hashes)
    await bare.here(*words, str(place))
    git = Git(checkout.top, subject, {"GIT_DIR": str(place)})
    # What the user and the machine have set is known there too.
    known = Counter((each.key, each.value) for each in await _settings(git))
    lent: list[_Setting] = []
    for each in checkout.settings:
        if known[each.key, each.value]:
            known[each.key, each.value] -= 1
        elif _is_lent(each.key, remote):
            lent.append(each)
    environment = {"GIT_DIR": str(place), **_in_environment(lent, git.environment)}
    keys = {each.key for each in checkout.settings}
    for role in ("author", "committer"):
        for what, value in _NOBODY.items():
            name = f"GIT_{role.upper()}_{what}"
            is_known = keys & {f"user.{what.lower()}", f"{role}.{what.lower()}"}
            if not is_known and not os.environ.get(name):
                environment[name] = value
    return Git(checkout.top, subject, environment)


def top_of(folder: Path) -> str:
    """The real path of the checkout that a folder is in, without asking git; its own if in none."""
    real = Path(os.path.realpath(folder))
    return str(next((each for each in (real, *real.parents) if (each / ".git").exists()), real))


async def _settings(git: Git) -> list[_Setting]:
    """Every setting in force, in order, but for those of the environment, which has them anyway."""
    printed = os.fsdecode(await git.here("config", "--list", "--show-scope", "--null"))
    parts = printed.split("\0")
    made = (
        _Setting(scope, key, value if equals else "true")
        for scope, (key, equals, value) in zip(
            parts[::2], (each.partition("\n") for each in parts[1::2]), strict=False
        )
    )
    return [each for each in made if each.scope != "command"]


def _is_lent(key: str, remote: str) -> bool:
    named = _REMOTE.fullmatch(key)
    return named[1] == remote if named else _LENT.fullmatch(key) is not None


def _in_environment(lent: Iterable[_Setting], environment: dict[str, str]) -> dict[str, str]:
    """The settings as variables, behind those that are there already."""
    first = int(environment.get("GIT_CONFIG_COUNT") or 0)
    settings = list(lent)
    made = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, each in enumerate(settings, first):
        made |= {f"GIT_CONFIG_KEY_{number}": each.key, f"GIT_CONFIG_VALUE_{number}": each.value}
    return made


def _hide(settings: Iterable[_Setting]) -> None:
    """Show no secret of these, whatever a server or git repeats."""
    for each in settings:
        if each.key.endswith(".extraheader"):
            hide(each.value.rpartition(" ")[2])
        elif each.key.startswith(("remote.", "url.", "http.")):
            for text in (each.value, each.key.partition(".")[2]):
                try:
                    hide(urlsplit(text).password)
                except ValueError:
                    continue
