#!/usr/bin/env bash
# What watching the GPUs costs: share of one core at ten readings a second, and what it does to the
# client, off/on/on/off. A stand-in for NVIDIA's library answers, so that this is kitt's own cost.
#   KITT_BENCH_BINARY  measure this binary instead of building a release
#   KITT_BENCH_GPUS    GPUs (8), KITT_BENCH_REQUESTS requests a run (400), KITT_BENCH_ROUNDS (2)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
binary=${KITT_BENCH_BINARY:-}
if [ -z "$binary" ]; then
  nice -n 10 cargo build --release --locked >&2
  binary=$target/release/kitt
fi
cargo build --locked -p fake-nvml >&2
python3 scripts/bench_sampler.py --binary "$binary" --library "$target/debug/libfake_nvml.so" \
  --gpus "${KITT_BENCH_GPUS:-8}" --requests "${KITT_BENCH_REQUESTS:-400}" --rounds "${KITT_BENCH_ROUNDS:-2}"
