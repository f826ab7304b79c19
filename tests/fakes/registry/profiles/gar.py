"""Google Artifact Registry: monolithic uploads, Locations of several KB, errors in HTML."""

from __future__ import annotations

from aiohttp import web

from tests.fakes.registry.access import User
from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.server import FakeRegistry

_PAGE = "<!DOCTYPE html><html><title>Error {status}</title><p>{message}</html>"


class Gar(FakeRegistry):
    """REGION-docker.pkg.dev."""

    vendor_host = "europe-docker.pkg.dev"
    scheme = "token"
    user = User("oauth2accesstoken", "Secret-of-Google-1")
    token_path = "/v2/token"
    oauth_status = 404
    # PROJECT/REPOSITORY must exist; any image name below it is free (protocol 3.6).
    namespaces = frozenset({"team/tools"})
    redirect_status = 302
    # "Artifact Registry does not support chunked uploads" (sdk-container-builds#287).
    most_patches = 1
    location_padding = 6 * 1024
    pages_tags = False
    # Mounts are seldom fulfilled (ggcr#1846): the upload session that comes instead is to be used.
    mount_status = 202
    # Tags go first (GoogleCloudPlatform/gcr-cleaner).
    tagged_stay = "GOOGLE_MANIFEST_DANGLING_TAG"
    # So many manifest reads that fail are answered 200 with a page (gardener/cc-utils#1557).
    lying_pages: int = 0

    async def get_tags(self, call: Call, repo: str) -> web.StreamResponse:
        """List what is below a folder, too (go-containerregistry: pkg/v1/google)."""
        self.authorise(call, (repo, "pull"))
        below = [name for name in self.storage.repositories if name.startswith(f"{repo}/")]
        found = self.storage.repositories.get(repo)
        if found is None and not below:
            raise self.unknown_repository(repo)
        document = {
            "name": repo,
            "child": sorted({name[len(repo) + 1 :].partition("/")[0] for name in below}),
            "manifest": {digest: {} for digest in found.manifests} if found else {},
            "tags": sorted(found.tags) if found else [],
        }
        return web.json_response(document)

    async def get_manifest(self, call: Call, repo: str, ref: str) -> web.StreamResponse:
        """Serve a manifest, or for a while a page that says 200 and means an error."""
        if self.lying_pages and call.method == "GET":
            self.lying_pages -= 1
            return web.Response(text=_PAGE.format(status=502, message=""), content_type="text/html")
        return await super().get_manifest(call, repo, ref)

    async def commit_upload(self, call: Call, repo: str, name: str) -> web.StreamResponse:
        """Refuse the empty blob (oras-go#294)."""
        response = await super().commit_upload(call, repo, name)
        digest = call.query.get("digest", "")
        if not self.storage.blobs[digest]:
            self.storage.repository(repo).blobs.discard(digest)
            raise Refusal(400, "BLOB_UPLOAD_INVALID", "the blob is empty")
        return response

    def no_namespace(self, repo: str) -> Refusal:
        """Say that whatever must exist above a repository does not."""
        return Refusal(404, "NAME_UNKNOWN", f'Repository "{repo.split("/")[-1]}" not found')

    def refuse(self, call: Call, refusal: Refusal) -> web.Response:
        """Answer what only the front end knows of in HTML; the registry itself answers JSON."""
        if refusal.status < 500:
            return super().refuse(call, refusal)
        text = _PAGE.format(status=refusal.status, message=refusal)
        return web.Response(status=refusal.status, text=text, content_type="text/html")
