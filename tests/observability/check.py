#!/usr/bin/env python3
"""The alerts, the dashboard and the runbook, against each other and against a real /metrics.

* `promtool` checks the rules and runs their tests, in which every alert fires once and is quiet once;
* every alert leads to a heading of the runbook, and every alert and reason of attention has one;
* rules and dashboard name only metrics that exist, and select by labels that these have.

Usage: check.py MAINSTAY_BINARY       (needs promtool, and PyYAML)
"""

import http.server
import json
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

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/observability/rules.yaml"
TESTS = ROOT / "tests/observability/rules_test.yaml"
DASHBOARD = ROOT / "deploy/observability/dashboard.json"
RUNBOOK = ROOT / "docs/runbook.md"
# What Prometheus and the operator's relabelling add.
TARGET_LABELS = {"instance", "namespace", "workload", "pod", "le"}
# What the rules are ahead of: an alert on what no build exposes is quiet. Take a name away when it exists.
AHEAD = set()
CONFIG = """
listeners: {{ inbound: {{ address: "127.0.0.1:{port}" }} }}
probes: {{ address: "127.0.0.1:{probes}" }}
admin: off
ledger: {{ path: "{ledger}" }}
upstreams:
  app: {{ endpoints: ["http://127.0.0.1:{service}"] }}
  gone: {{ endpoints: ["http://127.0.0.1:1"] }}
routes:
  - {{ match: {{ path: /pay, methods: [POST] }}, upstream: app, policy: write }}
  - {{ match: /gone, upstream: gone, policy: read }}
  - {{ match: /limited, upstream: app, policy: limited }}
policies:
  read: {{ timeout: 2s, retry: 1, circuit_breaker: 0.5 }}
  limited: {{ rate_limit: {{ requests: 1, unit: 1h }}, concurrency_limit: 5 }}
  write:
    timeout: 2s
    idempotency:
      required: true
      status:
        request: "GET /by-ref/{{key}}"
        schedule: {{ first: 100ms, max: 100ms }}
        rules: [{{ status: 200, then: succeeded }}]
"""
faults = []


def expect(held, message):
    if not held:
        faults.append(message)


class Service(http.server.BaseHTTPRequestHandler):
    """Loses the answer to every write."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def ask(url, **options):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **options), timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(what, probe):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            if value := probe():
                return value
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"waited in vain: {what}")


def exposed(binary, problems=False):
    """/metrics of a proxy that has had a bit of everything; and, if they are wanted, its problems."""
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    port, probes = free_port(), free_port()
    with tempfile.TemporaryDirectory() as home:
        file = pathlib.Path(home, "mainstay.yaml")
        file.write_text(CONFIG.format(port=port, probes=probes, service=service.server_port, ledger=f"{home}/ledger"))
        log = open(pathlib.Path(home, "log"), "w")
        proxy = subprocess.Popen([binary, "-c", file], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            eventually("ready", lambda: ask(f"http://127.0.0.1:{probes}/readyz"))
            for path in ["/gone", "/limited", "/limited", "/no-route"]:
                ask(f"http://127.0.0.1:{port}{path}")
            ask(f"http://127.0.0.1:{port}/pay", data=b"1", headers={"Idempotency-Key": "a"})
            page = f"http://127.0.0.1:{probes}/metrics"
            text = eventually("a settled doubt", lambda: text if "time_in_doubt_seconds_count" in (text := ask(page)) else "")
            return (text, ask(f"http://127.0.0.1:{port}/_mainstay/problems")) if problems else text
        finally:
            proxy.kill()
            proxy.wait()
            log.close()


def known_metrics(page):
    """Each metric that exists, with its labels where it had a sample."""
    metrics = {name: None for name in AHEAD}
    # A family without a sample is printed by its first; what may come is registered by its name.
    for file in (ROOT / "proxy/src").rglob("*.rs"):
        if "tests" not in file.name and "tests" not in file.parts:
            for name in re.findall(r'"(mainstay_[a-z_]+)"', file.read_text()):
                metrics |= {name: None, f"{name}_total": None}
    for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? \S+$", page, re.M):
        metrics[name] = (metrics.get(name) or set()) | set(re.findall(r'([a-z_]+)="', labels))
    return metrics


def check_query(where, query, metrics):
    names = set(re.findall(r"\b((?:mainstay|process)_[a-z_]+)\b", query))
    expect(names, f"{where}: names no metric")
    for name in names:
        expect(name in metrics, f"{where}: there is no metric {name}")
        labels = metrics.get(name)
        for selector in re.findall(name + r"\{([^}]*)\}", query):
            for label in re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", selector):
                expect(labels is None or label in labels | TARGET_LABELS, f"{where}: {name} has no label {label}")
    if len(names) == 1 and (labels := metrics.get(*names)) is not None:
        for group in re.findall(r"by \(([^)]*)\)", query):
            for label in filter(None, re.split(r",\s*", group)):
                expect(label in labels | TARGET_LABELS, f"{where}: {names} has no label {label} to group by")


def main(binary):
    for command in [["check", "rules", RULES], ["test", "rules", TESTS]]:
        ended = subprocess.run(["promtool", *command], capture_output=True, text=True)
        expect(ended.returncode == 0, f"promtool {command}:\n{ended.stdout}{ended.stderr}")
    alerts = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    cases = [case for test in yaml.safe_load(TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    headings = re.findall(r"^## (.*)$", RUNBOOK.read_text(), re.M)
    metrics = known_metrics(exposed(binary))
    for rule in alerts:
        name = rule["alert"]
        outcomes = {bool(case["exp_alerts"]) for case in cases if case["alertname"] == name}
        expect(outcomes == {True, False}, f"{name}: not tested both firing and quiet")
        expect(rule["labels"]["severity"] in {"page", "ticket"}, f"{name}: neither page nor ticket")
        expect(rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}", f"{name}: leads elsewhere")
        expect(name in headings, f"{name}: not in the runbook")
        check_query(name, rule["expr"], metrics)
    record = (ROOT / "policies/src/operation/record.rs").read_text()
    reasons = re.search(r"impl AttentionReason \{.*?\n\}", record, re.S)[0]
    for reason in re.findall(r'=> "([a-z_]+)"', reasons):
        expect(f"Attention: {reason}" in headings, f"attention {reason}: not in the runbook")
    names = {rule["alert"] for rule in alerts} | {"Attention"}
    for heading in headings:
        stray = heading.startswith("Mainstay") and heading not in names
        expect(not stray, f"the runbook has {heading}, and no alert leads there")
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    expect(len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]), "two panels have one id")
    for panel in panels:
        for target in panel["targets"]:
            check_query(f"dashboard, {panel['title']}", target["expr"], metrics)
    for variable in dashboard["templating"]["list"][1:]:
        check_query(f"dashboard, variable {variable['name']}", variable["definition"], metrics)
    print("\n".join(faults) or f"{len(alerts)} alerts, {len(cases)} cases, {len(panels)} panels: all hold together")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
