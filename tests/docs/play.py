#!/usr/bin/env python3
"""Plays a page: what its blocks say is done, from top to bottom, in a folder and a network of its own.

The words after a block's language say how:

* `file=NAME` writes it there; `check` gives it to `mainstay check --deny warnings`, `part=PATH` to `mainstay check` in its place of a
  whole configuration (scenes/base.yaml);
* `run` runs it (`exit=N` if it is to fail); `background` starts it and waits for `port=N`; `output` is what the block before printed,
  where `…` stands for anything;
* `exchange` sends the request that it shows to port 8080, and compares the answer;
* `scene=NAME` has what a reader has anyway: before the block comes what stands under that heading in scenes/PAGE.md, and after it what stands
  there under `Afterwards`. Lines `WORD=VALUE` of the file `words` are put in the place of such words on the page (`ID`, `DIRECTORY`);
  the file `shell` is read by each shell first.

Usage: play.py MAINSTAY_BINARY PAGE
"""

import fcntl
import functools
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import yaml
from pages import ROOT, SCENES, read, scenes

PATIENCE = 120  # seconds for one block, on a loaded machine
PLAYED = {"run", "check", "part", "background", "exchange", "scene"}


def matches(expected, printed):
    """Whether a text is what was printed, with `…` for anything within a line and a line of it for any lines."""
    pattern = ""
    for line in expected.strip("\n").split("\n"):
        pattern += "(?:.*\n)?" if line.strip() == "…" else "[^\n]*".join(map(re.escape, line.rstrip().split("…"))) + "\n"
    return re.fullmatch(pattern, "".join(line.rstrip() + "\n" for line in printed.strip("\n").split("\n")), re.S)


def loopback():
    """The network of this process has nothing but itself, and that has to be told so."""
    with socket.socket() as any_socket:
        up = struct.pack("16sh", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS


def listens(port):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False


def merged(whole, part):
    """A configuration with another's keys in it; lists are replaced."""
    if not (isinstance(whole, dict) and isinstance(part, dict)):
        return part
    return {**whole, **{key: merged(whole.get(key), value) for key, value in part.items()}}


def exchanged(text):
    """What is not so about the exchange that a block shows; its answer may leave out headers, and members of its body."""
    request, _, answer = text.partition("\n\n")
    lines, (head, _, shown) = request.split("\n"), answer.partition("\n\n")
    method, target, _ = lines[0].split()
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=PATIENCE)
    sent = dict(line.split(": ", 1) for line in lines[1:])
    body = '{"amount": 30, "lose": true}' if method == "POST" else None
    connection.request(method, target, body, {"Content-Type": "application/json", **sent} if body else sent)
    got = connection.getresponse()
    said = got.read().decode()
    first, *headers = head.strip().split("\n")
    if first != f"HTTP/1.1 {got.status} {got.reason}":
        return f"the answer is {got.status} {got.reason}: {said}"
    for name, value in (line.split(": ", 1) for line in headers):
        if not matches(value, got.headers.get(name, "")):
            return f"{name} is {got.headers.get(name)!r}"
    document = json.loads(said)
    for name, value in re.findall(r'"(\w+)":\s*("[^"]*"|[\w.]+)', shown):
        if name not in document or not matches(value, json.dumps(document[name])):
            return f"{name} is {document.get(name)!r} in {said}"
    return None


class Player:
    """A folder, what runs in it, and what the last block printed."""

    def __init__(self, binary, page):
        self.binary, self.page, self.scenes = pathlib.Path(binary).resolve(), page, scenes(page)
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="mainstay-docs-"))
        (self.home / ".bin").mkdir()
        (self.home / ".bin/mainstay").symlink_to(self.binary)
        path = f"{self.home}/.bin:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
        told = {"PATH": path, "HOME": str(self.home), "USER": "ann", "REPOSITORY": str(ROOT), "BASH_ENV": str(self.home / "shell")}
        self.environment = os.environ | told
        self.started, self.printed, self.last = {}, "", None

    def log(self):
        log = self.home / ".log"
        return log.read_text()[-2000:] if log.exists() else ""

    def worded(self, text):
        """A text with what the scene says in the place of its words."""
        words = self.home / "words"
        for line in words.read_text().split("\n") if words.exists() else []:
            word, _, value = line.partition("=")
            pattern = rf"(?<![\w-]){re.escape(word)}(?![\w-])" if re.fullmatch(r"[\w-]+", word) else re.escape(word)
            text = re.sub(pattern, lambda _: value, text) if word else text
        return text

    def checked(self, text, *options):
        ended = subprocess.run([self.binary, "check", *options, "-"], input=text, cwd=self.home, env=self.environment, capture_output=True, text=True)
        return f"refused:\n{ended.stdout}{ended.stderr}" if ended.returncode != 0 else None

    def part(self, path, text):
        part = yaml.safe_load(text)
        for key in reversed([key for key in path.split(".") if key]):
            part = {key: part}
        return self.checked(yaml.safe_dump(merged(yaml.safe_load((SCENES / "base.yaml").read_text()), part)))

    def begin(self, text, port):
        # Where one was before, it has been ended: as a reader would, wait until it has.
        if before := self.started.get(port):
            before.wait(PATIENCE)
        log = open(self.home / ".log", "a")
        options = {"cwd": self.home, "env": self.environment, "stdin": subprocess.DEVNULL, "start_new_session": True}
        self.started[port] = subprocess.Popen(["bash", "-euc", text], stdout=log, stderr=log, **options)
        return None if listens(int(port)) else f"nothing listens on {port}:\n{self.log()}"

    def run(self, text, code):
        options = {"cwd": self.home, "env": self.environment, "stdin": subprocess.DEVNULL, "start_new_session": True}
        running = subprocess.Popen(["bash", "-euo", "pipefail", "-c", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
        try:
            self.printed, _ = running.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired as late:
            return f"{late}:\n{self.log()}"
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
        return None if running.returncode == code else f"ended with {running.returncode}:\n{self.printed}\n{self.log()}"

    def block(self, page, block):
        """Plays one block, and says what is not so."""
        marks, text = block.marks, self.worded(block.text) if page == self.page else block.text
        where, fault = f"{page.relative_to(ROOT)}:{block.line}", None
        if name := marks.get("file"):
            (self.home / name).write_text(text)
        if "check" in marks:
            fault = self.checked(text, "--deny", "warnings")
        elif "part" in marks:
            fault = self.part(marks["part"], text)
        elif "exchange" in marks:
            fault = exchanged(text)
        elif "background" in marks:
            fault = self.begin(text, marks["port"])
        elif "run" in marks:
            fault, self.last = self.run(text, int(marks.get("exit") or 0)), where
        elif "output" in marks and not matches(block.text, self.printed):
            fault = f"the block at {self.last} printed\n{self.printed}"
        return fault and f"{where}: {fault}"

    def play(self):
        for block in read(self.page)[0]:
            before, after = self.scenes[block.marks["scene"]] if "scene" in block.marks else ([], [])
            there = SCENES / self.page.relative_to(ROOT)
            for page, each in [*((there, each) for each in before), (self.page, block), *((there, each) for each in after)]:
                if fault := self.block(page, each):
                    return fault
        return None

    def end(self):
        for process in self.started.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


def played(binary, page):
    """The first thing that is not so."""
    player = Player(binary, page)
    try:
        return player.play()
    finally:
        player.end()


def is_played(page):
    return any(PLAYED & block.marks.keys() for block in read(page)[0])


UNSHARE = ["unshare", "--user", "--map-root-user", "--net"]


@functools.cache
def can_isolate():
    return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


def isolated(binary, page):
    """A page in a network of its own, so that its ports are free; without one where the system gives none."""
    if not can_isolate():
        return played(binary, page)
    ended = subprocess.run([*UNSHARE, sys.executable, __file__, binary, str(page)], capture_output=True, text=True)
    return None if ended.returncode == 0 else ended.stdout + ended.stderr


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    loopback()
    said = played(sys.argv[1], pathlib.Path(sys.argv[2]).resolve())
    print(said or "")
    sys.exit(1 if said else 0)
