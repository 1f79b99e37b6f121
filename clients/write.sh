#!/usr/bin/env bash
# A write that happens once, through Mainstay, with curl. To be copied.
#
#   write.sh KEY PATIENCE_SECONDS curl-arguments…      write.sh @order-7.key 60 -d @payment.json http://pay/payments
#
# Prints the answer's body. Exit codes: 0 done; 1 declined (a new attempt needs a new key); 2 nothing happened (the same key may be
# used again); 3 unknown: it may have happened, so run it again with the same key and body, never with a new key; the address of
# the operation is on stderr. KEY `@FILE` keeps a new one in a file, with the time, until the outcome is known. Once Mainstay has
# forgotten a key, it is a new write: what was begun TOMBSTONE seconds ago (30 days: the least `tombstone_seconds` there is), or nobody
# knows when, is 3 and not sent: ask at the address, or have a person look. KEY `new` makes one and says it; any other is taken as used
# before; how long ago is yours to know. No -L, no --retry: the first follows redirects, the second knows nothing of outcomes.
# Credentials are those of the arguments. Only a new key is sent where nothing shows that keys are kept (/_mainstay/idempotency).
set -uo pipefail
key=$1 patience=$2 attempt=${ATTEMPT:-15} in_doubt=1 fresh=$(cat /proc/sys/kernel/random/uuid) file=''
shift 2
url=${*: -1}
origin=$(sed -E 's#^([a-z]+://[^/]*).*#\1#' <<<"$url")
path=${url#"$origin"} path=${path%%[?#]*}
case $key in
    new) key=$fresh in_doubt=0 && echo "key: $key" >&2 ;;
    @*) file=${key#@}
        if [ ! -e "$file" ]; then # if another one makes it meanwhile, it is used
            echo "$fresh $(date +%s)" >"$file.$$" && sync "$file.$$" && ln "$file.$$" "$file" && sync "$(dirname "$file")" && in_doubt=0; rm -f "$file.$$"
        fi
        [ -e "$file" ] || exit 2 # nothing is sent that cannot be kept
        began='' && read -r key began <"$file"
        [[ $began =~ ^[0-9]+$ ]] && known=$((began + ${TOMBSTONE:-2592000} - $(date +%s))) || known=0
        asked=$origin/_mainstay/operations?key=$key\&path=$(sed 's/%/%25/g; s/&/%26/g; s/+/%2B/g' <<<"${path:-/}")
        if [ $known -le 0 ]; then echo "unknown: too old to be repeated, ask $asked or have a person look" >&2; exit 3; fi
        patience=$((known < patience ? known : patience)) ;;
esac
until=$((SECONDS + patience)) home=$(mktemp -d) && trap 'rm -rf "$home"' EXIT
operation='' newest=0 kept='' pause=1 prefer=()

header() { tr -d '\r' <"$home/head" | awk -v name="$1:" 'tolower($1) == name { sub(/^[^ ]* */, ""); value = $0 } END { print value }'; }
says() { grep -Eq "[{,][[:space:]]*\"$1\"[[:space:]]*:[[:space:]]*\"$2\"" "$home/body"; }
send() { # curl-arguments…: the status, 000 if there was no answer
    : >"$home/head" && : >"$home/body"
    status=$(curl -sS -m "$attempt" -D "$home/head" -o "$home/body" -w '%{http_code}' "$@" 2>/dev/null) || status=000
}
end() { # CODE
    [ $newest = 1 ] || operation=''
    if [ "$1" = 3 ]; then echo "unknown: $operation" >&2; else cat "$home/body" && rm -f "$file"; fi
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

# Whether keys are kept there: where they are not, a repeat is a second write. 2: nobody could be asked now.
keeps() {
    local want object='\{([^{}]|\{([^{}]|\{[^{}]*\})*\})*\}'
    # Below `control.path`; an older Mainstay lists all of its routes.
    send -G -d method=POST --data-urlencode "path=${path:-/}" "$origin/_mainstay/idempotency"
    case $status in 000 | 429 | 5??) return 2 ;; 200) ;; *) return 1 ;; esac
    while read -r want; do
        [[ $path =~ ^$want$ ]] && return 0
    done < <(sed 's/^[^[]*\[//' "$home/body" | grep -oE "$object" | grep '"methods":\[[^]]*"POST"' | grep -i '"header":"idempotency-key"' |
        sed -E 's/.*"path":"([^"]*)".*/\1/; s/[.+*()^$?|\\]/\\&/g; s#/\\\*\\\*$#(/.*)?#; s/\{[^{}]*\}/[^\/]+/g')
    return 1
}

while :; do
    if [ $in_doubt = 1 ] && [ "$kept" != 0 ]; then
        keeps && kept=0 || kept=$?
        if [ $kept = 1 ]; then end 3; fi
    fi
    status=000 && : >"$home/head" && : >"$home/body"
    if [ $in_doubt = 0 ] || [ "$kept" = 0 ]; then send -X POST -H "Idempotency-Key: $key" "${prefer[@]}" "$@"; fi
    if [ -n "$(header mainstay-outcome)" ]; then kept=0; fi
    if [ "$(header mainstay-outcome)" = in-progress ] && [[ $status = 2?? ]]; then cp "$home/body" "$home/first"; fi # it comes once
    fact=$(fact) wait=$(header retry-after) refused_with=$status place=$(header operation-location)
    # An attempt that names no address may have begun another operation: then the old one's "not executed" is not about it.
    if [ "$fact" != refused ]; then newest=0; fi
    case $place in
        /*) operation=$origin$place newest=1 ;;
        "$origin"/*) operation=$place newest=1 ;;
    esac
    if [ "$fact$in_doubt" = refused1 ] && [ -n "$operation" ]; then # the operation's document, where a repeat is refused
        send "$operation"
        if [ "$status" = 200 ]; then
            if says effect happened; then
                cp "$home/body" "$home/document" && send "$operation/result"
                [ "$(header mainstay-outcome)" = succeeded ] || cp "$home/document" "$home/body"
                end 0
            fi
            if says effect none && says state failed; then end 1; fi
            if [ $newest = 1 ] && says effect none && says state not_executed; then fact=not_executed; fi
        fi
    fi
    case $fact in
        succeeded) if [ -f "$home/first" ] && [ -n "$(header mainstay-error)" ]; then cp "$home/first" "$home/body"; fi && end 0 ;;
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
