"""The proxies that are compared: how each is started and what it has on."""

from dataclasses import dataclass
from string import Template

from . import build
from .load import answers, check_answer
from .machine import PROXY_CORE, Process, Trouble, free_port

# In the order of the table. The text is what the configuration has on beyond forwarding.
FEATURES = {
    "direct": "no proxy",
    "mainstay": "timeout, retry, rate limit, circuit breaker; tracing off",
    "mainstay-before": "another build under the same configuration (--before PATH)",
    "mainstay-traced": "the same, 1 % of requests sampled and exported",
    "mainstay-bare": "no policy beyond the default timeout",
    "hyper": "nothing",
    "haproxy": "timeouts, retries, stick-table rate limit, observe layer7",
    "nginx": "timeouts, next upstream, limit_req",
    "envoy": "timeout, retries with budget, local rate limit, outlier detection",
}
MAINSTAYS = tuple(name for name in FEATURES if name.startswith("mainstay"))
BEFORE = "mainstay-before"


@dataclass
class Contender:
    """One proxy that is up; `process` is None where the load goes to the upstream itself."""

    name: str
    port: int
    process: Process | None
    idle_rss_bytes: int = 0


class Stage:
    """Starts the upstream, the trace sink and the proxies, and ends them all, whatever happens."""

    def __init__(self, directory, target, proxy_bin=None, before=None):
        self.directory = directory
        self.target = target
        self.proxy_bin = proxy_bin
        self.before = before
        self.running = []
        self.upstream = None
        self.upstream_port = 0
        self.sink_port = 0
        # By template: what is replaced of it where everybody listens with TLS.
        self.secured = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.stop()

    def start_upstream(self, core):
        """The service behind all of them, and a second one that plays the trace collector."""
        binary = build.ours(self.target, "mainstay-tests", "bench-upstream") / "bench-upstream"
        self.upstream_port, self.sink_port = free_port(), free_port()
        for name, port in (("upstream", self.upstream_port), ("sink", self.sink_port)):
            process = self._spawn(name, [binary, f"127.0.0.1:{port}"], core)
            process.wait_until(lambda port=port: answers(port), "answer")
            if name == "upstream":
                self.upstream = process

    def start(self, name, config=None):
        """One contender, up and proven to forward; `config` replaces its configuration's text."""
        if name == "direct":
            return Contender(name, self.upstream_port, None)
        port = free_port()
        if name.startswith("mainstay"):
            process = self._mainstay(name, port, config)
        else:
            process = getattr(self, f"_{name}")(port)
            process.wait_until(lambda: answers(port, secure=bool(self.secured)), "answer", seconds=20)
        check_answer(name, port, secure=bool(self.secured))
        return Contender(name, port, process, process.rss_bytes())

    def render(self, template, suffix, **values):
        """A configuration with its ports filled in, as a file."""
        text = (build.CONFIGS / template).read_text()
        if self.secured:
            clear, secure = self.secured[template]
            if clear not in text:
                raise Trouble(f"configs/{template} does not listen as it is thought to: {clear.strip()}")
            text = text.replace(clear, secure)
        text = Template(text).substitute(
            upstream=self.upstream_port, sink=self.sink_port, directory=self.directory, **values
        )
        return self.write(f"{values['port']}.{suffix}", text)

    def write(self, name, text):
        """A file in the run's own directory."""
        path = self.directory / name
        path.write_text(text)
        return path

    def _mainstay(self, name, port, config):
        probes = free_port()
        if config is None:
            template = "mainstay.yaml" if name == BEFORE else f"{name}.yaml"
            path = self.render(template, "yaml", port=port, probes=probes)
        else:
            path = self.write(f"{port}.yaml", Template(config).substitute(
                upstream=self.upstream_port, sink=self.sink_port, port=port, probes=probes))
        return self.start_mainstay(name, path, probes)

    def writes_config(self, slow):
        """A configuration with a slow service for writes: its path, the port of the probes, and its own."""
        port, probes = free_port(), free_port()
        return self.render("mainstay-writes.yaml", "yaml", port=port, probes=probes, slow=slow), probes, port

    def start_mainstay(self, name, path, probes, wrapper=(), env=None):
        """Mainstay on a configuration that its caller has written, and may write again; `wrapper` is a program that becomes it."""
        if self.proxy_bin is None and name != BEFORE:
            self.proxy_bin = build.ours(self.target, "mainstay", "mainstay") / "mainstay"
        binary = self.before if name == BEFORE else self.proxy_bin
        if not binary.is_file():
            raise Trouble(f"no proxy at {binary}: build it, or give --without-mainstay")
        process = self._spawn(name, [*wrapper, binary, "-c", path], PROXY_CORE, env)
        process.wait_until(lambda: answers(probes, "/readyz"), "200 from /readyz")
        return process

    def _hyper(self, port):
        binary = build.ours(self.target, "mainstay-tests", "bench-forwarder") / "bench-forwarder"
        return self._spawn("hyper", [binary, f"127.0.0.1:{port}", f"127.0.0.1:{self.upstream_port}"], PROXY_CORE)

    def _haproxy(self, port):
        config = self.render("haproxy.cfg", "cfg", port=port)
        return self._spawn("haproxy", [build.program("haproxy"), "-db", "-f", config], PROXY_CORE)

    def _nginx(self, port):
        config = self.render("nginx.conf", "conf", port=port)
        return self._spawn("nginx", [build.program("nginx"), "-p", self.directory, "-c", config], PROXY_CORE)

    def _envoy(self, port):
        binary = build.envoy(self.target / "bench")
        config = self.render("envoy.yaml", "yaml", port=port)
        command = [binary, "-c", config, "--concurrency", "1", "--base-id", port, "--log-level", "error"]
        return self._spawn("envoy", command, PROXY_CORE)

    def _spawn(self, name, command, core, env=None):
        process = Process(name, command, core, self.directory, env)
        self.running.append(process)
        return process
