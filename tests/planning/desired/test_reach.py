"""A plan of a part says of that part what the whole plan says, however little it asks for."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from imgmigrate.errors import AccessDenied
from imgmigrate.observing.globs import Globs
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.planning.desired import expand
from imgmigrate.planning.planner import PlanOptions, make_plan
from tests.fakes.elsewhere import StateElsewhere
from tests.fakes.memory import MemoryStore, MemoryStores
from tests.support.records import make_record
from tests.support.world import NEW, OLD, World

if TYPE_CHECKING:
    from imgmigrate.plan import Change

# Another name of the new registry, as far as anybody knows.
ALIAS = "alias.example"
NAMES, TAGS = ("team/a", "team/b", "team/c/d", "other/a"), ("1", "2")
EXTRA = f"keep_previous: '{{tag}}-old', exclude_repositories: ['{OLD}/team/b']"
RULES = (
    f"- {{source: '{OLD}/**', destination: '{NEW}/{{repository}}'}}",
    f"- {{source: '{OLD}/team/**', destination: ['{NEW}/x/{{name}}', '{ALIAS}/{{repository}}']}}",
    f"- {{source: '{OLD}/team/*', destination: '{ALIAS}/{{repository}}', tags: ['1']}}",
    f"- {{source: '{OLD}/team/*', destination: '{NEW}/{{repository}}', source_is_delta: true}}",
    f"- {{source: '{OLD}/team/**', destination: '{NEW}/y/{{name}}',{EXTRA}}}",
    f"- {{source: '{OLD}/nothing/**', destination: '{NEW}/{{repository}}'}}",
    f"- {{source: {OLD}/team/a, destination: {NEW}/team/a}}",
)
TARGETS = (
    f"{NEW}/team/a",
    f"{NEW}/team/a:1",
    f"{NEW}/x/*",
    f"{NEW}/y/a",
    f"{ALIAS}/team/a",
    f"{ALIAS}/**",
    "**/a",
    "**/d:2",
    "/team.a:1$/",
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"forget": True},
    {"allow_delete": True},
    {"allow_delete": True, "allow_delete_gone": True},
)
DESTINATIONS = (
    *(f"{host}/{name}" for host in (NEW, ALIAS) for name in NAMES),
    *(f"{NEW}/{folder}/{name}" for folder in "xy" for name in "abd"),
)


@dataclass(frozen=True)
class Scene:
    """What is there, what is recorded as come from where, and what is asked."""

    rules: tuple[str, ...]
    there: frozenset[tuple[str, str]]
    recorded: dict[tuple[str, str], str]
    is_listed: bool
    target: str
    options: dict[str, Any]


SCENES = st.builds(
    Scene,
    rules=st.lists(st.sampled_from(RULES), min_size=1, max_size=3, unique=True).map(tuple),
    there=st.frozensets(st.sampled_from([(n, t) for n in NAMES for t in TAGS]), max_size=4),
    recorded=st.dictionaries(
        st.sampled_from([(where, tag) for where in DESTINATIONS for tag in TAGS]),
        st.sampled_from(NAMES),
        min_size=2,
        max_size=8,
    ),
    is_listed=st.booleans() | st.just(True),
    target=st.sampled_from(TARGETS),
    options=st.sampled_from(OPTIONS),
)


async def planned(scene: Scene, *target: str) -> list[Change]:
    """Plan a scene, or a part of it."""
    with tempfile.TemporaryDirectory() as folder:
        new = MemoryStore(NEW)
        stores = MemoryStores({OLD: MemoryStore(OLD), NEW: new, ALIAS: new})
        world = World(Path(folder), stores, rules="\n".join(scene.rules))
        for name, tag in sorted(scene.there):
            world.seed(tag, repo=name)
        if not scene.is_listed:
            world.old.hooks["list_repositories"] = refuse
        state = StateElsewhere("memory://state", {})
        async with state.writer(command="c") as writer:
            await writer.begin("run", "plan", ())
            for (where, tag), name in sorted(scene.recorded.items()):
                source = Reference.parse(f"{OLD}/{name}:{tag}")
                await writer.record(
                    make_record(Reference.parse(f"{where}:{tag}"), source, Digest.of(b"x"))
                )
            await writer.end({})
        workspace = replace(world.workspace, state=state)
        plan = await make_plan(workspace, PlanOptions(target=target, **scene.options))
    return [
        each.model_copy(update={"detail": (each.detail or "").replace(folder, "")})
        for each in plan.changes
    ]


def refuse(*_: object) -> None:
    raise AccessDenied(f"{OLD} (list of repositories)", "denied (403)")


def within(changes: list[Change], target: str) -> list[tuple[object, ...]]:
    """What is said of what a target is about."""
    globs = Globs("target", (target,))
    return [
        (str(each.address), each.action, each.reason, each.detail, each.kept_as, each.moved_to)
        for each in changes
        if globs.match(each.address)
        or (each.address.tag is None and globs.may_match(each.address.repository))
    ]


@pytest.mark.slow
@given(SCENES)
def test_a_part_is_planned_as_in_the_whole(scene: Scene) -> None:
    """Also where sources are gone, or refuse to be listed, and a registry has two names."""
    with pytest.MonkeyPatch.context() as patch:
        # A target of nothing is a typing error, which is not what this is about.
        patch.setattr(Globs, "check", lambda _: None)
        asyncio.run(compare(scene, patch))


async def compare(scene: Scene, patch: pytest.MonkeyPatch) -> None:
    """Plan the whole, the part, and the part with all of the state asked about."""
    part = within(await planned(scene, scene.target), scene.target)
    event(", ".join(sorted({str(each[2]) for each in part})) or "nothing")
    # A rule that writes to another name of a registry alone is not asked for a part of it.
    if not any(ALIAS in each for each in (*scene.rules, scene.target)):
        assert part == within(await planned(scene), scene.target)
    patch.setattr(expand._Reach, "of", lambda *_: expand._Reach())
    assert part == within(await planned(scene, scene.target), scene.target)


async def test_what_is_gone_elsewhere_is_no_row_of_a_part() -> None:
    """It is one of the whole plan, and of each that is about where its images went."""
    scene = Scene(
        RULES[1:2],
        frozenset({("team/a", "1")}),
        {(f"{NEW}/x/b", "1"): "team/b", (f"{NEW}/x/d", "1"): "team/c/d"},
        is_listed=True,
        target="",
        options={},
    )
    gone = {str(each.address): each.detail or "" for each in await planned(scene)}
    assert {key for key, detail in gone.items() if "not in the list" in detail} == {
        f"{NEW}/x/b",
        f"{NEW}/x/d",
        f"{ALIAS}/team/b",
        f"{ALIAS}/team/c/d",
    }
    assert [str(each.address) for each in await planned(scene, f"{NEW}/x/a")] == [f"{NEW}/x/a:1"]
    # Its images are known by where another destination of the same rule has them.
    part = await planned(scene, f"{ALIAS}/team/*")
    assert [str(each.address) for each in part] == [f"{ALIAS}/team/a:1", f"{ALIAS}/team/b"]


async def test_what_may_be_wanted_under_another_name_is_not_let_go() -> None:
    """A rule whose source is gone may ask for it by the other name of its registry."""
    recorded = {(f"{NEW}/x/a", "1"): "team/a", (f"{NEW}/team/a", "2"): "other/a"}
    there = frozenset({("team/b", "1")})
    scene = Scene(RULES[1:2], there, recorded, True, f"{NEW}/team/a", {"forget": True})
    assert not await planned(scene, scene.target)
    found = await planned(replace(scene, there=there | {("team/a", "1")}), scene.target)
    assert [(str(each.address), each.action.value) for each in found] == [
        (f"{NEW}/team/a:2", "forget")
    ]
