#!/bin/sh
# Makes sure that a Docker daemon answers on this machine.
#
# Does nothing when one answers already. Otherwise, as root: installs docker.io by apt-get where
# dockerd is missing, starts dockerd in the background, detached from this shell, and waits until
# it answers. The daemon is left running. Its log lies outside the checkout.
#
# Environment: KITT_DOCKERD_LOG (default /var/log/kitt-dockerd.log), KITT_DOCKERD_WAIT (seconds
# per attempt, default 60). Ends with 0 when `docker version` answers, else with 1.
set -eu

log=${KITT_DOCKERD_LOG:-/var/log/kitt-dockerd.log}
wait_seconds=${KITT_DOCKERD_WAIT:-60}

say() { printf 'docker-up: %s\n' "$*" >&2; }

fail() {
    say "error: $*"
    if [ -s "$log" ]; then
        say "the last lines of $log:"
        tail -n 20 "$log" >&2
    fi
    exit 1
}

# A hanging daemon must not hang the caller.
answers() { timeout 10 docker version >/dev/null 2>&1; }

report() {
    say "$(timeout 10 docker version --format 'daemon {{.Server.Version}}, API {{.Server.APIVersion}}') answers; $(timeout 10 docker info --format 'storage {{.Driver}}, cgroup v{{.CgroupVersion}}')"
}

install_docker() {
    command -v apt-get >/dev/null 2>&1 || fail "dockerd is missing and there is no apt-get: install Docker by hand"
    say "installing docker.io"
    export DEBIAN_FRONTEND=noninteractive
    # Without this the package's own start script may race with ours.
    export RUNLEVEL=1
    if ! apt-get install -y -q docker.io >>"$log" 2>&1; then
        apt-get update -q >>"$log" 2>&1 || fail "apt-get update failed"
        apt-get install -y -q docker.io >>"$log" 2>&1 || fail "apt-get could not install docker.io"
    fi
}

# Starts dockerd with the given flags and waits. 0: it answers; 1: it ended or never answered.
try_dockerd() {
    say "starting dockerd${1:+ with $*} (log: $log)"
    printf '\n== dockerd %s\n' "$*" >>"$log"
    setsid dockerd "$@" </dev/null >>"$log" 2>&1 &
    daemon=$!
    waited=0
    while [ "$waited" -lt "$wait_seconds" ]; do
        if answers; then
            return 0
        fi
        if ! kill -0 "$daemon" 2>/dev/null; then
            return 1
        fi
        sleep 1
        waited=$((waited + 1))
    done
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    return 1
}

# True when what ended the newest attempt matches the pattern. Only errors count: a healthy start
# talks of iptables and storage too.
last_attempt_says() {
    awk '/^== dockerd/ { text = ""; next } { text = text $0 "\n" } END { printf "%s", text }' "$log" |
        grep -iE 'failed|fatal|level=error' | grep -qiE "$1"
}

if command -v docker >/dev/null 2>&1 && answers; then
    report
    exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
    fail "no Docker daemon answers and we are not root: start one, or add this user to the group docker"
fi

if ! mkdir -p "$(dirname "$log")" || ! : >>"$log"; then
    log=$(mktemp "${TMPDIR:-/tmp}/kitt-dockerd.XXXXXX")
fi

if ! command -v dockerd >/dev/null 2>&1 || ! command -v docker >/dev/null 2>&1; then
    install_docker
    if answers; then
        report
        exit 0
    fi
fi

# Two callers at once must not start two daemons: the second waits for the first.
exec 9>"${TMPDIR:-/tmp}/kitt-docker-up.lock"
flock -w $((wait_seconds * 3)) 9 || fail "another docker-up.sh has been at work for too long"
if answers; then
    report
    exit 0
fi

# From what a host usually has to what a bare virtual machine can do; each step says why.
set --
for attempt in 1 2 3; do
    # The daemon must not inherit the lock.
    if try_dockerd "$@" 9>&-; then
        report
        exit 0
    fi
    [ "$attempt" -lt 3 ] || break
    if last_attempt_says 'iptables|nf_tables|bridge|netlink|nat'; then
        say "the kernel or its tools do not let dockerd set up its network: next try without iptables"
        say "(published ports then go through docker's own proxy)"
        set -- "$@" --iptables=false --ip6tables=false
    elif last_attempt_says 'overlay|storage|graphdriver|snapshotter'; then
        say "the usual storage driver does not work here: next try with vfs (slow, needs more disk)"
        set -- "$@" --storage-driver=vfs
    else
        break
    fi
done
fail "dockerd does not start here"
