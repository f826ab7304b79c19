#!/bin/sh
# Apply what was reviewed, each plan by its sha256: that of PLAN, else those of what was merged.
#
# One run at a time, and none dropped: every job waits for the state itself (--lock-timeout). A plan that
# was overtaken changes nothing; another is made at once, told, and applied by whoever runs the job by
# hand with its sha256. Running a failed job again goes on where it was.
set -eu
. "$(dirname "$0")/common.sh"

by_hand="To apply it, run the job by hand with this sha256"

# Nobody has reviewed a plan that holds now: make one, tell it, and apply nothing. `code` becomes $3
# where there is something to do.
plan_anew() {
    number=$1
    why=$2
    red=$3
    make_plan
    planned=$code
    code=0
    if [ "$planned" -eq 0 ]; then
        write_comment "" <<END
$why Nothing is left to do. [Job]($(forge url))
END
    elif [ -n "$plan" ]; then
        code=$red
        write_comment "$plan" <<END
$why **Nothing was written.** What is left to do is below. $by_hand: \`$plan\`. [Job]($(forge url))
END
    else
        code=$planned
        write_comment "" <<END
$why **Nothing was written**, and no other plan could be made (exit code $planned). \
[The job]($(forge url)) says why.
END
    fi
    tell "$number"
}

# Apply one plan and tell what came of it; sets `code`.
apply_plan() {
    number=$1
    reviewed=$2
    run apply --config "$config" --plan "$reviewed" --lock-timeout "${IMGMIGRATE_LOCK_TIMEOUT:-30m}"
    case $code in
        0) what="**Applied.**" ;;
        3) what="**Applied in part**: some images are not done. Run the job again, it goes on." ;;
        4)
            plan_anew "$number" "\`$reviewed\` was **overtaken**: what it was made from is not so any more." 4
            return
            ;;
        5) what="**Not applied**: another run held the state. Run the job again." ;;
        6) what="**Applied in part**: a guard kept the rest from being done." ;;
        7) what="**Applied, but for conflicts**, which a person must decide." ;;
        8) what="**Applied, and not all recorded**: the job names a recovery file." ;;
        129 | 130 | 143) what="**Interrupted.** Run the job again, it goes on." ;;
        *) what="**Not applied**: exit code $code." ;;
    esac
    applied=$code
    write_comment "$reviewed" <<END || true
$what \`$reviewed\`, exit code $applied. [Job]($(forge url))
END
    tell "$number"
    code=$applied
}

if [ -n "${PLAN:-}" ]; then
    echo "- - $PLAN" >"$work/requests"
else
    forge requests >"$work/requests"
    # A push to the branch itself, without a pull request.
    [ -s "$work/requests" ] || echo "- - -" >"$work/requests"
fi

worst=0
while read -r number _ reviewed; do
    if [ "$reviewed" = - ]; then
        plan_anew "$number" "No plan was reviewed for this." 2
    else
        apply_plan "$number" "$reviewed"
    fi
    [ "$code" -eq 0 ] || worst=$code
    [ "$code" -lt 128 ] || break
done <"$work/requests"
[ "$worst" -ne 0 ] || worst=$untold
exit "$worst"
