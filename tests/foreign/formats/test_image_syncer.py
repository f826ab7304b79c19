"""image-syncer's rules: each form, and the copies that image-syncer 1.5.5 makes of it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import UsageError
from imgmigrate.foreign.formats.image_syncer import OVERWRITE_NOTE, Options
from imgmigrate.foreign.load import load_config
from imgmigrate.rules.rule import Overwrite
from tests.foreign.conftest import copies

if TYPE_CHECKING:
    from pathlib import Path

    from tests.foreign.conftest import Pair, Refuse, Whole

DIGEST = "sha256:" + "a1" * 32
OTHER = "sha256:" + "b2" * 32
LISTING = ("latest", "v1.0", "v1.1", "v2.0-rc1")

# What stands in `images`, and (source, destination) of every copy, where each source has LISTING.
FORMS = [
    pytest.param(
        {"q.io/a/b": "new.io/a/b"},
        {(f"q.io/a/b:{tag}", f"new.io/a/b:{tag}") for tag in LISTING},
        id="all tags",
    ),
    pytest.param(
        {"q.io/a/b:v1.0": "new.io/x/y"}, {("q.io/a/b:v1.0", "new.io/x/y:v1.0")}, id="one tag"
    ),
    pytest.param(
        {"q.io/a/b:v1.0": "new.io/x/y:stable"},
        {("q.io/a/b:v1.0", "new.io/x/y:stable")},
        id="one tag renamed",
    ),
    pytest.param(
        {"q.io/a/b:1,2,3": "new.io/x/y"},
        {(f"q.io/a/b:{tag}", f"new.io/x/y:{tag}") for tag in "123"},
        id="several tags",
    ),
    pytest.param(
        {"q.io/a/b:1,2": "new.io/x/y:one,two"},
        {("q.io/a/b:1", "new.io/x/y:one"), ("q.io/a/b:2", "new.io/x/y:two")},
        id="renamed by position",
    ),
    pytest.param(
        {"q.io/a/b:1,2": "new.io/x/y:2,1"},
        {("q.io/a/b:1", "new.io/x/y:2"), ("q.io/a/b:2", "new.io/x/y:1")},
        id="tags exchanged",
    ),
    pytest.param(
        {f"q.io/a/b@{DIGEST}": "new.io/x/y"},
        {(f"q.io/a/b@{DIGEST}", f"new.io/x/y@{DIGEST}")},
        id="digest",
    ),
    pytest.param(
        {f"q.io/a/b@{DIGEST}": "new.io/x/y:pinned"},
        {(f"q.io/a/b@{DIGEST}", "new.io/x/y:pinned")},
        id="digest gets a tag",
    ),
    pytest.param(
        {f"q.io/a/b@{DIGEST}": f"new.io/x/y@{DIGEST}"},
        {(f"q.io/a/b@{DIGEST}", f"new.io/x/y@{DIGEST}")},
        id="digest said twice",
    ),
    pytest.param(
        {f"q.io/a/b:v1@{DIGEST}": f"new.io/x/y:v1@{DIGEST}"},
        {(f"q.io/a/b@{DIGEST}", f"new.io/x/y@{DIGEST}")},
        id="tag beside a digest is dropped",
    ),
    pytest.param(
        {"q.io/a/b:/^v1/": "new.io/x/y"},
        {(f"q.io/a/b:{tag}", f"new.io/x/y:{tag}") for tag in ("v1.0", "v1.1")},
        id="regex",
    ),
    pytest.param(
        {"q.io/a/b:/1$/": "new.io/x/y"},
        {(f"q.io/a/b:{tag}", f"new.io/x/y:{tag}") for tag in ("v1.1", "v2.0-rc1")},
        id="regex is not anchored",
    ),
    pytest.param(
        {r"q.io/a/b:/^v\d{1,2}\.(0|1)$/": "new.io/x/y"},
        {(f"q.io/a/b:{tag}", f"new.io/x/y:{tag}") for tag in ("v1.0", "v1.1")},
        id="regex with a comma",
    ),
    pytest.param({"q.io/a/b:/^nothing/": "new.io/x/y"}, set(), id="regex that matches nothing"),
    pytest.param(
        {"q.io/a/b:1": ["new.io/x/y", "other.io/z:2", "new.io/x/y"]},
        {("q.io/a/b:1", "new.io/x/y:1"), ("q.io/a/b:1", "other.io/z:2")},
        id="list of destinations, each once",
    ),
    pytest.param(
        {"nginx:1.27": "new.io/x/nginx"},
        {("docker.io/library/nginx:1.27", "new.io/x/nginx:1.27")},
        id="Docker Hub's own image",
    ),
    pytest.param(
        {"team/app:1": "new.io/team/app"},
        {("docker.io/team/app:1", "new.io/team/app:1")},
        id="Docker Hub user's image",
    ),
    pytest.param(
        {"registry.hub.docker.com/library/nginx:1": "new.io/x/nginx"},
        {("docker.io/library/nginx:1", "new.io/x/nginx:1")},
        id="Docker Hub's old name",
    ),
    pytest.param(
        {"localhost:5000/a:1": "new.io:8443/x/a"},
        {("localhost:5000/a:1", "new.io:8443/x/a:1")},
        id="ports",
    ),
    pytest.param(
        {"q.io/a/b:1": "${HOST}/x/b", "q.io/a/c:1": "$HOST/x/c:$TAG"},
        {("q.io/a/b:1", "new.io/x/b:1"), ("q.io/a/c:1", "new.io/x/c:blue")},
        id="variables in destinations",
    ),
    pytest.param(
        {"q.io/a/b:1": "x.io/m/b", "q.io/a/b:2": "x.io/m/b", "q.io/a/b": "x.io/all/b"},
        {("q.io/a/b:1", "x.io/m/b:1"), ("q.io/a/b:2", "x.io/m/b:2")}
        | {(f"q.io/a/b:{tag}", f"x.io/all/b:{tag}") for tag in LISTING},
        id="several rules of one repository",
    ),
]


def as_yaml(images: dict[str, object]) -> str:
    return "".join(f"{json.dumps(key)}: {json.dumps(value)}\n" for key, value in images.items())


@pytest.mark.parametrize(("images", "expected"), FORMS)
def test_every_rule_form_asks_for_the_same_copies(
    whole: Whole, pair: Pair, images: dict[str, object], expected: set[tuple[str, str]]
) -> None:
    """As JSON in one file and as YAML in its own, a rule means what image-syncer does with it."""
    found = whole(json.dumps({"auth": {}, "images": images}), HOST="new.io", TAG="blue")
    assert copies(found, LISTING) == expected
    assert copies(pair(as_yaml(images), HOST="new.io", TAG="blue"), LISTING) == expected


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        (Options(registry="new.io", namespace="mirror"), {}),
        (None, {"DEFAULT_REGISTRY": "new.io", "DEFAULT_NAMESPACE": "mirror"}),
        (Options(registry="new.io"), {"DEFAULT_REGISTRY": "x", "DEFAULT_NAMESPACE": "mirror"}),
    ],
)
def test_an_empty_destination_goes_to_the_default_namespace(
    pair: Pair, options: Options | None, environ: dict[str, str]
) -> None:
    """The name and the tags stay; options win over the environment."""
    found = pair('q.io/a/b/app:1,2: ""\nnginx:3: ["", "x.io/n"]\n', None, options, **environ)
    assert copies(found) == {
        ("q.io/a/b/app:1", "new.io/mirror/app:1"),
        ("q.io/a/b/app:2", "new.io/mirror/app:2"),
        ("docker.io/library/nginx:3", "new.io/mirror/nginx:3"),
        ("docker.io/library/nginx:3", "x.io/n:3"),
    }


def test_such_configs_replace_what_differs_and_say_so(whole: Whole, tmp_path: Path) -> None:
    """Overwrite is always, as image-syncer's is; the state lies where ours would."""
    found = whole('{"images": {"a/b:1": "x.io/b"}}')
    assert [rule.overwrite for rule in found.rules] == [Overwrite.ALWAYS]
    assert found.notes == (OVERWRITE_NOTE,)
    assert (found.base, found.state) == (tmp_path, tmp_path / "state" / "config")


def test_the_state_of_two_files_is_named_after_the_rules(pair: Pair, tmp_path: Path) -> None:
    """Credentials may change, and their file be another."""
    found = pair("a/b:1: x.io/b\n", "{}\n")
    assert (found.path, found.state) == (tmp_path / "images.yaml", tmp_path / "state" / "images")
    assert found.sha256 == pair("a/b:1: x.io/b\n", "x.io: {insecure: true}\n").sha256


def test_its_config_is_told_by_its_shape(tmp_path: Path) -> None:
    """load_config takes either: ours has a version, and a list of images."""
    path = tmp_path / "any.yaml"
    path.write_text("images:\n  a/b:1: x.io/b\n")
    assert copies(load_config(path, environ={})) == {("docker.io/a/b:1", "x.io/b:1")}


@pytest.mark.parametrize(
    ("auth", "repo", "expected"),
    [
        ({"x.io": "host"}, "a/b", "host"),
        ({"x.io": "host", "x.io/a": "a"}, "a/b", "a"),
        ({"x.io/a": "a", "x.io/a/b": "ab", "x.io": "host"}, "a/b/c", "ab"),
        ({"x.io/a": "a", "x.io": "host"}, "ab/c", "host"),
        ({"x.io/a/b": "whole"}, "a/b", "whole"),
        ({"x.io/a": "a"}, "c", None),
        ({"y.io": "other"}, "a", None),
    ],
)
def test_the_longest_key_on_segment_borders_has_the_credentials(
    whole: Whole, auth: dict[str, str], repo: str, expected: str | None
) -> None:
    """Whatever the order, never by a part of a name, and for a key that is the repository too."""
    entries = {key: {"username": user, "password": "pass"} for key, user in auth.items()}
    found = whole(json.dumps({"auth": entries, "images": {"a": "x.io/b"}}))
    assert found.registry("x.io", repo).username == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("$USER_OF_X", "jane"),
        ("${USER_OF_X}", "jane"),
        ("me-${USER_OF_X}-$USER_OF_X", "me-jane-jane"),
        ("robot$x", "robot$x"),
        ("$oauthtoken", "$oauthtoken"),
        ("a$$b$1$", "a$$b$1$"),
        ("$$USER_OF_X", "$$USER_OF_X"),
        ("pa${ss", "pa${ss"),
        ("${1}", "${1}"),
        ("$${USER_OF_X}", "${USER_OF_X}"),
    ],
)
def test_a_dollar_stays_where_it_is_no_variable(pair: Pair, written: str, expected: str) -> None:
    """Harbor's robot$x and NGC's $oauthtoken are names; set variables are variables."""
    auth = f"x.io: {{username: '{written}', password: 'p{written}'}}\n"
    found = pair("a: x.io/b\n", auth, USER_OF_X="jane").registry("x.io")
    assert (found.username, found.password) == (expected, f"p{expected}")


def test_one_file_has_no_variables_in_credentials(whole: Whole) -> None:
    """image-syncer expands those of --auth alone; who meant one is told."""
    auth = {"x.io": {"username": "$USER_OF_X", "password": "p${USER_OF_X}"}}
    found = whole(json.dumps({"auth": auth, "images": {"a": "x.io/b"}}), USER_OF_X="jane")
    entry = found.registry("x.io")
    assert (entry.username, entry.password) == ("$USER_OF_X", "p${USER_OF_X}")
    assert [note for note in found.notes if "username looks like a variable" in note]


def test_an_unset_variable_of_a_credential_is_an_error_when_it_is_used(pair: Pair) -> None:
    """Loading needs no secrets; an empty password would be an anonymous login."""
    found = pair("a: x.io/b\n", "x.io: {username: me, password: '${NOT_SET}'}\n")
    with pytest.raises(Exception, match=r'auth.yaml:1: "x.io".password: .*NOT_SET is not set'):
        found.registry("x.io")


@pytest.mark.parametrize("empty", ['"username": "", "password": ""', '"username": ""', ""])
def test_empty_credentials_are_none(whole: Whole, empty: str) -> None:
    """Then docker's own are used, as image-syncer does."""
    found = whole(f'{{"auth": {{"x.io": {{{empty}}}}}, "images": {{"a": "x.io/b"}}}}')
    assert found.registry("x.io").username is None


@pytest.mark.parametrize("key", ["x.io", "x.io/team"])
def test_insecure_is_a_whole_hosts(pair: Pair, key: str) -> None:
    """A connection belongs to the host, whichever key says how to make it; other hosts' not."""
    found = pair("a: x.io/team/b\n", f"{key}: {{insecure: true}}\ny.io: {{}}\n")
    assert found.registry("x.io").insecure
    assert not found.registry("y.io").insecure


def test_the_manuals_example_is_read_with_its_comments(whole: Whole) -> None:
    """Retyped from the manual of Alibaba Cloud, `//` in every place and a `#` in a password."""
    found = whole(
        """{
    "auth": {                   // The authentication information field.
                                // In most cases: "pull", and "push" rights.

        "quay.io": {            // The URL of the registry.
            "username": "xxx",               // Optional. The username.
            "password": "xxx//x#xxxx",       // Optional. The password.
            "insecure": true                 // Optional. Default value: false.
        },
        "registry.cn-beijing.aliyuncs.com": {
            "username": "xxx",
            "password": "xxxxxxxxx"
        },
\t"registry.hub.docker.com": {
            "username": "xxx",
            "password": "\\u0078\\/\\"x"
        }
    },
    "images": {
        // Each rule is a key-value pair. "This": "is no rule"
        "quay.io/coreos/kube-rbac-proxy": "quay.io/ruohe/kube-rbac-proxy",
        /* nor is
           "this": "one" */
        "xxxx":"xxxxx",
        "xxx/xxx/xx:tag1,tag2,tag3":"xxx/xxx/xy"
        // If the URL of the source repository does not contain tags, ...
    }
}
"""
    )
    assert copies(found, ("v1",)) == {
        ("quay.io/coreos/kube-rbac-proxy:v1", "quay.io/ruohe/kube-rbac-proxy:v1"),
        ("docker.io/library/xxxx:v1", "docker.io/library/xxxxx:v1"),
        ("docker.io/xxx/xxx/xx:tag1", "docker.io/xxx/xxx/xy:tag1"),
        ("docker.io/xxx/xxx/xx:tag2", "docker.io/xxx/xxx/xy:tag2"),
        ("docker.io/xxx/xxx/xx:tag3", "docker.io/xxx/xxx/xy:tag3"),
    }
    assert (found.registry("quay.io").password, found.registry("quay.io").insecure) == (
        "xxx//x#xxxx",
        True,
    )
    assert found.registry("docker.io").password == 'x/"x'
    assert [rule.line for rule in found.rules] == [21, 24, 25]


def test_the_published_example_files_are_read(pair: Pair) -> None:
    """auth.yaml and images.yaml as its repository shows them."""
    found = pair(
        f"""
quay.io/coreos/kube-rbac-proxy: quay.io/ruohe/kube-rbac-proxy
quay.io/coreos/kube-rbac-proxy:v1.0: quay.io/ruohe/kube-rbac-proxy
quay.io/coreos/kube-rbac-proxy:v1.0,v2.0: quay.io/ruohe/kube-rbac-proxy
quay.io/coreos/kube-rbac-proxy@{DIGEST}: quay.io/ruohe/kube-rbac-proxy
quay.io/coreos/kube-rbac-proxy:/a+/: quay.io/ruohe/kube-rbac-proxy
library/nginx:1.21:
  - docker.io/me/nginx
  - quay.io/ruohe/nginx:latest
""",
        """
quay.io: {username: xxx, password: xxxxxxxxx, insecure: true}
quay.io/coreos:
  username: abc
  password: xxxxxxxxx
  insecure: true
registry.cn-beijing.aliyuncs.com:
  username: xxx
  password: xxxxxxxxx
docker.io:
  username: "${DOCKERHUB_USER}"
  password: "${DOCKERHUB_PASSWORD}"
""",
        DOCKERHUB_USER="me",
        DOCKERHUB_PASSWORD="pass",
    )
    assert found.registry("docker.io").username == "me"
    assert found.registry("quay.io", "coreos/kube-rbac-proxy").username == "abc"
    proxy, copy = "quay.io/coreos/kube-rbac-proxy", "quay.io/ruohe/kube-rbac-proxy"
    assert copies(found, ("aa", "v1.0", "b")) == {
        *((f"{proxy}:{tag}", f"{copy}:{tag}") for tag in ("aa", "b", "v1.0", "v2.0")),
        (f"{proxy}@{DIGEST}", f"{copy}@{DIGEST}"),
        ("docker.io/library/nginx:1.21", "docker.io/me/nginx:1.21"),
        ("docker.io/library/nginx:1.21", "quay.io/ruohe/nginx:latest"),
    }


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ('{"q.io/a:1": "new.io/a:x,y"}', r'images."q.io/a:1": it names 2 tags, the source 1'),
        ('{"q.io/a": "new.io/a:x"}', r"the source must name each exactly"),
        ('{"q.io/a:/x/": "new.io/a:x"}', r"the source must name each exactly"),
        ('{"q.io/a:/(/": "new.io/a"}', r"does not compile"),
        ('{"q.io/a:": "new.io/a"}', r"config.json:1: images"),
        ('{"q.io/a:1, 2": "new.io/a"}', r"' 2' is not a tag"),
        ('{"q.io/a/*": "new.io/a"}', r"neither wildcards nor placeholders.*imgmigrate.yaml"),
        ('{"q.io/a": "new.io/{name}"}', r"neither wildcards nor placeholders"),
        ('{"q.io/a": "new.io/$NOT_SET/a"}', r"NOT_SET is not set"),
        ('{"q.io/a": ""}', r"there is no default registry.*`registry`.*DEFAULT_REGISTRY"),
        ('{"q.io/a": []}', r"must be a text or a list of texts"),
        ('{"q.io/a": {"b": "c"}}', r"must be a text or a list of texts"),
        ('{"q.io/a": null}', r"there is no default registry.*`registry`.*DEFAULT_REGISTRY"),
        ('{"q.io/A": "new.io/a"}', r"lower case"),
        ('{"https://q.io/a": "new.io/a"}', r"is a URL"),
        ('{"q.io/a": "q.io/a"}', r"source and destination are the same"),
        (f'{{"q.io/a@{DIGEST}": "new.io/a@{OTHER}"}}', r"a digest cannot be chosen"),
        ('{"q.io/a:1": "n.io/a", "p.io/a:1": "n.io/a"}', r"asked from p.io/a:1, and from q.io/a"),
        ('{"q.io/a:1": "n.io/a",\n"q.io/a:1": "n.io/b"}', r"json:2: .*given twice.* line 1"),
        ('["a"]', r"must be a mapping"),
        ('{"a": "b.io/a', r"the string that begins here is never closed"),
        ('{"a\\d": "b.io/a"}', r"a backslash begins an escape"),
        ('{"a": "b.io/a"} /* end', r"the comment that begins here is never closed"),
        ('{"a": "b.io/a"', r"config.json:1"),
    ],
)
def test_wrong_rules_are_refused_with_their_place(
    refuse: Refuse, images: str, expected: str
) -> None:
    """File, line, the key as image-syncer's user wrote it, the reason and the fix."""
    said = refuse(f'{{"auth": {{}}, "images": {images}}}')
    assert re.search(expected, said), said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"imagez": {}', "config.json:1: imagez: is not a known key"),
        ('"auth": {"x.io": {"user": "a"}}', 'auth."x.io".user: is not a known key'),
        ('"auth": {"x.io": {"pasword": "a"}}', "did you mean password?"),
        ('"auth": {"x.io": "me:secret"}', 'auth."x.io": must be a mapping'),
        ('"auth": {"x.io": {"username": "me"}}', "has no password"),
        ('"auth": {"x.io": {"insecure": "maybe"}}', "insecure: must be true or false"),
        ('"auth": {"x.io": {"username": ["a"]}}', "must be a text"),
        ('"auth": {"https://x.io": {}}', "is not a registry's name"),
        ('"auth": {"x.io": {},\n"x.io": {}}', 'config.json:2: auth."x.io": the key is given twice'),
        ('"auth": {"docker.io": {}, "index.docker.io": {}}', "names the same registry as line 1"),
        ('"auth": {"x.io": {}, "x.io/a": {"insecure": true}}', "say the same at each"),
    ],
)
def test_wrong_credentials_are_refused_with_their_place(
    refuse: Refuse, text: str, expected: str
) -> None:
    """A typing error must not become an anonymous login."""
    assert expected in refuse(f'{{{text}, "images": {{"a": "x.io/b"}}}}')


def test_a_whole_config_is_no_auth_file(pair: Pair) -> None:
    """Who gives one file for both is told how to give it."""
    with pytest.raises(Exception, match=r"`path` .*auth.yaml"):
        pair("a: x.io/b\n", "auth: {}\nimages: {a: x.io/b}\n")


@pytest.mark.parametrize(
    ("systems", "architectures", "expected"),
    [
        ((), (), ()),
        (("linux",), ("amd64", "arm:v7"), ("linux/amd64", "linux/arm/v7")),
        (("linux",), (), ("linux/*",)),
        ((), ("arm64:v8", "amd64"), ("*/amd64", "*/arm64/v8")),
        (("windows:10.0.17763", "linux"), ("amd64",), ("linux/amd64", "windows/amd64:10.0.17763")),
    ],
)
def test_os_and_arch_are_platforms(
    whole: Whole,
    systems: tuple[str, ...],
    architectures: tuple[str, ...],
    expected: tuple[str, ...],
) -> None:
    """Every system is paired with every processor, with versions and variants."""
    options = Options(os=systems, arch=architectures)
    (rule,) = whole('{"images": {"a:1": "x.io/b"}}', options).rules
    assert rule.platforms == expected


@pytest.mark.parametrize(("system", "given"), [("linux,windows", "--os"), ("", "--os")])
def test_what_is_no_platform_is_refused(whole: Whole, system: str, given: str) -> None:
    """A list in one option is no value of it, as in image-syncer."""
    with pytest.raises(UsageError, match=f"{given} .*is no platform"):
        whole('{"images": {"a:1": "x.io/b"}}', Options(os=(system,)))
