#!/usr/bin/env python3
"""The documents, held against the program.

* Every link of every Markdown file leads somewhere, as far as can be told without a network (links.py).
* Every `yaml` block is YAML, but for samples of what is wrong.
* Every `mainstay …` command in a `sh` block is a command with such options.
* Every test that SECURITY.md rests on exists.
* docs/reference/findings.md has every code that the program has, and each sample brings up its own; the messages of logs.md are the program's.
* Every block that says what to type, to write or to send is played (play.py says how), or says why it is not: `unplayed=REASON`.

Usage: check.py MAINSTAY_BINARY [PAGE…]        (needs PyYAML)
       check.py --blocks [PAGE…]               lists the blocks, and whether they are played
"""

import concurrent.futures
import pathlib
import re
import subprocess
import sys
import time

import links
import names
import yaml
from pages import ROOT, documents, read, scenes
from play import can_isolate, is_played, isolated

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
# Why a block is not played.
UNPLAYED = {
    "builds": "builds the workspace or its tests, which whoever runs this has done",
    "container": "needs a container engine, and images from elsewhere",
    "cluster": "needs a cluster; tests/kubernetes holds the manifests against Kubernetes' own schemas",
    "example": "tests/run plays the examples by themselves",
}
# What a reader types, writes or sends.
TYPED = {"sh", "yaml", "http", "python", "js", "lua"}


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

    def of(self, line):
        """What is wrong with the commands of a line."""
        for command in re.findall(r"(?:^|[|;&(] *|-- )mainstay((?: [^|;&#]*)?)", line):
            words = re.sub(r"'[^']*'|\"[^\"]*\"", "TEXT", command).split()
            path = ()
            while words and words[0] in self.subcommands(path):
                path += (words.pop(0),)
            if words and self.subcommands(path) and re.fullmatch(r"[a-z]+", words[0]):
                yield f"there is no `mainstay {' '.join([*path, words[0]])}`"
            for word in words:
                option = re.match(r"-[a-zA-Z]\b|--[a-z-]+", word)
                if option and not re.search(rf"(?<![\w-]){option[0]}(?![\w-])", self.help(path)):
                    yield f"`mainstay {' '.join(path)}` has no {option[0]}"

    def bad(self, page, block):
        for offset, line in enumerate(block.text.splitlines(), 1):
            for fault in self.of(line):
                yield f"{page.relative_to(ROOT)}:{block.line + offset}: {fault}"


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


def reason(block):
    """Why a block is not played; nothing where it is, or where there is nothing to play."""
    held = {"run", "background", "check", "part", "exchange", "file", "finding", "base"} & block.marks.keys()
    return None if held or block.language not in TYPED else block.marks.get("unplayed", "")


def bad_marks(page):
    for block in read(page)[0]:
        at = f"{page.relative_to(ROOT)}:{block.line}"
        if (why := reason(block)) is not None and why not in UNPLAYED:
            yield f"{at}: not played: say how, or `unplayed=` one of {', '.join(UNPLAYED)}"
        if "scene" in block.marks and block.marks["scene"] not in scenes(page):
            yield f"{at}: there is no scene {block.marks['scene']}"
    for name in scenes(page).keys() - {block.marks.get("scene") for block in read(page)[0]}:
        yield f"{page.relative_to(ROOT)}: no block has the scene {name}"


def blocks(pages):
    """Every block that says what to type, to write or to send, and whether it is played."""
    for page in pages:
        for block in read(page)[0]:
            if block.language in TYPED:
                why = reason(block)
                yield f"{page.relative_to(ROOT)}:{block.line}: {block.language}: {'played' if why is None else 'NOT played: ' + UNPLAYED.get(why, why)}"


def timed(binary, page):
    began = time.monotonic()
    return isolated(binary, page), time.monotonic() - began


def main(binary, pages):
    faults, commands = [], Commands(binary)
    for page in pages:
        faults += [*links.bad(page), *bad_marks(page), *names.bad(page, commands)]
        for block in read(page)[0]:
            faults += commands.bad(page, block) if block.language == "sh" else []
            faults += bad_yaml(page, block) if block.language == "yaml" and "finding" not in block.marks else []
    played = [page for page in pages if is_played(page)]
    # Each has a network of its own, and waits more than it works.
    with concurrent.futures.ThreadPoolExecutor(3 if can_isolate() else 1) as pool:
        for page, (fault, took) in zip(played, pool.map(lambda page: timed(binary, page), played)):
            print(f"{page.relative_to(ROOT)}: {'FAILED' if fault else 'runs'} ({took:.0f} s)", flush=True)
            faults += [fault] if fault else []
    faults += bad_findings(binary) if FINDINGS in pages else []
    faults += bad_messages() if LOGS in pages else []
    faults += bad_promises() if SECURITY in pages else []
    print("\n".join(faults) or f"{len(pages)} pages, {len(played)} of them run: all so")
    return 1 if faults else 0


if __name__ == "__main__":
    named = [pathlib.Path(name).resolve() for name in sys.argv[2:]] or documents()
    if sys.argv[1:2] == ["--blocks"]:
        print("\n".join(blocks(named)))
    elif len(sys.argv) < 2:
        sys.exit(__doc__)
    else:
        sys.exit(main(sys.argv[1], named))
