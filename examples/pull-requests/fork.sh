#!/bin/sh
# Plan a stranger's pull request, which may neither write nor know any secret.
# usage: fork.sh BASE HEAD   the checkout of the branch that is merged into, and the stranger's
#
# All that runs is of BASE, and so are the trusted file and the state; HEAD gives the config alone.
set -eu
. "$(dirname "$0")/common.sh"
base=${1:?usage: fork.sh BASE HEAD}
head=${2:?usage: fork.sh BASE HEAD}

# With a state elsewhere than on a branch this job cannot read it: let a trusted job export it, and take
# that file (IMGMIGRATE_STATE_FILE).
state=${IMGMIGRATE_STATE_FILE:-$work/state.jsonl}
if [ ! -s "$state" ]; then
    run state export --config "$base/$config" --out "$state"
    # 64: there is no state yet. Then what differs is shown as unknown.
    [ "$code" -eq 0 ] || [ "$code" -eq 64 ] || exit "$code"
fi
set -- plan --config "$head/$config" --untrusted \
    --trusted "$base/${IMGMIGRATE_TRUSTED:-imgmigrate.trusted.yaml}" \
    --out "$work/plan.out" --detailed-exitcode
[ ! -s "$state" ] || set -- "$@" --state-file "$state"
set -f
# shellcheck disable=SC2086
run "$@" ${IMGMIGRATE_PLAN_OPTIONS:-}
set +f

# This job may write no comment: the summary and the artifact show it.
if [ -s "$work/plan.out" ]; then
    imgmigrate show "$work/plan.out" --format markdown >"$work/comment.md"
    [ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$work/comment.md" >>"$GITHUB_STEP_SUMMARY"
    rm -f imgmigrate-comment.md
    cp "$work/comment.md" imgmigrate-comment.md
fi
[ "$code" -ne 2 ] || code=0
exit "$code"
