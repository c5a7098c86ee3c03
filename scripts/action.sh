#!/usr/bin/env bash
# What action.yml runs: every kernel against the oracle, beside the base's kernels where `against` names a ref. Exit status: 0 all
# pass, 1 one fails, 2 could not. Inputs come as FAULTLINE_*; an empty one is absent.
set -euo pipefail
program=${GITHUB_ACTION_PATH:-$(cd "$(dirname "$0")/.." && pwd)}
folder=$(mktemp -d "${RUNNER_TEMP:-/tmp}/faultline.XXXXXX")
report=$folder/kernels.json
page=$folder/summary.md
cd "${GITHUB_WORKSPACE:-.}"

finish() {
  [ -s "$page" ] || printf '## Kernels: could not be tried\n\n%s\n' "$(head -c 2000 "$folder/errors")" >"$page"
  cat "$folder/errors" >&2
  cat "$page"
  cat "$page" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
  echo "report=$report" >>"${GITHUB_OUTPUT:-/dev/null}"
  exit "$1"
}
fail() { echo "faultline: $*" >"$folder/errors"; finish 2; }

options=(--json --quiet --summary "$page")
given() { [ -z "$2" ] || options+=("$1" "$2"); }
given --kernels "${FAULTLINE_KERNELS:-}"
given --filter "${FAULTLINE_FILTER:-}"
given --wgsl "${FAULTLINE_WGSL:-}"
given --as "${FAULTLINE_AS:-}"
given --bindings "${FAULTLINE_BINDINGS:-}"
given --baseline "${FAULTLINE_HISTORY:-}"
[ "${FAULTLINE_ALARMS_FAIL:-false}" != true ] || options+=(--alarms-fail)
if [ -n "${FAULTLINE_AGAINST:-}" ]; then
  ref=$(git rev-parse --verify --quiet --end-of-options "$FAULTLINE_AGAINST^{commit}") ||
    fail "against: no commit $FAULTLINE_AGAINST here; check out with fetch-depth: 0"
  base=${FAULTLINE_AGAINST_FOLDER:-kernels}
  mkdir "$folder/base"
  git archive "$ref" -- "$base" 2>/dev/null | tar -x -C "$folder/base" ||
    fail "against-folder: $FAULTLINE_AGAINST has no folder $base"
  options+=(--against-kernels "$folder/base/$base")
fi

status=0
node "$program/dist/src/cli/main.js" kernels "${options[@]}" >"$report" 2>"$folder/errors" || status=$?
finish "$status"
