"""What an answer says of a write, for mainstay_write.py."""

import email.utils
import json
import time
import urllib.parse
from collections import namedtuple

Answer = namedtuple("Answer", "status headers body")  # names of headers in lower case
DONE, DECLINED, NOTHING, REFUSED, DOUBT, UNPROTECTED = range(6)  # what an answer says of the write
RULES, OPERATIONS = "/_mainstay/idempotency", "/_mainstay/operations"  # below `control.path`


def fact_of(answer):
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


def is_all_there_is(answer):
    """The service's own answer, too large to be kept: it comes once."""
    return answer and answer.status < 300 and answer.headers.get("mainstay-outcome") == "in-progress"


def location_of(url, answer):
    """The operation's address; credentials go to the origin of the write and nowhere else."""
    place = answer and answer.headers.get("operation-location")
    place = place and urllib.parse.urljoin(url, place)
    return place if place and urllib.parse.urlsplit(place)[:2] == urllib.parse.urlsplit(url)[:2] else None


def retry_after(answer):
    said = answer.headers.get("retry-after", "") if answer else ""
    date = email.utils.parsedate_tz(said)
    return int(said) if said.isdigit() else max(1, email.utils.mktime_tz(date) - time.time()) if date else None


def rules_of(request):
    """Where Mainstay says whether it keeps keys where the request goes; an older one lists all of its routes there."""
    path = urllib.parse.urlsplit(request.url).path or "/"
    return urllib.parse.urljoin(request.url, f"{RULES}?{urllib.parse.urlencode({'method': request.method, 'path': path})}")


def by_key(request, key):
    """Where to ask about a write of which there is no more than its key: Mainstay, and by it the service."""
    path = urllib.parse.urlsplit(request.url).path or "/"
    return urllib.parse.urljoin(request.url, f"{OPERATIONS}?{urllib.parse.urlencode({'key': key, 'path': path})}")


def keeps_keys(request, rules):
    """What `rules`, the answer of `rules_of`, says of the request; None if nobody could be asked now."""
    if rules is None or rules.status == 429 or rules.status >= 500:
        return None
    try:
        routes = json.loads(rules.body)["routes"] if rules.status == 200 else []
        return any(_is_of(route, request) for route in routes)
    except (ValueError, KeyError, TypeError):
        return False  # it is not Mainstay that answers


def _is_of(route, request):
    has_rest = route["path"].endswith("/**")
    want = route["path"][: -len("/**") if has_rest else None].split("/")
    have = urllib.parse.urlsplit(request.url).path.split("/")
    fits = len(have) >= len(want) if has_rest else len(have) == len(want)
    is_there = fits and all(part == given or part.startswith("{") and given for part, given in zip(want, have))
    return is_there and request.method in route["methods"] and route["key"]["header"].lower() == "idempotency-key"
