#!/usr/bin/env bash
# Figures of the release binary as a Markdown table: size, start-up, what it costs beside engine
# and load, time of a report, lengths of the source files; each beside what it is a ratio against.
# Builds kitt as a release is built. Loopback only; the work is seeded and the same each time,
# the times depend on the machine. Linux, because of /proc and its CPU clocks.
#   KITT_BENCH_BINARY  measure this binary instead of building one
#   KITT_BENCH_RUNS    repeats of the load (5), KITT_BENCH_REQUESTS requests per concurrency (64)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -n "${KITT_BENCH_BINARY:-}" ]; then
  binary=$KITT_BENCH_BINARY
else
  # At low priority: it takes minutes of every core.
  nice -n 10 cargo build --profile dist --locked >&2
  target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
  binary=$target/dist/kitt
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# As cargo-dist packs it: one folder with the binary, README, licences and changelog, gzip level 6.
folder=kitt-$(uname -m)-unknown-linux-gnu
mkdir "$work/$folder"
cp "$binary" README.md LICENSE* CHANGELOG.md "$work/$folder/"
tar -C "$work" --sort=name --owner=0 --group=0 --mtime=@0 -cf - "$folder" | gzip -n -6 >"$work/kitt.tar.gz"

# The floor of any Rust program under the same profile.
printf 'fn main() {\n    println!("hello");\n}\n' >"$work/hello.rs"
rustc --edition 2024 -C opt-level=3 -C lto=fat -C codegen-units=1 -C strip=symbols -o "$work/hello" "$work/hello.rs"

python3 scripts/bench_overhead.py --binary "$work/$folder/kitt" --archive "$work/kitt.tar.gz" --hello "$work/hello" \
  --runs "${KITT_BENCH_RUNS:-5}" --requests "${KITT_BENCH_REQUESTS:-64}"
