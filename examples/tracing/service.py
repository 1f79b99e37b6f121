"""Three services in one file: $ROLE is `shop`, `orders` or `bank`. Each calls the next through the Mainstay before it, at $NEXT.

What a service does for a trace is one line: it hands `traceparent` on. `orders` is busy at first. The bank takes the money and loses the
answer; `orders` has the client of clients/, which finds out what became of it.
"""

import json
import os
import pathlib
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "clients")]
from backstage import Service, serve
from mainstay_write import Done, Request, write

ROLE, NEXT = os.environ["ROLE"], os.environ.get("NEXT")
seen, done = {}, {}
lock = threading.Lock()


class Link(Service):
    def do_POST(self):
        body, key = self.body(), self.headers["Idempotency-Key"].strip('"')
        with lock:
            seen[key] = seen.get(key, 0) + 1
            if ROLE == "orders" and seen[key] == 1:
                return self.answer(503, {"busy": True})
            done[key] = done.get(key, 0) + 1
        if ROLE == "bank":
            time.sleep(60)
        headers = {"Content-Type": "application/json", "traceparent": self.headers["traceparent"]}
        outcome = write(Request("POST", f"http://127.0.0.1:{NEXT}/{ROLE}", headers, body), key, patience=8)
        known = isinstance(outcome, Done)
        return self.answer(201 if known else 500, {"by": ROLE, "next": json.loads(outcome.answer.body) if known else None})

    def do_GET(self):
        with lock:
            if self.path == "/effects":
                return self.answer(200, done)
            is_done = self.path.removeprefix("/by-ref/") in done
        return self.answer(200, {"state": "SUCCESS"}) if is_done else self.answer(404, {})


if __name__ == "__main__":
    serve(Link)
