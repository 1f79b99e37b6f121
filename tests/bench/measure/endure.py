"""Runs without a comparison: a minute without one error, and what a keyed write costs."""

import os
from statistics import median

from . import build, load
from .machine import Trouble

_STREAMS = 8


def soak(stage, name, seconds):
    """HTTP/1.1 and HTTP/2 load at the same proxy, one after the other; one error fails the run."""
    proxy = stage.start(name)
    rows = []
    for generator in ("wrk", "h2load"):
        before = proxy.process.rss_bytes()
        if generator == "wrk":
            requests = load.wrk(name, proxy.port, seconds).requests
        else:
            requests = load.h2load_streams(name, proxy.port, seconds, _STREAMS)
        proxy.process.check()
        load.check_answer(name, proxy.port)
        rows.append({
            "name": name, "generator": generator, "seconds": seconds, "requests": requests, "errors": 0,
            "rss_before_bytes": before, "rss_after_bytes": proxy.process.rss_bytes(),
        })
    return rows


def keyed(stage, rounds, seconds):
    """Keyed writes, every key new, in turns with reads through the same proxy."""
    proxy = stage.start("mainstay")
    _check_keyed(proxy.port)
    samples = {"read": [], "keyed write": []}
    for turn in range(rounds):
        for kind in sorted(samples, reverse=turn % 2 == 1):
            before, seen = proxy.process.cpu_seconds(), _load(kind, proxy.port, turn, seconds)
            samples[kind].append({
                "cpu_us": (proxy.process.cpu_seconds() - before) / seen.requests * 1e6,
                "per_second": seen.per_second, "p50_ms": seen.p50_ms, "p99_ms": seen.p99_ms,
                "rss_bytes": proxy.process.rss_bytes(),
            })
    rows = [{"kind": kind} | {figure: median(s[figure] for s in runs) for figure in runs[0]} for kind, runs in samples.items()]
    for row in rows:
        row["cpu_to_read"] = row["cpu_us"] / rows[0]["cpu_us"]
    return rows


def _load(kind, port, turn, seconds):
    if kind == "read":
        return load.wrk(kind, port, seconds)
    environment = {**os.environ, "BENCH_RUN": f"{os.getpid()}-{turn}"}
    return load.wrk(kind, port, seconds, script=build.CONFIGS / "keyed.lua", env=environment)


def _check_keyed(port):
    """The write path is really on: a repeat of a write is a replay."""
    for replayed in (None, "true"):
        status, headers, body = load.fetch(
            port, "/payments/new", "POST", '{"amount":1}',
            {"Idempotency-Key": f'"check-{os.getpid()}"', "Content-Type": "application/json"},
        )
        found = {name.lower(): value for name, value in headers.items()}.get("idempotent-replayed")
        if status != 200 or body != load.BODY or found != replayed:
            raise Trouble(f"a keyed write got {status}, Idempotent-Replayed: {found}, expected {replayed}")
