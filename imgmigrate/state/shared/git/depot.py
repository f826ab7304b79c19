"""Keep a shared state on a branch: a commit for each version, its tree the files that there are.

Only git's plumbing is used, in a private repository that borrows the checkout's remote and its
credentials (`checkout.py`); it is a temporary folder, so that nothing old can mislead, and holds
one version of the state and what this process adds. A push moves the branch only from the commit
that was seen (`--force-with-lease` with the commit written out, which is a condition: what is
pushed is always a child of that very commit, so that no history is ever lost).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import weakref
from typing import TYPE_CHECKING

from imgmigrate.errors import StateAway, StateError
from imgmigrate.redaction import redact
from imgmigrate.state.shared.depot import Missing, Overtaken, Seen
from imgmigrate.state.shared.git.checkout import private_git, top_of, visit
from imgmigrate.state.shared.git.program import ASKED, FETCHED, PUSHED
from imgmigrate.state.shared.git.refusals import declined, refused, rejection
from imgmigrate.state.shared.git.temporary import Temporary

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from imgmigrate.config.values.backends import Backend
    from imgmigrate.state.shared.git.checkout import Checkout
    from imgmigrate.state.shared.git.program import Ended, Git, Reader

__all__ = ["HEAD", "GitDepot"]

logger = logging.getLogger(__name__)

# The file of the head; files beside it, in folders, are what it names.
HEAD = "head.json"
# A file, or one in a folder: what a head could make a path of that means something else to git.
_NAME = re.compile(r"(?:[a-z]+/)?[A-Za-z0-9][A-Za-z0-9._-]*")
# The ref of the private repository that holds what was fetched last.
_SEEN = "refs/imgmigrate/seen"
# Pushes after which the private repository is packed: a run may go on for days.
TIDY_AFTER = 500
# Pushes that others' commits around the state may spoil one after the other.
ATTEMPTS = 5
# Those that the words of a run, and what others add at once, may spoil for whoever adds a file.
ADD_ATTEMPTS = 20
# Every commit says this: a branch with nothing to build needs no pipeline.
_BODY = "[skip ci]"
_FIRST_BODY = """\
This branch is the state of imgmigrate: which images were brought where. It is
written by imgmigrate alone; whoever can read the repository can read the
addresses of the images. Do not merge it, squash it or push to it by hand.
"""

# Remotes whose readers were spoken of in this process.
_told: set[str] = set()

Entries = dict[str, bytes]


class GitDepot:
    """The branch of one checkout's remote (`shared.depot.Depot`)."""

    def __init__(self, backend: Backend) -> None:
        self.place = backend.url
        self._folder = backend.folder
        self._branch, self._remote = backend.branch
        self._ref = f"refs/heads/{self._branch}"
        self._subject = f"state {self.place}"
        self._git: Git | None = None
        self._checkout: Checkout | None = None
        self._reader: Reader | None = None
        # The commit that files are read of: a version stays whole, whatever others do.
        self._at: str | None = None
        # What is in the trees of the last version, by the tree's or the commit's name.
        self._trees: dict[str, Entries] = {}
        self._pushes = 0

    @property
    def identity(self) -> str:
        """Its branch and remote, and where its checkout is."""
        return f"{self.place} of {top_of(self._folder)}"

    async def fetch(self) -> Seen | None:
        """Read the head of the commit that the branch is at now."""
        git = await self._opened()
        commit = await self._asked(git)
        if commit is None:
            self._at = None
            return None
        if commit != self._at:
            commit = await self._fetched(git, commit)
        if commit is None:  # it went away in between
            return None
        self._at = commit
        try:
            return Seen(await self.read(HEAD), commit)
        except Missing:
            raise await self._foreign(commit) from None

    async def read(self, name: str) -> bytes:
        """Read a file of the version that was seen last."""
        git = await self._opened()
        if self._at is None or not _NAME.fullmatch(name):
            raise Missing(name)
        if self._reader is None:
            self._reader = git.reader()
        return await self._reader.read(f"{self._at}:{name}")

    async def bring(self, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """None of them: a push brings what its commit names."""
        return files

    async def swap(
        self,
        seen: Seen | None,
        head: bytes,
        add: Mapping[str, bytes] | None = None,
        drop: Collection[str] = (),
    ) -> Seen:
        """Push a child of the commit that was seen; Overtaken if the branch is not at it."""
        git = await self._opened()
        for _ in range(ATTEMPTS):
            commit = await self._commit(git, seen, head, add or {}, drop)
            error = await self._push(git, seen, commit)
            if error is None:
                self._at = commit
                await self._tidy(git)
                return Seen(head, commit)
            try:
                found = await self.fetch()
            except StateAway:
                raise error from None
            # Whatever was said to the push, what is there now is what became of it.
            if found is not None and found.head == head:
                return found
            if (found and found.head) != (seen and seen.head):
                raise Overtaken from error
            if found == seen:
                raise error
            # Somebody's commit beside the state, with the head that was seen.
            seen = found
        raise self._crowded()

    async def names(self, folder: str) -> Sequence[str]:
        """List the files in the version that was seen last."""
        git = await self._opened()
        if self._at is None:
            return ()
        tree = (await self._entries(git, self._at)).get(folder, b"").decode()
        names = await self._entries(git, tree.split()[-1]) if tree else ()
        return [name for each in sorted(names) if _NAME.fullmatch(name := f"{folder}/{each}")]

    async def add(self, name: str, data: bytes) -> None:
        """Push a child of the newest commit with the same head, whoever else pushes meanwhile."""
        git = await self._opened()
        for _ in range(ADD_ATTEMPTS):
            seen = await self.fetch()
            if seen is None:
                raise StateError(f"{self._where}: it is not there", subject=self._subject)
            if name in await self.names(_folder(name)):
                return  # the answer of an attempt was lost
            commit = await self._commit(git, seen, seen.head, {name: data}, ())
            error = await self._push(git, seen, commit)
            if error is None:
                self._at = commit
                return
            if await self._asked(git) == seen.version:
                raise error
        raise self._crowded()

    async def age(self, seen: Seen) -> float | None:
        """None: a git server has no clock that it shows."""
        return None

    async def prove(self) -> None:
        """Say to whom the branch will be shown; that a push is a condition, git itself promises."""
        await self._opened()
        host = self._checkout and self._checkout.public_host
        if host and self._where not in _told:
            _told.add(self._where)
            logger.warning(
                "state %s: %s is on %s: if that repository is public, the branch publishes the"
                " addresses of all images",
                self.place,
                self._remote,
                host,
            )

    async def close(self) -> None:
        """End what reads; the private repository goes with this object."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    @property
    def _where(self) -> str:
        url = redact(self._checkout.url) if self._checkout else ""
        return f"branch {self._branch} of {self._remote} ({url})"

    async def _opened(self) -> Git:
        if self._git is None:
            self._checkout = await visit(self._folder, self._remote, self._subject)
            try:
                folder = Temporary()
            except OSError as error:
                message = f"no temporary folder: {error.strerror}"
                raise StateError(message, subject=self._subject) from None
            weakref.finalize(self, folder.drop)
            folder.drop_abandoned()
            self._git = await private_git(
                self._checkout, folder.path / "repository", self._remote, self._subject
            )
        return self._git

    async def _asked(self, git: Git) -> str | None:
        """The commit that the branch is at; None where there is no branch."""
        ended = await git.run("ls-remote", "--", self._remote, self._ref, patience=ASKED)
        if ended.code:
            raise refused(ended, self._where, self._subject)
        for line in ended.out.decode(errors="replace").splitlines():
            commit, _, name = line.partition("\t")
            if name == self._ref:  # a pattern may match the end of others
                return commit
        return None

    async def _fetched(self, git: Git, commit: str) -> str | None:
        """Fetch the branch, by now maybe at another commit; None where it is gone."""
        words = ("fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--refmap=")
        refspec = f"+{self._ref}:{_SEEN}"
        ended = await git.run(
            *words, "--no-recurse-submodules", "--", self._remote, refspec, patience=FETCHED
        )
        if ended.code:
            if await self._asked(git) is None:
                return None
            raise refused(ended, self._where, self._subject)
        return (await git.here("rev-parse", "--verify", _SEEN)).decode().strip()

    async def _push(self, git: Git, seen: Seen | None, commit: str) -> StateError | None:
        """Move the branch from what was seen; return what was said if that may have failed."""
        words = ("push", "--porcelain", "--no-verify", "--no-signed", "--no-follow-tags")
        condition = f"--force-with-lease={self._ref}:{seen.version if seen else ''}"
        try:
            ended = await git.run(
                *words,
                "--recurse-submodules=no",
                condition,
                "--",
                self._remote,
                f"{commit}:{self._ref}",
                patience=PUSHED,
            )
        except StateAway as error:
            return error
        return self._answer(ended) if ended.code else None

    def _answer(self, ended: Ended) -> StateError:
        reason = rejection(ended)
        if reason is None:
            return refused(ended, self._where, self._subject)
        return declined(ended, reason, self._where, self._branch, self._subject)

    async def _commit(
        self,
        git: Git,
        seen: Seen | None,
        head: bytes,
        add: Mapping[str, bytes],
        drop: Collection[str],
    ) -> str:
        """Make the commit in the private repository."""
        files = {HEAD: head, **add}
        hashed = ("hash-object", "-w", "--stdin")
        names = await asyncio.gather(*(git.here(*hashed, given=data) for data in files.values()))
        blobs = {
            name: b"100644 blob " + made.strip() for name, made in zip(files, names, strict=True)
        }
        root = dict(await self._entries(git, seen.version)) if seen else {}
        known: dict[str, Entries] = {}
        for folder in sorted({_folder(name) for name in (*blobs, *drop)} - {""}):
            tree = root.pop(folder, b"").decode()
            entries = dict(await self._entries(git, tree.split()[-1])) if tree else {}
            _change(entries, folder, blobs, drop)
            if entries:
                made = await _tree(git, entries)
                root[folder] = b"040000 tree " + made.encode()
                known[made] = entries
        _change(root, "", blobs, drop)
        words = ["commit-tree", await _tree(git, root)]
        if seen is not None:
            words += ["-p", seen.version]
        message = f"imgmigrate state: {_described(head)}\n\n"
        message += _BODY if seen else f"{_FIRST_BODY}\n{_BODY}"
        commit = (await git.here(*words, given=message.encode())).decode().strip()
        # What was not changed is known still.
        stay = {each.split()[-1].decode() for each in root.values()}
        kept = {tree: entries for tree, entries in self._trees.items() if tree in stay}
        parent = {seen.version: self._trees[seen.version]} if seen else {}
        self._trees = {**kept, **parent, **known, commit: root}
        return commit

    async def _entries(self, git: Git, tree: str) -> Entries:
        """What a tree holds: by name, its mode, kind and hash."""
        if tree not in self._trees:
            listed = (await git.here("ls-tree", "-z", tree)).split(b"\0")
            parts = (each.partition(b"\t") for each in listed if each)
            self._trees[tree] = {
                name.decode(errors="surrogateescape"): entry for entry, _, name in parts
            }
        return self._trees[tree]

    def _crowded(self) -> StateAway:
        message = f"{self._where}: others push to it all the time"
        return StateAway(message, subject=self._subject)

    async def _foreign(self, commit: str) -> StateError:
        git = await self._opened()
        held = sorted(await self._entries(git, commit))
        shown = ", ".join(held[:3]) + (", ..." if len(held) > 3 else "")
        return StateError(
            f"{self._where} holds something else ({shown or 'nothing'}) and no {HEAD}",
            subject=self._subject,
            hint="name a branch that is imgmigrate's alone; if it was the state's and somebody"
            " pushed over it, push its older commit again",
        )

    async def _tidy(self, git: Git) -> None:
        """Pack what has piled up; a failure costs room."""
        self._pushes += 1
        if self._pushes % TIDY_AFTER or self._at is None:
            return
        with contextlib.suppress(StateError):  # the push is done, whatever becomes of this
            await git.run("update-ref", _SEEN, self._at)
            await git.run("gc", "--quiet", "--prune=now")


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _change(
    entries: Entries, folder: str, blobs: Mapping[str, bytes], drop: Collection[str]
) -> None:
    """Put files into a folder's entries, and take others away."""
    for name in drop:
        if _folder(name) == folder:
            entries.pop(name.rpartition("/")[2], None)
    for name, entry in blobs.items():
        if _folder(name) == folder:
            entries[name.rpartition("/")[2]] = entry


async def _tree(git: Git, entries: Entries) -> str:
    lines = (
        entry + b"\t" + name.encode(errors="surrogateescape") + b"\0"
        for name, entry in entries.items()
    )
    return (await git.here("mktree", "-z", given=b"".join(lines))).decode().strip()


def _described(head: bytes) -> str:
    """What a commit is called by."""
    try:
        return f"sequence {int(json.loads(head)['sequence'])}"
    except (ValueError, TypeError, KeyError):
        return "a new head"
