"""A thousand reloads under load: no request notices, and nothing is left behind."""

import os
import re
import signal
import time
from pathlib import Path
from string import Template

from . import build, load
from .machine import Trouble, free_port

# Resident memory may grow by this much from the first tenth of the reloads to the last one: allocators settle, leaks do not.
# Of a thousand reloads 450 lie between the two for either configuration, so that 9 KiB left behind by each would show.
_RSS_GROWTH_BYTES = 4 << 20
# Beside the connections of the load and those to the upstream: what files, watches and timers may need for a moment.
_DESCRIPTORS_SLACK = 16
# Files are read on threads of a pool, which come and go.
_THREADS_SLACK = 4
_PATIENCE_SECONDS = 15


def reloads(stage, count):
    """Half of them of a plain file, changed and by SIGHUP in turns; half as Kubernetes swaps a ConfigMap."""
    return [_run(stage, layout(stage.directory), count // 2) for layout in (PlainFile, ConfigMap)]


class PlainFile:
    """A file that an editor replaces."""

    name = "a file, SIGHUP"

    def __init__(self, directory):
        self.directory = Path(directory) / "plain"
        self.directory.mkdir()
        self.path = self.directory / "mainstay.yaml"

    def write(self, text):
        """Puts the next version in place, whole at once."""
        fresh = self.directory / "mainstay.yaml.next"
        fresh.write_text(text)
        fresh.rename(self.path)


class ConfigMap:
    """A mounted ConfigMap: the file is a link through `..data`, which is swapped."""

    name = "..data swap, SIGHUP"

    def __init__(self, directory):
        self.directory = Path(directory) / "map"
        self.directory.mkdir()
        self.path = self.directory / "mainstay.yaml"
        self.path.symlink_to("..data/mainstay.yaml")
        self.version = 0

    def write(self, text):
        """A new version beside the old one, then the swap, then the old one goes."""
        self.version += 1
        fresh = self.directory / f"..v{self.version}"
        fresh.mkdir()
        (fresh / "mainstay.yaml").write_text(text)
        link = self.directory / "..data_tmp"
        link.symlink_to(fresh.name)
        link.rename(self.directory / "..data")
        old = self.directory / f"..v{self.version - 1}"
        if old.exists():
            (old / "mainstay.yaml").unlink()
            old.rmdir()


def _run(stage, layout, count):
    port, probes = free_port(), free_port()
    template = Template((build.CONFIGS / "mainstay.yaml").read_text()).substitute(
        upstream=stage.upstream_port, port=port, probes=probes)
    layout.write(_version(template, 0))
    process = stage.start_mainstay("mainstay", layout.path, probes)
    load.check_answer("mainstay", port)
    row = {"name": layout.name, "reloads": count, "descriptors_idle": process.descriptors(), "descriptors_peak": 0}

    def work(check_load):
        for number in range(1, count + 1):
            before = _reloaded(probes, "success")
            layout.write(_version(template, number))
            # In turns: the watch notices the change by itself, or a signal comes before it has looked.
            if number % 2 == 0:
                os.kill(process.child.pid, signal.SIGHUP)
            process.wait_until(lambda before=before: _reloaded(probes, "success") > before, "reload", _PATIENCE_SECONDS)
            check_load()
            # The load has its connections from before; who comes now must be served as well.
            load.check_answer("mainstay", port)
            row["descriptors_peak"] = max(row["descriptors_peak"], process.descriptors())
            if number == max(1, count // 10):
                row.update(rss_early_bytes=process.rss_bytes(), threads_early=process.threads())
        row.update(rss_late_bytes=process.rss_bytes(), threads_late=process.threads())

    began = time.monotonic()
    seen = load.wrk_while("mainstay", port, work)
    row |= {"seconds": time.monotonic() - began, "requests": seen.requests, "errors": 0, "p99_ms": seen.p99_ms}
    row["refused"] = _reloaded(probes, "failure")
    # What is left then are idle connections to the upstream of the last configuration.
    idle = row["descriptors_idle"] + load.CONNECTIONS + _DESCRIPTORS_SLACK
    process.wait_until(lambda: process.descriptors() <= idle, f"return to {idle} descriptors", _PATIENCE_SECONDS)
    row["descriptors_after"] = process.descriptors()
    _judge(row)
    return row


def _judge(row):
    """Every bound that must hold, each with its figure."""
    growth = row["rss_late_bytes"] - row["rss_early_bytes"]
    # The load's connections, and for each of them one to the upstream of this configuration and one to that of the last.
    descriptors = row["descriptors_idle"] + 3 * load.CONNECTIONS + _DESCRIPTORS_SLACK
    for is_broken, words in [
        (row["refused"], f"{row['refused']} reloads were refused"),
        (growth > _RSS_GROWTH_BYTES, f"resident memory grew by {growth} bytes over {row['reloads']} reloads"),
        (row["descriptors_peak"] > descriptors, f"{row['descriptors_peak']} descriptors at once, {descriptors} expected at most"),
        (row["threads_late"] > row["threads_early"] + _THREADS_SLACK,
         f"{row['threads_early']} threads, then {row['threads_late']}"),
    ]:
        if is_broken:
            raise Trouble(f"{row['name']}: {words}")


def _version(template, number):
    """The configuration with other numbers: each policy and the upstream are new, so that none of their state is kept."""
    text = template.replace("timeout: 1s", f"timeout: {1000 + number}ms").replace("1000000/s", f"{1_000_000 + number}/s")
    return text.replace("  app:\n", f"  app:\n    connect_timeout: {1000 + number}ms\n")


def _reloaded(probes, result):
    """How often the configuration was taken up, or refused, since the start."""
    status, _, body = load.fetch(probes, "/metrics")
    found = re.search(rf'^mainstay_config_reloads_total{{result="{result}"}} (\d+)', body.decode(), re.MULTILINE)
    if status != 200 or not found:
        raise Trouble("the metrics tell nothing of reloads")
    return int(found.group(1))
