#!/usr/bin/env bash
# Makes the Python environment of the HuggingFace reference in the cache, and prints the path of its python: the only line on stdout.
# The folder's name carries a hash of what is installed, so that a change builds a new one. It appears when it is whole.
# About 560 MB are fetched and 1.6 GB kept. Needs Python 3.11 or newer.
set -euo pipefail
cd "$(dirname "$0")"
cache=${FAULTLINE_CACHE:-$HOME/.cache/faultline}

say() { printf 'hf: %s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }
remedy="install Python 3.11 or newer with its venv module (Debian: apt-get install python3 python3-venv)"

new_enough='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'
base=
for candidate in python3 python3.11 python3.12 python3.13 python3.14; do
  if "$candidate" -c "$new_enough" >/dev/null 2>&1; then base=$candidate; break; fi
done
[ -n "$base" ] || fail "no usable Python was found; $remedy"

# The interpreter is part of the key: an environment belongs to the Python it was made with.
key=$("$base" - requirements.txt cpu_torch.py <<'PY'
import hashlib, pathlib, sys
parts = [sys.version, sys.base_prefix, *(pathlib.Path(file).read_text() for file in sys.argv[1:])]
print(hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12])
PY
)
folder=$cache/hf-python/$key
python=$folder/bin/python
if [ ! -x "$python" ]; then
  say "installing torch and transformers (560 MB, once)"
  mkdir -p "$cache/hf-python"
  work=$(mktemp -d "$cache/hf-python/partial.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  "$base" -m venv "$work" >&2 || fail "python3 -m venv failed; $remedy"
  "$work/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --no-deps -r requirements.txt >&2 ||
    fail "references/hf/requirements.txt could not be installed; PyPI must be within reach, and 3 GB of disk free"
  "$work/bin/python" -c 'import cpu_torch; cpu_torch.prepare(); import accelerate, gguf, torch, transformers' >&2 ||
    fail "torch is installed but cannot be imported; references/hf/requirements.txt may not suit this machine ($(uname -sm))"
  # A rename never replaces a folder that holds something: of two that build at once the later one yields.
  rename() { "$base" -c 'import os, sys; os.rename(sys.argv[1], sys.argv[2])' "$work" "$folder" 2>/dev/null; }
  rename || [ -x "$python" ] || { rm -rf "$folder" && rename; } || fail "$folder cannot be made; remove it"
fi
printf '%s\n' "$python"
