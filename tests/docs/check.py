#!/usr/bin/env python3
"""The documents, held against the program.

* Every link of every Markdown file leads to a file, and to a heading if it names one.
* Every `yaml` block is YAML, but for samples of what is wrong.
* Every `mainstay …` command in a `sh` block is a command with such options.
* Every test that SECURITY.md rests on exists.
* docs/reference/findings.md has every code that the program has, and each sample brings up its own; the messages of logs.md are the program's.
* What is marked is run, page by page, from top to bottom, in a folder and a network of its own. The words after a block's language say
  how:  `file=NAME` writes it there; `check` gives it to `mainstay check --deny warnings`; `run` runs it (`exit=N` if it is to fail);
  `background` starts it and waits for `port=N`; `output` is what the block before printed, where `…` stands for anything.

Usage: check.py MAINSTAY_BINARY [PAGE…]        (needs PyYAML)
"""

import fcntl
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

ROOT = pathlib.Path(__file__).resolve().parents[2]
FINDINGS = ROOT / "docs/reference/findings.md"
LOGS = ROOT / "docs/reference/logs.md"
SECURITY = ROOT / "SECURITY.md"
# What no one file brings up.
NOT_IN_ONE_FILE = {
    "memory-too-tight", "needs-restart", "not-read", "not-available", "unreadable", "certificate-unusable", "certificate-expires",
}
# What is found by looking at what a file names.
ONLINE = ROOT / "proxy/src/cli/check/online.rs"
NOT_IN_ONE_FILE |= set(re.findall(r'\("([a-z-]+)", Severity::\w+\);', ONLINE.read_text()))
PATIENCE = 120  # seconds for one block, on a loaded machine
FENCE = re.compile(r"^(`{3,})(\S*)(.*)$")


class Block:
    def __init__(self, line, language, words):
        self.line, self.language, self.text = line, language, ""
        self.marks = {name: value for name, _, value in (word.partition("=") for word in words.split())}


def read(page):
    """A page's blocks, and what stands between them."""
    blocks, prose, block, fence = [], [], None, ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if block is None and (match := FENCE.match(line)):
            fence, block = match[1], Block(number, match[2], match[3])
        elif block is not None and line.strip() == fence:
            blocks.append(block)
            block = None
        elif block is not None:
            block.text += line + "\n"
        else:
            prose.append((number, line))
    return blocks, prose


def anchors(page):
    """The names that GitHub gives to a page's headings."""
    found = set()
    for _, line in read(page)[1]:
        if match := re.match(r"^#{1,6} (.*)$", line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1])
            name = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
            found.add(next(each for each in [name, *(f"{name}-{n}" for n in range(1, 99))] if each not in found))
    return found


def bad_links(page):
    for number, line in read(page)[1]:
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            if target.startswith(("https://", "mailto:")):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                yield f"{page.relative_to(ROOT)}:{number}: {target} leads nowhere"
            elif anchor and (file.suffix != ".md" or anchor not in anchors(file)):
                yield f"{page.relative_to(ROOT)}:{number}: {file.name} has no heading #{anchor}"


def bad_yaml(page, block):
    """Parts of a configuration cannot be checked; that they are YAML can."""
    try:
        list(yaml.safe_load_all(block.text))
    except yaml.YAMLError as error:
        yield f"{page.relative_to(ROOT)}:{block.line}: no YAML: {error}"


class Commands:
    """What the program takes, by its own --help."""

    def __init__(self, binary):
        self.binary, self.seen = binary, {}

    def help(self, path):
        if path not in self.seen:
            ended = subprocess.run([self.binary, *path, "--help"], capture_output=True, text=True)
            self.seen[path] = ended.stdout if ended.returncode == 0 else ""
        return self.seen[path]

    def subcommands(self, path):
        return re.findall(r"^  ([a-z][a-z-]*)  ", self.help(path).partition("Commands:")[2], re.M)

    def bad(self, page, block):
        for offset, line in enumerate(block.text.splitlines(), 1):
            for command in re.findall(r"(?:^|[|;&] *|-- )mainstay((?: [^|;&#]*)?)", line):
                words = re.sub(r"'[^']*'|\"[^\"]*\"", "TEXT", command).split()
                path = ()
                while words and words[0] in self.subcommands(path):
                    path += (words.pop(0),)
                at = f"{page.relative_to(ROOT)}:{block.line + offset}"
                if words and self.subcommands(path) and re.fullmatch(r"[a-z]+", words[0]):
                    yield f"{at}: there is no `mainstay {' '.join([*path, words[0]])}`"
                for word in words:
                    option = re.match(r"-[a-zA-Z]\b|--[a-z-]+", word)
                    if option and not re.search(rf"(?<![\w-]){option[0]}(?![\w-])", self.help(path)):
                        yield f"{at}: `mainstay {' '.join(path)}` has no {option[0]}"


def sections(text):
    """A configuration's top-level keys, each with its text."""
    found = {}
    for line in text.splitlines(keepends=True):
        if match := re.match(r"^([a-z]+):", line):
            found[match[1]] = ""
        if found:
            found[next(reversed(found))] += line
    return found


def bad_findings(binary):
    """Where the page of findings is not what the program says."""
    blocks = read(FINDINGS)[0]
    base = next(block for block in blocks if "base" in block.marks)
    shown = {block.marks["finding"]: block for block in blocks if "finding" in block.marks}
    for code, block in shown.items():
        text = "".join({**sections(base.text), **sections(block.text)}.values())
        checked = subprocess.run([binary, "check", "-o", "json", "-"], input=text, capture_output=True, text=True)
        found = set(re.findall(r'"code": ?"([a-z-]+)"', checked.stdout))
        if code not in found:
            yield f"{FINDINGS.relative_to(ROOT)}:{block.line}: {code} is not found, but {sorted(found)}"
    headings = {line[4:] for _, line in read(FINDINGS)[1] if line.startswith("### ")}
    for code in headings - shown.keys() - NOT_IN_ONE_FILE:
        yield f"{FINDINGS.relative_to(ROOT)}: {code} has no sample"
    sources = [file for file in (ROOT / "proxy/src/config").rglob("*.rs") if "tests" not in file.parts and file.name != "tests.rs"]
    program = "".join(file.read_text() for file in [*sources, ONLINE])
    for code in headings:
        if f'"{code}"' not in program:
            yield f"{FINDINGS.relative_to(ROOT)}: the program has no {code}"
    for code in NOT_IN_ONE_FILE - headings | set(re.findall(r'\b(?:warn|note|code|coded(?:::<[^>]*>)?)\(\s*"([a-z]+(?:-[a-z]+)*)"', program)) - headings:
        yield f"{FINDINGS.relative_to(ROOT)}: {code} is missing"


def bad_messages():
    """Lines of the log that the page has and the program has not."""
    program = "".join(file.read_text() for file in (ROOT / "proxy/src").rglob("*.rs"))
    for number, line in read(LOGS)[1]:
        if (match := re.match(r"^\| `([^`]+)` \| [A-Z]+ \|", line)) and f'"{match[1]}"' not in program:
            yield f"{LOGS.relative_to(ROOT)}:{number}: no line says {match[1]!r}"


def bad_promises():
    """Tests that the page on security names and that are not there; it names some in each of its five boundaries."""
    for section in re.split(r"^### ", SECURITY.read_text(), flags=re.M)[1:]:
        named = re.findall(r"`([a-z_0-9]+)::([a-z_0-9]+)`", section)
        if not named:
            yield f"{SECURITY.name}: nothing holds this boundary: {section.partition(chr(10))[0]}"
        for room, test in named:
            file = ROOT / f"tests/it/{room}.rs"
            if not file.exists() or not re.search(rf"^async fn {test}\(|^fn {test}\(", file.read_text(), re.M):
                yield f"{SECURITY.name}: there is no test {room}::{test}"


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


def play(binary, page):
    """Runs what a page says, and tells the first thing that is not so."""
    home = pathlib.Path(tempfile.mkdtemp(prefix="mainstay-docs-"))
    (home / ".bin").mkdir()
    (home / ".bin/mainstay").symlink_to(pathlib.Path(binary).resolve())
    environment = os.environ | {"PATH": f"{home}/.bin:{os.environ['PATH']}", "HOME": str(home), "USER": "ann", "REPOSITORY": str(ROOT)}
    started, printed, last = {}, "", None
    try:
        for block in read(page)[0]:
            where = f"{page.relative_to(ROOT)}:{block.line}"
            if name := block.marks.get("file"):
                (home / name).write_text(block.text)
            if "check" in block.marks:
                command = [binary, "check", "--deny", "warnings", "-"]
                checked = subprocess.run(command, input=block.text, env=environment, capture_output=True, text=True)
                if checked.returncode != 0:
                    return f"{where}: refused:\n{checked.stdout}{checked.stderr}"
            options = {"cwd": home, "env": environment, "stdin": subprocess.DEVNULL, "start_new_session": True}
            if "background" in block.marks:
                # Where one was before, it has been ended: as a reader would, wait until it has.
                if before := started.get(block.marks["port"]):
                    before.wait(PATIENCE)
                log = open(home / ".log", "a")
                started[block.marks["port"]] = subprocess.Popen(["bash", "-euc", block.text], stdout=log, stderr=log, **options)
                if not listens(int(block.marks["port"])):
                    return f"{where}: nothing listens on {block.marks['port']}:\n{(home / '.log').read_text()}"
            elif "run" in block.marks:
                try:
                    ended = subprocess.run(
                        ["bash", "-euo", "pipefail", "-c", block.text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                        text=True, timeout=PATIENCE, **options,
                    )  # fmt: skip
                except subprocess.TimeoutExpired as late:
                    return f"{where}: {late}:\n{(home / '.log').read_text()[-2000:]}"
                printed, last = ended.stdout, where
                if ended.returncode != int(block.marks.get("exit") or 0):
                    return f"{where}: ended with {ended.returncode}:\n{printed}\n{(home / '.log').read_text()[-2000:]}"
            elif "output" in block.marks and not matches(block.text, printed):
                return f"{where}: the block at {last} printed\n{printed}"
        return None
    finally:
        for process in started.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(home, ignore_errors=True)


def is_played(page):
    return any({"run", "check", "background"} & block.marks.keys() for block in read(page)[0])


def isolated(binary, page):
    """A page in a network of its own, so that its ports are free; without one where the system gives none."""
    unshare = ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        return play(binary, page)
    ended = subprocess.run([*unshare, sys.executable, __file__, "--play", binary, str(page)], capture_output=True, text=True)
    return None if ended.returncode == 0 else ended.stdout + ended.stderr


def main(binary, pages):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    pages = [page.resolve() for page in pages] or [ROOT / name for name in listed.stdout.split() if (ROOT / name).exists()]
    faults, commands, played = [], Commands(binary), 0
    for page in pages:
        faults += bad_links(page)
        for block in read(page)[0]:
            faults += commands.bad(page, block) if block.language == "sh" else []
            faults += bad_yaml(page, block) if block.language == "yaml" and "finding" not in block.marks else []
        if is_played(page):
            played += 1
            began = time.monotonic()
            fault = isolated(binary, page)
            print(f"{page.relative_to(ROOT)}: {'FAILED' if fault else 'runs'} ({time.monotonic() - began:.0f} s)", flush=True)
            faults += [fault] if fault else []
    faults += bad_findings(binary) if FINDINGS in pages else []
    faults += bad_messages() if LOGS in pages else []
    faults += bad_promises() if SECURITY in pages else []
    print("\n".join(faults) or f"{len(pages)} pages, {played} of them run: all so")
    return 1 if faults else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--play"]:
        loopback()
        found = play(sys.argv[2], pathlib.Path(sys.argv[3]))
        print(found or "")
        sys.exit(1 if found else 0)
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], [pathlib.Path(name) for name in sys.argv[2:]]))
