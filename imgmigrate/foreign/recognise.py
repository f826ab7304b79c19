"""Say whose file somebody named by mistake, and by which command it is read. Pure.

Only what leaves no doubt is recognised: a wrong guess would hide what is really wrong.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from imgmigrate.config.reading.text import parse_config_text
from imgmigrate.config.reading.tree import parse_documents
from imgmigrate.errors import ConfigError
from imgmigrate.remedies import remedy

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.config.reading.tree import Tree

__all__ = [
    "LOGINS",
    "OURS",
    "PAIR",
    "WHOLE",
    "foreign_error",
    "form_of_list",
    "kind_of",
    "kind_of_tree",
    "own_kinds",
]

OURS = "a config of imgmigrate's own"
# image-syncer's: rules alone, credentials alone, and both together.
PAIR, LOGINS, WHOLE = "image-syncer's rules", "image-syncer's credentials", "image-syncer's"
_LIST, _YAML = "a list of images", "YAML that names images"
_IMAGE = r"[a-z0-9][a-z0-9._-]*(?::[0-9]+)?(?:/[A-Za-z0-9._-]+)*(?::[\w.-]+)?(?:@sha256:[0-9a-f]+)?"
_PULL = r"(?:docker|podman|nerdctl|crictl)\s+(?:image\s+)?pull\s+"
_LINE = re.compile(rf"(?:{_PULL})?(?:--\S+\s+)*{_IMAGE}(?:\s*=>\s*\S+|\s+\S+)?|#.*|")
_SELECTORS = frozenset({"images", "images-by-tag-regex", "images-by-semver"})
_LOGIN = frozenset({"username", "password", "insecure"})
# The formats of `convert` that a kind is read by.
_FORMS = {
    "regsync's": "regsync",
    "dregsy's": "dregsy",
    "skopeo's": "skopeo",
    PAIR: "image-syncer",
    LOGINS: "image-syncer",
    WHOLE: "image-syncer",
    _LIST: "list",
    _YAML: "yaml",
}


def kind_of(text: str, file: str) -> str | None:
    """Tell whose a file is, as people call it; None where it is nobody's that is known here."""
    try:
        return kind_of_tree(parse_config_text(text, file, nulls=True))
    except ConfigError:
        return _kind_of_others(text, file)


def kind_of_tree(tree: Tree) -> str | None:
    """Tell the same of a file that has been read, whose top is a mapping."""
    plain = tree.plain()
    return next((kind for kind, is_it in _KINDS if is_it(plain)), None)


def own_kinds(form: str) -> frozenset[str]:
    """Whose files a format of `convert` reads."""
    return frozenset(kind for kind, its in _FORMS.items() if its == form)


def form_of_list(text: str, file: str) -> str:
    """Choose the format that reads what names images, by what stands in it, else by its name."""
    if _is_list(text):
        return "list"
    is_yaml = file.lower().endswith((".yaml", ".yml", ".json")) or kind_of(text, file) == _YAML
    return "yaml" if is_yaml else "list"


def _is_list(text: str) -> bool:
    lines = [each.strip() for each in text.splitlines()]
    return any(lines) and all(_LINE.fullmatch(each) for each in lines)


def _kind_of_others(text: str, file: str) -> str | None:
    """Tell what has no mapping at its top: a list, or YAML of several documents."""
    if _is_list(text):
        return _LIST
    try:
        found = [each.plain(("",)) for each in parse_documents(text, file)]
    except ConfigError:
        return None
    return _YAML if _names_images(found) or any(map(_is_bare_list, found)) else None


def foreign_error(kind: str, file: str) -> ConfigError:
    """Make the error that says whose a file is, and what to do with it."""
    return ConfigError(f"this looks like {kind}", file=file, hint=_hint(kind, file))


def _hint(kind: str, file: str) -> str:
    """The command that reads a file of a kind."""
    if kind in (OURS, WHOLE):
        return remedy("plan", path=file)
    if kind == PAIR:
        return f"{remedy('plan', images=file)} `auth` FILE"
    if kind == LOGINS:
        return f"imgmigrate plan `images` FILE `auth` {shlex.quote(file)}"
    if kind in (_LIST, _YAML):
        return f"{remedy('plan', list=file)} `to` HOST/PATH"
    command = remedy("convert", _FORMS[kind], file)
    return f"{command} `to` HOST/PATH" if kind == "skopeo's" else command


def _is_ours(plain: dict[str, Any]) -> bool:
    return "version" in plain and any(
        _has(each, "source", "destination") for each in _listed(plain.get("images"))
    )


def _is_regsync(plain: dict[str, Any]) -> bool:
    rules = plain.get("sync")
    return isinstance(rules, list) and all(_has(each, "source", "target") for each in rules)


def _is_dregsy(plain: dict[str, Any]) -> bool:
    tasks = plain.get("tasks")
    return isinstance(tasks, list) and all(_has(each, "source", "target") for each in tasks)


def _is_skopeo(plain: dict[str, Any]) -> bool:
    hosts = [each for each in plain.values() if each is not None]
    return bool(hosts) and all(
        isinstance(each, dict) and any(isinstance(each.get(key), dict) for key in _SELECTORS)
        for each in hosts
    )


def _is_whole(plain: dict[str, Any]) -> bool:
    rules, auth = plain.get("images"), plain.get("auth")
    return {*plain} <= {"auth", "images"} and (isinstance(rules, dict) or isinstance(auth, dict))


def _is_credentials(plain: dict[str, Any]) -> bool:
    return bool(plain) and all(
        isinstance(each, dict) and each and {*each} <= _LOGIN for each in plain.values()
    )


def _is_rules(plain: dict[str, Any]) -> bool:
    return bool(plain) and all(
        ("/" in key or ":" in key) and _is_target(value) for key, value in plain.items()
    )


def _is_target(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(each is None or isinstance(each, str) for each in values)


def _names_images(plain: Any) -> bool:
    """Tell whether images stand in it, and no rules of ours do."""
    if isinstance(plain, list):
        return any(_names_images(each) for each in plain)
    if not isinstance(plain, dict):
        return False
    listed = plain.get("images")
    if isinstance(listed, list) and any(_has(each, "source") for each in listed):
        return False
    if isinstance(listed, list) and any(
        isinstance(each, str) or _has(each, "name") or _has(each, "image") for each in listed
    ):
        return True
    return isinstance(plain.get("image"), str) or any(map(_names_images, plain.values()))


def _is_bare_list(plain: Any) -> bool:
    """Tell a list of nothing but images at the top, of which a part has a tag or a path."""
    names = _listed(plain)
    return (
        bool(names)
        and all(isinstance(each, str) and re.fullmatch(_IMAGE, each) for each in names)
        and any({"/", ":"} & set(each) for each in names)
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _has(value: Any, *keys: str) -> bool:
    return isinstance(value, dict) and all(key in value for key in keys)


_KINDS: tuple[tuple[str, Callable[[dict[str, Any]], bool]], ...] = (
    (OURS, _is_ours),
    ("regsync's", _is_regsync),
    ("dregsy's", _is_dregsy),
    (WHOLE, _is_whole),
    ("skopeo's", _is_skopeo),
    (LOGINS, _is_credentials),
    (PAIR, _is_rules),
    (_YAML, _names_images),
)
