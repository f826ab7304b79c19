"""A converted config copies what the tool would: the same sources to the same addresses."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hypothesis import assume, given
from hypothesis import strategies as st

from imgmigrate.config.reading.text import parse_config_text
from imgmigrate.foreign.formats.dregsy import read_dregsy
from imgmigrate.foreign.formats.regsync import read_regsync
from imgmigrate.foreign.formats.skopeo import read_skopeo
from imgmigrate.foreign.load import check, load_config
from imgmigrate.foreign.writer import write
from tests.foreign import models

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.config.model import Config
    from imgmigrate.config.reading.tree import Tree
    from imgmigrate.foreign.document import Document

HOST, TARGET = "old.io", "new.io/m"
REPOS = ("app", "team/app", "team/web-1", "team/sub/db", "tmp/web-1", "x")
PLAIN = ("1", "1.2", "1.2.0", "1.2.3", "v1.2.3", "1.3.0", "2.0.0", "0.2.5", "0.0.3", "10.0.1")
WORDS = ("latest", "edge", "a", "ab", "b")
SUFFIXED = (
    "1.2.3-alpine",
    "1.3.0-rc.1",
    "2.0.0-rc.1",
    "1.2-slim",
    "2-slim",
    "1.2.0_1",
    "1.2.3.4",
    "sha256-ab.sig",
)
VERSIONS = st.sampled_from(("1", "1.2", "1.2.0", "1.2.3", "0.2", "0.0.3", "0", "2.0.0", "v1.3.0"))
FULL = st.sampled_from(("1.2.0", "1.2.3", "0.2.5", "2.0.0", "1.3.0", "0.0.3"))
REGEXES = st.sampled_from(
    ("latest", "a|b", "v?1\\.2.*", "[0-9]+", ".*-alpine", "(a|edge)", "", "^a", "1.*$", "e|2.*|.*3")
)
# Those that globs can say; a regex that they cannot is left out and told (test_regsync.py).
NAMES = st.sampled_from(
    (
        "app",
        "team/.*",
        "team/.+",
        ".*",
        ".*/web-1",
        "t.*|x",
        "(team|tmp)/web-1",
        "[^/]+",
        "[^/]*/web-[12]",
        "team/(app|sub/.*)",
        "a|team|b",
        "^x$",
    )
)


def listings(tags: tuple[str, ...]) -> st.SearchStrategy[models.Listing]:
    """Some tags for every repository."""
    chosen = st.lists(st.sampled_from(tags), unique=True, max_size=8)
    return st.fixed_dictionaries(dict.fromkeys(REPOS, chosen))


def filtered(*, semver: bool) -> st.SearchStrategy[dict[str, list[str]]]:
    """One set of tags of regsync."""
    lists = st.lists(REGEXES, max_size=2)
    signs = st.sampled_from(("^", "~", ">=", "<=", ">", "<", "=", ""))
    one = st.tuples(signs, VERSIONS).map("".join)
    either = st.one_of(one, st.sampled_from((">=0.2 <2", ">1.2 <=1.3", ">=1.2.3 <2.0.0")))
    more = {"semverRange": st.lists(either, max_size=2)} if semver else {}
    return st.fixed_dictionaries({}, optional={"allow": lists, "deny": lists, **more})


def converted(text: Any, read: Callable[[Tree], Document]) -> tuple[Config, Document]:
    """Convert a config, and load what was written."""
    document = read(parse_config_text(json.dumps(text), "foreign.yaml"))
    with TemporaryDirectory() as folder:
        path = Path(folder, "imgmigrate.yaml")
        check(path, document)
        path.write_text(write(document, title="Converted.").text)
        return load_config(path, environ={}), document


@given(st.data(), st.booleans())
def test_regsync_copies_the_same(data: st.DataObject, semver: bool) -> None:
    """Regexes of tags and repositories, sets of tags, ranges, all types but single images."""
    tags = filtered(semver=semver)
    repos = st.lists(NAMES, max_size=2)
    rules = st.one_of(
        st.fixed_dictionaries(
            {
                "source": st.sampled_from([f"{HOST}/{each}" for each in REPOS]),
                "target": st.just(f"{TARGET}/one"),
                "type": st.just("repository"),
            },
            optional={"tags": tags, "tagSets": st.lists(tags, max_size=2)},
        ),
        st.fixed_dictionaries(
            {"source": st.just(HOST), "target": st.just(TARGET), "type": st.just("registry")},
            optional={
                "tags": tags,
                "repos": st.fixed_dictionaries({}, optional={"allow": repos, "deny": repos}),
            },
        ),
    )
    rule = data.draw(rules)
    listing = data.draw(listings((*PLAIN, *WORDS, *SUFFIXED)))
    try:
        config, document = converted({"sync": [rule]}, read_regsync)
    except Exception as error:
        # Ours refuses a range that nothing can be in, and globs that nothing matches.
        assume("wants no version" not in str(error))
        assume("at least one image" not in str(error))
        raise
    assert not any("left out" in each for each in document.remarks)
    assert models.ours(config, HOST, listing) == models.regsync(rule, listing)


@given(
    st.dictionaries(
        st.sampled_from(REPOS[:4]),
        st.lists(st.sampled_from(("1.2", "latest", "sha256:" + "a1" * 32)), max_size=3),
        max_size=3,
    ),
    st.dictionaries(st.sampled_from(REPOS), REGEXES, max_size=2),
    st.dictionaries(
        st.sampled_from(REPOS),
        st.one_of(
            st.tuples(
                st.sampled_from(("", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^")),
                st.sampled_from(("1", "1.2", "1.2.3", "1.2.x", "0.2", "0.0.3", "2.0.0")),
            ).map("".join),
            st.sampled_from((">=0.2, <2", ">= 1.2 != 1.2.3", "1.2 - 1.3", "^1 || 0.0.x", "*")),
        ),
        max_size=2,
    ),
    st.booleans(),
    st.sampled_from(("", "-mirror")),
    listings((*PLAIN, *WORDS, *SUFFIXED)),
)
def test_skopeo_copies_the_same(
    images: dict[str, list[str]],
    regexes: dict[str, str],
    ranges: dict[str, str],
    scoped: bool,
    suffix: str,
    listing: models.Listing,
) -> None:
    """Lists, regexes and ranges, with and without --scoped and --append-suffix."""
    names = [each.rpartition("/")[2] for each in {*images, *regexes, *ranges}]
    assume(names)
    assume(scoped or len(set(names)) == len(names))
    config = {HOST: {"images": images, "images-by-tag-regex": regexes, "images-by-semver": ranges}}
    found, _ = converted(
        config, lambda tree: read_skopeo(tree, TARGET, scoped=scoped, suffix=suffix)
    )
    expected = models.skopeo(config, TARGET, listing, scoped=scoped, suffix=suffix)
    assert models.ours(found, HOST, listing) == expected


SELECTORS = st.one_of(
    st.sampled_from(("latest", "1.2", "nightly")),
    REGEXES.map("regex: {}".format),
    REGEXES.map("regex: !{}".format),
    REGEXES.map("keep: !{}".format),
    st.tuples(st.sampled_from((">=", "<", ">", "<=", "==", "!=", "!", "")), FULL).map(
        lambda each: f"semver: {each[0]}{each[1]}"
    ),
    st.just("semver: >=1.2.0 <2.0.0 || 0.2.5"),
)


@given(
    st.one_of(
        st.fixed_dictionaries(
            {"from": st.sampled_from(REPOS)},
            optional={
                "to": st.sampled_from(("archive/it", "regex:(a|w)(.*),$2/x$1", "regex:^/te,/de"))
            },
        ),
        st.fixed_dictionaries(
            {"from": NAMES.map("regex:{}".format)}, optional={"to": st.just("copies")}
        ),
    ),
    st.lists(SELECTORS, max_size=3),
    listings((*PLAIN, *WORDS, *SUFFIXED)),
)
def test_dregsy_copies_the_same(
    mapping: dict[str, Any], tags: list[str], listing: models.Listing
) -> None:
    """Names, regexes and ranges of tags, regexes of repositories and of where they go."""
    mapping = {**mapping, "tags": tags}
    task = {
        "name": "x",
        "source": {"registry": HOST},
        "target": {"registry": "new.io"},
        "mappings": [mapping],
    }
    config, _ = converted({"tasks": [task]}, read_dregsy)
    expected = models.dregsy((HOST, "new.io"), mapping, listing)
    assert models.ours(config, HOST, listing) == expected


COUNTED = ("1.2.0", "1.2.3", "1.3.0", "2.0.0", "0.2.5", "10.0.1", *WORDS, *SUFFIXED)


@given(
    st.lists(
        st.sampled_from(("regex: [0-9].*", "semver: >=1.2.0", "latest", "keep: !1.*", "edge")),
        max_size=2,
    ),
    st.integers(1, 4),
    listings(COUNTED),
)
def test_dregsy_counts_the_same(tags: list[str], count: int, listing: models.Listing) -> None:
    """`keep: latest` counts versions, and leaves what is none alone."""
    assume(sum(each.startswith(("regex", "semver")) for each in tags) < 2)
    tags = [*tags, f"keep: latest {count}"]
    source = {"registry": HOST, "auth": base64.b64encode(b'{"username":"","password":""}').decode()}
    mapping = {"from": "app", "tags": tags}
    task = {"source": source, "target": {"registry": "new.io"}, "mappings": [mapping]}
    uncounted = models.dregsy_tags(tags[:-1], listing["app"])
    assume(any(models.is_blangs(each) for each in uncounted))
    config, _ = converted({"tasks": [task]}, read_dregsy)
    expected = models.dregsy((HOST, "new.io"), mapping, listing)
    assert models.ours(config, HOST, listing) == expected
