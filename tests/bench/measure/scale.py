"""Whether cost stays flat: with routes, with idle connections, with the size of a body."""

import socket
import time
from statistics import median

from . import build, load
from .machine import Trouble, raise_open_files

GIB = 1 << 30
_CHUNK_BYTES = 256 * 1024
_IO_SECONDS = 30
# Opening all at once would overflow the accept queue and measure SYN retransmission.
_CONNECTS_PER_BATCH = 100


def routes(stage, counts, rounds, seconds):
    """CPU per request for the first and the last route of tables of several sizes, all up at the same time."""
    proxies = {count: stage.start("mainstay", _with_routes(count)) for count in counts}
    samples = {(count, path): [] for count in counts for path in _ends(count)}
    for turn in range(rounds):
        keys = list(samples)
        start = turn % len(keys)
        for count, path in keys[start:] + keys[:start]:
            proxy = proxies[count]
            load.check_answer(f"{count} routes", proxy.port, path)
            load.wrk(f"{count} routes", proxy.port, 1, path)
            samples[count, path].append(_cpu_us(proxy, lambda p=proxy, at=path: load.wrk("routes", p.port, seconds, at)))
    rows = [
        {"routes": count, "path": path, "cpu_us": median(figures), "rss_bytes": proxies[count].process.rss_bytes()}
        for (count, path), figures in samples.items()
    ]
    for row in rows:
        row["cpu_to_first"] = row["cpu_us"] / rows[0]["cpu_us"]
    return rows


def connections(stage, name, count, rounds, seconds):
    """Memory with many idle connections, each having made one request, and what they do to the cost of others."""
    raise_open_files(count + 1000)
    proxy = stage.start(name)

    def cost():
        return median(_cpu_us(proxy, lambda: load.wrk(name, proxy.port, seconds)) for _ in range(rounds))

    load.wrk(name, proxy.port, 1)
    alone, before = cost(), proxy.process.rss_bytes()
    idle = _open(name, proxy.port, count)
    try:
        held = proxy.process.rss_bytes()
        among = cost()
        lost = sum(1 for connection in idle if _was_closed(connection))
        if lost:
            raise Trouble(f"{name}: {lost} of {count} idle connections were closed")
    finally:
        for connection in idle:
            connection.close()
    return [{
        "name": name, "connections": count, "rss_before_bytes": before, "rss_held_bytes": held,
        "bytes_per_connection": (held - before) / count,
        "cpu_us_alone": alone, "cpu_us_among": among, "cpu_to_alone": among / alone,
    }]


def body(stage, name, length=GIB):
    """Growth of resident memory while a body streams, down and up, with a reader that is slow at first."""
    proxy = stage.start(name)
    load.wrk(name, proxy.port, 1)
    rows = []
    for direction, transfer in (("response", _download), ("request", _upload)):
        before = proxy.process.rss_bytes()
        peak, begun = [before], time.monotonic()

        def look():
            peak[0] = max(peak[0], proxy.process.rss_bytes())

        try:
            transfer(proxy.port, length, look)
        except OSError as error:
            raise Trouble(f"{name}: a {direction} of {length} bytes: {error}") from error
        rows.append({
            "name": name, "direction": direction, "bytes": length, "rss_before_bytes": before,
            "rss_peak_bytes": peak[0], "growth_bytes": peak[0] - before, "seconds": time.monotonic() - begun,
        })
        load.check_answer(name, proxy.port)
    return rows


def _with_routes(count):
    """The comparison's configuration, with `count` exact paths before the catch-all."""
    text = (build.CONFIGS / "mainstay.yaml").read_text()
    extra = "".join(
        f"  - match: {{ path: /service-{number}/items/{{id}} }}\n    upstream: app\n    policy: read\n"
        for number in range(count)
    )
    head, mark, rest = text.partition("routes:\n")
    return head + mark + extra + rest


def _ends(count):
    first, last = "/service-0/items/7", f"/service-{count - 1}/items/7"
    return [first] if count == 1 else [first, last]


def _cpu_us(proxy, generate):
    before = proxy.process.cpu_seconds()
    requests = generate().requests
    return (proxy.process.cpu_seconds() - before) / requests * 1e6


def _open(name, port, count):
    opened = []
    try:
        _open_into(opened, port, count)
    except OSError as error:
        for connection in opened:
            connection.close()
        raise Trouble(f"{name}: connection {len(opened)} of {count}: {error}") from error
    return opened


def _open_into(opened, port, count):
    request = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
    for start in range(0, count, _CONNECTS_PER_BATCH):
        batch = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(min(_CONNECTS_PER_BATCH, count - start))]
        opened.extend(batch)
        for connection in batch:
            connection.sendall(request)
        for connection in batch:
            _read_answer(connection)


def _read_answer(connection):
    seen = b""
    while not seen.endswith(load.BODY):
        piece = connection.recv(4096)
        if not piece:
            raise Trouble("the proxy closed a connection that had asked for keep-alive")
        seen += piece


def _was_closed(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _download(port, length, look):
    with socket.create_connection(("127.0.0.1", port), _IO_SECONDS) as connection:
        connection.sendall(f"GET /bytes/{length} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        # Nothing is read for a while: a proxy without back-pressure would now take it all in.
        for _ in range(20):
            time.sleep(0.05)
            look()
        buffer, received, chunks = bytearray(_CHUNK_BYTES), 0, 0
        while got := connection.recv_into(buffer):
            received, chunks = received + got, chunks + 1
            if chunks % 64 == 0:
                look()
    if received < length:
        raise Trouble(f"a response of {length} bytes ended after {received}")


def _upload(port, length, look):
    with socket.create_connection(("127.0.0.1", port), _IO_SECONDS) as connection:
        connection.sendall(
            f"PUT /upload HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode()
        )
        chunk, sent, chunks = bytes(_CHUNK_BYTES), 0, 0
        while sent < length:
            piece = chunk[: length - sent]
            connection.sendall(piece)
            sent, chunks = sent + len(piece), chunks + 1
            if chunks % 16 == 0:
                look()
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(load.BODY):
        raise Trouble(f"an upload of {length} bytes got {answer[:200]!r}")
