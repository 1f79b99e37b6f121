#!/usr/bin/env python3
"""docs/reference/openapi-client.json and openapi-admin.json, against the code and against a real proxy.

* It is valid OpenAPI 3.1.
* Its paths, parameters, slugs and members are those of the code, and the other way round.
* What a write is answered has the headers and the effect that the response in the document has.
* Schemathesis sends what the document allows, and what it does not: no 5xx, no status, header or body that is not in it.

Usage: check.py MAINSTAY_BINARY       (needs schemathesis and openapi-spec-validator from PyPI)
"""

import concurrent.futures
import contextlib
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import openapi_spec_validator

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/reference/openapi-client.json"
ADMIN = ROOT / "docs/reference/openapi-admin.json"
EXAMPLES = os.environ.get("OPENAPI_EXAMPLES", "20")
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
faults = []


def expect(held, message):
    if not held:
        faults.append(message)


class Service(http.server.BaseHTTPRequestHandler):
    """Answers, declines or loses, by the key; of what it lost it says that it was done, but for what nobody knows."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Idempotency-Key"]
        if key.startswith(("lost", "doubt")):
            return self.connection.shutdown(socket.SHUT_RDWR)
        body = b"x" * 600_000 if key == "large" else b'{"paid": true}'
        self.answer(409 if key.startswith("declined") else 201, body)

    def do_GET(self):
        self.answer(200 if "lost" in self.path else 500, b'{"state": "SUCCESS"}')

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
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if value := probe():
                return value
        time.sleep(0.05)
    raise SystemExit(f"waited in vain: {what}")


def against_the_code(document):
    """What stands in the sources and not in the document, or the other way round."""
    routes = (ROOT / "proxy/src/control/routes.rs").read_text()
    arms = re.findall(r"\[((?:\"[\w:.]*\"|id|slug|, )+)\] => \{\s*self\.allow\(&\[([^\]]*)\]\)", routes)
    served = {}
    for segments, methods in arms:
        path = "/" + "/".join(part.strip('"') if part.startswith('"') else f"{{{part}}}" for part in segments.split(", "))
        served[path] = {method.lower() for method in re.findall(r"Method::(\w+)", methods)} - {"head"}
    described = {path: set(methods) for path, methods in document["paths"].items()}
    expect(described == served, f"paths: the document has {described}, the code {served}")
    taken = set()
    for file in (ROOT / "proxy/src/control").glob("*.rs"):
        for names in re.findall(r"Params::read\([^&]*&\[([^\]]*)\]", file.read_text()):
            taken |= set(re.findall(r'"(\w+)"', names))
    known = {
        parameter["name"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", [])
        if parameter.get("in") == "query"
    }
    expect(known == taken, f"parameters of queries: the document has {sorted(known)}, the code {sorted(taken)}")
    slugs = set(re.findall(r'^    \w+ = "([a-z-]+)", [A-Z_]+, ', (ROOT / "policies/src/problem.rs").read_text(), re.M))
    said = set(document["components"]["headers"]["MainstayError"]["schema"]["enum"])
    expect(said == slugs, f"slugs: the document has {sorted(said - slugs)} too many and lacks {sorted(slugs - said)}")
    named = set(re.findall(r'^        "(\w+)": ', (ROOT / "proxy/src/api/document.rs").read_text().partition("fn of_attention")[0], re.M))
    members = set(document["components"]["schemas"]["Operation"]["properties"])
    # Only where there is something to say.
    members.discard("superseded_by")
    expect(members == named, f"members of an operation: the document has {sorted(members ^ named)} otherwise than the code")


def admin_against_the_code(document):
    """The same of the operators' side: that each address answers is asked of a real proxy by tests/it/openapi_admin.rs."""
    admin = ROOT / "proxy/src/admin"
    routes = (admin / "routes.rs").read_text()
    listed = lambda before: set(re.findall(r'"([\w.-]+)"', re.search(before + r"\[([^\]]*)\]", routes)[1]))
    heads = set(re.findall(r'\["([\w:.-]*)"(?:, \w+)?\] =>', routes)) | listed(r"LOOKS[^=]*=\s*")
    heads |= set(re.findall(r'"/(\w+)" => match \w+::', routes))
    acts = listed(r"if !") | set(re.findall(r'Some\(\(\w+, "(\w+)"\)\)', routes))
    acts |= set(re.findall(r'"(\w+)" => breakers::\w+\(self, name\)', routes))
    described = {path.split("/")[1] for path in document["paths"]}
    expect(described == heads, f"admin, first segments: {sorted(described ^ heads)} stand in one only")
    named = {path.rsplit(":", 1)[1] for path in document["paths"] if ":" in path and "{" in path}
    expect(named == acts, f"admin, acts: {sorted(named ^ acts)} stand in one only")
    taken = set(re.findall(r'"(\w+)"', re.search(r"FILTERS[^=]*= \[([^\]]*)\]", (admin / "filters.rs").read_text())[1]))
    for file in admin.glob("*.rs"):
        for names in re.findall(r"(?:Params::read\([^&]*&|FILTERS\.into_iter\(\)\.chain\()\[([^\]]*)\]", file.read_text()):
            taken |= set(re.findall(r'"(\w+)"', names))
    known = {
        parameter["name"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", [])
        if parameter.get("in") == "query"
    } | {parameter["name"] for parameter in document["components"]["parameters"].values() if parameter["in"] == "query"}
    expect(known == taken, f"admin, parameters of queries: {sorted(known ^ taken)} stand in one only")
    own = set(re.findall(r'^        "(\w+)": ', (admin / "documents.rs").read_text().partition("let more = json!({")[2].partition("});")[0], re.M))
    shared = set(re.findall(r'^        "(\w+)": ', (ROOT / "proxy/src/api/document.rs").read_text().partition("fn of_attention")[0], re.M))
    required = set(document["components"]["schemas"]["Operation"]["required"])
    expect(required == own | shared, f"admin, members of an operation: {sorted(required ^ (own | shared))} stand in one only")


def prepared(base):
    """Operations in every state that there may be, and the address of one that has an answer."""
    places = []
    for key in ["paid", "declined", "lost", "doubt"]:
        _, headers, _ = ask(f"{base}/pay", "POST", b"{}", Idempotency_Key=key, Content_Type="application/json")
        places.append(headers["Operation-Location"])
    eventually("what was lost is found", lambda: json.loads(ask(base + places[2])[2])["final"])
    return [place.rsplit("/", 1)[1] for place in places]


OURS = re.compile("mainstay-|operation-location$|retry-after$|preference-applied$|idempotent-replayed$")


def answers_to_writes(base, document):
    """What a write is answered, beside the response that the document has for it: headers of ours that it lacks, another effect."""
    told, both = {"Content-Type": "application/json"}, {"Content-Type": "application/json", "Prefer": "wait=0"}
    asked = [
        ("KeyMissing400", None, b"{}", told),
        ("KeyReused422", "paid", b'{"other": 1}', told),
        ("OutcomeUnknown409", "doubt", b"{}", both),
        ("OutcomeUnknown504", "doubt-anew", b"{}", told),
        ("ResponseNotRetained409", "large", b"{}", told),
        ("RateLimited429", "limited", b"{}", told),
    ]
    for name, key, body, fields in asked:
        path = "/limited" if key == "limited" else "/pay"
        fields = fields | ({"Idempotency-Key": key} if key else {})
        if key in ("large", "limited"):
            ask(base + path, "POST", body, **fields)  # the first of two
        _, headers, text = ask(base + path, "POST", body, **fields)
        described = document["components"]["responses"][name]
        known = {header.lower() for header in described["headers"]}
        own = {header.lower() for header in headers if OURS.match(header.lower())}
        expect(own <= known, f"{name}: an answer has {sorted(own - known)}, which the document does not")
        example = described["content"]["application/problem+json"]["example"]
        problem = json.loads(text)
        for member in ["type", "effect"]:
            expect(problem.get(member) == example[member], f"{name}: {member} is {problem.get(member)}, in the document {example[member]}")


def with_examples(document, ids):
    """The document with keys and ids that exist here, so that not everything is a 404."""
    mine = json.loads(json.dumps(document))
    parameter = mine["components"]["parameters"]["OperationId"]
    parameter.pop("example", None)
    parameter["examples"] = {str(number): {"value": value} for number, value in enumerate(ids)}
    for given in mine["paths"].get("/breakers/{name}:force", {}).get("post", {}).get("parameters", []):
        if given.get("name") == "name":
            given["examples"] = {"one": {"value": "write@app"}}
    for given in mine["paths"]["/operations"]["get"]["parameters"]:
        if given.get("name") == "key":
            given["examples"] = {key: {"value": key} for key in ["paid", "declined", "lost", "doubt", "absent"]}
    return mine


@contextlib.contextmanager
def proxy(binary):
    """A proxy of its own, with operations in it: its folder, its addresses for callers and for operators, and what is in it."""
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    port, probes, admin = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        ports = {"port": port, "probes": probes, "admin": admin, "service": service.server_port}
        (home / "mainstay.yaml").write_text(CONFIG.format(ledger=home / "ledger", **ports))
        with open(home / "log", "w") as log:
            process = subprocess.Popen([binary, "-c", home / "mainstay.yaml"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            eventually("ready", lambda: ask(f"http://127.0.0.1:{probes}/readyz")[0] == 200)
            base = f"http://127.0.0.1:{port}"
            yield home, f"{base}/_mainstay", f"http://127.0.0.1:{admin}", prepared(base)
        finally:
            process.kill()
            process.wait()


def schemathesis(binary, document, is_admin, examples, *options):
    with proxy(binary) as (home, callers, operators, ids):
        (home / "openapi.json").write_text(json.dumps(with_examples(document, ids)))
        command = [pathlib.Path(sys.executable).with_name("schemathesis"), "run", home / "openapi.json"]
        command += ["--url", operators if is_admin else callers, "--max-examples", examples, "--generation-database", "none", "--no-color"]
        # A reading may wait for 30 s (`Prefer: wait`).
        command += ["--request-timeout", "40", *options]
        command += ["--exclude-checks", "ignored_auth,positive_data_acceptance,missing_required_header,unsupported_method,negative_data_rejection"]
        ended = subprocess.run(command, cwd=home, capture_output=True, text=True)
        return "" if ended.returncode == 0 else f"schemathesis:\n{ended.stdout[-8000:]}{ended.stderr[-2000:]}"


def main(binary):
    document, admin = json.loads(DOCUMENT.read_text()), json.loads(ADMIN.read_text())
    for each in [document, admin]:
        openapi_spec_validator.validate(each)
    against_the_code(document)
    admin_against_the_code(admin)
    with proxy(binary) as (_, callers, _, _):
        answers_to_writes(callers.removesuffix("/_mainstay"), document)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [
            # Who the caller is comes from a front, and is no part of the document.
            pool.submit(schemathesis, binary, document, False, EXAMPLES, "--header", "X-Tenant: ann"),
            # What happens is told for as long as somebody listens.
            pool.submit(schemathesis, binary, admin, True, str(max(1, int(EXAMPLES) // 4)), "--exclude-path", "/events"),
        ]
        for run in runs:
            expect(not run.result(), run.result())
    paths, schemas = len(document["paths"]), len(document["components"]["responses"])
    print("\n".join(faults) or f"{paths} paths (and {len(admin['paths'])} of the operators), {schemas} responses to refer to: as the code has them, and as a proxy answers")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
