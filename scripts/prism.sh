#!/bin/sh
# Prints the path of prism, which holds kitt's requests against GitHub's own API description;
# installs it into the cache on first use (74 MB). Without its install scripts, which report to a
# third party. With KITT_OFFLINE set nothing is fetched.
set -eu

version=5.16.0
cache=${KITT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kitt-action}
folder=$cache/prism-$version
program=$folder/node_modules/.bin/prism

if [ ! -x "$program" ]; then
    if [ -n "${KITT_OFFLINE:-}" ]; then
        echo "prism: $program is missing" >&2
        exit 1
    fi
    mkdir -p "$cache"
    scratch=$(mktemp -d "$cache/prism-making.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    SCARF_ANALYTICS=false npm install --prefix "$scratch" --no-save --ignore-scripts --no-audit \
        --no-fund --loglevel=error "@stoplight/prism-cli@$version" >&2
    # Another run may have been faster.
    mv -T "$scratch" "$folder" 2>/dev/null || [ -x "$program" ]
fi
printf '%s\n' "$program"
