"""Moves money between two accounts, once per key. `"misfortune"` happens to the first request of a key:

`before`: it dies before it acts. `after`: it acts, and its answer is lost.
"""

import json
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from backstage import Service, serve

accounts = {"alice": 100, "bob": 0}
done = {}
tries = {}
lock = threading.Lock()


class Ledger(Service):
    def do_POST(self):
        order = json.loads(self.body())
        key = self.headers["Idempotency-Key"].strip('"')
        with lock:
            tries[key] = tries.get(key, 0) + 1
            misfortune = order.get("misfortune") if tries[key] == 1 else None
            if misfortune == "before":
                self.close_connection = True
                return
            if key not in done:
                accounts["alice"] -= order["amount"]
                accounts["bob"] += order["amount"]
                done[key] = {"transfer": len(done) + 1, "amount": order["amount"]}
        if misfortune == "after":
            time.sleep(60)
        self.answer(201, done[key])

    def do_GET(self):
        with lock:
            self.answer(200, {"accounts": accounts, "tries": tries})


if __name__ == "__main__":
    serve(Ledger)
