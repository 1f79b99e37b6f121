"""The service behind the proxy in the scenes. Usage: service.py [PORT]

It takes payments, and tells of them. With `"lose": true` a payment is made and its answer does not come before there is a file `late-KEY`.
While there is a file `down`, nobody is told anything.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

made = {}


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"].strip('"')
        made[key] = made.get(key, 0) + 1
        while order.get("lose") and not os.path.exists(f"late-{key}"):
            time.sleep(0.02)
        self.answer(201, {"state": "SUCCESS", "paid": order["amount"]})

    def do_GET(self):
        key = self.path.rpartition("/")[2]
        if os.path.exists("down"):
            self.answer(503, {})
        elif self.path == "/made":
            self.answer(200, made)
        else:
            self.answer(200, {"state": "SUCCESS"}) if key in made else self.answer(404, {})

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int((sys.argv[1:] or [9000])[0])), Service).serve_forever()
