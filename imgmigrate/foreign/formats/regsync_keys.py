"""regsync's keys that have no equivalent here, and what to do instead of each. Pure data.

They are those of `ConfigSync`, `ConfigDefaults` (cmd/regsync/root/config.go) and `Host`
(config/host.go) in regclient's source.
"""

from __future__ import annotations

__all__ = ["CREDS", "GENERAL", "MEDIA_TYPES", "SHARED"]

# What regsync copies where mediaTypes says nothing.
MEDIA_TYPES = frozenset(
    f"application/vnd.{each}"
    for each in (
        "docker.distribution.manifest.v2+json",
        "docker.distribution.manifest.list.v2+json",
        "oci.image.manifest.v1+json",
        "oci.image.index.v1+json",
    )
)
_REFERRERS = "signatures and the like go along with each image; referrers says which"
# What to do instead, for keys that have no equivalent.
SHARED = {
    "backup": "keep_previous gives what is replaced or deleted a tag of its own",
    "interval": "run imgmigrate from cron or CI",
    "schedule": "run imgmigrate from cron or CI",
    "ratelimit": "registries' own limits are minded; rate_limit sets requests per second",
    "mediaTypes": "images of every kind are copied",
    "digestTags": _REFERRERS,
    "referrers": _REFERRERS,
    "referrerFilters": _REFERRERS,
    "referrerSource": _REFERRERS,
    "referrerTarget": _REFERRERS,
    "referrerSlow": _REFERRERS,
    # What is there already is skipped anyhow.
    "fastCheck": "",
    "fastCopy": "",
    "forceRecursive": "plan `replace` copies anew what is there already",
    "includeExternal": "it is left out",
    "hooks": "run commands before and after imgmigrate",
}
GENERAL = {
    "parallel": "use plan and apply `parallelism`",
    "skipDockerConfig": "docker's config is used where a registry has no credentials here",
    "blobLimit": "it is left out",
    "cacheCount": "manifests are cached in the state's folder",
    "cacheTime": "manifests are cached in the state's folder",
    "userAgent": "it is left out",
}
CREDS = {
    "hostname": "the name above is asked itself: write the host's own into it and into images",
    "credHelper": "docker's own config names the helper (credHelpers), or use credential_command",
    "credExpire": "credential_command is asked again before a login ends",
    "credHost": "it is left out",
    "token": "use credential_command",
    "regcert": "save it as a file and name it in tls.ca_file",
    "clientcert": "save it as a file and name it in tls.client_cert",
    "clientkey": "save it as a file and name it in tls.client_key",
    "pathPrefix": "write it into the names of the images",
    "mirrors": "images are read from the registry that they name",
    "priority": "images are read from the registry that they name",
    "api": "it is left out",
    "apiOpts": "it is left out",
    "blobChunk": "blobs are sent in pieces of a size that suits the registry",
    "blobMax": "blobs are sent in pieces of a size that suits the registry",
    "scheme": "write plain_http: true for http",
    "dns": "the name above is asked itself",
    # Tokens are asked for by repository anyhow.
    "repoAuth": "",
}
