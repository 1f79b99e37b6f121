"""A wallet with tips in it. `"lose": true` takes the tip and never answers."""

import json
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from backstage import Service, serve

START = 100
tips = []
lock = threading.Lock()


class Wallet(Service):
    def do_POST(self):
        tip = json.loads(self.body())
        with lock:
            tips.append({"key": self.headers.get("Idempotency-Key", "").strip('"'), "amount": tip["amount"]})
        if tip.get("lose"):
            time.sleep(60)
        self.answer(201, {"tipped": tip["amount"]})

    def do_GET(self):
        with lock:
            if self.path == "/balance":
                return self.answer(200, {"balance": START - sum(tip["amount"] for tip in tips)})
            if self.path == "/effects":
                return self.answer(200, tips)
            known = any(self.path == f"/tips/{tip['key']}" for tip in tips)
        return self.answer(200 if known else 404, {})


if __name__ == "__main__":
    serve(Wallet)
