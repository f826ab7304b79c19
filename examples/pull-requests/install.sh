#!/bin/sh
# Put imgmigrate on PATH, unless the runner's image has it.
set -eu
if command -v imgmigrate >/dev/null; then
    exec imgmigrate --version
fi
venv=${RUNNER_TEMP:-/opt}/imgmigrate-venv
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check \
    "${IMGMIGRATE_PACKAGE:?name what pip shall install, one version or commit of it}"
if [ -n "${GITHUB_PATH:-}" ]; then
    echo "$venv/bin" >>"$GITHUB_PATH"
else
    ln -sf "$venv/bin/imgmigrate" /usr/local/bin/imgmigrate
fi
exec "$venv/bin/imgmigrate" --version
