#!/bin/sh
# Run the quick start from nothing: sample images, plan, apply, and a plan with nothing to do.
# usage: run.sh BIN   where BIN is the folder that holds python and imgmigrate
set -eu
bin=$(cd "${1:?usage: run.sh BIN}" && pwd)
cd "$(dirname "$0")"
PATH="$bin:$PATH"

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }

rm -rf images bundle state plan.out
python make_images.py

say imgmigrate plan --out plan.out
imgmigrate plan --out plan.out

say imgmigrate apply plan.out
imgmigrate apply plan.out

say imgmigrate plan --detailed-exitcode
imgmigrate plan --detailed-exitcode

if command -v skopeo >/dev/null; then
    say skopeo inspect oci:bundle/api:v2
    skopeo inspect oci:bundle/api:v2
fi
printf '\nThe images are in %s/bundle: standard OCI layouts.\n' "$PWD"
