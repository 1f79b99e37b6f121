"""The reusable components of the callers' document, beside what a real proxy answers.

Every response is got from a proxy. It has to have the members and the words of the document's example, and its headers: none of ours that the
document lacks, none that the document has and the answer does not, each as its schema says.
"""

import concurrent.futures
import contextlib
import json
import re
import socket

import jsonschema
from stage import Service, ask, eventually, free_port, proxy

CONFIG = """
listeners: {{ inbound: {{ address: "127.0.0.1:{port}", principal: {{ header: X-Tenant }} }} }}
probes: {{ address: "127.0.0.1:{probes}" }}
admin: {{ address: "127.0.0.1:{admin}" }}
ledger: {{ path: "{ledger}" }}
upstreams:
  app: {{ endpoints: ["http://127.0.0.1:{service}"] }}
  gone: {{ endpoints: ["http://127.0.0.1:{gone}"] }}
  hole: {{ endpoints: ["http://127.0.0.1:{hole}"], connect_timeout: 9s }}
routes:
  - {{ match: /pay, upstream: app, policy: write }}
  - {{ match: /limited, upstream: app, policy: limited }}
  - {{ match: /hurried, upstream: app, policy: hurried }}
  - {{ match: /short, upstream: app, policy: short }}
  - {{ match: /slow, upstream: app, policy: patient }}
  - {{ match: /busy, upstream: app, policy: busy }}
  - {{ match: /broken, upstream: app, policy: broken }}
  - {{ match: /gone, upstream: gone, policy: patient }}
  - {{ match: /hole, upstream: hole, policy: hurried }}
policies:
  patient: {{ timeout: 30s, idempotency: {{ required: true, status: none }} }}
  hurried: {{ timeout: 1s, idempotency: {{ required: true, status: none }} }}
  short: {{ timeout: 5s, idempotency: {{ required: true, status: none, retention: 200ms, tombstone: 1h }} }}
  busy: {{ timeout: 30s, concurrency_limit: 1, idempotency: {{ required: true, status: none }} }}
  broken: {{ timeout: 5s, circuit_breaker: 0.5, idempotency: {{ required: true, status: none }} }}
  limited: {{ timeout: 5s, rate_limit: {{ requests: 1, unit: 1h }}, idempotency: {{ required: true, status: none }} }}
  write:
    timeout: 5s
    idempotency:
      required: true
      status:
        request: "GET /by-ref/{{key}}"
        schedule: {{ first: 100ms, max: 200ms }}
        rules:
          - {{ status: 200, then: succeeded }}
          - {{ status: 410, then: failed }}
"""
# One open write at most. It knows nobody, so that a key belongs to the credentials that it came with.
FULL = """
listeners: {{ inbound: {{ address: "127.0.0.1:{port}" }} }}
probes: {{ address: "127.0.0.1:{probes}" }}
admin: off
ledger: {{ store: memory, max_open: 1 }}
upstreams: {{ app: {{ endpoints: ["http://127.0.0.1:{service}"] }} }}
routes: [{{ match: /slow, upstream: app, policy: write }}]
policies: {{ write: {{ timeout: 30s, idempotency: {{ required: true, status: none }} }} }}
"""
# What is not on each of them: this one waited for nothing, and of that one there is no operation.
MAY_LACK = {name: {"preference-applied"} for name in ["WriteFailed422", "ResponseNotRetained409", "KeyExpired409"]}
MAY_LACK["NotExecuted503"] = {"operation-location"}
OURS = re.compile("mainstay-|operation-location$|retry-after$|preference-applied$|idempotent-replayed$|allow$")


@contextlib.contextmanager
def hole():
    """A port that takes no connection, and refuses none: its queue is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


def write(base, path, key, body=b"{}", wait=None, **more):
    """A write's status, headers and body; `wait` in seconds is what it prefers."""
    fields = {"Content-Type": "application/json", "Idempotency-Key": key, "Prefer": wait is not None and f"wait={wait}", **more}
    return ask(base + path, "POST", body, **{name: value for name, value in fields.items() if value})


def answers(base, operators):
    """What a proxy answers: the response that is to be compared with it, status, headers and body."""
    yield "KeyMissing400", write(base, "/pay", None)
    paid = write(base, "/pay", "paid")
    yield "", paid
    yield "", write(base, "/pay", "paid")
    yield "KeyReused422", write(base, "/pay", "paid", b'{"other": 1}', 0)
    yield "OutcomeUnknown504", write(base, "/hurried", "slow")
    write(base, "/pay", "doubt")
    yield "OutcomeUnknown409", write(base, "/pay", "doubt", wait=0)
    for key in ["lost", "refused"]:
        place = write(base, "/pay", key)[1]["Operation-Location"]
        eventually("what was lost is found", lambda place=place: json.loads(ask(base + place)[2])["final"])
    yield "", write(base, "/pay", "lost")
    yield "WriteFailed422", write(base, "/pay", "refused", wait=0)
    write(base, "/pay", "large")
    yield "ResponseNotRetained409", write(base, "/pay", "large", wait=0)
    write(base, "/limited", "first")
    yield "RateLimited429", write(base, "/limited", "second")
    write(base, "/short", "short")
    expired = lambda: (got := write(base, "/short", "short", wait=0))[0] == 409 and got
    yield "KeyExpired409", eventually("the answer is no longer kept", expired)
    order = b'{"state": "open", "actor": "ann", "reason": "to see its answer"}'
    ask(f"{operators}/breakers/broken@app:force", "POST", order, **{"Content-Type": "application/json"})
    yield "CircuitOpen503", write(base, "/broken", "open")
    yield "NotExecuted502", write(base, "/gone", "unreachable")
    yield "NotExecuted504", write(base, "/hole", "late")
    yield "NotFound404", ask(f"{base}/_mainstay/operations/{'0' * 32}")
    yield "BadRequest400", ask(f"{base}/_mainstay/operations?state=none-such")
    yield "MethodNotAllowed405", ask(f"{base}/_mainstay/operations", "DELETE")


def begun(pool, base, path, key):
    """A write whose answer the service holds back."""
    first = pool.submit(write, base, path, key)
    eventually("a write is on its way", lambda: key in Service.asked)
    return first


def answers_meanwhile(pool, base):
    """The same, while a write is on its way."""
    firsts = [begun(pool, base, path, f"slow-{path[1:]}") for path in ["/slow", "/busy"]]
    yield "InProgress409", write(base, "/slow", "slow-slow", wait=0)
    yield "KeyReused422", write(base, "/slow", "slow-slow", b'{"other": 1}', wait=1)
    yield "NotExecuted503", write(base, "/busy", "second")
    Service.may_answer.set()
    for first in firsts:
        yield "", first.result()


def answers_of_full(pool, base):
    """The same, of a proxy whose ledger takes one open write, and whose callers have no names."""
    write(base, "/slow", "paid", Authorization="Bearer ann")
    yield "CallerDiffers409", write(base, "/slow", "paid", wait=0, Authorization="Bearer bob")
    first = begun(pool, base, "/slow", "slow-and-no-room")
    yield "LedgerUnavailable503", write(base, "/slow", "second")
    Service.may_answer.set()
    yield "", first.result()


def beside(document, name, got):
    """What an answer has otherwise than the document: `name` is a response's, or empty for the service's own answer."""
    status, headers, body = got
    components = document["components"]
    for component in components["headers"]:
        field = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", component)
        if (value := headers[field]) is not None and not valid(value, components["headers"][component]["schema"]):
            yield f"{name}: {field} is {value!r}"
    if not name:
        return
    described = components["responses"][name]
    own = {header.lower() for header in headers if OURS.match(header.lower())}
    known = {header.lower() for header in described["headers"]}
    if own - known or known - own - MAY_LACK.get(name, set()):
        yield f"{name}: an answer has {sorted(own - known)}, which the document does not, and lacks {sorted(known - own)}"
    example, problem = described["content"]["application/problem+json"].get("example", {}), json.loads(body)
    if status != int(name[-3:]) or problem.get("status") != status:
        yield f"{name}: the status is {status}, and {problem.get('status')} in the body"
    if not valid(problem, components["schemas"]["Problem"]):
        yield f"{name}: {problem} is no Problem"
    if problem.keys() - {"trace_id"} != example.keys() - {"trace_id"}:
        yield f"{name}: the members are {sorted(problem)}, in the document {sorted(example)}"
    for member in example.keys() - {"trace_id", "operation"}:
        if problem.get(member) != example[member]:
            yield f"{name}: {member} is {problem.get(member)!r}, in the document {example[member]!r}"


def valid(value, schema):
    return jsonschema.Draft202012Validator(schema).is_valid(value)


def of_the_key(document, base):
    """How long a key may be, beside the parameter."""
    longest = document["components"]["parameters"]["IdempotencyKey"]["schema"]["maxLength"]
    for key, status in [("x" * (longest - 2), 201), (f'"{"y" * (longest - 2)}"', 201), ("x" * (longest - 1), 400)]:
        if (got := write(base, "/pay", key)[0]) != status:
            yield f"a key of {len(key)} octets is answered {got}, by the document {status}"
    applied = write(base, "/pay", "doubt", wait=1)[1]["Preference-Applied"]
    if applied != "wait=1":
        yield f"Prefer: wait=1 is answered by Preference-Applied: {applied}"


def of_the_examples(document):
    """Every example is as its schema says."""
    components = document["components"]
    schemas = {name: each for kind in ["schemas", "headers", "parameters"] for name, each in components[kind].items() if "example" in each}
    for name, each in schemas.items():
        if not valid(each["example"], each.get("schema", each)):
            yield f"the example of {name} is not as its schema says"


def compare(binary, document):
    """What the components have otherwise than a proxy."""
    faults, seen, headers = list(of_the_examples(document)), set(), set()
    with concurrent.futures.ThreadPoolExecutor() as pool, hole() as deaf:
        with proxy(binary, CONFIG, gone=free_port(), hole=deaf) as (_, base, operators), proxy(binary, FULL) as (_, full, _):
            runs = [lambda: answers(base, operators), lambda: answers_meanwhile(pool, base), lambda: answers_of_full(pool, full)]
            for run in runs:
                Service.may_answer.clear()
                for name, got in run():
                    seen.add(name)
                    headers |= {header.lower() for header in got[1]}
                    faults += beside(document, name, got)
            faults += of_the_key(document, base)
    for name in document["components"]["responses"].keys() - seen:
        faults.append(f"{name} is compared with nothing")
    for name in document["components"]["headers"]:
        if re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower() not in headers:
            faults.append(f"no answer had {name}")
    return faults
