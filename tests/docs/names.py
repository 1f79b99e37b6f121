"""The names that the documents say: commands, keys of the configuration, metrics, headers, alerts, variables, problems. Each has to exist."""

import functools
import re

import yaml
from pages import ROOT, read

CONFIGURATION = ROOT / "docs/reference/configuration.md"
PROBLEMS = ROOT / "docs/reference/problems.md"
# What is said of what has been, and of what others call things.
NOT_READ = {"CHANGELOG.md", "UPGRADING.md"}
OTHERS = {"policies/README.md", "docs/howto/moving.md", "docs/comparison.md"}
# Attributes of OpenTelemetry.
OTHER_KEYS = {"service.name"}
# What looks like a metric: files to copy, a package, roles of a database.
NO_METRICS = {"mainstay_write", "mainstay_answer", "mainstay_store", "mainstay_requests", "mainstay_policies", "mainstay_owner", "mainstay_app"}


@functools.cache
def program():
    """The sources of the program, without their tests."""
    files = [file for file in sorted((ROOT / "proxy/src").rglob("*.rs")) if "tests" not in file.parts and file.name != "tests.rs"]
    return "".join(file.read_text() for file in files)


@functools.cache
def metrics():
    # Counters get their ending from the library that writes them.
    found = set(re.findall(r'"(mainstay_[a-z_]+)"', program()))
    return found | {f"{name}_total" for name in found}


@functools.cache
def headers():
    return {name.lower() for name in re.findall(r"\bmainstay(?:-[a-z]+)+\b", program(), re.I)}


@functools.cache
def alerts():
    return set(re.findall(r"alert: (\w+)", (ROOT / "deploy/observability/rules.yaml").read_text()))


@functools.cache
def statuses():
    """Each problem with the status that it has, which may be others, too."""
    return dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", PROBLEMS.read_text(), re.M))


@functools.cache
def keys():
    """Every key of the configuration, as the names that lead to it."""
    return {tuple(name.replace("[]", "").split(".")) for name in re.findall(r"^\| `([\w.\[\]]+)` \|", CONFIGURATION.read_text(), re.M)}


@functools.cache
def parts():
    return {part for path in keys() for part in path}


def is_key(path):
    """Whether names lead to a key from somewhere; a name of the reader's own may stand where the reference says NAME, or be left out."""
    return any(within(path, known[start:]) for known in keys() for start in range(len(known)) if known[start] != "NAME")


def within(path, known):
    if not path:
        return True
    if not known:
        return False
    if known[0] == "NAME":
        return within(path[1:], known[1:]) or within(path, known[1:])
    return path[0] == known[0] and within(path[1:], known[1:])


def unknown(text, theirs):
    """What a text in backticks says that is not there."""
    for name in re.findall(r"\bmainstay_[a-z_]*[a-z](?![a-z_*])", text):
        if name not in NO_METRICS | metrics() and re.sub(r"_(bucket|sum|count)$", "", name) not in metrics():
            yield f"there is no metric {name}"
    for name in re.findall(r"\bMainstay[A-Z]\w+", text):
        if name not in alerts() and name not in {"MainstayWrite", "MainstayAnswer"}:
            yield f"there is no alert {name}"
    for name in re.findall(r"\bMAINSTAY_[A-Z_]*[A-Z]\b", text):
        if not any(name in source for source in sources()):
            yield f"nothing reads {name}"
    for name in re.findall(r"\bMainstay(?:-[A-Z][a-z]*)+\b", text):
        if name.lower() not in headers():
            yield f"there is no header {name}"
    if theirs:
        return
    for path in re.findall(r"^([a-z_]+(?:\.[a-zA-Z_]+)+)(?:: .*)?$", text):
        names = tuple(path.split("."))
        if names[0] in parts() and path not in OTHER_KEYS and not re.search(r"\.(py|rs|yaml|md|sh|mjs|html|json|db)$", path) and not is_key(names):
            yield f"there is no key {path}"
    for names in paths(mapping(text)):
        if names[0] in parts() | {name for name in names[:1] if "_" in name} and not is_key(names):
            yield f"there is no key {'.'.join(names)}"


def mapping(text):
    """A part of a configuration, if that is what a text is."""
    if not re.match(r"^\{? ?[a-z_]+: ", text) or "…" in text:
        return None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def paths(value, above=()):
    """The names that lead to each value of a part, but for those that are the reader's: places in a body, headers."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if re.fullmatch(r"[a-z_0-9]+", str(name)):
                yield from paths(inner, (*above, str(name)))
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, above)
    if above and not isinstance(value, list):
        yield above


@functools.cache
def sources():
    """Where a variable of the environment may be read."""
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "tests").rglob("*.rs"), *(ROOT / "examples").rglob("*.py"), ROOT / "deploy/Containerfile"]
    return [program(), *(file.read_text() for file in files)]


def bad(page, commands):
    """What a page names that does not exist."""
    name = str(page.relative_to(ROOT))
    if name in NOT_READ:
        return
    text = page.read_text()
    blocks, prose = read(page)
    inline = [(number, quoted) for number, line in prose for quoted in re.findall(r"`([^`]+)`", line)]
    for number, quoted in inline + [(block.line, block.text) for block in blocks if "finding" not in block.marks]:
        for fault in unknown(quoted, name in OTHERS):
            yield f"{name}:{number}: {fault}"
    for number, quoted in inline:
        if quoted.startswith("mainstay "):
            for fault in commands.of(quoted):
                yield f"{name}:{number}: {fault}"
    for number, line in prose:
        for status, slug in re.findall(r"\b([45]\d\d) `([a-z]+(?:-[a-z]+)+)`", line):
            if slug not in statuses():
                yield f"{name}:{number}: there is no problem {slug}"
    # A row that names an explanation is a line; a command may break at its end.
    for match in re.finditer(r"`(mainstay [^`\n]*)\n([^`\n]*)`", text):
        number = text.count("\n", 0, match.start()) + 1
        if not any(block.line <= number <= block.line + block.text.count("\n") for block in blocks):
            for fault in commands.of(f"{match[1]} {match[2]}"):
                yield f"{name}:{number}: {fault}"
