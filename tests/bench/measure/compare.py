"""The comparison: every contender under the same load, in turns, so that a noisy minute hits all alike."""

import json
import time
from statistics import median

from . import load
from .contenders import FEATURES
from .machine import Trouble

# The proxy's core must be what limits, else throughput and latency measure the load generator.
_BUSY_ENOUGH = 0.85
# Twice the OpenTelemetry SDK's delay between batches.
_EXPORT_SECONDS = 10


def compare(stage, names, rounds, seconds, rate):
    """Rows in the order of `names`; every figure is the median over the rounds."""
    contenders = [stage.start(name) for name in names]
    samples = {name: [] for name in names}
    spans_before = _exports(stage)
    for turn in range(rounds):
        start = turn % len(contenders)
        for contender in contenders[start:] + contenders[:start]:
            samples[contender.name].append(_measure(stage, contender, seconds, rate))
    rows = [_row(contender, samples[contender.name]) for contender in contenders]
    if "mainstay-traced" in names:
        _expect_exports(stage, spans_before)
    _relate(rows)
    return rows


def _measure(stage, contender, seconds, rate):
    name, process = contender.name, contender.process
    load.wrk(name, contender.port, 1)
    behind = stage.upstream.cpu_seconds()
    before = process.cpu_seconds() if process else 0.0
    closed = load.wrk(name, contender.port, seconds)
    after = process.cpu_seconds() if process else 0.0
    sample = {
        "per_second": closed.per_second,
        "p50_ms": closed.p50_ms,
        "p99_ms": closed.p99_ms,
        "cpu_us": (after - before) / closed.requests * 1e6,
        "busy": (after - before) / seconds,
        "upstream_cpu_us": (stage.upstream.cpu_seconds() - behind) / closed.requests * 1e6,
        "loaded_rss_bytes": process.rss_bytes() if process else 0,
    }
    if rate:
        before = process.cpu_seconds() if process else 0.0
        steady = load.h2load(name, contender.port, seconds, rate, stage.directory)
        after = process.cpu_seconds() if process else 0.0
        sample |= {
            "steady_p50_ms": steady.p50_ms,
            "steady_p99_ms": steady.p99_ms,
            "steady_cpu_us": (after - before) / steady.requests * 1e6,
        }
    if process:
        process.check()
    # A proxy that trips, sheds or ejects under load would look cheap.
    load.check_answer(name, contender.port)
    return sample


def _row(contender, samples):
    row = {"name": contender.name, "on": FEATURES[contender.name], "idle_rss_bytes": contender.idle_rss_bytes}
    for figure in samples[0]:
        row[figure] = median(sample[figure] for sample in samples)
    if not contender.process:
        # There is no proxy, so there is nothing that could have cost or held anything.
        return {key: value for key, value in row.items() if "cpu_us" not in key and "rss" not in key and key != "busy"}
    row["cpu_us_all"] = [round(sample["cpu_us"], 2) for sample in samples]
    if row["busy"] < _BUSY_ENOUGH:
        row["note"] = f"its core was only {row['busy']:.0%} busy: throughput and latency are the load generator's"
    return row


def _relate(rows):
    by_name = {row["name"]: row for row in rows}
    direct = by_name.get("direct")
    for row in rows:
        for peer in ("haproxy", "envoy"):
            if peer in by_name and "cpu_us" in row:
                row[f"cpu_to_{peer}"] = row["cpu_us"] / by_name[peer]["cpu_us"]
        if direct and row is not direct:
            for figure in ("p99_ms", "steady_p99_ms"):
                if figure in row:
                    row[f"added_{figure}"] = row[figure] - direct[figure]


def _expect_exports(stage, before):
    # Spans leave in batches, the last of them a while after the load.
    deadline = time.monotonic() + _EXPORT_SECONDS
    while _exports(stage) == before:
        if time.monotonic() > deadline:
            raise Trouble("mainstay-traced exported no span: its figures would be those of tracing off")
        time.sleep(0.1)


def _exports(stage):
    return json.loads(load.fetch(stage.sink_port, "/stats")[2])["exports"]
