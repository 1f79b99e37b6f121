"""A proxy with operations in it, the service before which it stands, and a way to talk to it."""

import contextlib
import http.server
import json
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

PATIENCE = 30
CONFIG = """
listeners: {{ inbound: {{ address: "127.0.0.1:{port}", principal: {{ header: X-Tenant }} }} }}
probes: {{ address: "127.0.0.1:{probes}" }}
admin: {{ address: "127.0.0.1:{admin}", reveal: true }}
control: {{ rate_limit: {{ requests: 100000, unit: 1s }} }}
ledger: {{ path: "{ledger}" }}
upstreams: {{ app: {{ endpoints: ["http://127.0.0.1:{service}"] }} }}
routes:
  - {{ match: {{ path: /pay, methods: [POST] }}, upstream: app, policy: write }}
  - {{ match: {{ path: /limited, methods: [POST] }}, upstream: app, policy: limited }}
policies:
  limited:
    timeout: 1s
    rate_limit: {{ requests: 1, unit: 1h }}
    idempotency: {{ required: true, status: none }}
  write:
    timeout: 1s
    circuit_breaker: 0.99
    idempotency:
      required: true
      status:
        request: "GET /by-ref/{{key}}"
        schedule: {{ first: 100ms, max: 200ms }}
        rules:
          - {{ status: 200, then: succeeded }}
"""


class Service(http.server.BaseHTTPRequestHandler):
    """Answers, declines, loses or waits, by the key; of what it lost it says that it was done, or refused, or that it does not know."""

    may_answer, asked = threading.Event(), []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Idempotency-Key"]
        self.asked.append(key)
        if key.startswith("slow"):
            self.may_answer.wait(PATIENCE)
        if key.startswith(("lost", "refused", "doubt")):
            return self.connection.shutdown(socket.SHUT_RDWR)
        body = b"x" * 600_000 if key == "large" else b'{"paid": true}'
        self.answer(409 if key.startswith("declined") else 201, body)

    def do_GET(self):
        self.answer(200 if "lost" in self.path else 410 if "refused" in self.path else 500, b'{"state": "SUCCESS"}')

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def ask(url, method="GET", body=None, **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()} | {"X-Tenant": "ann"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, fields, method=method), timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(what, probe):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if value := probe():
                return value
        time.sleep(0.05)
    raise SystemExit(f"waited in vain: {what}")


def prepared(base):
    """Operations in every state that there may be, and the address of one that has an answer."""
    places = []
    for key in ["paid", "declined", "lost", "doubt"]:
        _, headers, _ = ask(f"{base}/pay", "POST", b"{}", Idempotency_Key=key, Content_Type="application/json")
        places.append(headers["Operation-Location"])
    eventually("what was lost is found", lambda: json.loads(ask(base + places[2])[2])["final"])
    return [place.rsplit("/", 1)[1] for place in places]


@contextlib.contextmanager
def proxy(binary, config=CONFIG, **more):
    """A proxy of its own: its folder, and its addresses for callers and for operators."""
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    port, probes, admin = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        ports = {"port": port, "probes": probes, "admin": admin, "service": service.server_port, **more}
        (home / "mainstay.yaml").write_text(config.format(ledger=home / "ledger", **ports))
        with open(home / "log", "w") as log:
            process = subprocess.Popen([binary, "-c", home / "mainstay.yaml"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            eventually("ready", lambda: ask(f"http://127.0.0.1:{probes}/readyz")[0] == 200)
            yield home, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}"
        finally:
            process.kill()
            process.wait()
