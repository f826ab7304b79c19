"""What is not signed by whom the config names is refused while planning, with the reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.errors import ConfigError, TransientError
from imgmigrate.events import Warned
from imgmigrate.oci.companions import fallback_tag
from imgmigrate.oci.manifest import OCI_MANIFEST, Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.planning.adopting import sort_for_adoption
from tests.fakes.memory import image, index
from tests.support.keyless import IDENTITY, ISSUER, Sigstore
from tests.support.signing import (
    BUNDLE,
    OTHER,
    P256,
    SIMPLE,
    b64,
    bundle,
    message_bundle,
    public_pem,
    sign,
    simple_payload,
    statement,
)
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

API = f"{NEW}/team/api"
REFUSED = ("error", "not_verified")
NAME = "dev.cosignproject.cosign/signature"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two registries with the API, and a gate before all images of the old one."""
    world = World(tmp_path)
    world.old.has_referrers = world.new.has_referrers = True
    (tmp_path / "cosign.pub").write_bytes(public_pem(P256))
    (tmp_path / "other.pub").write_bytes(public_pem(OTHER))
    demand(world)
    return world


def demand(world: World, key: str = "cosign.pub", match: str = f"{OLD}/**", more: str = "") -> None:
    """Write what the config asks for."""
    world.extra = f'verify: [{{match: "{match}", key: {key}}}{more}]\n'


def put(world: World, *layers: tuple[str, dict[str, str], bytes], **fields: Any) -> Manifest:
    """Store a manifest of such layers in the old registry."""
    config = Digest.of(b"{}")
    world.old.blobs["team/api", config] = b"{}"
    for _, _, data in layers:
        world.old.blobs["team/api", Digest.of(data)] = data
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [
            {
                "mediaType": kind,
                "digest": Digest.of(data),
                "size": len(data),
                "annotations": annotations,
            }
            for kind, annotations, data in layers
        ],
        **fields,
    }
    manifest = Manifest.parse(json.dumps(document).encode())
    world.old.manifests["team/api", manifest.digest] = manifest
    return manifest


def by_tag(world: World, digest: Digest, *keys: Any, payload: bytes | None = None) -> str:
    """Sign as cosign 2 does, with each of the keys."""
    said = payload or simple_payload(digest)
    tag = f"{fallback_tag(digest)}.sig"
    layers = [(SIMPLE, {NAME: b64(sign(said, key))}, said) for key in keys or (P256,)]
    world.old.tags["team/api", tag] = put(world, *layers).digest
    return tag


def by_bundle(world: World, digest: Digest, raw: bytes | None = None, key: Any = P256) -> Digest:
    """Sign as cosign 3 does."""
    data = raw if raw is not None else bundle(statement(digest), key)
    subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1}
    return put(world, (BUNDLE, {}, data), artifactType=BUNDLE, subject=subject).digest


async def refusal(world: World, **options: Any) -> str:
    """The reason why the one row is refused; empty if it is not."""
    [change] = (await world.plan(**options)).changes
    if change.action.value != "error":
        return ""
    assert change.reason.value == "not_verified"
    assert change.referrers is None, "what is refused brings nothing along"
    return change.detail or ""


@pytest.mark.parametrize("way", ["tag", "bundle", "manifest"])
async def test_one_valid_signature_suffices(world: World, way: str) -> None:
    """By whichever scheme, and whatever else is there; its row is as without a gate."""
    digest = world.seed("1")
    by_bundle(world, digest, key=OTHER)
    by_bundle(world, digest, b"{}")
    if way == "tag":
        by_tag(world, digest, OTHER, P256)
    elif way == "bundle":
        by_bundle(world, digest)
    else:
        by_bundle(world, digest, message_bundle(world.old.manifests["team/api", digest].raw))
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1": ("copy", "new")}
    [change] = plan.changes
    assert len(change.referrers or ()) == 3
    await world.apply(plan)
    assert rows(await world.plan()) == {}


class TestRefusals:
    """Each says why; the others go."""

    async def test_nothing_is_signed(self, world: World) -> None:
        """What is signed goes, what is not is told with the key that is needed."""
        by_tag(world, world.seed("1"))
        world.seed("2")
        plan = await world.plan()
        assert rows(plan) == {f"{API}:1": ("copy", "new"), f"{API}:2": REFUSED}
        detail = plan.changes[1].detail or ""
        assert "it has no signature; needed is one by cosign.pub" in detail
        assert detail.startswith(f"source {OLD}/team/api:2@")

    async def test_by_another_key(self, world: World) -> None:
        """However many."""
        digest = world.seed("1")
        by_tag(world, digest, OTHER)
        by_bundle(world, digest, key=OTHER)
        assert "its 2 signatures were made by another key" in await refusal(world)

    async def test_for_another_image(self, world: World) -> None:
        """A signature of yesterday's image under today's tag."""
        digest, other = world.seed("1"), Digest.of(b"other")
        by_tag(world, digest, payload=simple_payload(other))
        assert f"was made for another image ({other})" in await refusal(world)

    async def test_an_attestation_is_no_signature(self, world: World) -> None:
        """Also one by the very key."""
        digest = world.seed("1")
        said = statement(digest, predicateType="https://spdx.dev/Document")
        by_bundle(world, digest, bundle(said))
        assert "it states something about the image" in await refusal(world)

    async def test_a_flipped_byte(self, world: World) -> None:
        """In what the store serves: its digest tells."""
        digest = world.seed("1")
        said = simple_payload(digest)
        by_tag(world, digest)
        world.old.blobs["team/api", Digest.of(said)] = said[:-1] + b"]"
        assert "do not match its digest" in await refusal(world)

    async def test_what_is_listed_and_not_there(self, world: World) -> None:
        """It proves nothing."""
        digest = world.seed("1")
        by_tag(world, digest)
        del world.old.blobs["team/api", Digest.of(simple_payload(digest))]
        assert "not to be read" in await refusal(world)

    async def test_a_list_that_cannot_be_had(self, world: World) -> None:
        """Nobody can tell is never yes, and never no signature."""
        by_tag(world, world.seed("1"))

        def down(repo: str, what: str) -> None:
            raise TransientError(f"{OLD}/{repo}", "unavailable (503)")

        world.old.hooks["referrers"] = down
        assert "nobody can tell whether it is signed" in await refusal(world)

    @pytest.mark.parametrize("what", ["manifest", "open_blob"])
    async def test_a_signature_that_cannot_be_had(self, world: World, what: str) -> None:
        """A registry that is busy while one is read has not said that the image is not signed."""
        digest = world.seed("1")
        tag = by_tag(world, digest)
        by_bundle(world, digest, key=OTHER)
        held = world.old.tags["team/api", tag]
        signed = {str(held), str(Digest.of(simple_payload(digest)))}

        def down(repo: str, what: str) -> None:
            if what.partition("+")[0] in signed:
                raise TransientError(f"{OLD}/{repo}", "unavailable (503)")

        world.old.hooks[what] = down
        said = await refusal(world)
        assert "nobody can tell whether it is signed" in said
        assert "unavailable (503)" in said
        by_bundle(world, digest)
        assert not await refusal(world), "another one that holds is enough"

    async def test_what_was_signed_for_another_purpose(self, world: World) -> None:
        """What cosign signs is public: served as a manifest, with a bundle, it is no image."""
        said = simple_payload(Digest.of(b"whatever"))
        manifest = Manifest.parse(said, OCI_MANIFEST)
        world.old.manifests["team/api", manifest.digest] = manifest
        world.old.tags["team/api", "1"] = manifest.digest
        by_bundle(world, manifest.digest, message_bundle(said))
        assert "what it signs is no image" in await refusal(world)

    async def test_what_is_not_checked(self, world: World) -> None:
        """A signature of a scheme that is not known here."""
        digest = world.seed("1")
        kind = "application/vnd.cncf.notary.signature"
        subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1}
        put(world, ("application/jose+json", {}, b"{}"), artifactType=kind, subject=subject)
        assert "application/jose+json is not checked" in await refusal(world)

    async def test_more_than_any_image_has(self, world: World) -> None:
        """A thousand signatures cost no thousand requests."""
        digest = world.seed("1")
        by_tag(world, digest, *([OTHER] * 120))
        world.old.calls.clear()
        assert "more than 100" in await refusal(world)
        assert world.old.calls["open_blob"] <= 100

    async def test_junk_hides_no_signature(self, world: World) -> None:
        """Whatever is listed first, the one that holds is found."""
        digest = world.seed("1")
        kind = "application/vnd.cncf.notary.signature"
        subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1}
        jose: dict[str, str] = {}
        junk = [("application/jose+json", jose, b"%d" % number) for number in range(150)]
        put(world, *junk, artifactType=kind, subject=subject)
        by_tag(world, digest, *([OTHER] * 120))
        by_bundle(world, digest)
        assert not await refusal(world)

    async def test_a_reason_fits_a_line(self, world: World) -> None:
        """A hundred flaws, each as long as a server likes, are no book."""
        digest = world.seed("1")
        for number in range(50):
            by_bundle(world, digest, b'{"mediaType": "%s %d"}' % (b"x" * 5000, number))
        assert len(await refusal(world)) < 1500

    async def test_a_signature_longer_than_any(self, world: World) -> None:
        """It is not even read."""
        digest = world.seed("1")
        by_bundle(world, digest, b" " * (1024 * 1024 + 1))
        world.old.calls.clear()
        assert "more than 1048576 bytes" in await refusal(world)
        assert world.old.calls["open_blob"] == 0


async def test_each_entry_that_is_about_an_image_has_to_be_satisfied(world: World) -> None:
    """Of several keys of one entry one suffices; an entry about others asks nothing."""
    digest = world.seed("1")
    by_tag(world, digest)
    demand(world, key="[other.pub, cosign.pub]")
    assert await refusal(world) == ""
    demand(world, more=f', {{match: "{OLD}/team/api", key: other.pub}}')
    assert "needed is one by other.pub" in await refusal(world)
    demand(world, more=f', {{match: "{OLD}/team/web", key: other.pub}}')
    assert await refusal(world) == ""


async def test_an_entry_that_is_about_no_image_is_told(world: World) -> None:
    """It may be misspelt; a plan of a part of the images cannot know."""
    by_tag(world, world.seed("1"))
    demand(world, more=f', {{match: "{OLD}/taem/**", key: other.pub}}')
    await world.plan()
    [warned] = [each for each in world.sink.events if isinstance(each, Warned)]
    assert warned.code == "nothing_verified"
    assert f"{OLD}/taem/**" in warned.message
    world.sink.events.clear()
    await world.plan(target=("**:1",))
    assert not [each for each in world.sink.events if isinstance(each, Warned)]


async def test_the_image_at_the_source_is_what_has_to_be_signed(world: World) -> None:
    """Whatever platforms are chosen: what is signed as a whole is signed, a part alone is not."""
    parts = []
    for seed in (b"a", b"b"):
        manifest, blobs = image(seed)
        world.old.manifests["team/api", manifest.digest] = manifest
        world.old.blobs |= {("team/api", digest): data for digest, data in blobs.items()}
        parts.append(manifest)
    document = json.loads(index(*parts).raw)
    for entry, architecture in zip(document["manifests"], ("amd64", "arm64"), strict=True):
        entry["platform"] = {"os": "linux", "architecture": architecture}
    whole = Manifest.parse(json.dumps(document).encode())
    world.old.seed("team/api", "1", whole, {})
    source = f"source: '{OLD}/team/api:1', destination: {NEW}/team/api"
    world.rules = f"- {{{source}, platforms: [linux/amd64]}}"
    by_bundle(world, parts[0].digest)
    assert "no signature" in await refusal(world)
    by_bundle(world, whole.digest)
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1": ("copy", "new")}
    assert plan.changes[0].after != whole.digest


class TestWhatIsRecorded:
    """A gate that is added later is about what is written or taken over from then on."""

    async def test_it_stays_and_costs_nothing(self, world: World) -> None:
        """Until its source moves; then it has to be signed, and what is there stays."""
        gate, world.extra = world.extra, ""
        first = world.seed("1")
        await world.migrate()
        world.extra = gate
        world.old.calls.clear()
        assert rows(await world.plan()) == {}
        assert world.old.calls["referrers"] == 0
        moved = world.seed("1", b"moved")
        assert rows(await world.plan()) == {f"{API}:1": REFUSED}
        assert rows(await world.plan(replace=("**",))) == {f"{API}:1": REFUSED}
        by_tag(world, moved)
        await world.migrate()
        assert world.new.tags["team/api", "1"] == moved != first

    async def test_what_is_there_already_is_not_taken_over(self, world: World) -> None:
        """An image that somebody else copied is no more trusted."""
        manifest, blobs = image(b"1")
        world.old.seed("team/api", "1", manifest, blobs)
        world.new.seed("team/api", "1", manifest, blobs)
        assert rows(await world.plan()) == {f"{API}:1": REFUSED}
        by_tag(world, manifest.digest)
        assert rows(await world.plan()) == {f"{API}:1": ("adopt", "already_there")}

    async def test_what_is_written_again_is_asked_for_again(self, world: World) -> None:
        """Lost at the destination, or replaced: it is read anew, and has to be signed."""
        gate, world.extra = world.extra, ""
        world.seed("1")
        await world.migrate()
        world.extra = gate
        assert rows(await world.plan(replace=("**",))) == {f"{API}:1": REFUSED}
        del world.new.tags["team/api", "1"]
        assert rows(await world.plan()) == {f"{API}:1": REFUSED}


async def test_an_image_is_asked_for_once_whatever_number_of_rows_it_has(world: World) -> None:
    """Three tags of one digest: its signature is read once."""
    digest = world.seed("1")
    for tag in ("2", "3"):
        world.old.tags["team/api", tag] = digest
    by_tag(world, digest)
    world.rules = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api, referrers: none,"
    world.rules += " tags: ['1', '2', '3']}"
    world.old.calls.clear()
    assert len((await world.plan()).changes) == 3
    assert world.old.calls["referrers"] == 1
    assert world.old.calls["open_blob"] == 1


async def test_who_checks_and_who_takes_along_share_one_answer(world: World) -> None:
    """One list of an image's referrers costs one request, whatever number of rules reads it."""
    digest = world.seed("1")
    by_tag(world, digest)
    rule = f"- {{source: {OLD}/team/api, destination: {NEW}/team"
    world.rules = f"{rule}/api, referrers: all}}\n{rule}/copy, referrers: signature}}"
    world.old.calls.clear()
    assert len((await world.plan()).changes) == 2
    asked = [what for verb, _, what in world.old.log if verb == "referrers"]
    assert len(asked) == len(set(asked)) == 2, "the image, and what signs it"


async def test_who_signs_without_a_key_is_named_with_his_issuer(world: World) -> None:
    """By a trusted root of one's own; an entry is satisfied by that signature alone."""
    sigstore, digest = Sigstore(), world.seed("1")
    (world.folder / "root.json").write_bytes(sigstore.trusted_root())
    who = f'identity: "{IDENTITY}", issuer: "{ISSUER}", trusted_root: root.json'
    world.extra = f'verify: [{{match: "{OLD}/**", {who}}}]\n'
    by_tag(world, digest)
    refused = await refusal(world)
    assert "its signature was made with a key" in refused
    assert f"needed is one by {IDENTITY} ({ISSUER})" in refused
    by_bundle(world, digest, sigstore.bundle(statement(digest)))
    assert await refusal(world) == ""
    (world.folder / "root.json").write_bytes(b"{}")
    with pytest.raises(ConfigError, match="no trusted root") as caught:
        await world.plan()
    assert caught.value.key == "verify[0].trusted_root"


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "not one public key"), (b"x" * 70_000, "more than 65536 bytes")],
)
async def test_a_key_that_cannot_be_used_is_an_error_of_the_config(
    world: World, data: bytes, why: str
) -> None:
    """With its place, before anything is asked."""
    demand(world, key="nowhere.pub")
    with pytest.raises(ConfigError, match="there is no such file"):
        await world.plan()
    demand(world)
    (world.folder / "cosign.pub").write_bytes(data)
    world.old.calls.clear()
    with pytest.raises(ConfigError, match=why) as caught:
        await world.plan()
    assert (caught.value.line, caught.value.key) == (4, "verify[0].key")
    assert not world.old.calls


async def test_a_missing_library_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has not installed the extra learns which it is."""
    monkeypatch.setitem(__import__("sys").modules, "cryptography.exceptions", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        await world.plan()
    assert caught.value.hint == "pip install 'imgmigrate[verify]'"


async def test_what_moved_on_both_sides_is_recorded_only_if_it_is_signed(world: World) -> None:
    """A refresh takes over as an adoption does."""
    by_tag(world, world.seed("1"))
    await world.migrate()
    evil, blobs = image(b"evil")
    for side in (world.old, world.new):
        side.seed("team/api", "1", evil, blobs)
    assert rows(await world.plan(refresh_only=True)) == {f"{API}:1": REFUSED}
    by_tag(world, evil.digest)
    assert rows(await world.plan(refresh_only=True)) == {f"{API}:1": ("adopt", "already_there")}


async def test_nobody_takes_over_by_force_what_was_at_no_source(world: World) -> None:
    """Who signed it cannot be told: it is an error, and nothing is recorded."""
    world.seed("1")
    evil, blobs = image(b"evil")
    world.new.seed("team/api", "1", evil, blobs)
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1": ("conflict", "foreign")}
    rule, base = world.config.signatures[0], world.config.base
    found = sort_for_adoption(
        plan, take_ownership=True, is_gated=lambda source: rule.concerns(source, base)
    )
    assert (found.has_work, rows(found.plan)) == (False, {f"{API}:1": REFUSED})
    assert sort_for_adoption(plan, take_ownership=True).has_work
