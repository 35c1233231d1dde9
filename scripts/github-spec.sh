#!/bin/sh
# Prints the path of GitHub's API description, cut to the operations kitt calls; makes it on
# first use. tests/it/publish.rs starts its fake GitHub with it. The npm package is 385 MB: it is
# unpacked into a scratch folder of the cache and removed again; the cut file is 0.4 MB.
set -eu

version=23.0.2
cache=${KITT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kitt-action}/github-spec
spec=$cache/github-$version.json
root=$(cd "$(dirname "$0")/.." && pwd)
tools=${KITT_TEST_SHARED:-$root/../shared}/tools

if [ -s "$spec" ]; then
    printf '%s\n' "$spec"
    exit 0
fi
for file in trim-openapi.mjs github-operations.txt; do
    if [ ! -r "$tools/$file" ]; then
        echo "github-spec: $tools/$file is missing; set KITT_TEST_SHARED to the folder that holds tools/" >&2
        exit 1
    fi
done

mkdir -p "$cache"
scratch=$(mktemp -d "$cache/making.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

npm install --prefix "$scratch" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
    "@octokit/openapi@$version" >&2
node "$tools/trim-openapi.mjs" \
    "$scratch/node_modules/@octokit/openapi/generated/api.github.com.json" \
    "$scratch/cut.json" \
    --ops "$tools/github-operations.txt" \
    --media application/vnd.github+json \
    'GET /user' >&2
# Renamed only when whole, and within one file system: nobody sees half a file.
mv "$scratch/cut.json" "$spec"
printf '%s\n' "$spec"
