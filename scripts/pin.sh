#!/usr/bin/env bash
# Writes action/pin: which released binary this commit of the action installs.
#
#   scripts/pin.sh VERSION SHA256SUM-FILE [BASE-ADDRESS]
#
# SHA256SUM-FILE is the release's own sha256.sum. Without BASE-ADDRESS the present one stays.
set -euo pipefail

fail() {
  echo "pin.sh: $1" >&2
  exit 1
}

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
  fail "usage: scripts/pin.sh VERSION SHA256SUM-FILE [BASE-ADDRESS]"
fi
version=${1#kitt-}
version=${version#v}
[ -f "$2" ] || fail "there is no file '$2'"
sums=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
base=${3:-$(sed -n 's/^base //p' action/pin)}

[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$ ]] || fail "'$1' is not a version"
lines=$(sed -nE 's/^([0-9a-f]{64}) [ *](kitt-[A-Za-z0-9_-]+\.tar\.gz)$/\1 *\2/p' "$sums" | LC_ALL=C sort -k2)
[ -n "$lines" ] || fail "'$sums' names no kitt-<target>.tar.gz"
twice=$(cut -d' ' -f2 <<<"$lines" | uniq -d)
[ -z "$twice" ] || fail "'$sums' names $twice more than once"

head=$(grep '^#' action/pin)
printf '%s\nbase %s\nversion %s\n%s\n' "$head" "$base" "$version" "$lines" >action/pin
echo "action/pin: $version, $(grep -c . <<<"$lines") platforms"
