#!/bin/sh
# Look who has moved since it was recorded, and tell it in one issue, which closes when all is well.
set -eu
. "$(dirname "$0")/common.sh"

run plan --config "$config" --refresh-only --detailed-exitcode --out "$work/plan.out"
case $code in
    0) forge no-issue ;;
    2 | 3)
        {
            echo "\`imgmigrate plan --refresh-only\` ended with exit code $code. [Job]($(forge url))"
            echo
            imgmigrate show "$work/plan.out" --format markdown
        } >"$work/comment.md"
        forge issue "$work/comment.md"
        ;;
    *) exit "$code" ;;
esac
