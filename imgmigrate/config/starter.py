"""The config that `imgmigrate init` writes: valid as it stands, and a tour of what there is."""

__all__ = ["STARTER"]

STARTER = """\
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
    # tls:
    #   ca_file: corp-ca.pem
    #   client_cert: client.pem
    #   client_key: client.key
    #   verify: true
  # "localhost:5000":
  #   plain_http: true

# Which tags at a destination may be replaced when they differ:
# owned (only what imgmigrate wrote), equivalent (also an index that lists the same children),
# always, never. A rule may say otherwise for itself.
defaults:
  overwrite: owned

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

  # Without tags, every tag of the repository:
  # - source: "quay.io/team/app"
  #   destination: "registry.example.com/team/app"

  # Tags behind the repository, renamed at the destination by position:
  # - source: "docker.io/library/nginx:1.27,1.27-alpine"
  #   destination: "registry.example.com/mirror/nginx:stable,stable-alpine"
  #   overwrite: always
"""
