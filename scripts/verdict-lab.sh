#!/usr/bin/env bash
# How often kitt's verdict is wrong, on simulated runners with known truth, by kitt's own code.
# Writes the tables into docs/deciding.md. The same seed gives the same tables on every machine.
#   scripts/verdict-lab.sh [FLAG…]          --seed N, --same N, --changed N, --series N
#   scripts/verdict-lab.sh --check [FLAG…]  writes nothing; fails when a requirement is not met
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --locked --quiet --release --package verdict-lab
target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
lab=$target/release/verdict-lab

if [ "${1:-}" = --check ]; then
  exec "$lab" tables "$@"
fi

tables=$(mktemp)
trap 'rm -f "$tables"' EXIT
"$lab" tables "$@" >"$tables"
awk -v tables="$tables" '
  /^<!-- verdict-lab: begin/ { print; while ((getline line < tables) > 0) print line; inside = 1 }
  /^<!-- verdict-lab: end/ { inside = 0 }
  !inside { print }
' docs/deciding.md >"$tables.md"
mv "$tables.md" docs/deciding.md
