#!/usr/bin/env bash
# Chromium for the tests of report pages, from the same Debian mirror as the rest. Without root it says the command.
set -euo pipefail
say() { printf 'browser: %s\n' "$*" >&2; }
for path in /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome; do
  [ ! -x "$path" ] || exit 0
done
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  say "no Chromium: tests of report pages are skipped; install it with: apt-get install chromium"
  exit 0
fi
say "installing Chromium"
[ -n "$(ls /var/lib/apt/lists/*Packages* 2>/dev/null)" ] || apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null ||
  say "Chromium could not be installed: tests of report pages are skipped"
