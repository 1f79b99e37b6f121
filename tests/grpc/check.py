#!/usr/bin/env python3
"""Real gRPC, grpcio on both sides, with the retry policy that gRPC services usually have: what its client reads is what happened.

Usage: check.py MAINSTAY_BINARY       (needs the PyPI package grpcio)
"""

import concurrent.futures
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc

# Seconds: how long a call may take as a whole in Mainstay, and how long the slow service takes.
TOTAL = 0.5
SLOW = 1.2
# For anything that must happen at some time.
PATIENCE = 20
USUAL = ["UNAVAILABLE"]
EAGER = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN", "RESOURCE_EXHAUSTED"]


class Problem(Exception):
    pass


def expect(held, message):
    if not held:
        raise Problem(message)


def eventually(what, probe):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if probe():
            return
        time.sleep(0.02)
    raise Problem(f"waited in vain: {what}")


class Service:
    """A service that counts what it did, by the name that the caller gave its call."""

    def __init__(self):
        self.lock = threading.Lock()
        self.done = {}
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        methods = {
            "Pay": unary(self.pay),
            "Slow": unary(self.slow),
            "Decline": unary(self.decline),
            "DeclineLate": unary(self.decline_late),
            "Remaining": unary(self.remaining),
            "Watch": stream(self.watch),
        }
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Till", methods),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def count(self, request):
        with self.lock:
            self.done[request] = self.done.get(request, 0) + 1

    def pay(self, request, context):
        self.count(request)
        return b"paid"

    def slow(self, request, context):
        self.count(request)
        time.sleep(SLOW)
        return b"paid"

    def decline(self, request, context):
        self.count(request)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the account is closed: ä")

    def decline_late(self, request, context):
        self.count(request)
        time.sleep(SLOW)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the account is closed")

    def remaining(self, request, context):
        left = context.time_remaining()
        return b"none" if left is None or left > 1e6 else str(left).encode()

    def watch(self, request, context):
        for number in range(4):
            yield str(number).encode()
            time.sleep(TOTAL / 2)


def free_port():
    """Below the ephemeral range, where no client's port can be."""
    while True:
        port = random.randint(10_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Proxy:
    def __init__(self, binary, upstream, directory):
        self.port, probes = free_port(), free_port()
        config = Path(directory) / "mainstay.yaml"
        config.write_text(f"""
listeners: {{ inbound: {{ address: "127.0.0.1:{self.port}" }} }}
probes: {{ address: "127.0.0.1:{probes}" }}
admin: off
upstreams: {{ app: {{ endpoints: ["http://127.0.0.1:{upstream}"], protocol: http2 }} }}
routes: [{{ match: {{ path: /shop.Till/** }}, upstream: app, policy: call }}]
policies: {{ call: {{ timeout: {int(TOTAL * 1000)}ms, idempotency: {{ required: false }} }} }}
ledger: {{ store: memory }}
""")
        self.process = subprocess.Popen([binary, "-c", str(config)], stdout=subprocess.DEVNULL)
        eventually("the proxy listens", lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0)

    def channel(self, retried):
        policy = {
            "methodConfig": [
                {
                    "name": [{}],
                    "retryPolicy": {
                        "maxAttempts": 4,
                        "initialBackoff": "0.05s",
                        "maxBackoff": "0.1s",
                        "backoffMultiplier": 2,
                        "retryableStatusCodes": retried,
                    },
                }
            ]
        }
        options = [("grpc.enable_retries", 1), ("grpc.service_config", json.dumps(policy))]
        return grpc.insecure_channel(f"127.0.0.1:{self.port}", options=options)


class Told:
    """What a client reads of a call."""

    def __init__(self, channel, method, name, key=None, timeout=None):
        metadata = [("idempotency-key", key)] if key else []
        began = time.monotonic()
        try:
            call = channel.unary_unary(f"/shop.Till/{method}")
            self.answer, done = call.with_call(name, timeout=timeout, metadata=metadata)
            self.code, self.words = grpc.StatusCode.OK, ""
        except grpc.RpcError as error:
            self.answer, done = None, error
            self.code, self.words = error.code(), error.details()
        self.took = time.monotonic() - began
        fields = list(done.initial_metadata() or ()) + list(done.trailing_metadata() or ())
        self.fields = {name: value for name, value in fields}

    def __str__(self):
        return f"{self.code.name} {self.words!r} {self.fields}"

    def expect(self, code, slug=None):
        expect(self.code is code, f"expected {code.name}: {self}")
        expect(self.fields.get("mainstay-error") == slug, f"expected {slug}: {self}")
        return self


def a_slow_write_is_executed_once(service, proxy):
    """Whichever codes the client repeats by itself."""
    for retried in USUAL, EAGER:
        with proxy.channel(retried) as channel:
            for key in None, f"slow-{len(retried)}":
                name = f"slow {retried} {key}".encode()
                slug = "outcome-unknown" if key else "timeout"
                first = Told(channel, "Slow", name, key)
                # With its key a client may repeat what it likes; the last thing it reads then is that of a repeat.
                last = grpc.StatusCode.DEADLINE_EXCEEDED
                if key and retried is EAGER:
                    expect(first.code in (last, grpc.StatusCode.ABORTED), str(first))
                else:
                    first.expect(last, slug)
                expect(first.took < SLOW, f"the caller waited {first.took} s")
                time.sleep(SLOW)
                expect(service.done[name] == 1, f"executed {service.done[name]} times: {name}")


def a_write_in_doubt_is_not_ok_and_its_late_answer_settles_it(service, proxy):
    with proxy.channel(USUAL) as channel:
        Told(channel, "Slow", b"doubt", "doubt").expect(grpc.StatusCode.DEADLINE_EXCEEDED, "outcome-unknown")
        again = Told(channel, "Slow", b"doubt", "doubt").expect(grpc.StatusCode.ABORTED, "outcome-unknown")
        expect("operation-location" in again.fields, str(again))
        time.sleep(SLOW)
        settled = Told(channel, "Slow", b"doubt", "doubt").expect(grpc.StatusCode.ALREADY_EXISTS)
        expect(settled.fields.get("mainstay-outcome") == "succeeded", str(settled))
        expect(service.done[b"doubt"] == 1, f"executed {service.done[b'doubt']} times")


def a_declined_write_is_declined_whenever_its_answer_comes(service, proxy):
    declined = grpc.StatusCode.FAILED_PRECONDITION
    with proxy.channel(USUAL) as channel:
        for key in None, "declined":
            first = Told(channel, "Decline", b"declined", key).expect(declined)
            expect(first.words == "the account is closed: ä", str(first))
        again = Told(channel, "Decline", b"declined", "declined").expect(declined)
        expect(again.words == first.words and again.fields.get("idempotent-replayed") == "true", str(again))
        expect(service.done[b"declined"] == 2, "once with its key, once without")
        Told(channel, "DeclineLate", b"late", "late").expect(grpc.StatusCode.DEADLINE_EXCEEDED, "outcome-unknown")
        time.sleep(SLOW)
        late = Told(channel, "DeclineLate", b"late", "late").expect(declined)
        expect(late.words == "the account is closed" and service.done[b"late"] == 1, str(late))


def deadlines_hold_both_ways(service, proxy):
    with proxy.channel(USUAL) as channel:
        short = Told(channel, "Slow", b"short", timeout=0.2)
        # Its own clock may tell the caller first, or Mainstay's.
        expect(short.code is grpc.StatusCode.DEADLINE_EXCEEDED, str(short))
        expect(short.took < TOTAL, f"the caller's 200 ms became {short.took} s")
        expect(Told(channel, "Remaining", b"").answer == b"none", "a deadline was invented")
        left = float(Told(channel, "Remaining", b"", timeout=0.3).answer)
        # The service counts from when it read the call, on a clock of its own.
        expect(0 < left <= 0.32, f"0.3 s became {left} s")


def a_stream_is_not_cut(service, proxy):
    with proxy.channel(USUAL) as channel:
        for timeout in None, PATIENCE:
            for key in None, f"stream-{timeout}":
                metadata = [("idempotency-key", key)] if key else []
                watch = channel.unary_stream("/shop.Till/Watch")
                got = list(watch(b"", timeout=timeout, metadata=metadata))
                expect(got == [b"0", b"1", b"2", b"3"], f"{got}, timeout {timeout}, key {key}")


def what_was_not_sent_may_be_repeated(service, proxy):
    """Last: it ends the service."""
    with proxy.channel(USUAL) as channel:
        expect(Told(channel, "Pay", b"pay", "pay").answer == b"paid", "the way is open")
        service.server.stop(0).wait()
        Told(channel, "Pay", b"down", "down").expect(grpc.StatusCode.UNAVAILABLE, "upstream-unreachable")
        expect(b"down" not in service.done, "nothing was executed")


def main(binary):
    checks = [
        a_slow_write_is_executed_once,
        a_write_in_doubt_is_not_ok_and_its_late_answer_settles_it,
        a_declined_write_is_declined_whenever_its_answer_comes,
        deadlines_hold_both_ways,
        a_stream_is_not_cut,
        what_was_not_sent_may_be_repeated,
    ]
    failed = 0
    service = Service()
    with tempfile.TemporaryDirectory(prefix="mainstay-grpc-") as directory:
        proxy = Proxy(binary, service.port, directory)
        try:
            for check in checks:
                try:
                    check(service, proxy)
                    print(f"ok      {check.__name__}")
                except (Problem, grpc.RpcError) as problem:
                    failed += 1
                    print(f"FAILED  {check.__name__}: {problem}")
        finally:
            proxy.process.terminate()
            proxy.process.wait(PATIENCE)
            service.server.stop(0)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
