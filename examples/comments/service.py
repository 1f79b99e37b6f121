"""Keeps every comment that it is sent."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

comments = []
lock = threading.Lock()


class Blog(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        with lock:
            comments.append([self.headers.get("X-User"), text])
            number = len(comments)
        self.answer(201, {"comment": number, "text": text})

    def do_GET(self):
        with lock:
            self.answer(200, comments)

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
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("SERVICE_PORT", "9000"))), Blog).serve_forever()
