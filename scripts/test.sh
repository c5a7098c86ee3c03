#!/usr/bin/env bash
# Set-up and all checks in one command: types, lint, format, tests.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
scripts/fetch.sh
scripts/browser.sh
npm run --silent check
exec npm test --silent
