#!/bin/sh
# Records a deployment from a CI without Python: needs git, curl and sh only. Run it inside the checkout.
#
#   BAMBISLEEP_URL=https://bambisleep.example DEPLOY_TOKEN=bsd_… sh record-deploy.sh
#
# Optional: DEPLOY_SERVICE DEPLOY_ENVIRONMENT DEPLOY_VERSION DEPLOY_STATUS DEPLOY_KIND DEPLOY_EXTERNAL_ID DEPLOY_URL
# DEPLOY_ACTOR, and DEPLOY_PREVIOUS, the commit where the range begins (default: the last succeeded deployment there,
# for which the token needs the scope `read`).
set -eu

: "${BAMBISLEEP_URL:?is not set}" "${DEPLOY_TOKEN:?is not set}"
service=${DEPLOY_SERVICE:-bambisleep}
environment=${DEPLOY_ENVIRONMENT:-production}
status=${DEPLOY_STATUS:-succeeded}
endpoint=${BAMBISLEEP_URL%/}/dora/deployments

# In a directory of our own: the token is on no command line, where every user of the machine could read it.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'header = "Authorization: Bearer %s"\n' "$DEPLOY_TOKEN" >"$work/curlrc"

ask() { # ask OPTIONS…: the answer is in $work/answer; anything but 2xx ends the script
    code=$(curl --config "$work/curlrc" --silent --show-error --max-time 30 --retry 5 --retry-connrefused \
        --retry-max-time 120 --output "$work/answer" --write-out '%{http_code}' "$@" "$endpoint") || exit 1
    case $code in
        2??) ;;
        *) printf '%s answered %s: ' "$endpoint" "$code" >&2; cat "$work/answer" >&2; echo >&2; exit 1 ;;
    esac
}

text() { # text VALUE: a JSON string; control characters, which no name needs, are dropped
    printf '"%s"' "$(printf '%s' "$1" | LC_ALL=C tr -d '\000-\037\177' | sed 's/\\/\\\\/g; s/"/\\"/g')"
}

sha=$(git rev-parse --verify HEAD)
version=${DEPLOY_VERSION:-$(git describe --tags --always)}
if [ "$(git rev-parse --is-shallow-repository)" = true ]; then
    echo "This checkout is shallow: fetch the whole history first (git fetch --unshallow --tags)." >&2
    exit 1
fi

previous=${DEPLOY_PREVIOUS:-}
if [ -z "$previous" ]; then
    ask --get --data-urlencode "service=$service" --data-urlencode "environment=$environment" \
        --data status=succeeded --data limit=1
    previous=$(sed -n 's/.*"sha": *"\([0-9a-f]*\)".*/\1/p' "$work/answer")
    [ "$previous" != "$sha" ] || previous='' # the same commit deployed again brings none
fi
: >"$work/commits"
if [ -n "$previous" ]; then
    previous=$(git rev-parse --verify "$previous^{commit}")
    git log --format='{"sha":"%H","authored_at":"%aI"}' "$previous..$sha" >"$work/commits"
fi

{
    printf '{"service":%s,"environment":%s' "$(text "$service")" "$(text "$environment")"
    printf ',"version":%s,"sha":%s,"status":%s' "$(text "$version")" "$(text "$sha")" "$(text "$status")"
    printf ',"kind":%s' "$(text "${DEPLOY_KIND:-planned}")"
    [ -z "$previous" ] || printf ',"previous":%s' "$(text "$previous")"
    [ -z "${DEPLOY_EXTERNAL_ID:-}" ] || printf ',"external_id":%s' "$(text "$DEPLOY_EXTERNAL_ID")"
    [ -z "${DEPLOY_URL:-}" ] || printf ',"url":%s' "$(text "$DEPLOY_URL")"
    [ -z "${DEPLOY_ACTOR:-}" ] || printf ',"actor":%s' "$(text "$DEPLOY_ACTOR")"
    printf ',"commits":['
    sed '$!s/$/,/' "$work/commits"
    printf ']}'
} >"$work/body"
ask --header 'Content-Type: application/json' --data-binary "@$work/body"
cat "$work/answer"
echo
