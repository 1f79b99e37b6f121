"""Load and single requests."""

import http.client
import re
import signal
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .machine import LOAD_CORE, Trouble, pinned

CONNECTIONS = 64
BODY = (
    b'{"id":"pay_001","state":"succeeded","amount":1999,"currency":"EUR",'
    b'"created":"2026-11-21T05:00:00Z"}'
)
_UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
# A load generator that hangs must not hang the run: this long past its own end it is stopped.
_GRACE_SECONDS = 20
_HOUR_SECONDS = 3600


@dataclass
class Load:
    """What a load generator saw."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float


def fetch(port, path="/", method="GET", body=None, headers=None, timeout=5, secure=False):
    """One request on its own connection: status, headers, body."""
    if secure:
        # Whose certificate it is, is not what is measured.
        anybody = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=anybody)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def answers(port, path="/", secure=False):
    """Whether a request gets 200 just now."""
    try:
        return fetch(port, path, timeout=1, secure=secure)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def check_answer(name, port, path="/", secure=False):
    """Raises unless the proxy hands on the upstream's answer unharmed."""
    try:
        status, _, body = fetch(port, path, secure=secure)
    except (OSError, http.client.HTTPException) as error:
        raise Trouble(f"{name}: no answer: {error}") from error
    if status != 200 or body != BODY:
        raise Trouble(f"{name}: expected 200 with the upstream's body, got {status} with {body[:200]!r}")


def wrk(name, port, seconds, path="/", connections=CONNECTIONS, script=None, env=None, secure=False, headers=()):
    """Closed loop: every connection sends its next request when it has its answer. An error of any kind raises."""
    output = _run(name, _wrk_command(port, seconds, path, connections, script, secure, headers), seconds, env)
    return _wrk_seen(name, output)


def wrk_while(name, port, work):
    """The same for as long as `work` takes, which is handed a function that raises if the load has ended by itself."""
    child = subprocess.Popen(
        pinned(LOAD_CORE, _wrk_command(port, _HOUR_SECONDS)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    def check():
        if child.poll() is not None:
            raise Trouble(f"{name}: wrk ended before its time:\n{child.stdout.read()}")

    try:
        work(check)
        # It ends its run as if time were up, and reports.
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=_GRACE_SECONDS)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    return _wrk_seen(name, output)


def _wrk_command(port, seconds, path="/", connections=CONNECTIONS, script=None, secure=False, headers=()):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "--latency"]
    if script:
        command += ["-s", str(script)]
    for header in headers:
        command += ["-H", header]
    return [*command, f"http{'s' if secure else ''}://127.0.0.1:{port}{path}"]


def _wrk_seen(name, output):
    for sign in ("Non-2xx or 3xx responses", "Socket errors"):
        if sign in output:
            raise Trouble(f"{name}: wrk saw errors:\n{output}")
    requests = int(_find(r"(\d+) requests in", output))
    if requests == 0:
        raise Trouble(f"{name}: not one request was answered:\n{output}")
    return Load(
        requests=requests,
        per_second=float(_find(r"Requests/sec:\s+([\d.]+)", output)),
        p50_ms=_latency_ms("50%", output),
        p99_ms=_latency_ms("99%", output),
    )


def h2load(name, port, seconds, rate, directory, connections=CONNECTIONS):
    """Open loop over HTTP/1.1: `rate` requests a second from all connections together, the same for every contender."""
    rows = h2load_rows(name, port, seconds, rate, directory, connections)
    micros, starts = sorted(took for _, took in rows), [start for start, _ in rows]
    took = (max(starts) - min(starts)) / 1e6
    if took > seconds * 1.2:
        raise Trouble(f"{name}: could not keep {rate} requests/s ({seconds} s of them took {took:.1f} s): lower --rate")
    return Load(
        requests=len(micros),
        per_second=len(micros) / took,
        p50_ms=micros[len(micros) // 2] / 1e3,
        p99_ms=micros[len(micros) * 99 // 100] / 1e3,
    )


def h2load_rows(name, port, seconds, rate, directory, connections=CONNECTIONS):
    """The same, as what each request saw: its start (µs since the epoch) and how long it took (µs)."""
    log = Path(directory) / "h2load.tsv"
    log.unlink(missing_ok=True)
    each = rate / connections
    # Connections begin spread over one period of a client's clock; begun at once, they would send in volleys for ever.
    per_ms = max(1, round(rate / 1000))
    output = _run(
        name,
        ["h2load", "--h1", "-t1", f"-c{connections}", f"-n{int(rate * seconds)}", f"--rps={each:g}",
         f"-r{per_ms}", "--rate-period=1ms", f"--log-file={log}", f"http://127.0.0.1:{port}/"],
        seconds,
    )
    _no_failures(name, output)
    # Per request: start (µs since the epoch), status, duration (µs).
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    if any(row[1] != "200" for row in rows):
        raise Trouble(f"{name}: h2load saw answers other than 200")
    return [(int(row[0]), int(row[2])) for row in rows]


def h2load_streams(name, port, seconds, streams, connections=CONNECTIONS):
    """Closed loop over HTTP/2 with prior knowledge; the number of requests, none of which failed."""
    output = _run(
        name,
        ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", f"http://127.0.0.1:{port}/"],
        seconds,
    )
    _no_failures(name, output)
    done = int(_find(r"requests: .*?(\d+) succeeded", output))
    if done == 0 or int(_find(r"status codes: (\d+) 2xx", output)) < done:
        raise Trouble(f"{name}: h2load saw answers other than 2xx:\n{output}")
    return done


def _no_failures(name, output):
    # Its line of counts: "requests: 8000 total, 8000 started, 8000 done, 8000 succeeded, 0 failed, 0 errored, 0 timeout"
    if re.search(r"\b[1-9]\d* (failed|errored|timeout)", _find(r"(requests: .*)", output)):
        raise Trouble(f"{name}: h2load saw errors:\n{output}")


def _run(name, command, seconds, env=None):
    try:
        done = subprocess.run(
            pinned(LOAD_CORE, command), capture_output=True, text=True, timeout=seconds + _GRACE_SECONDS, env=env
        )
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"{name}: {command[0]} did not end") from error
    if done.returncode != 0:
        raise Trouble(f"{name}: {command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _find(pattern, output):
    match = re.search(pattern, output)
    if not match:
        raise Trouble(f"cannot read the load generator's output, no {pattern!r} in:\n{output}")
    return match.group(1)


def _latency_ms(percentile, output):
    match = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s|m)\b", output)
    if not match:
        raise Trouble(f"wrk printed no {percentile} latency:\n{output}")
    return float(match.group(1)) * _UNITS_MS[match.group(2)]
