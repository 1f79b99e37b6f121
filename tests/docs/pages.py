"""The pages of the documents: their blocks, and what stands between them."""

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCENES = ROOT / "tests/docs/scenes"
FENCE = re.compile(r"^( *)(`{3,})(\S*)(.*)$")


class Block:
    def __init__(self, line, language, words):
        self.line, self.language, self.text = line, language, ""
        self.marks = {name: value for name, _, value in (word.partition("=") for word in words.split())}


def read(page):
    """A page's blocks, and what stands between them."""
    blocks, prose, block, fence, indent = [], [], None, "", ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if block is None and (match := FENCE.match(line)):
            indent, fence, block = match[1], match[2], Block(number, match[3], match[4])
        elif block is not None and line.strip() == fence:
            blocks.append(block)
            block = None
        elif block is not None:
            block.text += line.removeprefix(indent) + "\n"
        else:
            prose.append((number, line))
    return blocks, prose


def scenes(page):
    """What surrounds a page's blocks while they are played, by name: the blocks before, the blocks after."""
    found, file = {}, SCENES / page.relative_to(ROOT)
    if not file.exists():
        return found
    headings = [(number, line) for number, line in read(file)[1] if line.startswith("#")]
    for block in read(file)[0]:
        over = [line for number, line in headings if number < block.line]
        name = next(line for line in reversed(over) if line.startswith("## "))[3:]
        before, after = found.setdefault(name, ([], []))
        (after if over[-1] == "### Afterwards" else before).append(block)
    return found


def documents():
    """Every page of the repository, but for the scenes."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    pages = [ROOT / name for name in sorted(set(listed.stdout.split()))]
    return [page for page in pages if page.exists() and SCENES not in page.parents]


def anchors(page):
    """The names that GitHub gives to a page's headings."""
    found = set()
    for _, line in read(page)[1]:
        if match := re.match(r"^#{1,6} (.*)$", line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1])
            name = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
            found.add(next(each for each in [name, *(f"{name}-{n}" for n in range(1, 99))] if each not in found))
    return found
