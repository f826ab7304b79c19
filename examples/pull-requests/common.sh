# What the scripts beside it share; they read it with `.` and run under `set -eu`.

here=$(dirname "$0")
config=${IMGMIGRATE_CONFIG:-imgmigrate.yaml}
work=$(mktemp -d "${RUNNER_TEMP:-${TMPDIR:-/tmp}}/imgmigrate.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The forge; GitLab's jobs know that they are. -B: no bytecode is left in the checkout.
kind=github
[ -z "${GITLAB_CI:-}" ] || kind=gitlab
forge() { python3 -B "$here/$kind.py" "$@"; }

# Run imgmigrate and set `code`. A shell passes no signal on by itself: without the trap a job that is
# cancelled would be killed before its run has come to a clean end, which takes five seconds at most.
run() {
    code=0
    imgmigrate "$@" &
    child=$!
    trap 'kill -TERM "$child" 2>/dev/null || true' HUP INT TERM
    wait "$child" || code=$?
    # A signal ends `wait` and not the child.
    while kill -0 "$child" 2>/dev/null; do
        code=0
        wait "$child" || code=$?
    done
    trap - HUP INT TERM
}

# Plan and keep the plan where the state is: sets `code`, and `plan` to sha256:HEX or to nothing.
# IMGMIGRATE_PLAN_OPTIONS are words such as --locked or --allow-delete, split at blanks alone.
make_plan() {
    set -f
    # shellcheck disable=SC2086
    run plan --config "$config" --save --detailed-exitcode --json ${IMGMIGRATE_PLAN_OPTIONS:-} \
        >"$work/plan.jsonl"
    set +f
    plan=
    case $code in
        0 | 2 | 3 | 6 | 7)
            plan=$(sed -n 's/.*"file_sha256": *"\([0-9a-f]\{64\}\)".*/sha256:\1/p' "$work/plan.jsonl")
            ;;
    esac
}

# Write a comment of a headline (stdin) and of the plan that is named, which may be none.
# The Markdown has at most 60,000 bytes, and GitHub takes 65,536: there is room for the headline.
write_comment() {
    {
        cat
        if [ -n "$1" ]; then
            echo
            imgmigrate show --config "$config" --plan "$1" --format markdown
        fi
    } >"$work/comment.md"
}

# Tell it: in the log, in its summary, where there is one, and in the one comment of a pull request.
# What cannot be told fails the job, and keeps nothing from being done.
untold=0
tell() {
    cat "$work/comment.md"
    [ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$work/comment.md" >>"$GITHUB_STEP_SUMMARY"
    [ "$1" = - ] || forge comment "$1" "$work/comment.md" || untold=1
}
