"""A wallet with tips in it. `"lose": true` takes the tip and never answers."""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

START = 100
tips = []
lock = threading.Lock()


class Wallet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        tip = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
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
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("SERVICE_PORT", "9000"))), Wallet).serve_forever()
