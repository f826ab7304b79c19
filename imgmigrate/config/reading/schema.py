"""What a config file may hold, and how pydantic's findings become errors with a place.

No I/O. Keys that later versions will know are told apart from typing mistakes: both are
refused, never ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

# Pydantic needs these at run time.
from imgmigrate.config.model import MOST_CONCURRENCY, Defaults, RegistryConfig, Tls
from imgmigrate.config.values.backends import LEASE, read_lease
from imgmigrate.config.values.names import read_name
from imgmigrate.config.values.platforms import read_platforms
from imgmigrate.config.values.referrers import read_referrers
from imgmigrate.config.values.tags import MAPPING_KEYS, Tags, TagsModel
from imgmigrate.errors import ConfigError

# Pydantic needs them at run time.
from imgmigrate.oci.platforms import IndexForm  # noqa: TC001
from imgmigrate.rules.referrers import ReferrerPolicy  # noqa: TC001
from imgmigrate.rules.rule import ForeignLayers, Overwrite  # noqa: TC001
from imgmigrate.schemas.models import STRICT

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from imgmigrate.config.reading.tree import KeyPath, Tree

__all__ = [
    "NOT_YET",
    "FileModel",
    "ImageModel",
    "IncludedModel",
    "IncludingModel",
    "KnownFileModel",
    "KnownModel",
    "StateModel",
    "VerifyModel",
    "raise_all",
    "validate",
]

NOT_YET = "is not supported yet by this version of imgmigrate"
# More would push the first out of sight.
MOST_SHOWN = 10

_Model = TypeVar("_Model", bound=BaseModel)


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_Texts = Annotated[list[str], BeforeValidator(_one_or_many)]


class _Part(BaseModel):
    model_config = STRICT


class StateModel(_Part):
    """`state:`; where the state lives: a folder, or a backend that several machines share."""

    path: str | None = Field(default=None, min_length=1)
    backend: str | None = Field(default=None, min_length=1)
    branch: str | None = Field(default=None, min_length=1)
    remote: str | None = Field(default=None, min_length=1)
    lease: Annotated[float, BeforeValidator(read_lease)] = LEASE

    @model_validator(mode="after")
    def _is_one(self) -> StateModel:
        if (self.path is None) == (self.backend is None):
            msg = "needs one of path, a folder, and backend, what a team shares"
            raise ValueError(msg)
        if self.path is not None and self.model_fields_set != {"path"}:
            msg = "branch, remote and lease belong to a backend, and path is a folder"
            raise ValueError(msg)
        return self


class ImageModel(_Part):
    """One entry of `images:`, as written."""

    source: str
    destination: Annotated[_Texts, Field(min_length=1)]
    tags: Tags | None = None
    overwrite: Overwrite | None = None
    platforms: Annotated[tuple[str, ...] | None, BeforeValidator(read_platforms)] = None
    index: IndexForm | None = None
    foreign_layers: ForeignLayers | None = None
    immutable_tags: _Texts = []
    exclude_repositories: _Texts = []
    rename: dict[str, str] = {}
    flatten: str | None = None
    keep_previous: str | None = None
    keep_previous_for: str | None = None
    source_is_delta: bool = False
    referrers: Annotated[ReferrerPolicy | None, BeforeValidator(read_referrers)] = None


class MovedModel(_Part):
    """One entry of `moved:`."""

    old: str = Field(alias="from")
    new: str = Field(alias="to")


class KnownModel(_Part):
    """One entry of `known_conflicts:`."""

    address: str
    digest: str
    until: str
    because: str


class VerifyModel(_Part):
    """One entry of `verify:`."""

    match: str = Field(description="Sources of images, by an address or a glob.")
    key: Annotated[
        _Texts, Field(description="Files of public keys, one of which has to have signed.")
    ] = []
    identity: str | None = Field(default=None, description="For signatures without a key: whose.")
    issuer: str | None = Field(default=None, description="Who vouched for the identity.")
    trusted_root: str | None = Field(
        default=None, description="The file of a sigstore of one's own."
    )


class KnownFileModel(_Part):
    """A file of known conflicts alone."""

    version: Literal["1"] = "1"
    known_conflicts: list[KnownModel] = []


class FileModel(_Part):
    """A whole file; entries of `registries` are checked when their variables are known."""

    version: str
    state: StateModel | None = None
    registries: dict[str, dict[str, Any]] = {}
    defaults: Defaults = Field(default_factory=Defaults)
    include: _Texts = []
    protect: _Texts = []
    max_delete: str | None = None
    max_plan_age: str | None = None
    keep_previous: str | None = None
    keep_previous_for: str | None = None
    moved: list[MovedModel] = []
    name: Annotated[str | None, BeforeValidator(read_name)] = None
    distinct: list[str | list[str]] = []
    known_conflicts: list[KnownModel] = []
    verify: list[VerifyModel] = []
    images: Annotated[list[ImageModel], Field(min_length=1)]


class IncludingModel(FileModel):
    """A whole file that includes others: its rules may all be there."""

    images: list[ImageModel] = []


class IncludedModel(_Part):
    """A file of more rules."""

    version: Literal["1"] = "1"
    include: _Texts = []
    images: Annotated[list[ImageModel], Field(min_length=1)] = []


# What may stand at each level, by the path to it with "*" for a number or a registry's name,
# and what later versions will add there.
_LEVELS: dict[tuple[str, ...], tuple[type[BaseModel], frozenset[str]]] = {
    (): (
        FileModel,
        frozenset({"policies"}),
    ),
    ("moved", "*"): (MovedModel, frozenset()),
    ("known_conflicts", "*"): (KnownModel, frozenset()),
    ("verify", "*"): (VerifyModel, frozenset()),
    ("state",): (StateModel, frozenset()),
    ("defaults",): (
        Defaults,
        frozenset({"keep_previous", "keep_previous_for", "protect", "rename"}),
    ),
    ("defaults", "tags"): (TagsModel, frozenset()),
    ("defaults", "tags", "any", "*"): (TagsModel, frozenset()),
    ("registries", "*"): (
        RegistryConfig,
        frozenset(),
    ),
    ("registries", "*", "tls"): (Tls, frozenset()),
    ("images", "*"): (
        ImageModel,
        frozenset(
            {
                "protect",
                "moved",
            }
        ),
    ),
    ("images", "*", "tags"): (TagsModel, frozenset()),
    ("images", "*", "tags", "any", "*"): (TagsModel, frozenset()),
}


def validate(model: type[_Model], value: Any, tree: Tree, path: KeyPath = ()) -> _Model:
    """Check what stands at `path`; a ConfigError names every place that is wrong."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise_all([_explained(tree, path, each) for each in details])
        raise


def raise_all(errors: list[ConfigError], *, most: int = MOST_SHOWN) -> None:
    """Raise one ConfigError for all of them, one a line, `most` by words; nothing if none is."""
    errors = sorted(errors, key=lambda error: error.line or 0)
    if len(errors) > 1:
        raise ConfigError.several(errors[:most], left=max(0, len(errors) - most))
    if errors:
        raise errors[0]


def _explained(tree: Tree, path: KeyPath, detail: ErrorDetails) -> ConfigError:
    where = path + tuple(detail["loc"])
    kind, context = detail["type"], detail.get("ctx", {})
    hint = None
    if kind == "extra_forbidden":
        message, hint = _unknown(where)
    elif kind == "missing":
        message, hint = "is missing", _MISSING.get(str(where[-1]), "add it")
    elif where[-2:] == ("images",) or where == ("images",):
        message, hint = "must be a list of at least one image", _MISSING["images"]
    elif kind in ("dict_type", "model_type", "model_attributes_type"):
        message, hint = "must be a mapping", "write its keys below it, one a line"
    elif where[-1:] == ("credential_command",):
        message = "must be a list of a program and its arguments"
        hint = "write [PROGRAM, ARGUMENT]; it runs without a shell"
    elif kind == "list_type":
        message = "must be a text or a list of texts"
        if where[-1:] == ("any",):
            message, hint = "must be a list of mappings", "begin each with - below any"
    elif kind == "string_type":
        message, hint = "must be a text", "quote a text that holds special characters"
    elif kind == "too_short":
        message, hint = "is an empty list", "name something, or remove the key"
    elif kind == "enum":
        message = f"{detail['input']!r} is none of {context['expected']}"
    elif kind.startswith(("int", "greater", "less")):
        message, hint = "must be a whole number", f"from 1 to {MOST_CONCURRENCY}"
    elif kind.startswith("bool"):
        message = "must be true or false"
    elif kind == "value_error":
        message = str(context["error"])
    else:
        message = detail["msg"][:1].lower() + detail["msg"][1:]
    return tree.error(message, where, hint=hint)


def _unknown(where: KeyPath) -> tuple[str, str]:
    import difflib

    *above, key = where
    level = tuple(
        "*" if isinstance(step, int) or (number == 1 and above[0] == "registries") else step
        for number, step in enumerate(above)
    )
    model, later = _LEVELS[level]
    if key in later:
        return NOT_YET, "remove it, or wait for a version that has it"
    if model is ImageModel and key in MAPPING_KEYS:
        return "is not a known key", f"it selects tags: write tags: {{{key}: ...}}"
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(key), [*known, *later], 1)
    meant = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
    return "is not a known key", meant


_MISSING = {
    "images": "write images: and below it - source: FROM, destination: TO",
    "source": "write source: host/repository",
    "destination": "write destination: host/repository",
    "path": "write path: FOLDER",
    "address": "write address: host/repository:tag",
    "digest": "write digest: the one that the destination shows",
    "until": "write until: YYYY-MM-DD",
    "because": "write because: the reason, for whoever reads a plan",
    "match": "write match: host/repository, or a glob such as host/team/**",
}
