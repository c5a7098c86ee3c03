#!/usr/bin/env bash
# fetch.sh [--vulkan]: fetches llama.cpp v0.5.0 into a cache, by pinned version and checksum, from two npm packages, or three:
#   llama.cpp/          libggml and libllama, prebuilt for Linux x64
#   llama.cpp-vulkan/   the same with the Vulkan backend; only with --vulkan, for benchmarks
#   llama.cpp-include/  their headers
#   llama.cpp-vocab/    vocabularies with test vectors
# The cache is $FAULTLINE_CACHE, or ~/.cache/faultline. What is there already is left alone.
set -euo pipefail
cache=${FAULTLINE_CACHE:-$HOME/.cache/faultline}
say() { printf 'llama.cpp: %s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }

wanted=(llama.cpp llama.cpp-include llama.cpp-vocab)
[ "${1:-}" != --vulkan ] || wanted=(llama.cpp-vulkan llama.cpp-include llama.cpp-vocab)
# missing [NAME]: whether the folder, or any, is wanted and not there.
missing() {
  local name
  for name in "${wanted[@]}"; do
    if [ ! -d "$cache/$name" ] && [ "$name" = "${1:-$name}" ]; then return 0; fi
  done
  return 1
}
missing || exit 0
for tool in npm tar git; do
  command -v "$tool" >/dev/null ||
    fail "$tool is missing, and llama.cpp is fetched with it; install it, or give your own llama.cpp with --llama-cpp"
done
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# package NAME VERSION SHA256 PATH...: unpacks these paths of an npm package into $work/package.
package() {
  local name=$1 version=$2 sum=$3 file
  shift 3
  file=$work/$(tr / - <<<"${name#@}")-$version.tgz
  npm pack --loglevel=error --pack-destination "$work" "$name@$version" >/dev/null 2>"$work/npm" ||
    fail "npm cannot fetch $name@$version: $(grep -m 1 -i error "$work/npm" || echo 'no reason given')"
  [ "$({ sha256sum 2>/dev/null || shasum -a 256; } <"$file" | cut -d ' ' -f 1)" = "$sum" ] ||
    fail "$name@$version is not what it was; nothing was installed"
  tar -xzf "$file" -C "$work" "${@/#/package/}"
}
# Puts a finished folder into the cache in one step, so that a broken fetch leaves nothing behind.
keep() { rm -rf "${cache:?}/$2"; mv "$1" "$cache/$2"; }

# libraries KIND SHA256 FOLDER: the libraries of the package for that kind of machine.
libraries() {
  package "@node-llama-cpp/$1" 3.22.1 "$2" "bins/$1" LICENSE
  mv "$work/package/LICENSE" "$work/package/bins/$1/"
  keep "$work/package/bins/$1" "$3"
}
if missing llama.cpp; then
  say "fetching the libraries"
  libraries linux-x64 0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0 llama.cpp
fi
if missing llama.cpp-vulkan; then
  say "fetching the libraries with the Vulkan backend"
  libraries linux-x64-vulkan e10577190fc4bd1649d3b655588e5c7a85fc6b6dbf7136fee596cbe9e25521e7 llama.cpp-vulkan
fi
if missing llama.cpp-include || missing llama.cpp-vocab; then
  say "fetching headers and vocabularies"
  package node-llama-cpp 3.22.1 a0d9dd80eacd2ab1cfe71aee57ac8a806487fd70b3d2a38fbec637752d9e5c5f llama/gitRelease.bundle
  git clone --quiet --no-checkout "$work/package/llama/gitRelease.bundle" "$work/git" 2>/dev/null
  mkdir "$work/source" "$work/include" "$work/vocab"
  git -C "$work/git" archive HEAD LICENSE include ggml/include models | tar -x -C "$work/source"
  cp "$work"/source/include/*.h "$work"/source/ggml/include/*.h "$work/source/LICENSE" "$work/include/"
  cp "$work"/source/models/ggml-vocab-*.gguf* "$work/source/LICENSE" "$work/vocab/"
  keep "$work/include" llama.cpp-include
  keep "$work/vocab" llama.cpp-vocab
fi
