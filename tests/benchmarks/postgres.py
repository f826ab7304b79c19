"""`python -m tests.benchmarks.postgres`: plan a part of a large state that is in PostgreSQL.

A million records by default, 20 tags a repository; one repository is planned by `--target`, in a
process of its own, with registries in memory: what is measured is the state. The rule names that
repository, or is of many, which are there or gone. Then what 1,000 receipts cost, beside a state
on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.planning.planner import PlanOptions, make_plan
from imgmigrate.state.base import open_state
from imgmigrate.state.record import RECORDS
from tests.state.samples import claim, draft
from tests.support.postgres import PASSWORD, Server, serve
from tests.support.records import make_record
from tests.support.world import NEW, OLD, World

TAGS = 20
RECEIPTS = 1_000
ASKED = "team/app0000777"
NAMED = f"- {{source: {OLD}/{ASKED}, destination: {NEW}/{ASKED}}}"
MANY = f"- {{source: '{OLD}/team/*', destination: '{NEW}/{{repository}}'}}"
RULES = {"named": NAMED, "there": MANY, "gone": MANY}


def fill(server: Server, records: int) -> None:
    """Put records into the tables themselves: by lines it would take an hour."""
    name = f"{NEW}/team/app@@"
    record = make_record(
        Reference.parse(f"{NEW}/team/app00:1"),
        Reference.parse(f"{OLD}/team/app00:1"),
        Digest.of(b"x"),
    )
    document = RECORDS.dump_json(record, exclude_none=True).decode().replace("app00:1", "app@@:##")
    server.psql(
        "INSERT INTO imgmigrate.records"
        f" SELECT replace('{name}', '@@', n) || ':' || t, replace('{name}', '@@', n),"
        f" replace('{OLD}/team/app@@', '@@', n), 'live', 'r', 'p',"
        f" replace(replace('{document}', '@@', n), '##', t::text)"
        f" FROM (SELECT lpad((i / {TAGS})::text, 7, '0') AS n, i % {TAGS} AS t"
        f" FROM generate_series(0, {records - 1}) AS i) AS made"
    )
    server.psql("VACUUM ANALYZE imgmigrate.records")


async def receipts(place: str) -> float:
    """Seconds to write a run of so many rows."""
    async with open_state(place).writer(command="bench") as writer:
        began = time.perf_counter()
        await writer.begin("run", "plan", [claim(n) for n in range(RECEIPTS)])
        for number in range(RECEIPTS):
            await writer.hold()
            await writer.record(draft(number))
        await writer.end({})
        return time.perf_counter() - began


async def plan(place: str, rule: str, records: int) -> None:
    """Plan one repository, and say what that took."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), kind=place, rules=RULES[rule])
        for tag in range(TAGS):
            digest = world.seed(str(tag), repo=ASKED)
        for number in range(records // TAGS if rule == "there" else 0):
            world.old.tags.setdefault((f"team/app{number:07}", "0"), digest)
        workspace = world.workspace
        began, used = time.perf_counter(), time.process_time()
        made = await make_plan(workspace, PlanOptions(target=(f"{NEW}/{ASKED}:*",)))
        assert len(made.changes) == TAGS
    print(
        f"plan --target, rule {rule}: {time.perf_counter() - began:.2f} s,"
        f" {time.process_time() - used:.2f} s of them here,"
        f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB"
    )


def main() -> None:
    """Fill a server of our own, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rule", choices=RULES, action="append", help="all by default")
    parser.add_argument("--plan", help=argparse.SUPPRESS)
    given = parser.parse_args()
    rules = given.rule or list(RULES)
    if given.plan:
        asyncio.run(plan(given.plan, rules[0], given.records))
        return
    with serve() as server, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"PGPASSWORD": PASSWORD, "IMGMIGRATE_CACHE_DIR": f"{folder}/cache"}
        there = f"{server.url}?schema=receipts"
        for name, place in (("on disk", f"{folder}/state"), ("in PostgreSQL", there)):
            print(f"{RECEIPTS:,} receipts {name}: {asyncio.run(receipts(place)):.2f} s")
        asyncio.run(receipts(server.url))
        fill(server, given.records)
        size = server.psql("SELECT pg_size_pretty(pg_total_relation_size('imgmigrate.records'))")
        print(f"{given.records:,} records, {size}")
        command = [sys.executable, "-m", "tests.benchmarks.postgres", "--plan", server.url]
        for rule in rules:
            more = ["--rule", rule, "--records", str(given.records)]
            for _ in range(given.rounds):
                subprocess.run([*command, *more], check=True)


if __name__ == "__main__":
    main()
