#!/bin/sh
# Alertmanager expands no environment variables. This copies its configuration into memory, writes each secret into a
# file beside it, leaves out what has no address, says so, and becomes Alertmanager.
set -eu
umask 077
run=${RUN_DIR:-/run/bambisleep}
configuration=$run/alertmanager.yml
cat "${CONFIGURATION:-/etc/alertmanager/alertmanager.yml}" >"$configuration"

edit() { # a sed script; not `sed -i`, whose form differs from system to system
  sed "$1" "$configuration" >"$configuration.new" && mv "$configuration.new" "$configuration"
}

written() { # an address as the replacement of an edit, where & would mean what was found
  printf %s "$1" | sed 's/&/\\&/g'
}

refuse_unless_address() { # the variable's name, its value; the value is a secret and is not shown
  case $2 in
    *[[:space:]\|\\\'\"]* | *'#'*) ;;
    http://?* | https://?*) return 0 ;;
  esac
  echo "$1 is no address: it must begin with https:// and hold no spaces or quotes." >&2
  exit 1
}

for channel in critical warnings general; do
  name=SLACK_WEBHOOK_URL_$(echo "$channel" | tr '[:lower:]' '[:upper:]')
  eval "url=\${$name:-}"
  if [ -z "$url" ]; then
    name=SLACK_WEBHOOK_URL
    url=${SLACK_WEBHOOK_URL:-}
  fi
  if [ -n "$url" ]; then
    refuse_unless_address "$name" "$url"
    printf %s "$url" >"$run/slack-$channel"
  else
    edit "/# slack $channel: begin/,/# slack $channel: end/d"
    echo "No Slack for #alerts-$channel: neither SLACK_WEBHOOK_URL nor SLACK_WEBHOOK_URL_$(echo "$channel" | tr '[:lower:]' '[:upper:]') is set." >&2
  fi
done

if [ -n "${WATCHDOG_URL:-}" ]; then
  refuse_unless_address WATCHDOG_URL "$WATCHDOG_URL"
  edit "s|http://watchdog.invalid/|$(written "$WATCHDOG_URL")|"
else
  edit "/# watchdog: begin/,/# watchdog: end/d"
  echo "Nobody is told that alerting works: WATCHDOG_URL is not set." >&2
fi

if [ -n "${ALERTS_WEBHOOK_URL:-}" ]; then
  refuse_unless_address ALERTS_WEBHOOK_URL "$ALERTS_WEBHOOK_URL"
  edit "s|http://host.docker.internal:3000/alerts|$(written "$ALERTS_WEBHOOK_URL")|"
fi

if [ -n "${ALERTS_TOKEN:-}" ]; then
  printf %s "$ALERTS_TOKEN" >"$run/alerts-token"
else
  cat "${SHARED_TOKEN:-/shared/alerts-token}" >"$run/alerts-token"
fi

exec "${ALERTMANAGER:-/bin/alertmanager}" "--config.file=$configuration" "$@"
