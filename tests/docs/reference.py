#!/usr/bin/env python3
"""The pages of docs/reference that are made from the program: its configuration, its commands, its problems, its metrics.

Usage: reference.py MAINSTAY_BINARY            fails if a page is not what the program says
       reference.py MAINSTAY_BINARY --write    writes them, and the completions and manual pages of deploy/, for which it builds a test
"""

import difflib
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/reference"
sys.path.insert(0, str(ROOT / "tests/observability"))
import check as observability  # noqa: E402

MADE = "<!-- Made from the program by tests/docs/reference.py; change it there. -->\n\n"


def said_by(binary, *arguments):
    # It calls itself as it was called.
    return subprocess.run(["mainstay", *arguments], executable=binary, check=True, capture_output=True, text=True).stdout


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|").replace("\n", " ")


def commands(binary):
    page = "# Commands\n\n" + MADE + "Exit codes are the same for all of them; they stand at the end of the first.\n"

    def add(path):
        nonlocal page
        text = said_by(binary, *path, "--help")
        page += f"\n## mainstay {' '.join(path)}".rstrip() + f"\n\n```text\n{re.sub(r' +$', '', text.strip(), flags=re.M)}\n```\n"
        for name in re.findall(r"^  ([a-z][a-z-]*)  ", text.partition("Commands:")[2], re.M):
            if name != "help":
                add((*path, name))

    add(())
    return page


def problems(document):
    page = "# Problems\n\n" + MADE
    page += "Every answer of Mainstay's own has `Mainstay-Error` with one of these, and a body of `application/problem+json`. A running proxy has each at\n"
    page += "`/_mainstay/problems/SLUG`. Some have other statuses, too, where that is said.\n\n| slug | status | means | what to do |\n|---|---|---|---|\n"
    for problem in document["problems"]:
        slug = problem["type"].rsplit("/", 1)[1]
        page += f"| `{slug}` | {problem['status']} | {problem['meaning']} | {problem['what_to_do']} |\n"
    return page


def metrics(text):
    """What a proxy that has had a bit of everything exposes."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.M))
    labels = {}
    for name, inside in re.findall(r"^([a-z_]+)(?:\{(.*)\})? \S+$", text, re.M):
        family = name if name in kinds else re.sub(r"_(bucket|sum|count)$", "", name)
        labels.setdefault(family, {}).update(dict.fromkeys(re.findall(r'([a-z_]+)="', inside)))
    alerts = {}
    for rule in re.findall(r"- alert: (\w+)(.*?)(?=- alert:|\Z)", observability.RULES.read_text(), re.S):
        for name in re.findall(r"\bmainstay_[a-z_]+", rule[1].partition("labels:")[0]):
            alerts.setdefault(name, []).append(rule[0])
    page = "# Metrics\n\n" + MADE
    page += "At `/metrics` of the probes listener, as Prometheus' text or, asked for, as OpenMetrics. A family is there once it has a sample, and this page has\n"
    page += "what a proxy exposes after a bit of everything; rarer ones (caches, fallbacks, contradictions) are found in the [dashboard](../../deploy/observability/dashboard.json).\n\n"
    page += "| name | type | labels | meaning | alert |\n|---|---|---|---|---|\n"
    for name in sorted(kinds):
        names = ", ".join(f"`{label}`" for label in labels.get(name, {}) if label != "le")
        led = ", ".join(f"[{alert}](../runbook.md#{alert.lower()})" for alert in dict.fromkeys(alerts.get(name, [])))
        page += f"| `{name}` | {kinds[name]} | {names} | {cell(helps.get(name, ''))} | {led} |\n"
    return page


def main(binary, write):
    text, published = observability.exposed(binary, problems=True)
    pages = {
        "configuration.md": said_by(binary, "config", "reference"),
        "cli.md": commands(binary),
        "problems.md": problems(json.loads(published)),
        "metrics.md": metrics(text),
    }
    bad = 0
    for name, page in pages.items():
        file = FOLDER / name
        held = file.read_text() if file.exists() else ""
        if write:
            file.write_text(page)
        elif held != page:
            bad += 1
            difference = difflib.unified_diff(held.splitlines(), page.splitlines(), f"docs/reference/{name}", "the program", lineterm="", n=0)
            print("\n".join(list(difference)[:20]))
    if write:
        # The program prints them, so only its test can make them; unless they are written it compares them.
        line = ["cargo", "test", "--quiet", "--package", "mainstay", "--bin", "mainstay", "papers"]
        subprocess.run(line, cwd=ROOT, env={**os.environ, "MAINSTAY_WRITE": "1"}, check=True)
    if bad:
        print(f"{bad} pages are not what the program says; write them: tests/docs/reference.py {binary} --write")
    return 1 if bad else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--write"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:] == ["--write"]))
