#!/usr/bin/env bash
# build.sh [--llama-cpp DIR | --bench | --bench-vulkan]: compiles the programs of this folder and prints the folder that holds them.
# Against the llama.cpp that fetch.sh puts into the cache, or against a checkout of your own with shared libraries built; with
# --bench only the benchmark, with --bench-vulkan against the build for Vulkan.
# The programs are kept in the cache, one folder for each set of sources, headers and libraries.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${FAULTLINE_CACHE:-$HOME/.cache/faultline}
say() { printf 'llama.cpp: %s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }

own=
variant=
programs=(dump quantize decode tokenize)
case "$#,${1:-}" in
  0,) ;;
  2,--llama-cpp) own=$2 ;;
  1,--bench) programs=(bench) ;;
  1,--bench-vulkan) variant=-vulkan programs=(bench) ;;
  *) fail "usage: build.sh [--llama-cpp DIR | --bench | --bench-vulkan]" ;;
esac

if [ -n "${CXX:-}" ]; then
  read -ra compiler <<<"$CXX"
else
  compiler=("$(command -v c++ || command -v g++ || command -v clang++ || true)")
fi
command -v "${compiler[0]}" >/dev/null ||
  fail "no C++ compiler${CXX:+ named $CXX}; install one (Debian, Ubuntu: apt-get install g++; macOS: xcode-select --install) or name it in CXX"

# first PATTERN FOLDER...: the first file of that name pattern, in the order of the folders.
first() {
  local pattern=$1 folder file
  shift
  for folder in "$@"; do
    for file in "$folder"/$pattern; do [ -e "$file" ] && printf '%s\n' "$file" && return; done
  done
  return 0
}

if [ -z "$own" ]; then
  "$here/fetch.sh" ${variant:+--vulkan}
  headers=("$cache/llama.cpp-include")
  places=("$cache/llama.cpp$variant")
  wanted="delete $cache/llama.cpp$variant and $cache/llama.cpp-include to have them fetched again"
else
  [ -d "$own" ] || fail "$own: is not a folder; --llama-cpp wants a checkout of llama.cpp with shared libraries built"
  own=$(cd "$own" && pwd)
  headers=("$own/include" "$own/ggml/include")
  places=("$own/build/bin" "$own/build/lib" "$own/build/src" "$own/build/ggml/src" "$own/build" "$own/bin" "$own/lib" "$own")
  wanted="--llama-cpp wants a checkout of llama.cpp with shared libraries built (cmake -B build && cmake --build build)"
fi
for header in llama.h ggml.h; do
  [ -n "$(first "$header" "${headers[@]}")" ] || fail "no $header in ${headers[*]}; $wanted"
done
libraries=()
for name in llama ggml ggml-base; do
  found=
  for pattern in "lib$name.so" "lib$name.[bv][0-9]*.so" "lib$name.vulkan.v[0-9]*.so" "lib$name.dylib"; do
    found=${found:-$(first "$pattern" "${places[@]}")}
  done
  [ -n "$found" ] || fail "no lib$name.so or .dylib in ${places[*]}; $wanted"
  libraries+=("$found")
done

# What the programs depend on; libraries are found at run time, so that only their place matters.
ingredients() {
  "${compiler[@]}" --version
  printf '%s\n' "${libraries[@]}" "${programs[@]}"
  for folder in "${headers[@]}" "$here"; do [ ! -d "$folder" ] || cat "$folder"/*.h*; done
  cat "$here"/*.cpp "$here/build.sh"
}
# The compiler's first complaint, without the path before it.
complaint() { { grep -m 1 -E 'error|undefined' "$1" || head -n 1 "$1"; } | sed "s|^$here/||"; }

hash=$(ingredients | { sha256sum 2>/dev/null || shasum -a 256; })
target=$cache/llama.cpp-programs/${hash:0:16}
if [ ! -d "$target" ]; then
  say "compiling"
  mkdir -p "$cache/llama.cpp-programs"
  work=$(mktemp -d "$cache/llama.cpp-programs/partial.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  flags=(-std=c++17 -O2 "${headers[@]/#/-I}")
  for library in "${libraries[@]}"; do flags+=("-Wl,-rpath,$(dirname "$library")"); done
  for program in "${programs[@]}"; do
    "${compiler[@]}" "${flags[@]}" "$here/$program.cpp" -o "$work/faultline-llamacpp-$program" "${libraries[@]}" -ldl >"$work/errors" 2>&1 ||
      fail "the llama.cpp in $(dirname "${libraries[0]}") does not fit; versions from b6845 (October 2025) to v0.5.0 (2026) do: $(complaint "$work/errors")"
  done
  rm "$work/errors"
  mv -T "$work" "$target" 2>/dev/null || [ -d "$target" ] || mv "$work" "$target"
fi
printf '%s\n' "$target"
