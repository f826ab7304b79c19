"""The list of files that were read: what is lost or damaged in it only costs reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.oci.reference import Digest
from imgmigrate.stores.layout import proofs
from imgmigrate.stores.layout.proofs import Proofs, Stamp

if TYPE_CHECKING:
    from pathlib import Path

DIGEST, STAMP = Digest.of(b"blob"), Stamp(system=7, inode=8, size=4, time=1_234_567)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the list is kept, in a folder that is not there yet."""
    return tmp_path / "cache" / "layouts"


def test_what_is_saved_is_known_later(path: Path) -> None:
    """The file is private, and every part of the stamp counts."""
    kept = Proofs(path)
    kept.add(DIGEST, STAMP)
    kept.save()
    later = Proofs(path)
    assert later.has(DIGEST, STAMP)
    assert not later.has(Digest.of(b"other"), STAMP)
    for field in Stamp._fields:
        assert not later.has(DIGEST, STAMP._replace(**{field: 0}))
    assert path.stat().st_mode & 0o077 == 0


def test_two_writers_keep_each_others_lines(path: Path) -> None:
    """Each adds to the file what it has read itself."""
    one, other = Proofs(path), Proofs(path)
    for number, each in enumerate((one, other)):
        each.add(DIGEST, STAMP._replace(inode=number))
    one.save()
    other.save()
    later = Proofs(path)
    assert all(later.has(DIGEST, STAMP._replace(inode=number)) for number in range(2))


@pytest.mark.parametrize("cut", [1, 3, 40])
def test_a_line_that_is_cut_proves_nothing(path: Path, cut: int) -> None:
    """A killed process may leave the beginning of a number, which is another number."""
    kept = Proofs(path)
    kept.add(DIGEST, STAMP)
    kept.save()
    path.write_bytes(path.read_bytes()[:-cut])
    shorter = STAMP._replace(time=int(str(STAMP.time)[: 1 - cut] or 0)) if cut < 5 else STAMP
    later = Proofs(path)
    assert not later.has(DIGEST, shorter)
    assert not later.has(DIGEST, STAMP)


@pytest.mark.parametrize("content", [b"", b"\xff\n", b"nonsense\n", b"\n" * 9])
def test_a_damaged_file_is_an_empty_one(path: Path, content: bytes) -> None:
    """It is no error."""
    path.parent.mkdir()
    path.write_bytes(content)
    assert not Proofs(path).has(DIGEST, STAMP)


def test_a_folder_that_cannot_be_used_keeps_nothing(tmp_path: Path) -> None:
    """The process still knows what it has read."""
    (tmp_path / "cache").write_bytes(b"a file")
    kept = Proofs(tmp_path / "cache" / "layouts")
    kept.add(DIGEST, STAMP)
    kept.save()
    assert kept.has(DIGEST, STAMP)


def test_the_file_does_not_grow_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read last is kept."""
    monkeypatch.setattr(proofs, "MOST_LINES", 10)
    kept = Proofs(path)
    for number in range(20):
        kept.add(DIGEST, STAMP._replace(inode=number))
    kept.save()
    later = Proofs(path)
    known = [number for number in range(20) if later.has(DIGEST, STAMP._replace(inode=number))]
    assert known == list(range(15, 20))
    assert len(path.read_text().splitlines()) == 5
