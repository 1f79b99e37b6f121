#!/usr/bin/env bash
# The lines of drive.py, against the curl recipe. What a shell keeps across a restart is in its own hands: the body in a file, the key in
# another.
while IFS=$'\t' read -r url key patience attempt store body; do
    mkdir -p "$store"
    if [ "$url" = resume ]; then
        { read -r url; read -r body; } <"$store/open"
    else
        printf '%s\n' "$url" "$body" >"$store/open"
    fi
    if [ "$key" = - ] || [ -f "$store/key" ]; then key=@$store/key; fi
    told=$(ATTEMPT=${attempt%.*} "$(dirname "$0")/../write.sh" "$key" "${patience%.*}" -H 'Content-Type: application/json' -d "$body" "$url" 2>"$store/said")
    case $? in
        0) word='done' ;;
        1) word=declined ;;
        2) word=nothing ;;
        *) word=unknown told=$(sed -n 's/^unknown: //p' "$store/said" | sed 's/^too old to be repeated, ask/too old:/') ;;
    esac
    [ "$word" = unknown ] || rm "$store/open"
    printf '%s\t%s\n' "$word" "$told"
done
