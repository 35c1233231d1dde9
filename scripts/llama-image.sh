#!/bin/sh
# Makes a real engine to measure: llama.cpp's server in a local Docker image, and a tiny model.
#
# Builds llama-server from the source package of llama-cpp-python (about 12 minutes on two idle
# cores, once), writes a model with random weights by tiny_gguf.py, and packs the server and its
# shared libraries into an image by `docker import`. No registry but Python's is asked. Needs
# python3 with venv, a C++ compiler and a Docker daemon (docker-up.sh).
#
# Everything is kept in ${KITT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kitt-action}, keyed by
# the package's version; each step puts its result in place by a rename at its very end, so a
# half-finished step is done again. Progress goes to stderr, and at the end to stdout:
#   KITT_LLAMA_IMAGE=…    the image's reference
#   KITT_LLAMA_MODEL=…    the model's absolute path
#   KITT_LLAMA_SERVER=…   the server's absolute path, for running it on the host
set -eu
umask 022

version=0.3.36
sdist_sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
flags="-DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF -DGGML_NATIVE=OFF -DBUILD_SHARED_LIBS=OFF -DGGML_OPENMP=OFF"
image=kitt-llama-cpp:local
label=dev.kitt-action.llama-server

scripts=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${KITT_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:?set HOME or KITT_CACHE_DIR}/.cache}/kitt-action}
work=$cache/llama-cpp-$version
log=$work/build.log

say() { printf 'llama-image: %s\n' "$*" >&2; }

fail() {
    say "error: $*"
    if [ -s "$log" ]; then
        say "the last lines of $log:"
        tail -n 20 "$log" >&2
    fi
    exit 1
}

sha256() { sha256sum "$1" | cut -d ' ' -f 1; }

make_venv() {
    [ ! -e "$work/venv/complete" ] || return 0
    say "installing the build tools"
    rm -rf "$work/venv"
    python3 -m venv "$work/venv" >>"$log" 2>&1 || fail "python3 -m venv failed (Debian: apt-get install python3-venv)"
    "$work/venv/bin/pip" install -q scikit-build-core cmake ninja gguf numpy >>"$log" 2>&1 || fail "pip could not install the build tools"
    : >"$work/venv/complete"
}

fetch_source() {
    sdist=$work/llama_cpp_python-$version.tar.gz
    if [ ! -e "$sdist" ]; then
        say "downloading llama-cpp-python $version"
        rm -rf "$work/download"
        "$work/venv/bin/pip" download -q --no-deps --no-binary :all: --no-build-isolation \
            -d "$work/download" "llama-cpp-python==$version" >>"$log" 2>&1 || fail "pip could not download the source"
        [ "$(sha256 "$work/download/${sdist##*/}")" = "$sdist_sha256" ] || fail "the source package is not the one expected: its SHA-256 differs"
        mv "$work/download/${sdist##*/}" "$sdist"
        rm -rf "$work/download"
    fi
    if [ ! -d "$work/source" ]; then
        rm -rf "$work/source.part"
        mkdir "$work/source.part"
        tar -xzf "$sdist" -C "$work/source.part" --strip-components=1 || fail "the source cannot be unpacked"
        mv "$work/source.part" "$work/source"
    fi
}

build_server() {
    [ ! -e "$work/llama-server" ] || return 0
    make_venv
    fetch_source
    command -v c++ >/dev/null 2>&1 || fail "no C++ compiler (Debian: apt-get install g++)"
    say "building llama-server, about 12 minutes on two cores (log: $log)"
    # $flags is a list of words.
    # shellcheck disable=SC2086
    "$work/venv/bin/cmake" -G Ninja -DCMAKE_MAKE_PROGRAM="$work/venv/bin/ninja" $flags \
        -S "$work/source/vendor/llama.cpp" -B "$work/build" >>"$log" 2>&1 || fail "cmake failed"
    "$work/venv/bin/cmake" --build "$work/build" --target llama-server >>"$log" 2>&1 || fail "the build failed"
    cp "$work/build/bin/llama-server" "$work/llama-server.part"
    mv "$work/llama-server.part" "$work/llama-server"
}

write_model() {
    key=$(sha256 "$scripts/tiny_gguf.py" | cut -c 1-12)
    model=$work/models/tiny-$key.gguf
    [ ! -e "$model" ] || return 0
    make_venv
    say "writing the model, half a minute"
    mkdir -p "$work/models"
    "$work/venv/bin/python" "$scripts/tiny_gguf.py" "$model" >>"$log" 2>&1 || fail "tiny_gguf.py failed"
}

# The loader at its own path, every library in one folder that the image's environment names.
pack_image() {
    hash=$(sha256 "$work/llama-server")
    made=$(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null) || made=
    [ "$made" != "$hash" ] || return 0
    say "packing $image"
    root=$work/root
    rm -rf "$root"
    mkdir -p "$root/lib/kitt" "$root/etc" "$root/tmp" "$root/models"
    chmod 1777 "$root/tmp"
    printf 'root:x:0:0:root:/:/nonexistent\n' >"$root/etc/passwd"
    cp "$work/llama-server" "$root/llama-server"
    ldd "$work/llama-server" >"$work/libraries" || fail "ldd cannot read llama-server"
    if grep -q 'not found' "$work/libraries"; then
        fail "llama-server lacks shared libraries: remove $work/llama-server and run this again"
    fi
    awk '$2 == "=>" { print $3 }' "$work/libraries" | while IFS= read -r library; do
        cp -L "$library" "$root/lib/kitt/"
    done
    loader=$(awk '$1 ~ /^\// { print $1 }' "$work/libraries")
    mkdir -p "$root$(dirname "$loader")"
    cp -L "$loader" "$root$loader"
    tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf - . |
        docker import -c 'ENTRYPOINT ["/llama-server"]' -c 'ENV LD_LIBRARY_PATH=/lib/kitt' \
            -c "LABEL $label=$hash" - "$image" >>"$log" 2>&1 || fail "docker import failed"
    rm -rf "$root"
}

mkdir -p "$work"
: >>"$log"
# Two callers must not build into each other; the second finds everything done.
exec 9>"$work/lock"
flock 9

build_server
write_model
pack_image
printf 'KITT_LLAMA_IMAGE=%s\nKITT_LLAMA_MODEL=%s\nKITT_LLAMA_SERVER=%s\n' "$image" "$model" "$work/llama-server"
