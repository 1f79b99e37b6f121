"""Large keyed writes beside reads, in the memory of a small container: what readers notice of them, and what it takes."""

import asyncio
import os
import threading
import time
from pathlib import Path
from statistics import median

from . import load
from .machine import LOAD_CORE, Trouble

WRITES = 300
BODY_BYTES = 1 << 20
# As the published manifests have it.
LIMIT_BYTES = 256 << 20
READS_PER_SECOND = 2000
# Long enough that all of a volley is held at once.
_SERVICE_SECONDS = 0.5
_VOLLEY_SECONDS = 60
_GROUPS = Path("/sys/fs/cgroup")


def writes(stage, rounds, seconds):
    """One row: reads alone and reads during volleys of writes, medians over the rounds."""
    # Writers and their service share the load's core: on the proxy's they would be what readers wait for.
    if LOAD_CORE in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {LOAD_CORE})
    with _Group() as group, _Service() as service:
        path, probes, port = stage.writes_config(service.port)
        proxy = stage.start_mainstay("mainstay", path, probes, wrapper=group.wrapper(), env=group.environment())
        try:
            samples, counts = _measure(stage, proxy, port, rounds, seconds)
            # What the kernel saw of it at most.
            status = Path(f"/proc/{proxy.child.pid}/status").read_text()
            peak = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024
        finally:
            # A group goes only when nobody is in it.
            proxy.stop()
    row = {"name": "mainstay", "held_by": group.name, "limit_bytes": LIMIT_BYTES, "rss_peak_bytes": peak,
           "rss_to_limit": peak / LIMIT_BYTES} | counts
    row |= {figure: median(sample[figure] for sample in samples) for figure in samples[0]}
    row["during_to_calm"] = row["during_p99_ms"] / row["calm_p99_ms"]
    return [row]


def _measure(stage, proxy, port, rounds, seconds):
    samples, counts = [], {"answered": 0, "refused": 0}
    load.check_answer("mainstay", port)
    for turn in range(rounds):
        calm = _p99(load.h2load_rows("mainstay", port, seconds, READS_PER_SECOND, stage.directory))
        during, volleys = _reads_during_volleys(stage, port, seconds, turn, counts)
        samples.append({"calm_p99_ms": calm, "during_p99_ms": during, "volleys": volleys})
        proxy.check()
    load.check_answer("mainstay", port)
    return samples, counts


def _p99(rows):
    micros = sorted(took for _, took in rows)
    if len(micros) < 100:
        raise Trouble(f"only {len(micros)} reads to judge by: give more --seconds")
    return micros[len(micros) * 99 // 100] / 1e3


def _reads_during_volleys(stage, port, seconds, turn, counts):
    """The p99 of the reads that began while a volley was under way, and how many volleys there were."""
    stop, spans, troubles = threading.Event(), [], []

    def volleys():
        _give_way()
        try:
            while not stop.is_set():
                spans.append(asyncio.run(_volley(port, f"{os.getpid()}-{turn}-{len(spans)}", counts)))
        except (Trouble, OSError, TimeoutError, asyncio.IncompleteReadError) as trouble:
            troubles.append(trouble)

    writer = threading.Thread(target=volleys)
    writer.start()
    try:
        rows = load.h2load_rows("mainstay", port, seconds, READS_PER_SECOND, stage.directory)
    finally:
        stop.set()
        writer.join()
    if troubles:
        raise Trouble(f"the writes broke off: {troubles[0]!r}")
    during = [row for row in rows if any(begun <= row[0] <= ended for begun, ended in spans)]
    return _p99(during), len(spans)


def _give_way():
    """This thread runs when neither the reads' generator nor their service wants the core: what is measured is not who is first there."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


async def _volley(port, name, counts):
    begun = _now_us()
    answers = await asyncio.wait_for(asyncio.gather(*(_write(port, f"{name}-{n}") for n in range(WRITES))), _VOLLEY_SECONDS)
    for status in answers:
        kind = {200: "answered", 503: "refused"}.get(status)
        if kind is None:
            raise Trouble(f"a keyed write got {status}")
        counts[kind] += 1
    return begun, _now_us()


async def _write(port, key):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (f"POST /payments/large HTTP/1.1\r\nHost: app\r\nIdempotency-Key: \"{key}\"\r\nExpect: 100-continue\r\n"
            f"Content-Length: {BODY_BYTES}\r\nConnection: close\r\n\r\n")
    try:
        writer.write(head.encode())
        status = await _status(reader)
        if status == 100:
            writer.write(b"x" * BODY_BYTES)
            await writer.drain()
            status = await _status(reader)
        return status
    finally:
        writer.close()


async def _status(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1])


def _now_us():
    # The clock of h2load's log.
    return time.time_ns() // 1000


class _Service:
    """Takes a whole write, and answers it late."""

    def __enter__(self):
        self.loop, ready = asyncio.new_event_loop(), threading.Event()

        async def serve():
            self.server = await asyncio.start_server(self._converse, "127.0.0.1", 0, limit=BODY_BYTES, backlog=WRITES)
            self.port = self.server.sockets[0].getsockname()[1]
            ready.set()

        def run():
            _give_way()
            self.loop.run_until_complete(serve())
            self.loop.run_forever()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        ready.wait()
        return self

    def __exit__(self, *_):
        def end():
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.call_soon(self.loop.stop)

        self.loop.call_soon_threadsafe(end)
        self.thread.join()

    async def _converse(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(length)
                await asyncio.sleep(_SERVICE_SECONDS)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, StopIteration):
            writer.close()


class _Group:
    """A control group with that limit, where this machine lets us make one; else Mainstay is only told."""

    def __enter__(self):
        self.path, self.name = None, "told, MAINSTAY_MEMORY_LIMIT"
        name = f"mainstay-bench-{os.getpid()}"
        for root, limit, members in (
            (_GROUPS / "memory", "memory.limit_in_bytes", "tasks"),
            (_GROUPS, "memory.max", "cgroup.procs"),
        ):
            try:
                (root / name).mkdir()
            except OSError:
                continue
            try:
                # A folder that the kernel does not fill is none of its groups.
                if not (root / name / limit).exists():
                    raise OSError
                (root / name / limit).write_text(str(LIMIT_BYTES))
                self.path, self.name, self.members = root / name, "a control group", root / name / members
                return self
            except OSError:
                (root / name).rmdir()
        return self

    def __exit__(self, *_):
        if self.path:
            self.path.rmdir()

    def wrapper(self):
        """What makes a program a member before it is itself."""
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', self.members] if self.path else []

    def environment(self):
        return {} if self.path else {"MAINSTAY_MEMORY_LIMIT": str(LIMIT_BYTES)}
