#!/usr/bin/env bash
# Installs what the tests need on a Debian or Ubuntu machine and starts Docker. Everything lands in
# the system or in the cache folder, nothing in the checkout. Quick when all is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=${KITT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kitt-action}
tools=${KITT_TEST_SHARED:-$PWD/../shared}/tools
mkdir -p "$cache"

say() { printf 'setup: %s\n' "$*"; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

packages=()
want() { # want COMMAND PACKAGE...: the packages when the command is missing
  command -v "$1" >/dev/null 2>&1 || packages+=("${@:2}")
}
want cc build-essential
want curl curl
want git git
want node nodejs
want npm npm
want python3 python3
want shellcheck shellcheck
want jq jq
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
# Pictures of the comment and the report are made with it.
if ! command -v chromium >/dev/null 2>&1 && ! command -v chromium-browser >/dev/null 2>&1 && ! command -v google-chrome >/dev/null 2>&1; then
  packages+=(chromium)
fi
if [ ${#packages[@]} -gt 0 ]; then
  command -v apt-get >/dev/null 2>&1 || {
    say "this machine has no apt-get, install these by hand: ${packages[*]}" >&2
    exit 1
  }
  say "installing ${packages[*]}"
  as_root apt-get update -q >"$cache/apt.log" 2>&1 || { tail -n 20 "$cache/apt.log" >&2; exit 1; }
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}" >>"$cache/apt.log" 2>&1 ||
    { tail -n 20 "$cache/apt.log" >&2; exit 1; }
fi

# shellcheck source=scripts/rust.sh
. scripts/rust.sh
# A minimal toolchain lacks these.
if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
  rustup component add rustfmt clippy
fi

say "Docker"
scripts/docker-up.sh

# The runner that executes the action step by step, and GitHub's API description.
if [ -d "$tools" ]; then
  runner=$cache/composite
  if ! cmp -s "$tools/composite/package-lock.json" "$runner/package-lock.json" || [ ! -d "$runner/node_modules" ]; then
    say "the composite action runner"
    rm -rf "$runner"
    mkdir -p "$runner"
    cp "$tools/composite/package.json" "$tools/composite/package-lock.json" "$runner/"
    chmod u+w "$runner"/*
    npm ci --prefix "$runner" --silent --no-audit --no-fund --ignore-scripts
  fi
  cp -f "$tools"/composite/*.mjs "$runner/"
  chmod u+w "$runner"/*.mjs
  say "GitHub's API description: $(scripts/github-spec.sh)"
  say "the judge of our requests: $(scripts/prism.sh)"
else
  say "$tools is missing: the tests that need the action runner or a GitHub are skipped"
fi

say "llama.cpp's image (about 12 minutes the first time)"
scripts/llama-image.sh
say "done"
