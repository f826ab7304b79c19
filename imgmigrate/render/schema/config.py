"""Describe the config as JSON Schema, for editors and for whoever writes one by program.

Keys, and which of them must be there, are those of the models that the reader checks with. What a
value may look like is said here, once for each key: the reader takes every scalar as the text that
it was written as, so what YAML makes a number or a flag is one of several forms, and `${VAR}` may
stand for any value. Unlike what programs read, a config is closed: the reader refuses what it does
not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.config.model import MOST_CONCURRENCY, Defaults, RegistryConfig, Tls
from imgmigrate.config.reading.schema import (
    FileModel,
    ImageModel,
    KnownModel,
    MovedModel,
    StateModel,
    VerifyModel,
)
from imgmigrate.config.values.referrers import NONE
from imgmigrate.config.values.tags import TagsModel
from imgmigrate.oci.companions import KINDS
from imgmigrate.oci.platforms import IndexForm
from imgmigrate.render.schema.forms import array, ref
from imgmigrate.rules.referrers import EVERY
from imgmigrate.rules.rule import ForeignLayers, Overwrite
from imgmigrate.rules.selection import By

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from imgmigrate.render.schema.forms import Schema

__all__ = ["DEFINITIONS", "config_definitions"]

# What YAML makes of a text that looks like something else, is that text to the reader.
TEXT: Schema = {"type": ["string", "number", "boolean"]}
VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}


def _either(*forms: Schema) -> Schema:
    return {"anyOf": [*forms, VARIABLE]}


def _one_of(values: Iterable[str]) -> Schema:
    return _either({"enum": list(values)})


def _written(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}


def _text_or_list(**more: int) -> Schema:
    return {"anyOf": [TEXT, array(TEXT, **more)]}


def _kinds(*words: str) -> Schema:
    """Short names and artifact types, or one of the words alone."""
    name, word = _either({"enum": list(KINDS)}, _written("/")), _one_of(words)
    alone = [word, array(word, maxItems=1)] if words else []
    return {"anyOf": [*alone, name, array(name)]}


def _whole_number(least: int, most: int | None = None) -> Schema:
    limits = {"minimum": least} | ({} if most is None else {"maximum": most})
    return _either({"type": "integer", **limits}, _written(r"^\s*[0-9]+\s*$"))


_WORDS = ("true", "false", "yes", "no", "on", "off", "y", "n", "t", "f", "1", "0")
_ANY_CASE = "|".join("".join(f"[{c}{c.upper()}]" for c in word) for word in _WORDS)
FLAG = _either({"type": "boolean"}, {"enum": [0, 1]}, _written(f"^({_ANY_CASE})$"))
DURATION = _either(
    {"type": "number", "minimum": 0}, _written(r"^[0-9]{1,9}(\.[0-9]{1,6})?[smhdw]?$")
)
SPAN = _either(_written(r"^[0-9]{1,9}(\.[0-9]{1,6})?[smhdw]$"), {"const": "forever"})
SHARE = _either(
    {"type": "number", "minimum": 0}, _written(r"^\s*[0-9]{1,12}(\.[0-9]{1,6})?\s*%?\s*$")
)
REFERRERS: Schema = {
    "anyOf": [
        _kinds(EVERY, NONE),
        {
            "type": "object",
            "properties": {
                "include": _kinds(EVERY, NONE),
                "exclude": _kinds(),
                "required": _kinds(),
            },
            "additionalProperties": False,
        },
    ]
}
OVERWRITE = _one_of(each.value for each in Overwrite)
PLATFORMS = _text_or_list(minItems=1)
FOREIGN = _one_of(each.value for each in ForeignLayers)
INDEX = _one_of(each.value for each in IndexForm)
# `null` is a tag, too.
_TAG: Schema = {"type": [*TEXT["type"], "null"]}
TAGS: Schema = {"anyOf": [TEXT, array(_TAG, minItems=1), ref("tags")]}
KEPT = _either(_written(r"\{tag\}"), {"const": "none"})

# Of each part: its model, what it is, and of each of its keys the form and what it says.
DEFINITIONS: dict[str, tuple[type[BaseModel], str, dict[str, tuple[Schema, str]]]] = {
    "config": (
        FileModel,
        "What should exist where.",
        {
            "version": ({"enum": [1, "1"]}, "Always 1."),
            "state": (ref("state"), "Where the record of what was migrated lives."),
            "registries": (
                {"type": "object", "additionalProperties": ref("registry")},
                "Registries that need settings, by host[:port] or host[:port]/path.",
            ),
            "defaults": (ref("defaults"), "What holds for rules that do not say otherwise."),
            "include": (_text_or_list(), "Patterns of files with more images."),
            "protect": (_text_or_list(), "Addresses or globs that nothing deletes."),
            "max_delete": (SHARE, "More deletes than that of all recorded images: none is done."),
            "max_plan_age": (DURATION, "Apply begins no older plan, such as 24h."),
            "keep_previous": (KEPT, "The tag that what is replaced or deleted gets first."),
            "keep_previous_for": (SPAN, "How long such tags are kept, such as 30d."),
            "moved": (array(ref("moved")), "Images with another address in their registry."),
            "name": (TEXT, "What the state belongs to; by default the name of the file."),
            "distinct": (
                array({"anyOf": [TEXT, array(TEXT)]}),
                "Hosts that are not one registry under two names.",
            ),
            "known_conflicts": (array(ref("known_conflict")), "Conflicts that are to stay."),
            "verify": (array(ref("verify")), "Whose signatures images need to be taken."),
            "images": (array(ref("image")), "The rules."),
        },
    ),
    "state": (
        StateModel,
        "Where the state is.",
        {
            "path": ({**TEXT, "minLength": 1}, "Its folder, seen from that of the config."),
            "backend": ({**TEXT, "minLength": 1}, "The URL of what a team shares, or git."),
            "branch": ({**TEXT, "minLength": 1}, "With git: the branch that holds it."),
            "remote": ({**TEXT, "minLength": 1}, "With git: the remote of the checkout."),
            "lease": (DURATION, "How long a writer may be silent before another takes over."),
        },
    ),
    "defaults": (
        Defaults,
        "What holds for rules that do not say otherwise.",
        {
            "overwrite": (OVERWRITE, "Which differing tags may be replaced."),
            "platforms": (PLATFORMS, "Which platforms of an index to copy, or all."),
            "index": (INDEX, "What becomes of an index that is cut to platforms."),
            "foreign_layers": (FOREIGN, "What becomes of layers that are not to be distributed."),
            "tags": (TAGS, "For rules that name neither tags nor a digest."),
            "immutable_tags": (_text_or_list(minItems=1), "Tags that never move."),
            "referrers": (REFERRERS, "Which signatures and the like go along with images."),
        },
    ),
    "image": (
        ImageModel,
        "A rule: which images go where.",
        {
            "source": (TEXT, "host/repository or oci:PATH; with * and **, many repositories."),
            "destination": (_text_or_list(minItems=1), "One, or a list; with placeholders."),
            "tags": (TAGS, "Tags, globs and /regexes/, or a mapping that selects; else all."),
            "overwrite": (OVERWRITE, "Which differing tags may be replaced."),
            "platforms": (PLATFORMS, "Which platforms of an index to copy, or all."),
            "index": (INDEX, "What becomes of an index that is cut to platforms."),
            "foreign_layers": (FOREIGN, "What becomes of layers that are not to be distributed."),
            "immutable_tags": (_text_or_list(), "Tags that never move."),
            "exclude_repositories": (_text_or_list(), "What a wildcard leaves out."),
            "rename": (
                {"type": "object", "additionalProperties": TEXT},
                "Other names for tags, by tag or /regex/.",
            ),
            "flatten": (_one_of(("-", "_", "__", ".")), "Joins the segments of a name."),
            "keep_previous": (KEPT, "As for the whole config; none: nothing is kept."),
            "keep_previous_for": (SPAN, "As for the whole config, for what goes where it writes."),
            "referrers": (REFERRERS, "Which signatures and the like go along with images."),
            "source_is_delta": (FLAG, "The source carries only what is new."),
        },
    ),
    "tags": (
        TagsModel,
        "Which tags, by what they are.",
        {
            "include": (_text_or_list(minItems=1), "Tags, globs and /regexes/."),
            "exclude": (_text_or_list(minItems=1), "Not these."),
            "semver": (TEXT, "Ranges such as '>=1.2 <2 || 3.x'."),
            "suffixes": (_one_of(("any",)), "Whatever stands behind the hyphen is a suffix."),
            "created_after": (TEXT, "A date, or a duration before now such as 90d."),
            "newest": (_whole_number(1), "So many, by by."),
            "by": (_one_of(each.value for each in By), "What newest counts by."),
            "min": (_whole_number(0), "Fewer are an error."),
            "any": (array(ref("tags"), minItems=1), "Several such mappings, united."),
        },
    ),
    "registry": (
        RegistryConfig,
        "Settings of a registry, or of a path in it.",
        {
            "username": (TEXT, "With password; else docker's and podman's logins are used."),
            "password": (TEXT, "Best a variable: ${NAME}."),
            "credential_command": (array(TEXT, minItems=1), "A program that prints a login."),
            "plain_http": (FLAG, "Speak HTTP."),
            "insecure": (FLAG, "Check no certificate; without TLS ask in the clear."),
            "tls": (ref("tls"), "How the registry proves itself, and we to it."),
            "concurrency": (_whole_number(1, MOST_CONCURRENCY), "Blob streams at once."),
            "rate_limit": (TEXT, "Requests a second."),
            "bandwidth": (TEXT, "Such as 200MiB/s, reads and writes each."),
            "proxy": (TEXT, "http://host:port"),
        },
    ),
    "tls": (
        Tls,
        "How a registry proves itself, and we to it.",
        {
            "ca_file": (TEXT, "Certificates to trust."),
            "client_cert": (TEXT, "Our certificate."),
            "client_key": (TEXT, "Its key."),
            "verify": (FLAG, "false: take any certificate."),
        },
    ),
    "moved": (
        MovedModel,
        "Images that got another address in the same registry.",
        {"from": (TEXT, "The old address, or a glob."), "to": (TEXT, "The new one.")},
    ),
    "known_conflict": (
        KnownModel,
        "A conflict that decides no exit code until its day.",
        {
            "address": (TEXT, "An address or a glob."),
            "digest": (TEXT, "What the destination shows."),
            "until": (TEXT, "The last day: YYYY-MM-DD."),
            "because": (TEXT, "The reason, for whoever reads a plan."),
        },
    ),
    "verify": (
        VerifyModel,
        "Images that are taken only with a signature.",
        {
            "match": (TEXT, "Their sources: an address or a glob."),
            "key": (_text_or_list(minItems=1), "Files of public keys; one of them suffices."),
            "identity": (TEXT, "For signatures without a key: whose, as the certificate says."),
            "trusted_root": (TEXT, "The file of a sigstore of one's own; else the public one."),
            "issuer": (TEXT, "Who vouched for the identity: an OIDC issuer."),
        },
    ),
}
# What keys ask of others.
_TOGETHER: dict[str, Schema] = {
    "config": {
        # The rules may all be in files that are included.
        "if": {"not": {"required": ["include"]}},
        "then": {"required": ["images"], "properties": {"images": {"minItems": 1}}},
    },
    "registry": {"dependentRequired": {"username": ["password"], "password": ["username"]}},
    "tags": {
        "minProperties": 1,
        "dependentRequired": {"by": ["newest"]},
        "if": {"required": ["any"]},
        "then": {
            "propertyNames": {"enum": ["any", "min"]},
            "properties": {"any": {"items": {"properties": {"any": False}}}},
        },
    },
    "tls": {"dependentRequired": {"client_key": ["client_cert"]}},
}


def config_definitions() -> tuple[Schema, Schema]:
    """Give the schema of a whole config, and what it refers to."""
    found = {name: _definition(name) for name in DEFINITIONS}
    return found.pop("config"), found


def _definition(name: str) -> Schema:
    model, about, keys = DEFINITIONS[name]
    fields = {field.alias or key: field for key, field in model.model_fields.items()}
    described = {}
    for key in fields:
        form, says = keys[key]
        described[key] = {"description": says, **form}
    # Which rules there are is a matter of `include` as well.
    needed = [key for key, field in fields.items() if field.is_required() and (name, key) != _RULES]
    return {
        "description": about,
        "type": "object",
        "properties": described,
        **({"required": needed} if needed else {}),
        "additionalProperties": False,
        **_TOGETHER.get(name, {}),
    }


_RULES = ("config", "images")
