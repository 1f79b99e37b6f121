"""Counts likes, every one of them: who liked what is not looked at. Slow enough for an impatient finger."""

import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from backstage import Service, serve

likes = {}
lock = threading.Lock()


class Blog(Service):
    def do_POST(self):
        self.body()
        post = self.path.split("/")[2]
        with lock:
            likes[post] = likes.get(post, 0) + 1
            count = likes[post]
        time.sleep(0.2)
        self.answer(201, {"post": post, "likes": count})

    def do_GET(self):
        with lock:
            self.answer(200, likes)


if __name__ == "__main__":
    serve(Blog)
