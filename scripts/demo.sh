#!/usr/bin/env bash
# Set-up and demo in one command: a fresh clone runs the embedded model and looks at its trace.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
exec node dist/src/cli/main.js demo "$@"
