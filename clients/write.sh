#!/usr/bin/env bash
# A write that happens once, through Mainstay, with curl. To be copied.
#
#   write.sh KEY PATIENCE_SECONDS curl-arguments…      write.sh "$(uuidgen)" 60 -d @payment.json http://pay/payments
#
# Prints the answer's body. Exit codes: 0 done; 1 declined (a new attempt needs a new key); 2 nothing happened (the same key may be
# used again); 3 unknown: it may have happened, so run it again with the same key and body, never with a new key; the address of
# the operation is on stderr. KEY `new` makes one and says it there; any other is taken as used before. No -L, no --retry: the first
# follows redirects, the second knows nothing of outcomes. Credentials are those of the arguments.
set -uo pipefail
key=$1 until=$((SECONDS + $2)) attempt=${ATTEMPT:-15} in_doubt=1
if [ "$key" = new ]; then key=$(cat /proc/sys/kernel/random/uuid) in_doubt=0 && echo "key: $key" >&2; fi
shift 2
url=${*: -1}
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
operation='' pause=1 prefer=()

header() { tr -d '\r' <"$home/head" | awk -v name="$1:" 'tolower($1) == name { sub(/^[^ ]* */, ""); value = $0 } END { print value }'; }
says() { grep -Eq "[{,][[:space:]]*\"$1\"[[:space:]]*:[[:space:]]*\"$2\"" "$home/body"; }
send() { # curl-arguments…: the status, 000 if there was no answer
    : >"$home/head" && : >"$home/body"
    status=$(curl -sS -m "$attempt" -D "$home/head" -o "$home/body" -w '%{http_code}' "$@" 2>/dev/null) || status=000
}
end() { # CODE
    if [ "$1" = 3 ]; then echo "unknown: $operation" >&2; else cat "$home/body"; fi
    exit "$1"
}

# What the answer says of the write: first in Mainstay's own word, and only without one by its status.
fact() {
    local outcome
    outcome=$(header mainstay-outcome)
    case "$status:$outcome" in
        000:*) echo unknown ;;
        *:none) echo refused ;;
        *:in-progress) echo unknown ;;
        *:?*) echo "$outcome" ;;
        *) if [ -n "$(header mainstay-error)" ]; then # no key protects here: what may have happened must not be sent again
               if says effect none; then echo refused; else echo unprotected; fi
           else
               case $status in 2??) echo succeeded ;; 408) echo unknown ;; 4??) echo refused ;; *) echo unknown ;; esac
           fi ;;
    esac
}

while :; do
    send -X POST -H "Idempotency-Key: $key" "${prefer[@]}" "$@"
    fact=$(fact) wait=$(header retry-after) refused_with=$status place=$(header operation-location)
    case $place in /*) operation=$(sed -E 's#^([a-z]+://[^/]*).*#\1#' <<<"$url")$place ;; esac
    if [ "$fact$in_doubt" = refused1 ] && [ -n "$operation" ]; then # the operation's document, where a repeat is refused
        send "$operation"
        if [ "$status" = 200 ]; then
            if says effect happened; then
                cp "$home/body" "$home/document" && send "$operation/result"
                [ "$(header mainstay-outcome)" = succeeded ] || cp "$home/document" "$home/body"
                end 0
            fi
            if says effect none && says state failed; then end 1; fi
            if says effect none && says state not_executed; then fact=not_executed; fi
        fi
    fi
    case $fact in
        succeeded) end 0 ;;
        failed) end 1 ;;
        unknown) in_doubt=1 worth=1 ;;
        unprotected) in_doubt=1 worth=0 ;;
        *) [ "$fact" = refused ] || in_doubt=0
           case $refused_with:$wait in 408:* | 425:* | 429:* | 5??:* | *:?*) worth=1 ;; *) worth=0 ;; esac ;;
    esac
    [[ $wait =~ ^[0-9]+$ ]] || { [ -n "$wait" ] && wait=$(($(date -d "$wait" +%s) - $(date +%s))); wait=${wait:-$pause}; }
    if [ $worth = 0 ] || [ $((SECONDS + wait)) -ge "$until" ]; then
        if [ $in_doubt = 1 ]; then end 3; else end 2; fi
    fi
    sleep "$wait"
    pause=$((pause < 5 ? pause + 1 : 5)) prefer=(-H "Prefer: wait=$((attempt / 2))")
done
