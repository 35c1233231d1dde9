#!/usr/bin/env bash
# What kitt adds to an engine's own start: the time from the first good answer of an engine in a
# container to the first request of the load, and to the moment the measuring code may begin.
# Builds kitt and its tests optimised; needs a Docker daemon (docker-up.sh). One line a figure.
#   KITT_BENCH_PROFILE  cargo's profile (release); dev for a quick look
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

KITT_TEST_DOCKER=required nice -n 5 cargo test --locked --profile "${KITT_BENCH_PROFILE:-release}" \
  --test it -- --nocapture --test-threads 1 \
  docker::startup:: docker::readiness::readiness_is_noticed 2>&1 |
  tee /dev/stderr | grep -E '^(.*\.\.\. )?(an engine that is ready|ready after)' | sed 's/^.*\.\.\. //'
