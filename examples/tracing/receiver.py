"""A real OTLP receiver, Rotel (PyPI: rotel), and the spans that it has received, read from its log."""

import importlib.util
import pathlib
import re
import subprocess
import sys
from collections import namedtuple

Span = namedtuple("Span", "service trace id parent name kind attributes links")


class Receiver:
    def __init__(self, port, spare_port, home):
        package = importlib.util.find_spec("rotel")
        if package is None:
            sys.exit("needs the PyPI package rotel: pip install rotel")
        agent = pathlib.Path(package.origin).parent / "rotel-agent"
        self.address, self.log = f"http://127.0.0.1:{port}", pathlib.Path(home, "rotel.log")
        ports = ["--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", f"127.0.0.1:{spare_port}"]
        shown = ["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([agent, "start", *ports, *shown], stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def spans(self):
        """What has come in so far."""
        found = []
        for resource in self.log.read_text().split("ResourceSpans #")[1:]:
            service = re.search(r"-> service\.name: Str\((.*)\)", resource)[1]
            for text in re.split(r"^Span #", resource, flags=re.M)[1:]:
                said = dict(re.findall(r"^    ([A-Z]\w+(?: ID)?) *: ?(.*)$", text, re.M))
                if "Kind" not in said:
                    continue  # the log ends here for now
                attributes = dict(re.findall(r"-> ([a-z_.]+): \w+\((.*)\)", text.split("Events:")[0].split("Links:")[0]))
                links = re.findall(r"^     -> ID: (\w+)", text.partition("Links:")[2], re.M)
                head = [said[name] for name in ("Trace ID", "ID", "Parent ID", "Name", "Kind")]
                found.append(Span(service, *head, attributes, links))
        return found
