"""The scripted server, and a client at the other end of a pipe."""

import http.server
import itertools
import os
import signal
import subprocess
import threading
import time
import urllib.parse

from conversations import RESTART, Say

BODY = '{"amount": 100}'
CLOSE_ENOUGH = 0.05  # seconds by which two clocks may differ about a wait


class Scene:
    """One conversation with one client."""

    def __init__(self, conversation, base, number):
        self.conversation = conversation
        self.number, self.path, self.url = number, f"/{number}/pay", f"{base}/{number}/pay"
        self.operation = f"/_mainstay/operations/{number}"
        self.posts, self.strays, self.earliest, self.too_early = [], [], 0, False
        self.is_of_old = number % 2 == 1
        self.lock, self.posted = threading.Lock(), threading.Condition()

    def answer(self, method, path, headers, body):
        with self.lock:
            if path == self.path and method == "POST":
                self.too_early |= time.monotonic() < self.earliest - CLOSE_ENOUGH
                self.posts.append((headers.get("Idempotency-Key"), body, headers.get("Prefer")))
                with self.posted:
                    self.posted.notify_all()
                return self.conversation.posts[min(len(self.posts), len(self.conversation.posts)) - 1]
            if path == self.operation and method == "GET" and self.conversation.operation:
                return self.conversation.operation
            if path == f"{self.operation}/result" and method == "GET" and self.conversation.result:
                return self.conversation.result
            self.strays.append(f"{method} {path}")
            return None

    def said(self, answer):
        with self.lock:
            self.earliest = time.monotonic() + (answer.retry or 0)

    def wait_for_posts(self, number):
        with self.posted:
            return self.posted.wait_for(lambda: len(self.posts) >= number, 60)

    def faults(self, told):
        word, _, text = told.partition("\t")
        expected = self.conversation.tells
        if word != expected:
            yield f"told {word!r}, and it is {expected!r} ({text})"
        if self.conversation.body and text != self.conversation.body:
            yield f"the application got {text!r}"
        keys = {key for key, _, _ in self.posts}
        if len(keys) != 1 or None in keys:
            yield f"paid twice: {len(keys)} keys" if keys else "never sent"
        if len({body for _, body, _ in self.posts}) != 1:
            yield "the bytes changed"
        if self.conversation.times and len(self.posts) != self.conversation.times:
            yield f"sent {len(self.posts)} times, and {self.conversation.times} would do"
        if self.too_early:
            yield "came back before it may"
        if not self.conversation.is_resumed and any(not (prefer or "").startswith("wait=") for _, _, prefer in self.posts[1:]):
            yield "a repeat that would not wait"
        if expected == "unknown" and self.conversation.is_stale:
            if self.operation in text:
                yield f"names an operation that is not the last attempt's: {text!r}"
        elif expected == "unknown" and any(post.outcome for post in self.conversation.posts) and self.named() not in text:
            yield f"does not name the operation: {text!r}"
        yield from (f"went where it was not sent: {stray}" for stray in self.strays)

    def named(self):
        said = [post.outcome for post in self.conversation.posts if post.outcome not in (None, "none")]
        return self.operation if said else ""


def rules_of(scenes, scene=None):
    """`/_mainstay/idempotency`, with the routes as they may be written; of a scene without keys there are others only.

    Asked about a scene's write, it has the one route that would take it, if that keeps keys, be it in another header. One that does
    not, and stands before, is in neither.
    """
    routes = []
    if scene:
        has_keys, scenes = scene.conversation.has_keys, {}
        if not scene.conversation.is_shadowed:
            routes = [("idempotency-key" if has_keys else "x-order-ref", "/{which}/{what}", "POST")]
    for number, scene in list(scenes.items()):
        path = [f"/{number}/pay", f"/{number}/{{what}}", f"/{number}/**", f"/{number}/pay/**"][number % 4]
        others = [("Idempotency-Key", path, "PUT"), ("x-order-ref", path, "POST"), ("idempotency-key", f"/{number}", "POST")]
        others += [("idempotency-key", f"/{number}/{{what}}/{{more}}", "POST"), ("idempotency-key", f"/{number}/pay/more/**", "POST")]
        if scene.conversation.is_shadowed:
            path = f"/{number}/**"
        is_listed = scene.conversation.has_keys or scene.conversation.is_shadowed
        routes += [*others, *([("idempotency-key", path, "POST")] if is_listed else [])]
    key = {"from": "{principal}:{path.id}"}  # braces within
    return Say(200, body={"routes": [{"key": key | {"header": name}, "methods": [method], "path": path} for name, path, method in routes]})


class Handler(http.server.BaseHTTPRequestHandler):
    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path, _, question = self.path.partition("?")
        if (self.command, path) == ("GET", "/_mainstay/idempotency"):
            return self.say(self.server.rules(dict(urllib.parse.parse_qsl(question))), "")
        scene = self.server.scene_of(self.path)
        answer = scene and scene.answer(self.command, self.path, self.headers, body)
        if answer is None:
            answer, scene = Say(404), scene or self.server.scene(RESTART)
        if answer.status <= 0:
            return None if answer.status == 0 else self.server.silence.wait(30)
        scene.said(answer)
        return self.say(answer, scene.operation)

    def say(self, answer, operation):
        text = answer.text().encode()
        self.send_response(answer.status)
        fields = answer.headers(operation) | {"Content-Type": "application/json", "Content-Length": str(len(text))}
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = handle_one

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.scenes, self.numbers, self.silence = {}, itertools.count(1), threading.Event()

    def scene(self, conversation):
        number = next(self.numbers)
        self.scenes[number] = Scene(conversation, f"http://127.0.0.1:{self.server_port}", number)
        return self.scenes[number]

    def rules(self, asked):
        scene = self.scene_of(asked.get("path", ""))
        if not scene or (scene.is_of_old and not scene.conversation.is_shadowed) or asked != {"method": "POST", "path": scene.path}:
            return rules_of(self.scenes)  # as an older proxy: all of them, whatever is asked
        return rules_of(self.scenes, scene)

    def scene_of(self, path):
        return next((self.scenes.get(int(part)) for part in path.split("/") if part.isdigit()), None)

    def handle_error(self, *_):
        pass  # a client that was killed


class Client:
    """A client that plays a line and tells a line."""

    def __init__(self, command, home):
        self.command, self.home = [str(part) for part in command], home
        home.mkdir()
        self.start()

    def start(self):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def folder(self, scene):
        """Where its store is."""
        return self.home / scene.conversation.name

    def say(self, scene, resume=False, key="-"):
        it = scene.conversation
        self.send("resume" if resume else scene.url, it.patience, it.attempt, BODY, it.name, key)

    def send(self, url, patience, attempt, body, name, key="-"):
        line = [url, key, str(patience), str(attempt), str(self.home / name), body]
        try:
            self.process.stdin.write("\t".join(line) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended, and is heard no more

    def hear(self):
        line = self.process.stdout.readline()
        return line.rstrip("\n") or "nothing at all: it ended"
