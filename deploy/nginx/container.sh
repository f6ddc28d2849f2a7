#!/bin/sh
# nginx in a container, as its own user and never root: nginx-tls.conf with the site's name, its user taken out, and the
# processes of the compose file instead of upstream.conf's. With the word `reload`, in the container that runs already:
# the same from the files as they are now, which nginx takes without a pause.
set -eu
here=$(dirname "$0")
run=${RUN_DIR:-/run/nginx}
mkdir -p "$run/bambisleep"
for file in "$here"/*.conf; do
    ln -sfn "$file" "$run/bambisleep/$(basename "$file")"
done
ln -sfn "$here/upstream-containers.conf" "$run/bambisleep/upstream.conf"
sed -e "s/members\.example/${DOMAIN:?}/g" -e '/^user /d' -e "s#^pid .*#pid $run/nginx.pid;#" \
    -e 's#^error_log .*#error_log /dev/stderr;#' -e 's#access_log /var/log/nginx/access.log#access_log /dev/stdout#' \
    "$here/nginx-tls.conf" >"$run/nginx.conf"
if [ "${1:-}" = reload ]; then
    exec "${NGINX:-nginx}" -c "$run/nginx.conf" -e /dev/stderr -s reload
fi
exec "${NGINX:-nginx}" -c "$run/nginx.conf" -e /dev/stderr -g 'daemon off;'
