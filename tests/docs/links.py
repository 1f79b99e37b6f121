#!/usr/bin/env python3
"""The links of the documents.

* Within the repository: to a file, and to a heading if one is named.
* Outside of it: https, an address that can be one, and once on a page, so that there is one place to correct: who needs it again names its
  definition (`[text][name]`, `[name]: https://…`). Every definition is used, and every name defined.

Usage: links.py             checks all of that
       links.py --online    asks those outside, too, and says which do not answer, or have no such anchor. By hand: no test of this
                            repository needs a network
"""

import concurrent.futures
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

from pages import ROOT, anchors, documents, read

PATIENCE = 20  # seconds for one answer
TARGET = re.compile(r"\]\(([^)\s]+)\)")
DEFINITION = re.compile(r"^\[([^\]]+)\]: (\S+)$")
# At most this much of a page is searched for an anchor.
ENOUGH = 8 << 20


def prose(page):
    """A page's lines, without what is quoted in them."""
    return [(number, re.sub(r"`[^`]*`", "", line)) for number, line in read(page)[1]]


def outside(page):
    """The addresses of other sites on a page, each with its line."""
    for number, line in prose(page):
        definition = DEFINITION.match(line)
        for target in [definition[2]] if definition else TARGET.findall(line) + re.findall(r"<(https?://[^>]*)>", line):
            if "://" in target:
                yield number, target


def fault(address):
    """Why an address cannot be one."""
    try:
        parts = urllib.parse.urlsplit(address)
        port = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme != "https":
        return "it is not https"
    if not re.fullmatch(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", parts.netloc):
        return f"{parts.netloc!r} is no public name" + (" (no port is needed)" if port else "")
    if not re.fullmatch(r"[\w.~!$&'()*+,;=:@/?#%-]*", address[len("https://") :], re.ASCII) or address.endswith((".", ",", ";", ")")):
        return "it has characters that belong to the text, or have to be encoded"
    return None


def bad(page):
    """What is wrong with the links of a page."""
    at = page.relative_to(ROOT)
    for number, line in prose(page):
        for target in [] if DEFINITION.match(line) else TARGET.findall(line):
            if "://" in target or target.startswith("mailto:"):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                yield f"{at}:{number}: {target} leads nowhere"
            elif anchor and (file.suffix != ".md" or anchor not in anchors(file)):
                yield f"{at}:{number}: {file.name} has no heading #{anchor}"
    first = {}
    for number, address in outside(page):
        if why := fault(address):
            yield f"{at}:{number}: {address}: {why}"
        if (before := first.setdefault(address, number)) != number:
            yield f"{at}:{number}: {address} is in line {before}, too: define it once"
    defined = {match[1] for _, line in prose(page) if (match := DEFINITION.match(line))}
    used = {name for _, line in prose(page) for name in re.findall(r"\]\[([^\]]+)\]", line)}
    yield from (f"{at}: [{name}] is not defined" for name in sorted(used - defined))
    yield from (f"{at}: [{name}] is defined, and nothing leads there" for name in sorted(defined - used))


def unreachable(address):
    """Why an address leads nowhere, by asking it."""
    agent = {"User-Agent": "Mozilla/5.0 (a check of links)", "Accept": "text/html,*/*"}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=agent), timeout=PATIENCE) as answer:
            body = answer.read(ENOUGH).decode(errors="replace")
    except urllib.error.HTTPError as error:
        # Who keeps robots out is there.
        return None if error.code in (403, 429) else f"{error.code} {error.reason}"
    except OSError as error:
        return str(error)
    anchor = urllib.parse.unquote(urllib.parse.urlsplit(address).fragment)
    if anchor and not re.search(rf"""(?:id|name)=["']?{re.escape(anchor)}["'\s>]""", body):
        return f"it has no #{anchor}"
    return None


def main(online):
    faults = [each for page in documents() for each in bad(page)]
    if online:
        named = {}
        for page in documents():
            for number, address in outside(page):
                named.setdefault(address, f"{page.relative_to(ROOT)}:{number}")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for (address, at), why in zip(named.items(), pool.map(unreachable, named)):
                faults += [f"{at}: {address}: {why}"] if why else []
        print(f"{len(named)} links were asked")
    print("\n".join(faults) or "all lead somewhere")
    return 1 if faults else 0


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--online"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:] == ["--online"]))
