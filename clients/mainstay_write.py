"""A write that happens once, through Mainstay. To be copied; needs the standard library only.

    outcome = write(Request("POST", "http://pay/payments", {"Content-Type": "application/json"}, b'{"amount": 100}'))

gives Done(answer), Failed(answer, declined) or Unknown(operation, key), never a guess. It keeps key and bytes, follows no
redirect, reads `Mainstay-Outcome` before the status, obeys `Retry-After`, and asks the operation where repeats are refused.
A `store` (a mapping that outlives the process, as in mainstay_store.py) holds what is open; `resume` takes it up at a restart.
"""

import email.utils
import http.client
import json
import random
import time
import urllib.parse
import urllib.request
import uuid
from collections import namedtuple

Request = namedtuple("Request", "method url headers body")
Answer = namedtuple("Answer", "status headers body")  # names of headers in lower case
Done = namedtuple("Done", "answer")  # it happened
Failed = namedtuple("Failed", "answer declined")  # it did not; if `declined`, a new attempt needs a new key
Unknown = namedtuple("Unknown", "operation key")  # it may have happened: never use a new key for it

DONE, DECLINED, NOTHING, REFUSED, DOUBT, UNPROTECTED = range(6)  # what an answer says of the write


def write(request, key=None, patience=60.0, store=None, send=None, attempt=15.0):
    """A key that you pass may have been used before, so what is only ever refused under it ends as Unknown."""
    in_doubt, key, until = key is not None, key or str(uuid.uuid4()), time.monotonic() + patience
    if store is not None:
        store[key] = list(request)
    outcome = _settle(request, key, in_doubt, until, send or with_urllib, attempt)
    if store is not None and not isinstance(outcome, Unknown):
        del store[key]
    return outcome


def resume(store, **options):
    """Takes up what a process that ended has left open: {key: outcome}."""
    return {key: write(Request(*saved), key, store=store, **options) for key, saved in list(store.items())}


def _settle(request, key, in_doubt, until, send, attempt):
    operation, pause, headers = None, 0.2, {**request.headers, "Idempotency-Key": key}
    while True:
        left = max(0.1, until - time.monotonic())
        answer = _try(send, request.method, request.url, headers, request.body, min(left, attempt))
        fact = _fact(answer)
        operation = _location(request.url, answer) or operation
        if fact == REFUSED and in_doubt and operation:
            fact, answer = _ask(send, operation, request.headers, attempt, answer)
        if fact in (DONE, DECLINED):
            return Done(answer) if fact == DONE else Failed(answer, True)
        in_doubt = fact in (DOUBT, UNPROTECTED) or in_doubt and fact != NOTHING
        named = _retry_after(answer)
        wait, pause = named or pause * random.uniform(0.8, 1.2), min(5, pause * 2)
        worth = fact == DOUBT or fact != UNPROTECTED and (named or answer.status in (408, 425, 429) or answer.status >= 500)
        if not worth or time.monotonic() + wait >= until:
            return Unknown(operation, key) if in_doubt else Failed(answer, False)
        time.sleep(wait)
        headers["Prefer"] = f"wait={int(max(0, min(until - time.monotonic(), attempt / 2)))}"


def _fact(answer):
    """What an answer says of the write: first in Mainstay's own word, and only without one by its status."""
    if answer is None:
        return DOUBT
    if outcome := answer.headers.get("mainstay-outcome"):
        return {"succeeded": DONE, "failed": DECLINED, "not_executed": NOTHING, "none": REFUSED}.get(outcome, DOUBT)
    if "mainstay-error" in answer.headers:  # no key protects here: what may have happened must not be sent again
        return REFUSED if b'"effect":"none"' in answer.body else UNPROTECTED
    if 200 <= answer.status < 300:
        return DONE
    return REFUSED if 400 <= answer.status < 500 and answer.status != 408 else DOUBT


def _ask(send, operation, headers, timeout, refusal):
    """The operation's document, where a repeat was refused."""
    document = _try(send, "GET", operation, headers, None, timeout)
    told = json.loads(document.body) if document and document.status == 200 else {}
    if told.get("effect") == "happened":
        result = _try(send, "GET", operation + "/result", headers, None, timeout)
        return DONE, result if result and result.headers.get("mainstay-outcome") == "succeeded" else document
    settled = {"failed": (DECLINED, document), "not_executed": (NOTHING, refusal)}
    return settled.get(told.get("effect") == "none" and told["state"], (REFUSED, refusal))


def _location(url, answer):
    """The operation's address; credentials go to the origin of the write and nowhere else."""
    place = answer and answer.headers.get("operation-location")
    place = place and urllib.parse.urljoin(url, place)
    return place if place and urllib.parse.urlsplit(place)[:2] == urllib.parse.urlsplit(url)[:2] else None


def _retry_after(answer):
    said = answer.headers.get("retry-after", "") if answer else ""
    date = email.utils.parsedate_tz(said)
    return int(said) if said.isdigit() else max(1, email.utils.mktime_tz(date) - time.time()) if date else None


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
