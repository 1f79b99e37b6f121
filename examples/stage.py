"""The stage of every example: starts the service and Mainstay before it, speaks HTTP, shows what happens, judges it.

`with Stage(__file__) as stage:` picks free ports and a ledger of its own, and ends both processes at the end. Everything is
in the standard library. The binary is $MAINSTAY_BIN, else the release build.
"""

import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATIENCE = 8  # seconds for anything that must happen


class Answer:
    """A response, read whole."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.body)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Stage:
    def __init__(self, script, **environment):
        self.folder = pathlib.Path(script).resolve().parent
        self.home = tempfile.mkdtemp(prefix="mainstay-example-")
        self.port, self.service_port, self.probes_port = free_port(), free_port(), free_port()
        self.environment = os.environ | environment | {
            "MAINSTAY_PORT": str(self.port),
            "SERVICE_PORT": str(self.service_port),
            "PROBES_PORT": str(self.probes_port),
            "LEDGER": self.home,
        }
        self.processes = []
        self.proxy = None

    def __enter__(self):
        try:
            self.processes.append(subprocess.Popen([sys.executable, self.folder / "service.py"], env=self.environment))
            self.eventually("the service listens", lambda: self.ask("GET", "/effects", port=self.service_port))
            self.start_proxy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def start_proxy(self):
        binary = os.environ.get("MAINSTAY_BIN", ROOT / "target/release/mainstay")
        with open(os.path.join(self.home, "mainstay.log"), "a") as log:
            command = [binary, "-c", self.folder / "mainstay.yaml"]
            self.proxy = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.processes.append(self.proxy)
        self.eventually("Mainstay is ready", self.is_ready)

    def is_ready(self):
        if self.proxy.poll() is not None:
            sys.exit(pathlib.Path(self.home, "mainstay.log").read_text())
        ready = self.ask("GET", "/readyz", port=self.probes_port)
        return ready and ready.status == 200

    def kill_proxy(self):
        self.proxy.kill()
        self.proxy.wait()

    def ask(self, method, path, body=None, port=None, **headers):
        """One exchange, in silence; None if nobody answers. `Idempotency_Key="k"` is the header Idempotency-Key."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            body, fields["Content-Type"] = json.dumps(body), "application/json"
        try:
            connection.request(method, path, body, fields)
            return Answer(connection.getresponse())
        except OSError:
            return None
        finally:
            connection.close()

    def call(self, method, path, body=None, **headers):
        """One exchange with Mainstay, shown."""
        answer = self.ask(method, path, body, **headers)
        if answer is None:
            sys.exit(f"no answer to {method} {path}")
        fields = "".join(f"  {name.replace('_', '-')}: {value}" for name, value in headers.items())
        print(f"\n> {method} {path}{fields}{'' if body is None else '  ' + json.dumps(body)}")
        shown = [
            f"{name}: {answer.headers[name]}"
            for name in ("Mainstay-Error", "Idempotent-Replayed", "Idempotency-Key", "Operation-Location", "Location")
            if name in answer.headers
        ]
        print(f"< {answer.status}  {'  '.join(shown)}")
        if answer.status < 400:
            print(f"< {answer.body.decode()[:160]}")
        return answer

    def effects(self):
        """What the service really did: asked on its own port, past Mainstay."""
        return self.ask("GET", "/effects", port=self.service_port).json()

    def holds(self, sentence, condition):
        if not condition:
            sys.exit(f"  NOT SO: {sentence}")
        print(f"  ok: {sentence}")

    def eventually(self, what, probe):
        """What `probe` gives as soon as it gives something."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if value := probe():
                return value
            time.sleep(0.05)
        sys.exit(f"  waited {PATIENCE} s in vain: {what}")

    def settles(self, answer, state, **headers):
        """The document of the operation that `answer` names, once it is in that state; nobody repeats anything meanwhile."""
        path = answer.headers["Operation-Location"]

        def probe():
            document = self.ask("GET", path, **headers).json()
            return document if document.get("state") == state else None

        document = self.eventually(f"{path} is {state}", probe)
        print(f"\n> GET {path}\n< state: {document['state']}, source: {document['source']}")
        return document
