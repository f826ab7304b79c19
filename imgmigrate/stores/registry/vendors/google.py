"""Artifact Registry and Container Registry: tag lists that name what is below (`child`).

Every folder of images answers `tags/list` with its children; only what has manifests is a
repository (go-containerregistry: pkg/v1/google).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from imgmigrate.errors import ProtocolError, Rejected
from imgmigrate.oci.documents import refuse_bomb
from imgmigrate.oci.reference import is_repository_path
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.http.limits import TAGS_BODY
from imgmigrate.stores.registry.http.urls import next_link
from imgmigrate.stores.registry.wire.calls import Call

if TYPE_CHECKING:
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["list_below"]

# How many folders are looked into at once: as many as crane copies at once by default.
AT_ONCE = 8
MOST_FOLDERS = 100_000
MOST_ELEMENTS = 1_000_000


async def list_below(remote: Remote, segments: tuple[str, ...]) -> list[str]:
    """List the repositories below a project or a folder."""
    subject = f"{remote.host} (list of repositories)"
    if not segments:
        hint = f"name the project: {remote.host}/PROJECT/**"
        raise Rejected(subject, "it lists no more than one project", hint=hint)
    found: list[str] = []
    seen = 0
    level = ["/".join(segments)]
    while level:
        seen += len(level)
        if seen > MOST_FOLDERS:
            raise ProtocolError(subject, "its folders do not end")
        below: list[str] = []
        for start in range(0, len(level), AT_ONCE):
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(_look(remote, path))
                        for path in level[start : start + AT_ONCE]
                    ]
            except ExceptionGroup as failed:  # one folder that cannot be read is reason enough
                raise failed.exceptions[0] from None
            for task in tasks:
                path, has_images, children = task.result()
                found += [path] * has_images
                below += [each for each in children if is_repository_path(each)]
                found += [each for each in children if not is_repository_path(each)]
        level = below
    return found


async def _look(remote: Remote, path: str) -> tuple[str, bool, list[str]]:
    """Whether a folder is a repository, and what is in it.

    What is no name is handed on as a repository, so that it is told.
    """
    subject, target = f"{remote.host}/{path}", f"/v2/{path}/tags/list"
    call = Call("GET", target, subject, Access(path), limit=TAGS_BODY, document=True)
    answer = await remote.call(call)
    try:
        if next_link(answer.headers("Link")) is not None:
            raise ProtocolError(subject, "its list of folders has further pages")
        refuse_bomb(answer.body, MOST_ELEMENTS)
        document: Any = json.loads(answer.body)
        has_images = bool(document.get("manifest") or document.get("tags"))
        children = [f"{path}/{name}" for name in document.get("child") or ()]
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ProtocolError(subject, "its tag list is not one") from None
    return path, has_images, children
