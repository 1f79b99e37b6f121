"""Takes payments, counts every one, deduplicates nothing. `"lose": true` takes the money and never answers."""

import json
import pathlib
import sys
import threading
import time
from urllib.parse import unquote

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from backstage import Service, serve

payments = {}
lock = threading.Lock()


class Bank(Service):
    def do_POST(self):
        order = json.loads(self.body())
        reference = self.headers["Idempotency-Key"].strip('"')
        with lock:
            payments.setdefault(reference, []).append(order["amount"])
        if order.get("lose"):
            time.sleep(60)
        self.answer(201, {"reference": reference, "paid": order["amount"]})

    def do_GET(self):
        prefix = "/payments/by-ref/"
        with lock:
            if self.path == "/effects":
                return self.answer(200, {reference: len(paid) for reference, paid in payments.items()})
            paid = self.path.startswith(prefix) and payments.get(unquote(self.path[len(prefix):]))
        return self.answer(200, {"state": "SUCCESS"}) if paid else self.answer(404, {})


if __name__ == "__main__":
    serve(Bank)
