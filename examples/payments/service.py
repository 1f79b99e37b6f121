"""Takes payments, counts every one, deduplicates nothing. `"lose": true` takes the money and never answers."""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

payments = {}
lock = threading.Lock()


class Bank(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
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
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("SERVICE_PORT", "9000"))), Bank).serve_forever()
