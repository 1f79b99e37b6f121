"""Clients that are wrong on purpose, each in one way. The conversations must find every one of them. Usage: wrong.py WAY"""

import sys
import time
import urllib.parse
import uuid

import drive
import mainstay_write as kit


def new_key(method, url, headers, body, timeout):
    """A new key for every attempt: pays twice."""
    return kit.with_urllib(method, url, {**headers, "Idempotency-Key": str(uuid.uuid4())}, body, timeout)


def other_bytes(method, url, headers, body, timeout):
    """Makes the body anew for every attempt, not quite the same."""
    return kit.with_urllib(method, url, headers, body and body + b" " * ("Prefer" in headers), timeout)


def redirects(method, url, headers, body, timeout):
    """Goes where it is sent."""
    answer = kit.with_urllib(method, url, headers, body, timeout)
    if 300 <= answer.status < 400:
        return kit.with_urllib("GET", urllib.parse.urljoin(url, answer.headers["location"]), headers, None, timeout)
    return answer


def status_first(answer):
    """Believes the status."""
    return kit.DOUBT if answer is None else kit.DONE if answer.status < 300 else kit.DECLINED


def no_answer_is_failure(send, *request):
    try:
        return send(*request)
    except OSError:
        return kit.Answer(504, {"mainstay-outcome": "failed"}, b"")


def refusal_ends_the_doubt(answer):
    """Takes "nothing happened" to this repeat for "nothing ever happened"."""
    fact = right_fact(answer)
    return kit.NOTHING if fact == kit.REFUSED else fact


def state_alone(send, operation, headers, timeout, refusal):
    """Reads how the operation was settled, and not whether that still holds."""
    document = kit._try(send, "GET", operation, headers, None, timeout)
    return (kit.NOTHING if document and b'"state":"not_executed"' in document.body else kit.REFUSED), refusal


def forgets(store, **options):
    """Starts over after a restart."""
    return {key: kit.write(kit.Request(*saved[:4]), **options) for key, saved in list(store.items())}


def repeats_the_forgotten(store, **options):
    """Takes up whatever there is, however old."""
    return right_resume(store, tombstone=float("inf"), **options)


def young_again(store, **options):
    """Takes the time of the last attempt for that of the first."""
    for key, saved in list(store.items()):
        store[key] = [*saved[:4], time.time()]
    return right_resume(store, **options)


def old_address(url, answer):
    """Takes what an address says for the word about attempts that were sent after it was named."""
    named[url] = right_location(url, answer) or named.get(url)
    return named[url]


named, right_location = {}, kit.location_of
right_fact, right_resume = kit.fact_of, kit.resume
SENDING = {"new-key": new_key, "other-bytes": other_bytes, "redirects": redirects}
PATCHED = {
    "status-first": ("fact_of", status_first),
    "no-answer-is-failure": ("_try", no_answer_is_failure),
    "refusal-ends-the-doubt": ("fact_of", refusal_ends_the_doubt),
    "state-alone": ("_ask", state_alone),
    "old-address": ("location_of", old_address),
    "repeats-anywhere": ("keeps_keys", lambda request, rules: True),
    "ignores-what-stands-before": ("rules_of", lambda request: urllib.parse.urljoin(request.url, "/_mainstay/idempotency")),
    "drops-the-only-copy": ("is_all_there_is", lambda answer: False),
    "impatient": ("retry_after", lambda answer: 0.05 if answer and "retry-after" in answer.headers else None),
}
RESUMING = {"forgets": forgets, "repeats-the-forgotten": repeats_the_forgotten, "young-again": young_again}
WAYS = [*SENDING, *PATCHED, *RESUMING]

if __name__ == "__main__":
    way = sys.argv[1]
    if way in PATCHED:
        setattr(kit, *PATCHED[way])
    drive.play(SENDING.get(way, kit.with_urllib), resume=RESUMING.get(way, kit.resume))
