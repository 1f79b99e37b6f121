#!/usr/bin/env bash
# A PostgreSQL of a page's own, in ./pg, at 127.0.0.1:5432, without passwords. Usage: postgres.sh serve | stop | as COMMAND…
#
# It refuses root. Where a page is played, root may be the only user there is (play.py's own namespace): then one more namespace, in which it
# is called nobody. Where there are no namespaces, root becomes nobody.
set -euo pipefail
programs=$(dirname "$(command -v initdb || printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -1)")
nobody=()
if [ "$(id -u)" = 0 ]; then
    nobody=(unshare --user --map-user=65534 --map-group=65534)
    "${nobody[@]}" true 2>/dev/null || nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
fi
case $1 in
    serve)
        mkdir -m 700 pg
        if [ "${nobody[0]-}" = setpriv ]; then chmod 711 . && chown 65534:65534 pg; fi
        "${nobody[@]}" "$programs/initdb" --no-sync --auth=trust --encoding=UTF8 --no-locale -U postgres -D pg >/dev/null
        exec "${nobody[@]}" "$programs/postgres" -D pg -k '' -p 5432 -c listen_addresses=127.0.0.1 -c max_connections=40 -c shared_buffers=16MB
        ;;
    stop)
        kill -INT "$(head -1 pg/postmaster.pid)"
        while [ -e pg/postmaster.pid ]; do sleep 0.05; done
        ;;
    as) exec "${nobody[@]}" "${@:2}" ;;
esac
