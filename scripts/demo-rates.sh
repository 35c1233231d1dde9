#!/usr/bin/env bash
# How often the demo is right: demo-rates.sh SLOWDOWN SEEDS [BINARY]
# Prints the verdict of each seed and a count. With SLOWDOWN 0 every "regressed" is a false alarm.
set -euo pipefail
slowdown=${1:?usage: demo-rates.sh SLOWDOWN SEEDS [BINARY]}
seeds=${2:?usage: demo-rates.sh SLOWDOWN SEEDS [BINARY]}
binary=${3:-$(dirname "${BASH_SOURCE[0]}")/../target/release/kitt}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for seed in $(seq 1 "$seeds"); do
  verdict=$("$binary" demo --slowdown "$slowdown" --seed "$seed" --output "$work/demo" 2>/dev/null | sed -n '1s/^verdict: \([a-z]*\).*/\1/p')
  decode=$(jq -r '[.metrics[] | select(.gating and (.metric | test("^(tpot|itl|output)")) and .verdict == "regressed")] | length' "$work/demo/comparison.json")
  first=$(jq -r '[.metrics[] | select(.gating and .metric == "ttft_ms.p50" and .scenario == "throughput")][0].verdict' "$work/demo/comparison.json")
  echo "seed $seed: $verdict; decode rows regressed: $decode; TTFT alone: $first"
done | tee "$work/all"
echo "slowdown $slowdown, $seeds seeds: $(grep -c ': regressed' "$work/all") regressed"
