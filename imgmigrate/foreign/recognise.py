"""Say whose file somebody named by mistake, and by which command it is read. Pure.

Only what leaves no doubt is recognised: a wrong guess would hide what is really wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from imgmigrate.config.reading.text import parse_config_text
from imgmigrate.config.reading.tree import parse_documents
from imgmigrate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PAIR", "WHOLE", "foreign_error", "kind_of"]

# image-syncer's: rules alone, and rules with credentials.
PAIR, WHOLE = "image-syncer's rules", "image-syncer's"
_LIST, _YAML = "a list of images", "YAML that names images"
_IMAGE = r"[a-z0-9][a-z0-9._-]*(?::[0-9]+)?(?:/[A-Za-z0-9._-]+)*(?::[\w.-]+)?(?:@sha256:[0-9a-f]+)?"
_LINE = re.compile(rf"(?:--\S+\s+)*{_IMAGE}(?:\s*=>\s*\S+|\s+\S+)?|#.*|")
_SELECTORS = frozenset({"images", "images-by-tag-regex", "images-by-semver"})
_LOGIN = frozenset({"username", "password", "insecure"})
_HINTS = {
    "regsync's": "imgmigrate convert regsync {}",
    "dregsy's": "imgmigrate convert dregsy {}",
    "skopeo's": "imgmigrate convert skopeo {} `to` HOST/PATH",
    _LIST: "imgmigrate plan `list` {} `to` HOST/PATH",
    _YAML: "imgmigrate plan `list` {} `to` HOST/PATH",
    PAIR: "imgmigrate plan `images` {} `auth` FILE",
    "image-syncer's credentials": "imgmigrate plan `images` FILE `auth` {}",
    WHOLE: "imgmigrate plan `path` {}",
}


def kind_of(text: str, file: str) -> str | None:
    """Tell whose a file is, as people call it; None where it is nobody's that is known here."""
    try:
        plain = parse_config_text(text, file, nulls=True).plain()
    except ConfigError:
        return _kind_of_others(text, file)
    return next((kind for kind, is_it in _KINDS if is_it(plain)), None)


def _kind_of_others(text: str, file: str) -> str | None:
    """Tell what has no mapping at its top: a list, or YAML of several documents."""
    lines = [each.strip() for each in text.splitlines()]
    if any(lines) and all(_LINE.fullmatch(each) for each in lines):
        return _LIST
    try:
        found = [each.plain(("",)) for each in parse_documents(text, file)]
    except ConfigError:
        return None
    return _YAML if _names_images(found) else None


def foreign_error(kind: str, file: str) -> ConfigError:
    """Make the error that says whose a file is, and what to do with it."""
    return ConfigError(f"this looks like {kind}", file=file, hint=_HINTS[kind].format(file))


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


def _has(value: Any, *keys: str) -> bool:
    return isinstance(value, dict) and all(key in value for key in keys)


_KINDS: tuple[tuple[str, Callable[[dict[str, Any]], bool]], ...] = (
    ("regsync's", _is_regsync),
    ("dregsy's", _is_dregsy),
    (WHOLE, _is_whole),
    ("skopeo's", _is_skopeo),
    ("image-syncer's credentials", _is_credentials),
    (PAIR, _is_rules),
    (_YAML, _names_images),
)
