#!/usr/bin/env bash
# Everything that must pass: sets the machine up, lints, then runs every test. The last thing
# printed is the Rust test runner's own summary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=${KITT_TEST_SHARED:-$PWD/../shared}/tools
step() { printf '\n==> %s\n' "$*"; }

step "setting up"
scripts/setup.sh

# shellcheck source=scripts/rust.sh
. scripts/rust.sh
# Image and model of the real engine.
while IFS='=' read -r name value; do
  export "$name=$value"
done < <(scripts/llama-image.sh)

# What was just set up must work: from here a test that cannot run has failed.
export KITT_TEST_DOCKER=${KITT_TEST_DOCKER:-required}
export KITT_TEST_LLAMA=${KITT_TEST_LLAMA:-required}
if [ -d "$tools" ]; then
  export KITT_TEST_GITHUB=${KITT_TEST_GITHUB:-required}
fi

step "formatting"
cargo fmt --all --check
step "clippy"
cargo clippy --locked --workspace --all-targets -- -D warnings
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet
if command -v cargo-deny >/dev/null 2>&1; then
  step "dependencies"
  # Advisories need the network; CI on GitHub checks them.
  cargo deny --offline check --hide-inclusion-graph bans licenses sources
fi

step "building"
cargo build --locked
target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
export KITT_TEST_BINARY=${KITT_TEST_BINARY:-$target/debug/kitt}

step "workflows and scripts"
scripts/lint-actions.sh
step "the action"
node --test tests/action/*.test.mjs

step "the README's first command"
scripts/demo.sh --output "$(mktemp -d)/demo"

step "a million random streams"
KITT_FUZZ_PROFILE=dev scripts/fuzz-streams.sh

step "Rust tests"
if command -v cargo-nextest >/dev/null 2>&1; then
  cargo test --locked --doc --quiet
  cargo nextest run --locked --workspace --no-fail-fast
else
  cargo test --locked --workspace --no-fail-fast
fi
