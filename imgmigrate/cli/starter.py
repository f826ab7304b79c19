"""The config that `imgmigrate init` writes: valid as it stands, and a tour of what there is."""

import json

__all__ = ["SCHEMA", "STARTER", "starter"]

# Beside the config; `imgmigrate schema config` prints it.
SCHEMA = "imgmigrate.schema.json"

STARTER = """\
# yaml-language-server: $schema=imgmigrate.schema.json
# `imgmigrate schema config` prints that schema anew, after an upgrade.
# What should exist where. `imgmigrate plan --out plan.out` reads both sides and writes what
# would change; `imgmigrate apply plan.out` carries out exactly that.
# Quote values that hold any of : * { } [ ] # & ! | > @
version: 1

# Where the record of what was migrated lives; relative to this file, like every path here.
# state:
#   path: state/imgmigrate

# Only registries that need settings. The key is host[:port] or host[:port]/path, the longest
# match wins. Without username and password the credentials of docker and podman are used.
registries:
  "registry.example.com":
    # Variables are read when the registry is first used, so `imgmigrate validate` needs none.
    # ${NAME:-default} has a default, $${ is a literal ${, any other $ is literal.
    username: "${REGISTRY_USERNAME}"
    password: "${REGISTRY_PASSWORD}"
    # Or a command that prints {"username": ..., "password": ..., "expires_in": ...} or
    # user:password; it is asked again before that ends.
    # credential_command: [my-login, registry.example.com]
    # concurrency: 16            # blob streams at once, reads and writes each
    # rate_limit: 50             # requests per second
    # bandwidth: 200MiB/s        # reads and writes each
    # proxy: "http://proxy.example.com:3128"
    # tls:
    #   ca_file: corp-ca.pem
    #   client_cert: client.pem
    #   client_key: client.key
    #   verify: true
  # "localhost:5000":
  #   plain_http: true
  #   # or: find out whether it speaks TLS, and take any certificate
  #   # insecure: true

# Which tags at a destination may be replaced when they differ:
# owned (only what imgmigrate wrote), equivalent (also an index that lists the same children),
# always, never. A rule may say otherwise for itself.
# platforms: which of an image to copy, by default all. An index that is cut to some of its
# platforms gets another digest, unless the registry takes it as it is (index: keep).
defaults:
  overwrite: owned
  # platforms: [linux/amd64, linux/arm64]

# Nothing is deleted but by plan --allow-delete, and then only what imgmigrate wrote and nobody
# has changed since.
# protect: ["registry.example.com/mirror/base:**"]   # never these, also without this line later
# max_delete: 5%                             # of all recorded images; more, and none is deleted
# keep_previous: "{tag}-before-{date}"       # what is replaced or deleted gets this tag first
# keep_previous_for: 30d                     # after that --allow-delete takes such a tag
# moved:                                     # renamed within a registry, without a transfer
#   - {from: "registry.example.com/mirror/old", to: "registry.example.com/mirror/new"}
# max_plan_age: 24h                          # apply begins no older plan

# More files of images:, relative to this one.
# include: ["teams/*.yaml"]

images:
  # Some tags, each exactly.
  - source: "docker.io/library/alpine"
    destination: "registry.example.com/mirror/alpine"
    tags: [3.20, 3.21]

  # Tags by glob, or by a regex between slashes; to several destinations.
  # oci:PATH is a folder in the standard's image layout, and may be a source as well.
  - source: "quay.io/coreos/kube-rbac-proxy"
    destination:
      - "registry.example.com/mirror/kube-rbac-proxy"
      - "oci:./bundle/kube-rbac-proxy"
    tags: ["v0.14.*", '/^v0\\.15\\.[0-9]+$/']

  # Tags by what they are: the ten newest releases of 0.14 and later, and an error if there are
  # fewer than three. newest counts by: semver (as here), name or created; created_after takes a
  # date or a duration such as 90d; any: [...] unites several such mappings.
  # `imgmigrate plan --explain RULE` tells which tags drop out, and why.
  # - source: "quay.io/team/app"
  #   destination: "registry.example.com/team/app"
  #   tags: {include: ["v*"], exclude: ["*-debug"], semver: ">=0.14", newest: 10, min: 3}

  # Without tags, every tag of the repository:
  # - source: "quay.io/team/app"
  #   destination: "registry.example.com/team/app"

  # Many repositories by one rule: * and ? stay inside one segment of a name, ** crosses them.
  # Placeholders say where each goes: {registry} {repository} {match} {namespace} {name} {tag}
  # {digest}. flatten joins the segments of a name, rename gives tags other names.
  # - source: "registry.old.example/team/**"
  #   exclude_repositories: ["registry.old.example/team/tmp-*"]
  #   destination: "registry.example.com/mirror/{match}"
  #   flatten: "-"
  #   rename: {latest: stable, '/^v([0-9])/': '\\1'}

  # Tags behind the repository, renamed at the destination by position:
  # - source: "docker.io/library/nginx:1.27,1.27-alpine"
  #   destination: "registry.example.com/mirror/nginx:stable,stable-alpine"
  #   overwrite: always
"""

_REGISTRIES = "registries:\n"
_DEFAULTS = "# Which tags at a destination may"
_IMAGES = "\nimages:\n"


def starter(source: str | None = None, destinations: tuple[str, ...] = ()) -> str:
    """Give the tour, or one that is about an image of these ends: what else lives is a comment."""
    if source is None:
        return STARTER
    head, _, rest = STARTER.partition(_REGISTRIES)
    registries, _, rest = rest.partition(_DEFAULTS)
    defaults, _, examples = rest.partition(_IMAGES)
    ends = [json.dumps(each, ensure_ascii=False) for each in (source, *destinations)]
    there = ends[1] if len(ends) == 2 else f"[{', '.join(ends[1:])}]"
    rule = f"  - source: {ends[0]}\n    destination: {there}\n\n"
    others = "".join(
        line if line.startswith("  #") else _commented(line, indent="  ")
        for line in examples.splitlines(keepends=True)
    )
    settings = _commented(_REGISTRIES + registries)
    return "".join((head, settings, _DEFAULTS, defaults, _IMAGES, rule, others))


def _commented(text: str, indent: str = "") -> str:
    """Make a comment of every line that is not empty."""
    lines = text.splitlines(keepends=True)
    return "".join(f"{indent}# {line[len(indent) :]}" if line.strip() else line for line in lines)
