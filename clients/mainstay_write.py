"""A write that happens once, through Mainstay. To be copied; needs the standard library only.

    outcome = write(Request("POST", "http://pay/payments", {"Content-Type": "application/json"}, b'{"amount": 100}'))

gives Done(answer), Failed(answer, declined) or Unknown(operation, key), never a guess. It keeps key and bytes, follows no
redirect, reads `Mainstay-Outcome` before the status, obeys `Retry-After`, asks the operation where repeats are refused, and does
not repeat where nothing shows that keys are kept (mainstay_answer.py).
A `store` (a mapping that outlives the process, as in mainstay_store.py) holds what is open; `resume` takes it up at a restart.
It has the time of each first attempt: once Mainstay has forgotten a key, it is a new write, so that what was begun `tombstone`
seconds ago or more (or nobody knows when) is not sent: Unknown, with `too_old`. Ask at its `operation`, or have a person look.
"""

import http.client
import json
import random
import time
import urllib.request
import uuid
from collections import namedtuple

from mainstay_answer import DECLINED, DONE, DOUBT, NOTHING, REFUSED, UNPROTECTED, Answer
from mainstay_answer import by_key, fact_of, is_all_there_is, keeps_keys, location_of, retry_after, rules_of

Request = namedtuple("Request", "method url headers body")
Done = namedtuple("Done", "answer")  # it happened
Failed = namedtuple("Failed", "answer declined")  # it did not; if `declined`, a new attempt needs a new key
# It may have happened: never use a new key for it. If `too_old`, never repeat it either.
Unknown = namedtuple("Unknown", "operation key too_old", defaults=[False])
TOMBSTONE = 30 * 86400  # seconds: the least `tombstone_seconds` of /_mainstay/idempotency


def write(request, key=None, patience=60.0, store=None, send=None, attempt=15.0, tombstone=TOMBSTONE):
    """A key that you pass may have been used before, so what is only ever refused under it ends as Unknown."""
    in_doubt, key = key is not None, key or str(uuid.uuid4())
    if store is not None:
        (began,) = store[key][len(request) :] or [0] if key in store else [time.time()]
        known = began + tombstone - time.time()
        if known <= 0:
            return Unknown(by_key(request, key), key, True)
        store[key], patience = [*request, began], min(patience, known)
    outcome = _settle(request, key, in_doubt, time.monotonic() + patience, send or with_urllib, attempt)
    if store is not None and not isinstance(outcome, Unknown):
        del store[key]
    return outcome


def resume(store, **options):
    """Takes up what a process that ended has left open: {key: outcome}."""
    return {key: write(Request(*saved[:4]), key, store=store, **options) for key, saved in list(store.items())}


def _settle(request, key, in_doubt, until, send, attempt):
    operation, is_newest, is_kept, first = None, False, False, None
    pause, headers = 0.2, {**request.headers, "Idempotency-Key": key}
    while True:
        left = min(max(0.1, until - time.monotonic()), attempt)
        if in_doubt and not is_kept:  # where no keys are kept, this would be a second write
            is_kept = keeps_keys(request, _try(send, "GET", rules_of(request), request.headers, None, left))
            if is_kept is False:
                return Unknown(operation, key)
        can_send = is_kept or not in_doubt
        answer = _try(send, request.method, request.url, headers, request.body, left) if can_send else None
        fact, place = fact_of(answer), location_of(request.url, answer)
        is_kept = is_kept or answer is not None and "mainstay-outcome" in answer.headers
        # An attempt that names no address may have begun another operation: then the old one's "not executed" is not about it.
        is_newest, operation = bool(place or is_newest and fact == REFUSED), place or operation
        if is_all_there_is(answer):
            first = answer
        if fact == REFUSED and in_doubt and operation:
            fact, answer = _ask(send, operation, request.headers, attempt, answer)
            fact = REFUSED if fact == NOTHING and not is_newest else fact
        if fact in (DONE, DECLINED):
            return Failed(answer, True) if fact == DECLINED else Done(first if first and "mainstay-error" in answer.headers else answer)
        in_doubt = fact in (DOUBT, UNPROTECTED) or in_doubt and fact != NOTHING
        named = retry_after(answer)
        wait, pause = named or pause * random.uniform(0.8, 1.2), min(5, pause * 2)
        worth = fact == DOUBT or fact != UNPROTECTED and (named or answer.status in (408, 425, 429) or answer.status >= 500)
        if not worth or time.monotonic() + wait >= until:
            return Unknown(operation if is_newest else None, key) if in_doubt else Failed(answer, False)
        time.sleep(wait)
        headers["Prefer"] = f"wait={int(max(0, min(until - time.monotonic(), attempt / 2)))}"


def _ask(send, operation, headers, timeout, refusal):
    """The operation's document, where a repeat was refused."""
    document = _try(send, "GET", operation, headers, None, timeout)
    told = json.loads(document.body) if document and document.status == 200 else {}
    if told.get("effect") == "happened":
        result = _try(send, "GET", operation + "/result", headers, None, timeout)
        return DONE, result if result and result.headers.get("mainstay-outcome") == "succeeded" else document
    settled = {"failed": (DECLINED, document), "not_executed": (NOTHING, refusal)}
    return settled.get(told.get("effect") == "none" and told["state"], (REFUSED, refusal))


def _try(send, *request):
    try:
        return send(*request)
    except (OSError, http.client.HTTPException):
        return None


class _AsItCame(urllib.request.HTTPErrorProcessor):
    http_response = https_response = lambda self, request, response: response  # no redirects, no exceptions


def with_urllib(method, url, headers, body, timeout):
    request = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.build_opener(_AsItCame).open(request, timeout=timeout) as reply:
        return Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.read())
