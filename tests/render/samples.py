"""Plans, states and results to render: built by hand, with fixed digests and times."""

from __future__ import annotations

from typing import Any

from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.plan import Action, Change, Header, Known, Plan, Reason, StateBinding, Summary
from imgmigrate.plan import Filters as PlanFilters
from imgmigrate.state.memory import StateInMemory
from imgmigrate.state.record import Filter, ImageRecord, Run, Source, Status

MEDIA_TYPE = "application/vnd.oci.image.index.v1+json"
MADE = "2026-11-24T07:56:02Z"
LINEAGE = "4a1f0c9e-0000-4000-8000-000000000001"


def digest(text: str) -> Digest:
    """A digest that depends on `text` alone."""
    return Digest.of(text.encode())


def change(address: str, action: str, reason: str, **more: Any) -> Change:
    """A row; its source is the same tag at harbor.old unless `source` says otherwise."""
    reference = Reference.parse(address)
    origin = more.pop("source", f"harbor.old/{reference.repository.path}:{reference.tag}")
    if origin is not None:
        source = Reference.parse(origin)
        more["source"] = Source(reference=source, digest=digest(f"{source} now"))
        if action in ("copy", "update", "adopt"):
            more.setdefault("after", more["source"].digest)
    return Change(address=reference, action=Action(action), reason=reason, **more)


def plan(*changes: Change, unchanged: int = 0, **header: Any) -> Plan:
    """A sealed plan of these rows."""
    header.setdefault("config_sha256", "c0" * 32)
    header.setdefault("state", StateBinding(lineage=LINEAGE, sequence=4812, head="ab" * 16))
    return Plan.of(
        Header(
            tool_version="0.1.0",
            created_at=MADE,
            summary=Summary.of(changes, unchanged),
            **header,
        ),
        changes,
    )


def every_action() -> Plan:
    """A plan with a row of every kind, in no helpful order."""
    new = "harbor.new/team"
    return plan(
        change(f"{new}/api:1.0", "keep", "source_gone", source=None, before=digest("1.0")),
        change(f"{new}/api:1.1", "adopt", "already_there"),
        change(f"{new}/api:2.0", "copy", "new", transfer_bytes=12_999_999, size=13_000_000),
        change(
            f"{new}/api:2.1",
            "copy",
            "new",
            platforms=("linux/amd64", "linux/arm64"),
            transfer_bytes=1_100,
        ),
        change(f"{new}/api:2.2", "copy", "destination_lost", recorded=digest("lost")),
        change(f"{new}/api:3.0", "copy", "new", source="harbor.old/team/api:three"),
        change(
            f"{new}/api:latest",
            "update",
            "source_moved",
            before=digest("old"),
            recorded=digest("old"),
            transfer_bytes=222_298_112,
            inside=("platform linux/arm64 added", "2 of 5 blobs are new, 1 no longer used"),
        ),
        change(f"{new}/api:old", "forget", "rule_removed", source=None, recorded=digest("o")),
        change(f"{new}/web:1", "conflict", "foreign", before=digest("theirs")),
        change(f"{new}/web:2", "conflict", "equivalent", before=digest("theirs too")),
        change(f"{new}/web:3", "keep", "overwrite_never", before=digest("theirs as well")),
        change(
            "harbor.new/base",
            "error",
            "unreadable",
            source=None,
            detail="source quay.io/base/os: the credentials were refused (401); check "
            'registries."quay.io" in imgmigrate.yaml',
        ),
        unchanged=91_502,
        git_commit="91ab33d0c5e2f7a8b9c0d1e2f3a4b5c6d7e8f901",
    )


def everything() -> Plan:
    """A plan with every action for every reason, those of later versions too: bare and full."""
    rows = []
    names = [(action, reason) for action in (*Action, "attach") for reason in (*Reason, "linked")]
    for number, (action, reason) in enumerate(names):
        new = f"harbor.new/team/api:{number:04}"
        bare = change(f"{new}-bare", action, reason, source=None)
        full = change(
            f"{new}-full",
            action,
            reason,
            source=f"harbor.old/team/api:{number}",
            after=digest("new"),
            before=digest("old"),
            recorded=digest("recorded"),
            filter=Filter(platforms=("linux/amd64", "linux/arm64"), version=1),
            detail="source harbor.old: it is `ill`, and says so",
            inside=("platform linux/arm64 added",),
            known=Known(until="2026-12-31", because="theirs, for now"),
            transfer_bytes=number,
            moved_to=Reference.parse("harbor.new/team/moved:1"),
            kept_as=Reference.parse("harbor.new/team/api:old-1"),
        )
        part = change(
            f"{new}-part",
            action,
            reason,
            source=f"harbor.old/team/api@{digest('part')}",
            before=digest("old"),
            platforms=("linux/amd64", "linux/arm64"),
        )
        rows += [bare, full, part]
    return plan(*rows)


def many(number: int) -> Plan:
    """A plan with so many rows that they are folded: `number` copies in two repositories."""
    return plan(
        *(
            change(
                f"harbor.new/{'a' if tag % 3 else 'b'}:v{tag:03}",
                "copy",
                "new",
                transfer_bytes=None if tag % 10 == 0 else 1_048_576,
            )
            for tag in range(number)
        ),
        *(
            change(f"harbor.new/c:v{tag:03}", "conflict", "foreign", before=digest(str(tag)))
            for tag in range(number)
        ),
    )


def limited() -> Plan:
    """A plan limited by globs."""
    row = change("harbor.new/a:1", "copy", "new", transfer_bytes=5)
    filters = PlanFilters(target=("harbor.new/**",), exclude=("**:*-rc*",))
    return plan(row, filters=filters, complete=False)


def record(address: str, **more: Any) -> ImageRecord:
    """A live record, unless `status` says otherwise."""
    reference = Reference.parse(address)
    fields: dict[str, Any] = {
        "address": reference,
        "source": Source(
            reference=Reference.parse(f"harbor.old/{reference.repository.path}:{reference.tag}"),
            digest=digest(address),
        ),
        "digest": digest(address),
        "media_type": MEDIA_TYPE,
        "at": MADE,
        "sequence": 7,
        "run": "20261124T075602Z-9f3a",
        "plan_id": "7f3c9a1b2c3d4e5f",
        **more,
    }
    return ImageRecord(**fields)


def state() -> StateInMemory:
    """A state with live records, a tombstone, a claim and two runs."""
    records = [
        record("harbor.new/team/api:1.1", size=13_000_000),
        record("harbor.new/team/api:latest", previous=digest("before")),
        record("harbor.new/team/web:1", filter=Filter(platforms=("linux/amd64",), version=1)),
        record("oci:bundle/os:12", status=Status.FORGOTTEN),
    ]
    return StateInMemory(
        lineage=LINEAGE,
        sequence=4812,
        head="ab" * 16,
        records={str(each.address): each for each in records},
        claims={"harbor.new/team/web:2": frozenset({digest("claimed")})},
        runs=(
            Run(
                run="20261123T000000Z-0001",
                plan_id="1111222233334444",
                began_at="2026-11-23T00:00:00Z",
                sequence=1,
                head="",
                ended_at="2026-11-23T00:10:00Z",
                counts={"applied": 3, "failed": 1, "conflict": 0},
            ),
            Run(
                run="20261124T075602Z-9f3a",
                plan_id="7f3c9a1b2c3d4e5f",
                began_at=MADE,
                sequence=7,
                head="cd" * 16,
            ),
        ),
    )
