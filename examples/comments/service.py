"""Keeps every comment that it is sent."""

import json
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from backstage import Service, serve

comments = []
lock = threading.Lock()


class Blog(Service):
    def do_POST(self):
        text = json.loads(self.body())["text"]
        with lock:
            comments.append([self.headers.get("X-User"), text])
            number = len(comments)
        self.answer(201, {"comment": number, "text": text})

    def do_GET(self):
        with lock:
            self.answer(200, comments)


if __name__ == "__main__":
    serve(Blog)
