#!/bin/sh
# Prints the path of GitHub's API description, cut to what the tests ask for; makes it on first
# use. `github-spec.sh ghes` prints that of the newest GitHub Enterprise Server. The tests' GitHub
# and the check of kitt's requests are made from them. The npm package is 385 MB: it is unpacked
# into a scratch folder of the cache and removed again; a cut file is 0.5 MB.
#
# With KITT_OFFLINE set nothing is fetched: what is not there is an error.
#
# kitt's own requests are scripts/github-operations.txt, which a test holds against the code. What
# a server's description lacks is left out here and found by that test.
set -eu

version=23.0.2
ghes=3.19
# Names another file when what is cut out has changed.
edition=r2
cache=${KITT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kitt-action}/github-spec
spec=$cache/github-$version.$edition.json
ghes_spec=$cache/ghes-$ghes-$version.$edition.json
root=$(cd "$(dirname "$0")/.." && pwd)
tools=${KITT_TEST_SHARED:-$root/../shared}/tools
own=$root/scripts/github-operations.txt

case ${1:-} in
'') wanted=$spec ;;
ghes) wanted=$ghes_spec ;;
*)
    echo "usage: github-spec.sh [ghes]" >&2
    exit 2
    ;;
esac

# An operation that was added since makes it anew.
if [ -s "$spec" ] && [ -s "$ghes_spec" ] && cmp -s "$own" "$spec.operations"; then
    printf '%s\n' "$wanted"
    exit 0
fi
if [ -n "${KITT_OFFLINE:-}" ]; then
    echo "github-spec: $wanted is missing or older than scripts/github-operations.txt" >&2
    exit 1
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

# cut DESCRIPTION OUT OPERATIONS: without the operations that the description does not have.
cut_out() {
    full=$scratch/node_modules/@octokit/openapi/generated/$1.json
    if ! node "$tools/trim-openapi.mjs" "$full" "$2" --ops "$3" \
        --media application/vnd.github+json 2>"$scratch/log"; then
        # The tool lists them below its message, indented.
        sed -n 's/^  *\([A-Z][A-Z]* \/.*\)$/\1/p' "$scratch/log" >"$scratch/lacking"
        if [ ! -s "$scratch/lacking" ]; then
            cat "$scratch/log" >&2
            exit 1
        fi
        sed "s/^/github-spec: $1 has no /" "$scratch/lacking" >&2
        grep -vxFf "$scratch/lacking" "$3" >"$scratch/rest"
        node "$tools/trim-openapi.mjs" "$full" "$2" --ops "$scratch/rest" \
            --media application/vnd.github+json >&2
    fi
}

# GraphQL is not part of the description.
grep -v '^POST /graphql$' "$own" >"$scratch/own"
# The tests' GitHub answers some more than kitt asks.
cat "$scratch/own" "$tools/github-operations.txt" >"$scratch/all"
cut_out api.github.com "$scratch/github.json" "$scratch/all"
cut_out "ghes-$ghes" "$scratch/ghes.json" "$scratch/own"
# Renamed only when whole, and within one file system: nobody sees half a file.
mv "$scratch/github.json" "$spec"
mv "$scratch/ghes.json" "$ghes_spec"
cp "$own" "$scratch/operations"
mv "$scratch/operations" "$spec.operations"
printf '%s\n' "$wanted"
