#!/usr/bin/env bash
# Makes a checkout ready to run: npm packages, the built program, and a Vulkan driver where there is no WebGPU adapter.
# What needs root is done only as root or with --yes; else the command is said.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }

command -v node >/dev/null || fail "Node.js is missing; install Node 20 or newer"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || fail "Node $(node -v) is too old; install Node 20 or newer"

# The lock file's copy inside node_modules tells whether they belong together.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  say "installing npm packages"
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
fi

say "building"
npm run --silent build

has_adapter() { node scripts/has-adapter.mjs >/dev/null 2>&1; }

# Debian 12's own Mesa is too old for Dawn; bookworm-backports has 25, from the same mirror as the rest.
install_driver() {
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Codename: bookworm' 'Component: main' | head -n 1)
  [ -n "$mirror" ] || fail "no Debian 12 mirror is configured for apt; install Mesa 25 or newer with its Vulkan drivers"
  local list=/etc/apt/sources.list.d/bookworm-backports.list
  [ -e "$list" ] || printf 'deb %s bookworm-backports main\n' "$mirror" | $sudo tee "$list" >/dev/null
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -t bookworm-backports mesa-vulkan-drivers libvulkan1 >/dev/null
}

if ! has_adapter; then
  if ! command -v apt-get >/dev/null || ! grep -q 'VERSION_CODENAME=bookworm' /etc/os-release; then
    say "no WebGPU adapter, and this is not Debian 12: install a Vulkan driver (Mesa 25 or newer runs on the CPU)"
  elif [ "$(id -u)" -ne 0 ] && [ "${1:-}" != --yes ]; then
    say "no WebGPU adapter; to install a software one: scripts/setup.sh --yes (runs apt-get with sudo)"
  else
    sudo=$([ "$(id -u)" -eq 0 ] || echo sudo)
    say "installing a software Vulkan driver (mesa-vulkan-drivers from bookworm-backports)"
    [ -n "$(ls /var/lib/apt/lists/*Packages* 2>/dev/null)" ] || $sudo apt-get update -qq
    install_driver
    has_adapter || fail "the driver is installed, but WebGPU finds no adapter; see faultline doctor"
  fi
fi
say "ready"
