"""How much of a state planning asks for: by counting the records that it is handed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.errors import NotFound, TransientError, UsageError
from imgmigrate.oci.reference import Digest, Reference, Repository
from imgmigrate.planning.desired.expand import _Expander
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.memory import StateInMemory
from tests.support.records import make_record
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from imgmigrate.rules.rule import Rule
    from imgmigrate.state.record import ImageRecord

TAGS = 4
# Whatever else the state holds: the target's own records, some times over.
FEW = 10 * TAGS


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@dataclass
class Handed:
    """How many records were handed out."""

    records: int = 0


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Handed:
    """Count the records in every answer of a state."""
    counted = Handed()

    def counting(ask: Callable[..., Iterable[Any]]) -> Callable[..., Iterable[Any]]:
        def told(records: Iterable[Any]) -> Iterator[Any]:
            for each in records:
                counted.records += 1
                yield each

        def answer(*arguments: Any, **options: Any) -> Iterable[Any]:
            records = ask(*arguments, **options)
            return list(told(records)) if isinstance(records, list) else told(records)

        return answer

    for name in ("every", "of", "from_source", "with_layouts", "written_by"):
        monkeypatch.setattr(StateInMemory, name, counting(getattr(StateInMemory, name)))
    return counted


async def record(world: World, repositories: int) -> None:
    """Record `TAGS` images in each of some repositories."""
    async with LocalState(world.config.state).writer(command="c") as writer:
        await writer.begin("run", "plan", ())
        for number in range(repositories * TAGS):
            name = f"r{number // TAGS}:v{number % TAGS}"
            address, source = (Reference.parse(f"{host}/{name}") for host in (NEW, OLD))
            await writer.record(make_record(address, source, Digest.of(name.encode())))
        await writer.end({})


def rule(number: int) -> str:
    return f"- {{source: {OLD}/r{number}, destination: {NEW}/r{number}, tags: ['v*']}}"


@pytest.mark.parametrize("error", [TransientError, NotFound])
async def test_rules_that_cannot_be_listed_do_not_each_look_through_the_state(
    world: World, handed: Handed, error: type[TransientError | NotFound]
) -> None:
    """Thirty such rules ask for no more than the records some times over; each is an error row."""
    repositories = 30
    world.rules = "\n".join(map(rule, range(repositories)))
    await record(world, repositories)

    def dead(repo: str, _: str) -> None:
        raise error(f"{OLD}/{repo}", "gone")

    world.old.hooks["list_tags"] = dead
    plan = await world.plan()
    assert rows(plan) == {f"{NEW}/r{n}": ("error", "unreadable") for n in range(repositories)}
    assert handed.records <= 5 * repositories * TAGS


TARGETS: dict[str, dict[str, Any]] = {
    "plan": {},
    "refresh only": {"refresh_only": True},
    "deletes": {"allow_delete": True, "allow_delete_gone": True},
    "no refresh": {"refresh": False},
    "excluded": {"exclude": (f"{NEW}/r1:v1",)},
}


@pytest.mark.parametrize("options", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("target", [f"{NEW}/r1", f"{NEW}/r1:v*", "**/r1:v0"])
@pytest.mark.parametrize("kind", ["one", "glob", "delta", "moved", "keep previous"])
async def test_a_target_asks_for_the_records_of_its_repositories_alone(
    world: World, handed: Handed, options: dict[str, Any], target: str, kind: str
) -> None:
    """Two hundred records of other repositories are not looked at, whatever the rules say."""
    rules = "\n".join(map(rule, range(1, 4)))
    if kind == "glob":
        rules = f"- {{source: '{OLD}/r*', destination: '{NEW}/r{{match}}', tags: ['v*']}}"
    elif kind == "delta":
        rules = rules.replace("tags:", "source_is_delta: true, tags:")
    elif kind == "moved":
        world.extra = f"moved: [{{from: {NEW}/r2, to: {NEW}/r1}}]"
    elif kind == "keep previous":
        world.extra = "keep_previous: '{tag}-before'"
    world.rules = rules
    await record(world, 50)
    for number in range(1, 4):
        world.seed("v9", repo=f"r{number}")
    handed.records = 0
    await world.plan(target=(target,), **options)
    assert 0 < handed.records <= FEW


@pytest.mark.parametrize("lists", [True, False])
async def test_a_glob_asks_for_what_is_missing_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, *, lists: bool
) -> None:
    """A source that is listed is there; with nothing listed each is asked about once."""
    world.rules = f"- {{source: '{OLD}/r*', destination: '{NEW}/r{{match}}', tags: ['v*']}}"
    await record(world, 50)
    if lists:
        for number in range(50 * TAGS):
            world.seed(f"v{number % TAGS}", repo=f"r{number // TAGS}")
    asked: list[Repository] = []
    real = _Expander._first

    def ask(expander: _Expander, made: Rule) -> ImageRecord | None:
        asked.append(made.source)
        return real(expander, made)

    monkeypatch.setattr(_Expander, "_first", ask)
    await world.plan(target=(f"{NEW}/r1",))
    assert asked == ([] if lists else [Repository(OLD, "r1")])
    asked.clear()
    await world.plan()
    assert len(asked) == (0 if lists else 50)


async def test_a_target_that_names_its_repository_lists_no_names(
    world: World, handed: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be half a million of them; where it has wildcards they are gone through."""
    world.rules = rule(1)
    world.seed("v9", repo="r1")
    await record(world, 50)
    listed: list[object] = []
    real = StateInMemory.repositories

    def names(state: StateInMemory, **options: bool) -> Iterator[Repository]:
        listed.append(options)
        return real(state, **options)

    monkeypatch.setattr(StateInMemory, "repositories", names)
    one = await world.plan(target=(f"{NEW}/r1:v*", f"{NEW}/r1:v9"))
    assert not listed
    assert one.changes == (await world.plan(target=("**/r1:v*",))).changes
    assert listed
    assert handed.records > 0


async def test_an_exclude_beside_a_target_may_be_about_other_recorded_images(
    world: World, handed: Handed
) -> None:
    """It is no typing error, and is found without looking at the rest; one of nothing is one."""
    world.rules = rule(1)
    world.seed("v0", repo="r1")
    await record(world, 50)
    handed.records = 0
    await world.plan(target=(f"{NEW}/r1",), exclude=(f"{NEW}/r7:v3",))
    assert handed.records <= FEW
    with pytest.raises(UsageError, match="r7:v4: matches no address"):
        await world.plan(target=(f"{NEW}/r1",), exclude=(f"{NEW}/r7:v4",))


async def test_who_is_waited_for_is_told_without_a_record(world: World, handed: Handed) -> None:
    """Which registries an earlier run met stands in the names of repositories."""
    world.rules = rule(1)
    world.seed("v0", repo="r1")
    await record(world, 50)
    await world.plan()
    handed.records = 0
    hosts = (OLD, NEW, "typo.example")
    assert [host for host in hosts if world.opened["is_met"](host)] == [OLD, NEW]
    assert handed.records == 0
