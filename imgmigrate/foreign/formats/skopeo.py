"""Read the YAML file of `skopeo sync --src yaml`, as far as ours can say it. Pure.

Where images go is not in that file but on skopeo's command line, and so it is on ours. The rules
are those of its manual (skopeo-sync(1)) and of `cmd/skopeo/sync.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from imgmigrate.foreign.document import Document, Entry, Remark
from imgmigrate.foreign.reading.dollars import as_literal, as_template, envsubst, has_variable
from imgmigrate.foreign.reading.ranges import Dialect, Wanted, filters_of, translate
from imgmigrate.foreign.reading.values import boolean, mapping, merged, refuse_unknown, text, texts
from imgmigrate.oci.reference import parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.config.reading.tree import KeyPath, Tree
    from imgmigrate.foreign.formats import Given

__all__ = ["read", "read_skopeo"]

_IMAGES, _REGEX, _SEMVER = "images", "images-by-tag-regex", "images-by-semver"
_KEYS = (_IMAGES, _REGEX, _SEMVER, "credentials", "tls-verify", "cert-dir")
_LOGIN = ("username", "password")
ONE_PLATFORM = (
    "skopeo sync without --all copies one platform of an image; here every one is copied, "
    "unless platforms says which"
)
CERTIFICATES = (
    "cert-dir has no equivalent here: name its *.crt in tls.ca_file, its *.cert in "
    "tls.client_cert and its *.key in tls.client_key"
)
ENVSUBST = envsubst("skopeo")
HALF = "give both username and password, or neither"
ALL = "it names no tags, so all are copied"
CLOSE = (
    "skopeo before 1.20 takes pre-releases only where every comparison of a range names one; here "
    "one is enough, as in later ones"
)


class _Chosen(NamedTuple):
    """A source, and what is selected of it: None for all tags, or for its digest."""

    source: str
    tags: Any = None
    remarks: tuple[str, ...] = ()


def read(given: Given) -> Document:
    """Read what `skopeo sync --src yaml` reads; `to` is where its images go."""
    document = read_skopeo(given.tree(), given.to or "", scoped=given.scoped, suffix=given.suffix)
    if not given.all_platforms:
        document.remarks.append(ONE_PLATFORM)
    return document


def read_skopeo(tree: Tree, to: str, *, scoped: bool = False, suffix: str = "") -> Document:
    """Read a whole file, for images that go below `to`.

    `scoped` keeps their whole names, as skopeo's option of that name, and `suffix` is appended
    to every tag, as its option append-suffix.
    """
    return _Reader(tree, to.removeprefix("docker://").rstrip("/"), scoped, suffix).read()


class _Reader:
    """Translates one file."""

    def __init__(self, tree: Tree, to: str, scoped: bool, suffix: str) -> None:
        self.tree, self.to, self.scoped = tree, to, scoped
        self.tag = f":{{tag}}{as_literal(suffix)}" if suffix else ""
        # Which source went to a place first, and in which line.
        self.places: dict[str, tuple[str, int]] = {}

    def read(self) -> Document:
        document = Document(self.tree.file, defaults={"overwrite": "always"})
        hint = "this is not a file of skopeo sync: a registry's entry holds images"
        for host, value in merged(self.tree).items():
            settings = mapping(self.tree, (host,), value, hint)
            refuse_unknown(self.tree, (host,), settings, _KEYS)
            document.registries += self._registries(host, settings)
            if not any(settings.get(kind) for kind in (_IMAGES, _REGEX, _SEMVER)):
                reason = f"{host} names no images, so nothing of it is copied"
                document.remarks.append(Remark(self.tree.line((host,)), reason))
            for kind in (_IMAGES, _REGEX, _SEMVER):
                path: KeyPath = (host, kind)
                found = mapping(self.tree, path, settings.get(kind))
                for repo, wanted in found.items():
                    document.images += self._images((*path, repo), host, kind, repo, wanted)
        return document

    def _images(
        self, path: KeyPath, host: str, kind: str, repo: str, wanted: Any
    ) -> Iterator[Entry]:
        name, line = as_template(f"{host}/{repo}"), self.tree.line(path)
        source = self._source(name, repo, path)
        destination = f"{self.to}/{self._below(source, path)}"
        first, first_line = self.places.setdefault(destination, (source, line))
        clash = [ENVSUBST] if self._is_open(host, repo, wanted) else []
        if first != source:
            clash.append(
                f"it goes where {first} goes too (line {first_line}), and skopeo lets the last "
                "one win; here a tag of both is an error: convert with `scoped`, or change one"
            )
        for each in _chosen(self.tree, path, kind, name, wanted):
            is_digest = each.tags is None and "@" in each.source
            rule = {"destination": destination + ("" if is_digest else self.tag)}
            if each.tags is not None:
                rule["tags"] = each.tags
            yield Entry(each.source, rule, path, line, (*clash, *each.remarks))

    @staticmethod
    def _is_open(host: str, repo: str, wanted: Any) -> bool:
        """Tell whether envsubst is to fill something in; in a regex a dollar is its end."""
        return has_variable(f"{host}/{repo}") or has_variable(str(wanted), braced=True)

    def _source(self, name: str, repo: str, path: KeyPath) -> str:
        """The whole name of a repository; one that envsubst is to fill in stays as it is."""
        if has_variable(name):
            return name
        try:
            source = parse_endpoint(name)
        except ValueError as error:
            raise self.tree.error(str(error), path) from None
        if source.tag is not None or source.digest is not None:
            hint = "list what is wanted of it: " + repo.partition(":")[0] + ": [TAG]"
            raise self.tree.error("names a tag or a digest", path, hint=hint)
        return str(source.repository)

    def _below(self, source: str, path: KeyPath) -> str:
        """The last part of a name, or all of it with its registry."""
        host, _, name = source.partition("/")
        if not self.scoped:
            return name.rpartition("/")[2]
        if ":" in host and not has_variable(host):
            message = f"{host} cannot be a part of a repository's name, for its colon"
            raise self.tree.error(message, path, hint="convert without `scoped`")
        return source

    def _registries(self, host: str, settings: dict[str, Any]) -> Iterator[Entry]:
        tree, line = self.tree, self.tree.line((host,))
        found: dict[str, Any] = {}
        remarks = []
        login = mapping(tree, (host, "credentials"), settings.get("credentials"))
        refuse_unknown(tree, (host, "credentials"), login, (*_LOGIN, "identitytoken"))
        for key, value in login.items():
            if key in _LOGIN and value:
                found[key] = as_literal(text(tree, (host, "credentials", key), value))
            elif value:
                remarks.append(f"credentials.{key} has no equivalent here: use credential_command")
        if len(found) == 1:
            remarks.append(HALF)
            found.clear()
        if settings.get("cert-dir"):
            remarks.append(CERTIFICATES)
        verify = settings.get("tls-verify")
        if verify is not None and not boolean(tree, (host, "tls-verify"), verify):
            # skopeo also tries plain HTTP then. A connection belongs to the whole host.
            bare = host.partition("/")[0]
            if bare != host:
                yield Entry(as_template(bare), {"insecure": True}, (host,), line)
            else:
                found["insecure"] = True
        if found or remarks:
            yield Entry(as_template(host), found, (host,), line, tuple(remarks))


def _chosen(tree: Tree, path: KeyPath, kind: str, name: str, wanted: Any) -> Iterator[_Chosen]:
    if kind == _REGEX:
        regex = text(tree, path, wanted)
        tags = [f"/{as_template(regex, ())}/"] if regex else None
        yield _Chosen(name, tags, () if regex else (ALL,))
    elif kind == _SEMVER:
        if not wanted:
            hint = "write one, or put it below images to copy all of its tags"
            raise tree.error("names no range", path, hint=hint)
        try:
            sides = translate(text(tree, path, wanted), Dialect.SKOPEO)
        except ValueError as error:
            raise tree.error(str(error), path) from None
        remarks = (CLOSE,) if any(each.is_close for each in sides) else ()
        yield _Chosen(name, _selection(sides), remarks)
    else:
        written = texts(tree, path, wanted, "write a list of tags; [] is all of them")
        references = [as_template(each) for each in written]
        tags = [each for each in references if ":" not in each or has_variable(each)]
        yield from (_Chosen(f"{name}@{each}") for each in references if each not in tags)
        if tags or not references:
            yield _Chosen(name, tags or None, (ALL,) if wanted is None else ())


def _selection(sides: list[Wanted]) -> dict[str, Any]:
    filters = filters_of(sides)
    return filters[0] if len(filters) == 1 else {"any": filters}
