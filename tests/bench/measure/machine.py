"""Processes and what the kernel says of them."""

import os
import resource
import socket
import subprocess
import time
from pathlib import Path

PROXY_CORE = 0
LOAD_CORE = 1
# What we may use, before anybody chooses a part of it for itself.
_CORES = os.sched_getaffinity(0)
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 5


class Trouble(Exception):
    """A run that must not yield a figure; the text says what to do."""


def free_port():
    """A port that was free a moment ago. The kernel hands out others before it repeats one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def raise_open_files(wanted):
    """Raises the limit that children inherit; says so if the machine does not give that many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise Trouble(f"this needs {wanted} open files per process and the limit is {hard}: ulimit -Hn {wanted}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def pinned(core, command):
    """The command on one core; on a machine with one core, where it is."""
    if core not in _CORES:
        return command
    return ["taskset", "-c", str(core), *command]


class Process:
    """A child that is ended by its own id, with its log kept for the error message."""

    def __init__(self, name, command, core, directory, env=None):
        self.name = name
        self.log = Path(directory) / f"{name}.log"
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                pinned(core, [str(part) for part in command]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
            )

    def check(self):
        """Raises if it has ended."""
        code = self.child.poll()
        if code is not None:
            raise Trouble(f"{self.name} ended with {code}:\n{self.tail()}")

    def tail(self):
        """The last lines it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def stop(self):
        """SIGTERM, then SIGKILL."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def family(self):
        """Its id and those of all its descendants."""
        found, fresh = [], [self.child.pid]
        while fresh:
            pid = fresh.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                fresh.extend(int(child) for child in children.read_text().split())
        return found

    def cpu_seconds(self):
        """User and system time of all threads, ended ones included, in steps of a clock tick (10 ms)."""
        ticks = 0
        for pid in self.family():
            # The command's name may hold spaces; the numbers begin after its bracket, with field 3.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS_PER_SECOND

    def rss_bytes(self):
        """Resident memory, summed over the family; pages shared by two are counted twice."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.family())
        return pages * resource.getpagesize()

    def descriptors(self):
        """Open file descriptors of the process itself."""
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def threads(self):
        """Threads of the process itself."""
        return len(os.listdir(f"/proc/{self.child.pid}/task"))

    def wait_until(self, ready, what, seconds=10):
        """Polls until `ready()`; a child that ended or took too long is an error with its log."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise Trouble(f"{self.name}: no {what} within {seconds} s:\n{self.tail()}")
            time.sleep(0.02)


def describe():
    """The machine, for the table's head."""
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "unknown CPU",
    )
    name = os.uname()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, {name.sysname} {name.release}, {name.machine}"
