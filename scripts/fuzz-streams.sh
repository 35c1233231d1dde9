#!/usr/bin/env bash
# Plays random answers to the load driver's answer state machine: seeded, mutated, cut anywhere,
# each whole and in pieces. Fails when one panics, hangs, or is judged by how it was cut.
#   scripts/fuzz-streams.sh [COUNT [SEED]]   1 000 000 answers and seed 1 unless told
#   KITT_FUZZ_PROFILE                        cargo profile to build with (release)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=scripts/rust.sh
. scripts/rust.sh

KITT_FUZZ_STREAMS=${1:-1000000} KITT_FUZZ_SEED=${2:-1} \
  cargo test --locked --lib --profile "${KITT_FUZZ_PROFILE:-release}" -- \
  --ignored --exact --nocapture load::fuzz::random_answers_hold
