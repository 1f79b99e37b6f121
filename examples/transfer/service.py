"""Moves money between two accounts, once per key. `"misfortune"` happens to the first request of a key:

`before`: it dies before it acts. `after`: it acts, and its answer is lost.
"""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

accounts = {"alice": 100, "bob": 0}
done = {}
tries = {}
lock = threading.Lock()


class Ledger(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
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

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("SERVICE_PORT", "9000"))), Ledger).serve_forever()
