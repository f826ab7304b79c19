"""References, repositories, tags and digests: one grammar, one normal form."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from imgmigrate.oci.reference import (
    LAYOUTS,
    Digest,
    Reference,
    Repository,
    is_repository_path,
    is_tag,
    layout_address,
    normalise_address,
    normalise_host,
    parse_endpoint,
)

DIGEST = "sha256:" + "ab" * 32
LONG_DIGEST = "sha512:" + "ab" * 64


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("team/app", "docker.io/team/app"),
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("docker.io/team/app:v1", "docker.io/team/app:v1"),
        ("index.docker.io/nginx", "docker.io/library/nginx"),
        ("registry-1.docker.io/library/nginx", "docker.io/library/nginx"),
        ("registry.hub.docker.com/team/app", "docker.io/team/app"),
        ("Quay.IO/coreos/etcd:v3", "quay.io/coreos/etcd:v3"),
        ("localhost/app", "localhost/app"),
        ("localhost:5000/app", "localhost:5000/app"),
        ("localhost:5000/team/app:V1", "localhost:5000/team/app:V1"),
        ("myhost:5000/app:1", "myhost:5000/app:1"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1"),
        ("10.0.0.1/a__b/c-d/e.f", "10.0.0.1/a__b/c-d/e.f"),
        ("quay.io:443/a/b:1", "quay.io/a/b:1"),
        ("quay.io:0443/a/b:1", "quay.io/a/b:1"),
        ("quay.io:80/a/b:1", "quay.io:80/a/b:1"),
        ("quay.io./a/b:1", "quay.io/a/b:1"),
        ("Quay.io.:05000/a/b:1", "quay.io:5000/a/b:1"),
        ("localhost.:443/app", "localhost/app"),
        ("registry:443/app", "registry:443/app"),
        ("registry./app", "registry:443/app"),
        ("docker.io:443/nginx", "docker.io/library/nginx"),
        ("registry-1.docker.io:443/nginx", "docker.io/library/nginx"),
        ("index.docker.io./nginx", "docker.io/library/nginx"),
        ("docker.io:5000/nginx", "docker.io:5000/nginx"),
        ("[0:0:0:0:0:0:0:1]:443/app:1", "[::1]/app:1"),
        ("[2001:DB8:0:0::1]:05000/app:1", "[2001:db8::1]:5000/app:1"),
        ("[::ffff:7f00:1]:5000/app", "[::ffff:127.0.0.1]:5000/app"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"quay.io/a/b@{LONG_DIGEST}", f"quay.io/a/b@{LONG_DIGEST}"),
        (f"quay.io/a/b:v1@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
        ("oci:bundle", "oci:bundle"),
        ("oci:./bundle//nginx/", "oci:bundle/nginx"),
        ("oci:../bundle/nginx:1.27", "oci:../bundle/nginx:1.27"),
        ("oci:/srv/images:v1", "oci:/srv/images:v1"),
        ("oci:.", "oci:."),
        (f"oci:bundle@{DIGEST}", f"oci:bundle@{DIGEST}"),
        (f"oci:bundle:v1@{DIGEST}", f"oci:bundle@{DIGEST}"),
        ("oci:Some Dir/UPPER:v1", "oci:Some Dir/UPPER:v1"),
    ],
)
def test_an_endpoint_has_one_printed_form(text: str, printed: str) -> None:
    """What a user writes normalises as docker does, and prints so that it parses to itself."""
    found = parse_endpoint(text)
    assert str(found) == printed
    assert Reference.parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no repository"),
        ("https://quay.io/a/b", "is a URL"),
        ("docker://quay.io/a/b", "is a URL"),
        ("quay.io/Team/app", "lower case"),
        ("Nginx", "lower case"),
        ("quay.io/", "names no repository"),
        ("quay.io//a", "not a repository name"),
        ("quay.io/a/", "not a repository name"),
        ("quay.io/a..b", "not a repository name"),
        ("quay.io/a___b", "not a repository name"),
        ("quay.io/../a", "not a repository name"),
        ("quay.io/a b", "not a repository name"),
        ("quay.io/a\n", "not a repository name"),
        ("quay.io/a:", "is not a tag"),
        ("quay.io/a:.v1", "is not a tag"),
        ("quay.io/a:v1\n", "is not a tag"),
        ("quay.io/a:" + "x" * 129, "is not a tag"),
        ("quay.io/a@sha256:abc", "not a digest"),
        ("quay.io/a@md5:" + "a" * 32, "not a digest"),
        ("quay.io/a@" + DIGEST.upper(), "not a digest"),
        ("quay.io/a@", "not a digest"),
        ("localhost:5000", "not a repository name"),
        ("quay.io:443", "not a repository name"),
        ("quay.io:99999/a", "not a registry host"),
        ("-quay.io/a", "not a registry host"),
        ("quay.io../a", "not a registry host"),
        ("[::1::]:5000/a", "not a registry host"),
        ("[1.2.3.4]/a", "not a registry host"),
        ("user@quay.io/a", "not a digest"),
        ("quay.io/" + "a" * 255, "not a repository name"),
        ("oci:", "names no directory"),
        ("oci::v1", "names no directory"),
        ("oci:a\x00b", "names no directory"),
        ("oci:a:b:c d", "is not a tag"),
        ("oci:a@sha256:b", "not a digest"),
    ],
)
def test_a_wrong_endpoint_is_refused_with_its_reason(text: str, words: str) -> None:
    """Nothing that is not by the specification gets into a path or a URL."""
    with pytest.raises(ValueError, match=words):
        parse_endpoint(text)


_components = st.from_regex(r"\A[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?\Z")
_paths = st.lists(_components, min_size=1, max_size=4).map("/".join)
_tags = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,40}\Z")
_digests = st.binary(max_size=8).flatmap(
    lambda data: st.sampled_from([Digest.of(data), Digest.of(data, "sha512")])
)
_hosts = st.sampled_from(["quay.io", "localhost:5000", "docker.io", "[::1]:80", "a.b.c:65535"])
_registries = st.builds(
    lambda host, path: parse_endpoint(f"{host}/{path}").repository, _hosts, _paths
)
_layouts = st.builds(lambda path: Repository(LAYOUTS, path), _paths)


@given(
    st.one_of(_registries, _layouts),
    st.one_of(st.none(), _tags, _digests),
)
def test_printing_and_parsing_are_inverse(repository: Repository, target: str | None) -> None:
    """A printed reference is the key of everything: it must name exactly one thing."""
    reference = repository.at(target) if target else Reference(repository)
    assert Reference.parse(str(reference)) == reference


@given(st.text(alphabet="aA.:[]0453-é۵", max_size=12) | st.text(max_size=20))
def test_a_host_has_one_spelling_whatever_is_asked(text: str) -> None:
    """Normalising never fails, and once is enough."""
    found = normalise_host(text)
    assert normalise_host(found) == found


def test_an_address_of_an_earlier_version_is_printed_as_it_is_now() -> None:
    """Only hosts have got another spelling; what is no address is left alone."""
    old = ("quay.io:443/a/b:1", "quay.io/a/b:1", "oci:a:443/b:1", "quay.io:443/A:", "")
    new = ("quay.io/a/b:1", "quay.io/a/b:1", "oci:a:443/b:1", "quay.io:443/A:", "")
    assert tuple(map(normalise_address, old)) == new


@given(st.text(max_size=40))
def test_any_text_parses_to_a_normal_form_or_is_a_value_error(text: str) -> None:
    """The parser never fails otherwise, and what it returns is stable."""
    for candidate in (text, f"oci:{text}", f"quay.io/{text}"):
        with contextlib.suppress(ValueError):
            found = parse_endpoint(candidate)
            assert parse_endpoint(str(found)) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [("v1", True), ("_", True), ("A.b-c_", True), ("", False), ("-v", False), ("v/1", False)],
)
def test_a_tag_is_what_the_specification_says(text: str, expected: bool) -> None:
    """Servers may list anything; only valid tags are used."""
    assert is_tag(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", True), ("a/b-c", True), ("", False), ("A", False), ("a/../b", False), ("/a", False)],
)
def test_a_repository_path_is_what_the_specification_says(text: str, expected: bool) -> None:
    """A catalog may list anything; only valid names are used."""
    assert is_repository_path(text) is expected


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_digest_is_of_its_algorithm(algorithm: str) -> None:
    """Both registered algorithms work all the way."""
    data = b"data"
    digest = Digest.of(data, algorithm)
    assert digest == f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    assert Digest.parse(str(digest)) == digest
    assert (digest.algorithm, digest.hex) == tuple(str(digest).split(":"))
    assert digest.short == digest.hex[:12]
    assert digest.matches(data)
    assert not digest.matches(b"other")
    hasher = digest.hasher()
    hasher.update(data)
    assert hasher.hexdigest() == digest.hex


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:" + "g" * 64, DIGEST + "0", DIGEST + "\n"])
def test_a_wrong_digest_is_refused(text: str) -> None:
    """A digest becomes a file name: nothing but hex is let through."""
    with pytest.raises(ValueError, match="not a digest"):
        Digest.parse(text)


def test_a_repository_refers_to_tags_and_digests() -> None:
    """`at` tells a digest from a tag by its type."""
    repository = parse_endpoint("quay.io/a/b").repository
    assert str(repository) == "quay.io/a/b"
    assert str(repository.at("v1")) == "quay.io/a/b:v1"
    assert str(repository.at(Digest(DIGEST))) == f"quay.io/a/b@{DIGEST}"
    assert repository.at("v1").target == "v1"
    assert repository.at(Digest(DIGEST)).target == DIGEST
    assert repository.at(Digest(DIGEST)).with_tag("v2") == repository.at("v2")
    with pytest.raises(ValueError, match="names no tag or digest"):
        _ = Reference(repository).target


def test_references_are_ordered_by_their_text() -> None:
    """The order of a plan's file is the order of its text."""
    texts = ["quay.io/a:b", "oci:z:1", "docker.io/library/a:1", "quay.io/a/b:a"]
    assert [str(each) for each in sorted(map(Reference.parse, texts))] == sorted(texts)


@pytest.mark.parametrize(
    ("path", "base", "expected"),
    [
        ("bundle/nginx", "/work", "bundle/nginx"),
        ("/work/bundle", "/work", "/work/bundle"),
        ("/srv/a/../x", "/work/a", "/srv/x"),
        ("//srv/x/", "/work/a", "/srv/x"),
        ("../x", "/work/a", "../x"),
        ("../a/x", "/work/a", "x"),
        (".", "/work", "."),
    ],
)
def test_a_layout_is_addressed_as_it_was_written(path: str, base: str, expected: str) -> None:
    """Absolute paths stay so, wherever the config lies; the others are relative to its folder."""
    found = layout_address(Repository(LAYOUTS, path), base)
    assert found == Repository(LAYOUTS, expected)
    assert found.is_layout


def test_hosts_are_lower_case_and_docker_hub_has_one_name() -> None:
    """A store is known by one name only."""
    names = ["Quay.IO", "index.docker.io", "Registry-1.Docker.io", "docker.io", "localhost:5000"]
    assert [normalise_host(name) for name in names] == [
        "quay.io",
        "docker.io",
        "docker.io",
        "docker.io",
        "localhost:5000",
    ]


class _Model(BaseModel):
    reference: Reference
    digest: Digest


def test_models_hold_references_and_digests_as_text() -> None:
    """In a file they are strings, in the program their own types."""
    row = {"reference": "quay.io/a/b:v1", "digest": DIGEST}
    found = _Model.model_validate(row)
    assert type(found.digest) is Digest
    assert found.reference == Reference.parse("quay.io/a/b:v1")
    assert found.model_dump(mode="json") == row
    assert _Model.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("value", [5, None, ["quay.io/a"], "Quay/A", {}])
def test_models_refuse_what_is_no_reference(value: object) -> None:
    """A damaged file is a validation error, never a crash."""
    with pytest.raises(ValidationError):
        _Model.model_validate({"reference": value, "digest": DIGEST})
    with pytest.raises(ValidationError):
        _Model.model_validate({"reference": "quay.io/a/b", "digest": value})


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("payments/svc-0[89]", r"globs know \*, \*\* and \? alone"),
        ("payments/{a,b}", r"globs know \*, \*\* and \? alone"),
        ("Payments/svc", "it must be lower case"),
        ("pay..ments", "its parts are of a-z and 0-9"),
    ],
)
def test_what_is_wrong_with_a_name_is_said(path: str, why: str) -> None:
    """Classes of other tools' globs, capitals, and what the rules are."""
    with pytest.raises(ValueError, match=why):
        parse_endpoint(f"quay.io/{path}")
