"""The clients through the real proxy, before a service that loses answers; and a proxy that is killed under them all."""

import contextlib
import http.server
import json
import pathlib
import socket
import subprocess
import threading
import time
import urllib.request

from browser import Browser
from stage import Client

PATIENCE = 60
CONFIG = """
listeners: {{ inbound: {{ address: "127.0.0.1:{port}", cors: {{ origins: ["{origin}"] }} }} }}
probes: {{ address: "127.0.0.1:{probes}" }}
admin: off
ledger: {{ path: "{ledger}" }}
upstreams: {{ app: {{ endpoints: ["http://127.0.0.1:{service}"] }} }}
routes:
  - {{ match: /pay, upstream: app, policy: write }}
  # Keeps no keys, and stands before one that does.
  - {{ match: /free/pay, upstream: app, policy: free }}
  - {{ match: /free/**, upstream: app, policy: write }}
policies:
  free: {{ timeout: 2s }}
  write:
    timeout: 2s
    idempotency:
      required: true
      status:
        request: "GET /by-ref/{{key}}"
        schedule: {{ first: 200ms, max: 1s }}
        rules:
          - {{ status: 200, json: {{ /state: SUCCESS }}, then: succeeded }}
          - {{ status: 200, json: {{ /state: FAILED }}, then: failed }}
"""
# What the service does with a write, and what the client has to tell of it.
WAYS = {"answer": "done", "lose": "done", "fail": "done", "slow": "done", "decline": "declined", "lose-and-decline": "declined"}


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    paid, states, lock = {}, {}, threading.Lock()

    def do_POST(self):
        write = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        declined = write["do"].endswith("decline")
        with self.lock:
            self.paid[write["id"]] = self.paid.get(write["id"], 0) + 1
            self.states[self.headers["Idempotency-Key"]] = "FAILED" if declined else "SUCCESS"
        if write["do"] == "slow":
            time.sleep(4)
        if write["do"].startswith("lose"):
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        return self.answer({"answer": 201, "slow": 201, "fail": 500, "decline": 409}[write["do"]], {"id": write["id"]})

    def do_GET(self):
        with self.lock:
            state = self.states.get(self.path.removeprefix("/by-ref/"))
        self.answer(200 if state else 404, {"state": state})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a proxy that was killed


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxy:
    def __init__(self, binary, home, service, origin):
        self.binary, self.home, self.port, self.probes = binary, home, free_port(), free_port()
        self.file = home / "mainstay.yaml"
        named = {"port": self.port, "probes": self.probes, "service": service, "ledger": home / "ledger", "origin": origin}
        self.file.write_text(CONFIG.format(**named))
        self.start()

    def start(self):
        with open(self.home / "log", "a") as log:
            command = [self.binary, "-c", str(self.file)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.probes}/readyz", timeout=1):
                return
            time.sleep(0.05)
        raise SystemExit(f"the proxy is not ready:\n{(self.home / 'log').read_text()}")

    def kill(self):
        self.process.kill()
        self.process.wait()


def eventually(what, probe):
    until = time.monotonic() + PATIENCE
    while not probe():
        if time.monotonic() > until:
            raise SystemExit(f"waited in vain: {what}")
        time.sleep(0.05)


def through_the_proxy(binary, home, commands):
    """A line for each client, and whether it is a good one."""
    service = Server(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    folder = pathlib.Path(home) / "proxy"
    folder.mkdir()
    browser = Browser()
    proxy = Proxy(binary, folder, service.server_port, browser.origin)
    url = f"http://127.0.0.1:{proxy.port}/pay"
    clients = {name: Client(command, folder / name) for name, command in commands.items()}
    found = {name: [] for name in clients}
    try:
        for way, expected in WAYS.items():
            for name, client in clients.items():
                client.send(url, PATIENCE, 10, json.dumps({"id": f"{way}, {name}", "do": way}), way)
            for name, client in clients.items():
                found[name] += judged(way, expected, client.hear(), f"{way}, {name}")
        for name, client in clients.items():
            client.send(url.replace("/pay", "/free/pay"), PATIENCE, 10, json.dumps({"id": f"free, {name}", "do": "fail"}), "free")
        for name, client in clients.items():
            found[name] += judged("free", "unknown", client.hear(), f"free, {name}")
        found["JavaScript in Chromium"] = list(judged_page(browser.tells(url, list(WAYS), 2 * PATIENCE)))
        ids = {name: f"killed, {name}" for name in clients}
        for name, client in clients.items():
            client.send(url, PATIENCE, 10, json.dumps({"id": ids[name], "do": "slow"}), "killed")
        eventually("all writes are on their way", lambda: all(key in Service.paid for key in ids.values()))
        proxy.kill()
        proxy.start()
        for name, client in clients.items():
            found[name] += judged("killed", "done", client.hear(), ids[name])
    finally:
        proxy.kill()
        for client in clients.values():
            client.kill()
    for name, faults in found.items():
        yield f"{name}, through the proxy: {'; '.join(faults) or 'every write once'}", not faults


def judged_page(told):
    """What a page told of every way, and of a write that a page before it had left open."""
    if told is None or "error" in told:
        yield f"the page told {told}"
        return
    for way, expected in {**WAYS, "left": "done"}.items():
        yield from judged(way, expected, told[way], f"{way}, browser")
    if told["open"] != 0:
        yield f"{told['open']} writes are still in the page's store"


def judged(way, expected, told, identity):
    word = told.partition("\t")[0]
    if word != expected:
        yield f"{way}: told {told!r}, and it is {expected!r}"
    if Service.paid.get(identity) != 1:
        yield f"{way}: paid {Service.paid.get(identity)} times"
