"""A state that a team shares is named by a URL, which is checked before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgmigrate.config.values.backends import Backend, is_backend, read_backend, read_lease

HERE = Path("/team")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/prod", "s3://bucket/prod"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("gs://bucket/prod", "gs://bucket/prod"),
        ("az://container/prod", "az://container/prod"),
        ("postgresql://db.example.com/team", "postgresql://db.example.com/team"),
        ("postgresql://me@db:5432/team?sslmode=require", None),
        ("git", "git:imgmigrate-state@origin"),
        ("git:prod/state", "git:prod/state@origin"),
        ("git:state@upstream", "git:state@upstream"),
    ],
)
def test_a_backend_is_named_by_its_url(text: str, url: str | None) -> None:
    """What people write is what they are told, and git says which branch of which remote."""
    assert str(read_backend(text, HERE)) == (url or text)
    assert is_backend(text)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("s4://bucket/x", "no backend that this version knows"),
        ("s3:/bucket/x", "no backend that this version knows"),
        ("s3://bucket", "needs a prefix"),
        ("s3:///x", "must be s3://BUCKET/PREFIX"),
        ("s3://key@bucket/x", "must be s3://BUCKET/PREFIX"),
        ("s3://key:secret@bucket/x", "must not hold a password"),
        ("postgresql://me:secret@db/team", "must not hold a password"),
        ("postgresql://db/team?password=secret", "must not hold a password"),
        ("s3://bucket/a b", "holds a space"),
        ("git:-x", "no name of a branch"),
        ("git:a..b", "no name of a branch"),
        ("git:/a", "no name of a branch"),
        ("git:a/.b", "no name of a branch"),
        ("git:a@--upload-pack=x", "no name of a remote"),
        ("git:a@", "names no remote"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(text: str, cause: str) -> None:
    """Least of all may it hold a password, which the error does not print."""
    with pytest.raises(ValueError, match=cause) as caught:
        read_backend(text, HERE)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["state/prod", "/var/state", "C:/x", "s3", "git-state"])
def test_a_path_is_no_backend(text: str) -> None:
    """A folder may be called anything."""
    assert not is_backend(text)


def test_a_branch_is_of_a_checkout() -> None:
    """Its parts are what git is asked for."""
    backend = read_backend("git", HERE, branch="a/b", remote="up", lease=5)
    assert backend == Backend("git:a/b@up", HERE, 5)
    assert (backend.scheme, backend.branch) == ("git", ("a/b", "up"))
    with pytest.raises(ValueError, match="belong to backend: git"):
        read_backend("s3://bucket/x", HERE, branch="a")


@pytest.mark.parametrize("text", ["0s", "2h", "x", -1])
def test_a_lease_is_of_a_second_to_an_hour(text: object) -> None:
    """Shorter is lost at once, longer is waited for."""
    with pytest.raises(ValueError, match=r"duration|at least"):
        read_lease(text)
    assert read_lease("90s") == 90
