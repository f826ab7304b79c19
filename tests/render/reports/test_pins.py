"""How pins are shown."""

from __future__ import annotations

from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.planning.desired.pins import Pin
from imgmigrate.planning.pin_sources import Difference, Pinning
from imgmigrate.render.reports.pins import MOST_NEW, pins_lines


def pin(name: str, tag: int, content: bytes) -> Pin:
    address, source = (Reference.parse(f"{host}.example/{name}:{tag}") for host in ("new", "old"))
    return Pin(address, source, Digest.of(content))


def pinned(name: str, tag: int, before: Pin | None = None) -> Difference:
    """One address that is new, or that moved."""
    after = pin(name, tag, f"{name}{tag}".encode())
    return Difference(after.address, before, after)


def said(*differences: Difference, verbose: bool = False) -> list[str]:
    pins = {each.address: each.after for each in differences if each.after is not None}
    return list(pins_lines(Pinning(pins, differences, ()), verbose=verbose))


def test_many_new_pins_are_counted_by_repository() -> None:
    """Of what is new there is nothing to compare; what moved is listed each, as before."""
    moved = pinned("b/y", 0, pin("b/y", 0, b"was"))
    new = [pinned("a/x", tag) for tag in range(MOST_NEW)] + [pinned("b/y", 1)]
    lines = said(moved, *new)
    assert [line for line in lines if line.startswith("added")] == [
        f"added    new.example/a/x: {MOST_NEW} pins",
        "added    new.example/b/y: 1 pin",
    ]
    assert lines[0].startswith("moved    new.example/b/y:0")
    assert "         --verbose lists all" in lines
    assert lines[-1] == f"{MOST_NEW + 2} pins: 1 moved, {MOST_NEW + 1} added."
    whole = said(moved, *new, verbose=True)
    assert sum(line.startswith("added") for line in whole) == MOST_NEW + 1
    assert not any("--verbose" in line for line in whole)


def test_few_new_pins_are_listed() -> None:
    """They fit, and a digest may be looked for."""
    lines = said(*(pinned("a/x", tag) for tag in range(MOST_NEW)))
    assert sum(line.startswith("added") for line in lines) == MOST_NEW
