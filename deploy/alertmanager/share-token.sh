#!/bin/sh
# The token by which Alertmanager posts to the site's /alerts is made once, by whichever of the two starts first, and
# kept in var/shared of the checkout. This makes it where it is missing, and hands Alertmanager a copy that it can read.
set -eu
umask 077
site=${SITE_DIR:-/site}
shared=${SHARED_DIR:-/shared}
if [ ! -s "$site/alerts-token" ]; then
  head -c 32 /dev/urandom | base64 | tr -d '/+=\n' >"$site/.alerts-token.$$"
  chown "$(stat -c %u:%g "$site")" "$site/.alerts-token.$$"
  ln "$site/.alerts-token.$$" "$site/alerts-token" 2>/dev/null || true # the site got there first
  rm -f "$site/.alerts-token.$$"
fi
cat "$site/alerts-token" >"$shared/alerts-token"
chown "${OWNER:-65534:65534}" "$shared/alerts-token"
