#!/usr/bin/env python3
"""Generic HTTP clients, with their defaults, against writes whose answer was lost.

A service does what it is sent, or decides against it, and closes the connection without an answer. The client repeats the
request. It knows nothing of Mainstay; it follows redirects, if that is what it does, and takes a 2xx for a success. So:

* of a write that the service decided against, no client reads a success;
* of a write that was done, no client reads a failure, and each reads what the service's status endpoint says of it;
* whatever the client did, the service was sent each write once.

Usage: check.py MAINSTAY_BINARY       (needs requests and httpx from PyPI, curl, node, go, and a JDK)
"""

import contextlib
import functools
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import httpx
import requests

HERE = pathlib.Path(__file__).resolve().parent
# Where clients are built that have to be.
BUILT = tempfile.TemporaryDirectory()
# Far above what a loaded machine needs: a JVM that compiles its one file takes seconds.
PATIENCE = 60
BODY = '{"amount": 100}'
CONFIG = """
listeners: {{ inbound: {{ address: "127.0.0.1:{port}" }} }}
probes: {{ address: "127.0.0.1:{probes}" }}
admin: off
ledger: {{ store: memory }}
upstreams: {{ app: {{ endpoints: ["http://127.0.0.1:{service}"] }} }}
routes: [{{ match: /**, upstream: app, policy: write }}]
policies:
  write:
    timeout: 5s
    idempotency:
      required: true
      status:
        request: "GET /by-ref/{{key}}"
        # Nobody asks before the repeat does: what that reads is then what it asked for.
        schedule: {{ first: 1h, max: 1h }}
        rules:
          - {{ status: 200, json: {{ /state: SUCCESS }}, then: succeeded }}
          - {{ status: 200, json: {{ /state: FAILED }}, then: failed }}
"""


class Service(http.server.BaseHTTPRequestHandler):
    """Loses every answer to a write; says afterwards what became of it, by the first word of its key."""

    protocol_version = "HTTP/1.1"
    sent = {}
    lock = threading.Lock()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Idempotency-Key"]
        with self.lock:
            self.sent[key] = self.sent.get(key, 0) + 1
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self):
        done = self.path.startswith("/by-ref/done-")
        body = json.dumps({"state": "SUCCESS" if done else "FAILED", "amount": 100}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def with_urllib(url, key):
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=BODY.encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def with_requests(url, key):
    answer = requests.post(url, data=BODY, headers={"Idempotency-Key": key}, timeout=PATIENCE)
    return answer.status_code, answer.text


def with_httpx(follow):
    def send(url, key):
        with httpx.Client(follow_redirects=follow, timeout=PATIENCE) as client:
            answer = client.post(url, content=BODY, headers={"Idempotency-Key": key})
            return answer.status_code, answer.text

    return send


def with_program(*command):
    """A program that sends BODY to the URL under the key, and prints the status that it read and, below it, the body."""

    def send(url, key):
        line = [part.format(url=url, key=key, body=BODY) for part in command]
        ended = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE)
        if ended.returncode != 0:
            raise SystemExit(f"{line[0]} ended with {ended.returncode}: {ended.stderr}")
        status, _, body = ended.stdout.partition("\n")
        return int(status), body

    return send


@functools.cache
def go_client():
    """Built once: the compiler takes longer than a client may."""
    program = pathlib.Path(BUILT.name) / "client"
    subprocess.run(["go", "build", "-o", program, HERE / "client.go"], check=True, env={"GO111MODULE": "off", **os.environ})
    return str(program)


def with_go(url, key):
    return with_program(go_client(), "{url}", "{key}", "{body}")(url, key)


def with_curl(url, key):
    """curl prints the body first, so it is told to print the status elsewhere."""
    status = ["-w", "%{stderr}%{http_code}"]
    line = ["curl", "-sSL", *status, "-H", f"Idempotency-Key: {key}", "-d", BODY, url]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE)
    return int(ended.stderr), ended.stdout


CLIENTS = {
    "urllib": with_urllib,
    "requests": with_requests,
    "httpx": with_httpx(False),
    "httpx, following": with_httpx(True),
    "curl -L": with_curl,
    "node fetch": with_program("node", str(HERE / "fetch.mjs"), "{url}", "{key}", "{body}"),
    "go net/http": with_go,
    "java.net.http": with_program("java", str(HERE / "Client.java"), "{url}", "{key}", "{body}"),
}


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ready(probes):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{probes}/readyz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            time.sleep(0.05)
    return False


def wrong(client, send, url):
    """What this client would tell its caller that is not so."""
    for outcome, is_right in [("done", lambda status: 200 <= status < 300), ("declined", lambda status: status == 422)]:
        key = f"{outcome}-{client.replace(' ', '-').replace(',', '').replace('/', '-')}"
        first, _ = send(url, key)
        if first != 502:
            yield f"{outcome}: the first answer should be a 502, and read as {first}"
        status, body = send(url, key)
        if not is_right(status):
            yield f"{outcome}: the repeat read as {status}: {body}"
        elif outcome == "done" and json.loads(body).get("amount") != 100:
            yield f"{outcome}: the repeat did not read what the service says: {body}"
        elif outcome == "declined" and json.loads(body).get("safe_to_use_new_key") is not True:
            yield f"{outcome}: the repeat did not read that a new key is safe: {body}"
        if Service.sent.get(key) != 1:
            yield f"{outcome}: the service was sent it {Service.sent.get(key)} times"


def main(binary):
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    port, probes = free_port(), free_port()
    with tempfile.TemporaryDirectory() as home:
        file = pathlib.Path(home) / "mainstay.yaml"
        file.write_text(CONFIG.format(port=port, probes=probes, service=service.server_port))
        log = open(pathlib.Path(home) / "log", "w+")
        proxy = subprocess.Popen([binary, "-c", str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            if not ready(probes):
                log.seek(0)
                raise SystemExit(f"the proxy is not ready:\n{log.read()}")
            faults = 0
            for client, send in CLIENTS.items():
                found = list(wrong(client, send, f"http://127.0.0.1:{port}/pay"))
                print(f"{client}: {'; '.join(found) or 'reads the truth'}", flush=True)
                faults += len(found)
        finally:
            proxy.kill()
            proxy.wait()
            log.close()
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
