#!/usr/bin/env python3
"""The pages of docs/reference that are made from the program: its configuration, its commands, its problems, its metrics.

Usage: reference.py MAINSTAY_BINARY            fails if a page is not what the program says
       reference.py MAINSTAY_BINARY --write    writes them
"""

import difflib
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/reference"
sys.path.insert(0, str(ROOT / "tests/observability"))
import check as observability  # noqa: E402

MADE = "<!-- Made from the program by tests/docs/reference.py; change it there. -->\n\n"
# What a value looks like, by what stands in its pattern; the first that fits.
KINDS = [("KiB", "size"), ("/ ?[0-9", "rate"), ("ns|us|ms", "duration"), ("^https?://|^http://", "URL")]


def said_by(binary, *arguments):
    # It calls itself as it was called.
    return subprocess.run(["mainstay", *arguments], executable=binary, check=True, capture_output=True, text=True).stdout


class Configuration:
    def __init__(self, schema):
        self.schema, self.rows = schema, []

    def resolved(self, node):
        if "$ref" in node:
            target = self.schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
            return {**target, **{name: value for name, value in node.items() if name != "$ref"}}
        return node

    def variants(self, node):
        """Its forms, but for the one that is an environment variable: any scalar may be one."""
        node = self.resolved(node)
        forms = node.get("anyOf") or node.get("oneOf")
        if not forms:
            return [node]
        found = [form for each in forms for form in self.variants(each)]
        return [form for form in found if not (form.get("type") == "string" and form.get("pattern", "").startswith("\\$\\{"))]

    def kind(self, node):
        if "enum" in node:
            return " or ".join(f"`{value}`" for value in node["enum"])
        if "const" in node:
            return f"`{node['const']}`"
        kind = node.get("type")
        if isinstance(kind, list) or kind == "string":
            pattern = node.get("pattern", "")
            return next((name for part, name in KINDS if part in pattern), "text")
        if kind == "array":
            items = self.kinds(node.get("items", {}))
            return f"list of ({items})" if " or " in items else f"list of {items}"
        if kind in ("integer", "number"):
            low, high = node.get("minimum"), node.get("maximum")
            return "number" if low is None and high is None else f"{low if low is not None else ''} to {high if high is not None else ''}"
        return {"object": "map", "boolean": "`true` or `false`"}.get(kind, "value")

    def kinds(self, node):
        return " or ".join(dict.fromkeys(self.kind(form) for form in self.variants(node)))

    def walk(self, path, node, seen=()):
        node = self.resolved(node)
        if path:
            text = node.get("description", "")
            default = re.search(r"\s*Default:? (.*?)\.(?=\s|$)", text)
            meaning = text.replace(default[0], "").strip() if default else text
            self.rows.append((path, self.kinds(node), default[1] if default else "", meaning, path.rsplit(".", 1)[-1]))
        for form in self.variants(node):
            if form.get("type") == "array":
                form = {"properties": {}, "items": form.get("items", {})}
                inner = [each for each in self.variants(form["items"]) if each.get("properties")]
                prefix = f"{path}[]"
            else:
                inner, prefix = [form], path
            for each in inner:
                identity = json.dumps(each, sort_keys=True)[:400]
                if identity in seen:
                    continue
                for name, value in each.get("properties", {}).items():
                    self.walk(f"{prefix}.{name}" if prefix else name, value, (*seen, identity))
                extra = each.get("additionalProperties")
                if isinstance(extra, dict):
                    for variant in self.variants(extra):
                        if variant.get("properties"):
                            for name, value in variant["properties"].items():
                                self.walk(f"{prefix}.NAME.{name}", value, (*seen, identity))


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|").replace("\n", " ")


def configuration(binary):
    reader = Configuration(json.loads(said_by(binary, "config", "schema")))
    reader.walk("", reader.schema)
    page = "# Configuration: every key\n\n" + MADE
    page += "What they are for, and in which order to think about them, is in [configuration.md](../configuration.md). `[]` stands for each entry of a list,\n"
    page += "`NAME` for a name of yours. Any scalar may be, or contain, `${VARIABLE}` or `${VARIABLE:-otherwise}`.\n"
    section, seen = None, set()
    for path, kind, default, meaning, _ in reader.rows:
        top = re.split(r"[.\[]", path)[0]
        if top != section:
            section = top
            page += f"\n## {section}\n\n| key | value | default | meaning |\n|---|---|---|---|\n"
        if path not in seen:
            seen.add(path)
            page += f"| `{path}` | {cell(kind)} | {f'`{default}`' if default and (default[0] == '[' or ' ' not in default) else cell(default)} | {cell(meaning)} |\n"
    return page


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
        "configuration.md": configuration(binary),
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
    if bad:
        print(f"{bad} pages are not what the program says; write them: tests/docs/reference.py {binary} --write")
    return 1 if bad else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--write"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:] == ["--write"]))
