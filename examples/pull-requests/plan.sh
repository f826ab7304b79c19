#!/bin/sh
# Plan what a pull request would do: its one comment shows it, a status of its head commit names it.
set -eu
. "$(dirname "$0")/common.sh"

forge requests >"$work/requests"
read -r number head _ <"$work/requests"

make_plan
planned=$code
if [ -n "$plan" ]; then
    write_comment "$plan" <<END
Commit \`$head\`: merging it applies \`$plan\`, and nothing else. \
\`imgmigrate plan\` ended with exit code $planned. [Job]($(forge url))
END
else
    write_comment "" <<END
**No plan.** Of commit \`$head\` none could be made: \`imgmigrate plan\` ended with exit code $planned. \
[The job]($(forge url)) says why.
END
fi
tell "$number"

# The job that applies reads the sha256 there: a squash merge drops the commit, and not its status.
case $planned in
    0 | 2) forge status "$head" success "$plan" ;;
    *) forge status "$head" failure "${plan:-no plan}" ;;
esac

# Changes are what a pull request is for; what another run may mend, or a person must, is red.
[ "$planned" -ne 2 ] || planned=0
[ "$planned" -ne 0 ] || planned=$untold
exit "$planned"
