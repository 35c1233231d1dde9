#!/usr/bin/env bash
# Puts a verified `kitt` on this machine and tells the next steps where it is.
#
# In:  KITT_INPUT_BINARY_PATH, KITT_INPUT_VERSION, KITT_INPUT_CHECKSUM,
#      KITT_INPUT_DOWNLOAD_BASE_URL (inputs of the action), KITT_BINARY_PATH and
#      KITT_DOWNLOAD_BASE_URL (the runner's own defaults), RUNNER_TEMP, RUNNER_TOOL_CACHE.
# Out: `path` (the binary) and `scratch` (an empty private directory) in GITHUB_OUTPUT.
#
# Runs in bash 3.2 with nothing but tar, a SHA-256 tool and curl or wget: GPU hosts have little
# more. It is given no token, so it can send none.
set -euo pipefail
umask 077
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pin=$here/pin

# Text from inputs and servers reaches the log as one harmless line: no control characters, no
# legacy `##[command]`, no escapes of workflow commands.
plain() {
  printf '%s' "$1" | tr '[:cntrl:]' ' ' | sed -e 's/##\[/## [/g' -e 's/%/%25/g' | cut -c1-600
}
say() { printf 'kitt: %s\n' "$(plain "$1")"; }
die() {
  printf '::error title=kitt could not be installed::%s\n' "$(plain "$1")" >&2
  exit 1
}

target() {
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64 | Linux-amd64) echo x86_64-unknown-linux-gnu ;;
    Linux-aarch64 | Linux-arm64) echo aarch64-unknown-linux-gnu ;;
    Darwin-arm64) echo aarch64-apple-darwin ;;
    *) return 1 ;;
  esac
}

sha256_of() {
  if command -v sha256sum >/dev/null 2>&1; then
    sha256sum <"$1" | cut -d' ' -f1
  elif command -v shasum >/dev/null 2>&1; then
    shasum -a 256 <"$1" | cut -d' ' -f1
  else
    die "neither sha256sum nor shasum is on this runner, and an archive that cannot be verified is not run: install coreutils, or set binary-path to a kitt that is already here"
  fi
}

# Only https, a mounted share, or a server on this very machine: anything else would send the
# request in the clear.
check_base() {
  case $1 in
    *[[:space:][:cntrl:]]*) die "download-base-url holds white space or control characters" ;;
    file:///* | https://?*) ;;
    http://*) ;;
    *) die "download-base-url must start with https:// or file:///: '$1'" ;;
  esac
  local authority=${1#*://}
  authority=${authority%%[/?#]*}
  case $authority in
    *@*) die "download-base-url must not hold a user name or password: put them into the runner's .netrc or proxy settings" ;;
  esac
  case $1 in
    http://*)
      case $authority in
        127.0.0.1 | 127.0.0.1:* | localhost | localhost:* | '[::1]' | '[::1]:'*) ;;
        *) die "download-base-url must use https://: plain http is taken from this machine only, not from '$authority'" ;;
      esac
      ;;
  esac
}

with_curl() {
  local address=$1 file=$2
  case $address in
    http://*) set -- --proto '=http' --noproxy '*' ;;
    *) set -- --proto '=https' --tlsv1.2 ;;
  esac
  curl "$@" --globoff --location --max-redirs 5 --fail --silent --show-error \
    --retry 5 --retry-connrefused --connect-timeout 20 --max-time 300 --output "$file" "$address"
}

with_wget() {
  local address=$1 file=$2
  case $address in
    http://*) set -- --no-proxy ;;
    *) set -- --https-only ;;
  esac
  # Older ones do not know it, and treat a 502 as final.
  if wget --help 2>&1 | grep -q -e --retry-on-http-error; then
    set -- "$@" --retry-on-http-error=429,500,502,503,504
  fi
  wget "$@" --quiet --tries=6 --waitretry=8 --retry-connrefused --max-redirect=5 --timeout=60 \
    --output-document="$file" "$address"
}

download() {
  local address=$1 file=$2 trouble
  case $address in
    file:///*)
      trouble=$(cp -- "${address#file://}" "$file" 2>&1) && return 0
      ;;
    *)
      if command -v curl >/dev/null 2>&1; then
        trouble=$(with_curl "$address" "$file" 2>&1) && return 0
      elif command -v wget >/dev/null 2>&1; then
        trouble=$(with_wget "$address" "$file" 2>&1) && return 0
      else
        trouble="neither curl nor wget is on this runner"
      fi
      ;;
  esac
  # Each attempt says the same; the last one is enough.
  trouble=${trouble##*$'\n'}
  die "$address could not be fetched (${trouble:-no message}): set download-base-url to a mirror, or binary-path to a kitt that is already on this runner"
}

pinned() { # pinned KEY: the value of a `key value` line of the pin file
  sed -n "s/^$1 //p" "$pin"
}

pinned_sum() { # pinned_sum FILE: its hash, nothing when this commit pins none
  sed -n "s/^\([0-9a-f]\{64\}\) \*$1\$/\1/p" "$pin"
}

# Sets version, sum: from the two inputs together, else from the pin file.
choose_release() {
  local archive=$1
  version=${KITT_INPUT_VERSION:-}
  sum=${KITT_INPUT_CHECKSUM:-}
  if [ -n "$version" ] && [ -z "$sum" ]; then
    die "version needs checksum beside it: the SHA-256 of $archive in that release, from its sha256.sum"
  elif [ -z "$version" ] && [ -n "$sum" ]; then
    die "checksum needs version beside it: without one, the hash in the action's own commit counts"
  elif [ -z "$version" ]; then
    version=$(pinned version)
    sum=$(pinned_sum "$archive")
    if [ -z "$version" ] || [ -z "$sum" ]; then
      die "this commit of the action pins no released binary for ${archive%.tar.gz}: use a released version of the action (a v* tag or its commit), give version and checksum, or set binary-path to a kitt that is already on this runner"
    fi
  fi
  version=${version#v}
  sum=$(printf '%s' "$sum" | tr 'A-F' 'a-f')
  case $version in
    *[!0-9A-Za-z.+-]* | *..* | [!0-9]*) die "version '$version' is not a version such as 1.2.3" ;;
  esac
  case $sum in
    *[!0-9a-f]*) die "checksum '$sum' is not a SHA-256 in hexadecimal" ;;
  esac
  [ ${#sum} -eq 64 ] || die "checksum has ${#sum} characters, a SHA-256 has 64"
}

# Leaves the verified archive in our private directory. What other jobs can write to, the tool
# cache, is copied first and judged afterwards, so nobody can swap it in between.
fetch_archive() {
  local archive=$1 file=$2 base cache kept part got
  cache=${RUNNER_TOOL_CACHE:-$RUNNER_TEMP}/kitt-action
  kept=$cache/$sum-$archive
  if [ -f "$kept" ] && [ ! -L "$kept" ] && cp -- "$kept" "$file" 2>/dev/null; then
    if [ "$(sha256_of "$file")" = "$sum" ]; then
      say "$archive $version comes from the tool cache, its SHA-256 is right"
      return
    fi
    say "the tool cache's $archive has another SHA-256 than it should: fetching it anew"
  fi
  base=${KITT_INPUT_DOWNLOAD_BASE_URL:-${KITT_DOWNLOAD_BASE_URL:-$(pinned base)}}
  base=${base%/}
  check_base "$base"
  download "$base/kitt-v$version/$archive" "$file.part"
  got=$(sha256_of "$file.part")
  [ "$got" = "$sum" ] || die "$base/kitt-v$version/$archive has the SHA-256 $got, expected is $sum: it was not unpacked and nothing of it was run"
  mv -f -- "$file.part" "$file"
  say "$archive $version was downloaded, its SHA-256 is right"
  # A cache that cannot be written costs a download next time, nothing else.
  if mkdir -p "$cache" 2>/dev/null && part=$(mktemp "$cache/part.XXXXXXXX" 2>/dev/null); then
    { cp -- "$file" "$part" && mv -f -- "$part" "$kept"; } 2>/dev/null || rm -f -- "$part"
  fi
}

finish() {
  local binary=$1 answer
  if ! answer=$("$binary" --version 2>&1); then
    die "$binary does not start on this runner: ${answer:-no message}. The released binary needs glibc 2.28 or newer (Alpine has none); set binary-path to a kitt built for this machine"
  fi
  say "using $answer at $binary"
  printf 'path=%s\nscratch=%s\n' "$binary" "$scratch" >>"$GITHUB_OUTPUT"
}

main() {
  scratch=$(mktemp -d "$RUNNER_TEMP/kitt-XXXXXXXX")
  local binary=${KITT_INPUT_BINARY_PATH:-${KITT_BINARY_PATH:-}}
  if [ -n "$binary" ]; then
    case $binary in
      *[[:cntrl:]]*) die "binary-path holds control characters" ;;
      /*) ;;
      *) binary=$PWD/$binary ;;
    esac
    if [ ! -f "$binary" ] || [ ! -x "$binary" ]; then
      die "binary-path '$binary' is not an executable file on this runner"
    fi
    finish "$binary"
    return
  fi
  local triple archive
  triple=$(target) || die "there is no released kitt for $(uname -s) on $(uname -m): build it from source on this machine (cargo build --release) and give its path as binary-path"
  archive=kitt-$triple.tar.gz
  choose_release "$archive"
  fetch_archive "$archive" "$scratch/$archive"
  mkdir "$scratch/bin"
  tar -xzof "$scratch/$archive" -C "$scratch/bin" --strip-components=1 "kitt-$triple/kitt" ||
    die "$archive holds no kitt-$triple/kitt"
  rm -f -- "$scratch/$archive"
  finish "$scratch/bin/kitt"
}

main
