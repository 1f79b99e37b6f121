"""A shop that sells what it has, one item per order, and does not look at who orders twice. Each order takes it 20 ms.

After every 25th sale it dies before it answers: the item is sold, and nobody was told.
"""

import os
import pathlib
import sys
import threading
import time
from urllib.parse import unquote

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from backstage import Service, serve

STOCK = int(os.environ.get("STOCK", "500"))
LOSES_EVERY = 25
WORK_SECONDS = 0.02

# [when, by whom, items left], in order; `None` for whom if there was nothing left.
orders = []
sold = {}
refused = set()
lock = threading.Lock()


class Shop(Service):
    def do_POST(self):
        self.body()
        who, key = self.headers["X-User"], self.headers["Idempotency-Key"].strip('"')
        arrived = time.monotonic()
        time.sleep(WORK_SECONDS)
        with lock:
            left = STOCK - len(sold)
            if left > 0:
                sold.setdefault(key, []).append(who)
                number = len(sold)
                left -= 1
            else:
                refused.add(key)
                who, number = None, 0
            orders.append([arrived, who, left])
        if who is None:
            return self.answer(410, {"error": "sold out"})
        if number % LOSES_EVERY == 0:
            time.sleep(60)
        self.answer(201, {"order": number})

    def do_GET(self):
        with lock:
            if self.path == "/stock":
                return self.answer(200, {"left": STOCK - len(sold)}, Cache_Control="max-age=1")
            if self.path == "/effects":
                return self.answer(200, orders)
            key = unquote(self.path.removeprefix("/orders/"))
            return self.answer(200 if key in sold else 410 if key in refused else 404, {})


if __name__ == "__main__":
    serve(Shop)
