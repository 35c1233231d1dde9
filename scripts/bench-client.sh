#!/usr/bin/env bash
# Figures of the load driver as Markdown tables: capacity, accuracy, cost, start-up, open loop,
# against the paced simulator's truth and beside a client of tokio, hyper and serde_json.
# Loopback only. Client and simulator have a processor each where there are two. The figures
# depend on the machine: nothing else should run on it.
#   scripts/bench-client.sh [quick|full] [SECTION…]   sections: capacity accuracy cost startup
#                                                     open-loop; all by default
#   KITT_BENCH_SIMULATOR_PREFIX  put before the simulator's command, as in "chrt -f 50"
#   KITT_BENCH_TOKENIZER         a tokenizer.json: start-up is also measured with it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The built bench, from cargo's own messages.
program=$(cargo bench --locked --bench client --no-run --message-format json |
  sed -n 's/.*"name":"client".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -x "$program" ] || { echo "cargo built no bench" >&2; exit 1; }

exec "$program" "${@:-quick}" \
  ${KITT_BENCH_SIMULATOR_PREFIX:+"--simulator-prefix=$KITT_BENCH_SIMULATOR_PREFIX"} \
  ${KITT_BENCH_TOKENIZER:+"--tokenizer=$KITT_BENCH_TOKENIZER"}
