#!/usr/bin/env python3
"""Generic HTTP clients, with their defaults, calling a provider behind TLS of a private authority through an outbound listener:
by a local port as their base URL, and as their forward proxy, in absolute form or through CONNECT. For each of them and each way:

* a read that fails once is read;
* a keyed write is done once, and its repeat reads the same answer;
* a keyed write whose answer is lost is done once, and its repeat reads what the provider says of it;
* the provider is asked for its own name, and is told nothing of the caller's systems.

Usage: outbound.py MAINSTAY_BINARY       (needs requests and httpx from PyPI, curl, node, go, a JDK and openssl)
"""

import concurrent.futures
import functools
import http.server
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

import httpx
import requests

from check import BODY, BUILT, HERE, PATIENCE, free_port, go_client, ready

HOST = "api.provider.test"
CONFIG = """
listeners:
  provider: {{ address: "127.0.0.1:{port}", direction: outbound }}
  outbound: {{ address: "127.0.0.1:{proxy}", direction: outbound }}
probes: {{ address: "127.0.0.1:{probes}" }}
admin: off
ledger: {{ store: memory }}
upstreams:
  provider: {{ endpoints: ["https://localhost:{provider}"], tls: {{ ca_file: {ca} }}, forward: external, host: endpoint }}
routes:
  - {{ match: {{ listener: provider }}, upstream: provider, policy: pay }}
  - {{ match: {{ listener: outbound, host: {host} }}, upstream: provider, policy: pay }}
policies:
  pay:
    timeout: 20s
    retry: {{ max_retries: 2, on: [503], backoff: {{ base: 1ms }} }}
    idempotency:
      required: true
      status:
        request: "GET /by-ref/{{key}}"
        # Nobody asks before the repeat does.
        schedule: {{ first: 1h, max: 1h }}
        rules: [{{ status: 200, json: {{ /state: SUCCESS }}, then: succeeded }}]
"""


class Provider(http.server.BaseHTTPRequestHandler):
    """Fails the first read of each path; loses the answer to a write whose key begins with `lost`."""

    protocol_version = "HTTP/1.1"
    done, read, told = {}, {}, []
    lock = threading.Lock()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Idempotency-Key"].strip('"')
        with self.lock:
            self.told.append(dict(self.headers))
            self.done[key] = self.done.get(key, 0) + 1
        if key.startswith("lost"):
            self.close_connection = True
            return
        self.answer(201, {"charge": key})

    def do_GET(self):
        with self.lock:
            self.told.append(dict(self.headers))
            self.read[self.path] = self.read.get(self.path, 0) + 1
            is_first = self.read[self.path] == 1
        if self.path.startswith("/by-ref/"):
            return self.answer(200, {"state": "SUCCESS", "charge": self.path.removeprefix("/by-ref/")})
        self.answer(503 if is_first else 200, {"read": self.path})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def openssl(home, *arguments):
    subprocess.run(["openssl", *arguments], cwd=home, check=True, capture_output=True)


def serve_over_tls(home):
    """The provider, and its authority's certificate in `ca.pem`."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl(home, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=a private authority")
    openssl(home, "req", *curve, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=provider")
    (home / "names").write_text("basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
    openssl(home, "x509", "-req", "-in", "own.csr", *signed, "-out", "own.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "own.pem", home / "own.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def with_urllib(url, key, body):
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body.encode() or None, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def with_requests(url, key, body):
    method = "POST" if body else "GET"
    answer = requests.request(method, url, data=body or None, headers={"Idempotency-Key": key}, timeout=PATIENCE)
    return answer.status_code, answer.text


def with_httpx(url, key, body):
    with httpx.Client(timeout=PATIENCE) as client:
        method = "POST" if body else "GET"
        answer = client.request(method, url, content=body or None, headers={"Idempotency-Key": key})
        return answer.status_code, answer.text


def run(line, environment=None):
    ended = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, env=environment)
    if ended.returncode != 0:
        raise SystemExit(f"{line[0]} ended with {ended.returncode}: {ended.stderr}")
    return ended


def with_curl(*options):
    def send(url, key, body):
        """curl prints the body first, so it is told to print the status elsewhere."""
        data = ["-d", body] if body else []
        ended = run(["curl", "-sS", *options, "-w", "%{stderr}%{http_code}", "-H", f"Idempotency-Key: {key}", *data, url])
        return int(ended.stderr), ended.stdout

    return send


def with_program(*command, environment=None):
    def send(url, key, body):
        ended = run([*command, url, key, body], environment)
        status, _, text = ended.stdout.partition("\n")
        return int(status), text

    return send


@functools.cache
def java_classes():
    """Built once: the compiler takes longer than the client."""
    subprocess.run(["javac", "-d", BUILT.name, HERE / "Client.java"], check=True)
    return BUILT.name


def clients(proxy):
    """Each with the ways that it can go: by a local port, and by what makes it take a forward proxy."""
    fetch = ["node", str(HERE / "fetch.mjs")]
    java = ["java", "-cp", java_classes()]
    yield "urllib", with_urllib, with_urllib
    yield "requests", with_requests, with_requests
    yield "httpx", with_httpx, with_httpx
    yield "curl", with_curl(), with_curl()
    yield "curl, tunnelling", None, with_curl("--proxytunnel")
    yield "go net/http", with_program(go_client()), with_program(go_client())
    by_proxy = [f"-Dhttp.proxyHost=127.0.0.1", f"-Dhttp.proxyPort={proxy}"]
    yield "java.net.http", with_program(*java, "Client"), with_program("java", *by_proxy, *java[1:], "Client")
    # Before version 24 its fetch takes no proxy from the environment; from then on it tunnels.
    version = int(run(["node", "-p", "process.versions.node"]).stdout.split(".")[0])
    environment = os.environ | {"NODE_USE_ENV_PROXY": "1"}
    yield "node fetch", with_program(*fetch), with_program(*fetch, environment=environment) if version >= 24 else None


def wrong(name, send, base):
    """What is not as it must be for this client on this way."""
    mark = "".join(letter if letter.isalnum() else "-" for letter in name)
    status, text = send(f"{base}/read/{mark}", f"read-{mark}", "")
    if (status, json.loads(text).get("read")) != (200, f"/read/{mark}"):
        yield f"a read that fails once read as {status}: {text}"
    for nth in ("first", "repeat"):
        status, text = send(f"{base}/charges", f"kept-{mark}", BODY)
        if (status, json.loads(text).get("charge")) != (201, f"kept-{mark}"):
            yield f"the {nth} of a write read as {status}: {text}"
    status, text = send(f"{base}/charges", f"lost-{mark}", BODY)
    # Some clients repeat it by themselves.
    if status == 502 and json.loads(text).get("safe_to_use_new_key") is False:
        status, text = send(f"{base}/charges", f"lost-{mark}", BODY)
    if (status, json.loads(text).get("charge")) != (200, f"lost-{mark}"):
        yield f"the repeat of a lost write read as {status}: {text}"
    for key in (f"kept-{mark}", f"lost-{mark}"):
        if Provider.done.get(key) != 1:
            yield f"{key} was done {Provider.done.get(key)} times"


def leaks(provider):
    """What the provider was told that it must not know."""
    for headers in Provider.told:
        fields = {name.lower(): value for name, value in headers.items()}
        if fields.get("host") != f"localhost:{provider}":
            yield f"it was asked for {fields.get('host')}"
        for name in fields:
            if name.startswith(("x-forwarded-", "mainstay-", "proxy-")) or name in ("forwarded", "traceparent", "baggage"):
                yield f"it was told {name}: {fields[name]}"


def call_all(port, proxy):
    ways = []
    for name, by_port, by_proxy in clients(proxy):
        if by_port:
            ways.append((f"{name}, local port", by_port, f"http://127.0.0.1:{port}"))
        if by_proxy:
            ways.append((f"{name}, forward proxy", by_proxy, f"http://{HOST}"))
    faults = 0
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for way, found in zip(ways, pool.map(lambda way: list(wrong(*way)), ways)):
            print(f"{way[0]}: {'; '.join(found) or 'well served'}", flush=True)
            faults += len(found)
    return faults


def main(binary):
    port, proxy, probes = free_port(), free_port(), free_port()
    # What the clients take from their environment; curl heeds the lower case alone.
    for name in ("http_proxy", "HTTP_PROXY"):
        os.environ[name] = f"http://127.0.0.1:{proxy}"
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = "localhost,127.0.0.1"
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        provider = serve_over_tls(home)
        file = home / "mainstay.yaml"
        ports = {"port": port, "proxy": proxy, "probes": probes, "provider": provider}
        file.write_text(CONFIG.format(**ports, ca=home / "ca.pem", host=HOST))
        log = open(home / "log", "w+")
        mainstay = subprocess.Popen([binary, "-c", str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            if not ready(probes):
                log.seek(0)
                raise SystemExit(f"the proxy is not ready:\n{log.read()}")
            faults = call_all(port, proxy)
            told = sorted(set(leaks(provider)))
            print(f"the provider: {'; '.join(told) or 'learned nothing'}", flush=True)
        finally:
            mainstay.kill()
            mainstay.wait()
            log.close()
    return 1 if faults or told else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
