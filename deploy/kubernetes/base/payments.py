"""A small payment service to stand behind Mainstay: takes a payment, tells about it by reference, drains on SIGTERM."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

MAX_BODY = 64 * 1024
payments = {}
lock = threading.Lock()
idle = threading.Condition()
in_flight = 0


def counted(handle):
    """Counts the request as in flight while it is handled."""

    def wrapped(self):
        global in_flight
        with idle:
            in_flight += 1
        try:
            handle(self)
        finally:
            with idle:
                in_flight -= 1
                idle.notify_all()

    return wrapped


class Payments(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 90  # seconds of silence; above Mainstay's own idle time for its connections

    @counted
    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(200, {"status": "ok"})
        prefix = "/payments/by-ref/"
        if self.path.startswith(prefix):
            with lock:
                paid = payments.get(unquote(self.path[len(prefix):]))
            return self.answer(200, paid[-1]) if paid else self.answer(404, {"error": "no such reference"})
        return self.answer(404, {"error": "no such resource"})

    @counted
    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/payments" or length > MAX_BODY:
            self.close_connection = True
            return self.answer(404 if length <= MAX_BODY else 413, {"error": "no such resource, or too large"})
        try:
            order = json.loads(self.rfile.read(length))
        except ValueError:
            return self.answer(400, {"error": "the body is not JSON"})
        reference = self.headers.get("Idempotency-Key", "").strip('"')
        with lock:
            number = sum(map(len, payments.values())) + 1
            payment = {"payment": f"pay_{number}", "reference": reference, "order": order, "state": "SUCCESS"}
            payments.setdefault(reference, []).append(payment)
        return self.answer(201, payment)

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Payments)
    server.daemon_threads = True
    # shutdown() waits for serve_forever(), which runs on the thread that gets the signal; so it needs one of its own.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    # What is in flight may finish; connections that only idle are not waited for.
    with idle:
        idle.wait_for(lambda: in_flight == 0, timeout=int(os.environ.get("DRAIN_SECONDS", "10")))


if __name__ == "__main__":
    main()
