#!/usr/bin/env bash
# bench-nvidia.sh [--model FILE] [--debs DIR] [--output FILE] [--stand-in] [OPTION...]: the benchmarks with peers on an NVIDIA GPU through
# headless Vulkan, as Markdown with adapter, driver and date. Needs no network where node_modules is there.
#   --model FILE   a GGUF model that was carried here; without it one of TinyLlama's shape is made, 1.1 G random weights in Q4_0
#   --debs DIR     Debian packages that were carried here (libvulkan1); unpacked for this run, not installed
#   --output FILE  bench-nvidia.md unless told
#   --stand-in     try the script with whatever adapter there is: for machines without such a GPU
# Other options go to the benchmark (scripts/bench.ts), e.g. --rounds 3 --peers llamacpp-vulkan.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'bench-nvidia: %s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }
model=random-1.1b debs= output=bench-nvidia.md stand_in= others=()
while [ $# -gt 0 ]; do
  case "$1" in
    --model) model=${2:?--model wants a file}; shift 2 ;;
    --debs) debs=${2:?--debs wants a folder}; shift 2 ;;
    --output) output=${2:?--output wants a file}; shift 2 ;;
    --stand-in) stand_in=1; shift ;;
    *) others+=("$1"); shift ;;
  esac
done
[ "$model" = random-1.1b ] || [ -f "$model" ] || fail "$model: no such file; give a GGUF model, or leave out --model"
[ -x node_modules/.bin/tsx ] || fail "node_modules is missing; run npm ci, or carry it here from a machine of the same kind"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -n "$debs" ]; then
  for deb in "$debs"/*.deb; do dpkg-deb -x "$deb" "$work/root" || fail "$deb cannot be unpacked"; done
  while read -r folder; do
    LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  done < <(find "$work/root" -name '*.so*' -printf '%h\n' | sort -u)
  export LD_LIBRARY_PATH
fi

# library NAME: whether the dynamic linker would find it.
library() {
  local folder given=${LD_LIBRARY_PATH:-}
  for folder in ${given//:/ } /usr/lib64 /usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu /usr/local/nvidia/lib64; do
    if [ -e "$folder/$1" ]; then return 0; fi
  done
  ldconfig -p 2>/dev/null | grep -F "$1" >/dev/null
}

library libvulkan.so.1 ||
  fail "no Vulkan loader (libvulkan.so.1); apt-get install libvulkan1, or carry its package here and give its folder with --debs"

# An NVIDIA driver in a container often lacks the file that names it to the loader; containers for CUDA alone lack the driver's
# Vulkan part too (NVIDIA_DRIVER_CAPABILITIES must include graphics).
driver=
for name in libGLX_nvidia.so.0 libEGL_nvidia.so.0; do # the second is the headless one
  if [ -z "$driver" ] && library "$name"; then driver=$name; fi
done
if [ -n "$driver" ]; then
  say "NVIDIA's Vulkan driver: $driver"
  ls /usr/lib/*/libnvidia-glvkspirv.so.* /usr/lib64/libnvidia-glvkspirv.so.* >/dev/null 2>&1 ||
    say "libnvidia-glvkspirv is not where it usually is; without it no shader compiles"
  manifest=$(find /usr/share/vulkan/icd.d /etc/vulkan/icd.d -name '*nvidia*.json' 2>/dev/null | head -n 1 || true)
  if [ -z "$manifest" ]; then
    manifest=$work/nvidia_icd.json
    printf '{"file_format_version":"1.0.0","ICD":{"library_path":"%s","api_version":"1.3.0"}}\n' "$driver" >"$manifest"
    say "it has no manifest; one is written for this run"
  fi
  # No other adapter is to be seen, by any engine.
  export VK_DRIVER_FILES=$manifest VK_ICD_FILENAMES=$manifest
  device=hardware
elif [ -n "$stand_in" ]; then
  say "no NVIDIA driver; standing in: whatever adapter there is"
  device=auto
else
  fail "no NVIDIA Vulkan driver here (libGLX_nvidia.so.0, libEGL_nvidia.so.0); in a container set NVIDIA_DRIVER_CAPABILITIES=all, or try the script with --stand-in"
fi

{
  printf '# Benchmarks on %s\n\n' "$([ "$device" = hardware ] && echo 'an NVIDIA GPU' || echo 'a stand-in, not an NVIDIA GPU')"
  if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader | sed 's/^/- nvidia-smi: /' || true
  fi
  node_modules/.bin/tsx scripts/bench.ts --device "$device" --models "$model" --only peers,overhead "${others[@]}"
} >"$work/page.md"
mv "$work/page.md" "$output"
say "written: $output"
