#!/bin/sh
# Apply what was reviewed, each plan by its sha256: that of PLAN, else those of what was merged.
#
# One run at a time, and none dropped: every job waits for the state itself (--lock-timeout). What was
# overtaken is not written; another plan is made at once, told, and applied by whoever runs the job by
# hand with its sha256. Running a failed job again goes on where it was.
set -eu
. "$(dirname "$0")/common.sh"

# Tell what became of a plan ($2), and what is left to do, as another plan that is kept and not applied.
# `code` becomes $3 where there is something left.
plan_anew() {
    number=$1
    what=$2
    red=$3
    make_plan
    planned=$code
    code=0
    if [ "$planned" -eq 0 ]; then
        write_comment "" <<END
$what Nothing is left to do. [Job]($(forge url))
END
    elif [ -n "$plan" ]; then
        code=$red
        write_comment "$plan" <<END
$what What is left is below. To apply it, run the job by hand with this sha256: \`$plan\`. \
[Job]($(forge url))
END
    else
        code=$planned
        write_comment "" <<END
$what No other plan could be made (exit code $planned): [the job]($(forge url)) says why.
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
            what="\`$reviewed\` was **refused**, as overtaken or too old: nothing was written."
            plan_anew "$number" "$what" 4
            return
            ;;
        5) what="**Not applied**: another run held the state. Run the job again." ;;
        6) what="**Applied in part**: a guard kept the rest from being done." ;;
        7)
            what="\`$reviewed\` was **applied in part**: images that others were quicker with, or wrote to, stay."
            plan_anew "$number" "$what" 7
            return
            ;;
        # The recovery file goes with the runner; the next plan adopts what is there.
        8) what="**Applied, and not all recorded.** Run the job again when the state can be written." ;;
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
        plan_anew "$number" "**No plan was reviewed** for this, nothing was written." 2
    else
        apply_plan "$number" "$reviewed"
    fi
    [ "$code" -eq 0 ] || worst=$code
    [ "$code" -lt 128 ] || break
done <"$work/requests"
[ "$worst" -ne 0 ] || worst=$untold
exit "$worst"
