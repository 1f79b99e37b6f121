"""Counts likes, every one of them: who liked what is not looked at. Slow enough for an impatient finger."""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

likes = {}
lock = threading.Lock()


class Blog(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        post = self.path.split("/")[2]
        with lock:
            likes[post] = likes.get(post, 0) + 1
            count = likes[post]
        time.sleep(0.2)
        self.answer(201, {"post": post, "likes": count})

    def do_GET(self):
        with lock:
            self.answer(200, likes)

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
