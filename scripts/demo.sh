#!/usr/bin/env bash
# Builds kitt and shows the whole flow on the built-in simulated engine: no GPU, Docker or model.
# Installs a C compiler and Rust first where they are missing. Arguments go to `kitt demo`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/rust.sh
. scripts/rust.sh

cargo build --release --locked
exec "${CARGO_TARGET_DIR:-target}/release/kitt" demo "$@"
