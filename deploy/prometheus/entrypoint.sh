#!/bin/sh
# Prometheus reads its scrape token from a file: this writes METRICS_TOKEN into one, in memory, and becomes Prometheus.
set -eu
umask 077
run=${RUN_DIR:-/run/bambisleep}
printf %s "${METRICS_TOKEN:-}" >"$run/metrics-token"
exec "${PROMETHEUS:-/bin/prometheus}" "$@"
