"""Plays lines `url TAB key TAB patience_s TAB attempt_s TAB store TAB body` against the Python client; a line of result each.

Usage: drive.py urllib|requests|httpx. A key `-` is a new one; a url `resume` takes up what the store has. The store's files have the
time of the first attempt in them, in seconds or in milliseconds. A line of result is `done`, `declined`, `nothing` or `unknown`, TAB,
and the answer's body, or the operation's address, after `too old: ` if that is why.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from mainstay_requests import with_client
from mainstay_store import Files
from mainstay_write import Done, Failed, Request, resume, with_urllib, write


def sender(name):
    if name == "requests":
        import requests

        return with_client(requests.Session())
    if name == "httpx":
        import httpx

        return with_client(httpx.Client())
    return with_urllib


def line(outcome):
    if isinstance(outcome, Done):
        return f"done\t{outcome.answer.body.decode()}"
    if isinstance(outcome, Failed):
        return f"{'declined' if outcome.declined else 'nothing'}\t{outcome.answer.body.decode()}"
    return f"unknown\t{'too old: ' * outcome.too_old}{outcome.operation or ''}"


def play(send, write=write, resume=resume):
    for text in sys.stdin:
        url, key, patience, attempt, store, body = text.rstrip("\n").split("\t")
        store = Files(store)
        options = {"patience": float(patience), "attempt": float(attempt), "send": send}
        if url == "resume":
            (outcome,) = resume(store, **options).values()
        else:
            request = Request("POST", url, {"Content-Type": "application/json"}, body.encode())
            outcome = write(request, None if key == "-" else key, store=store, **options)
        print(line(outcome), flush=True)


if __name__ == "__main__":
    play(sender(sys.argv[1]))
