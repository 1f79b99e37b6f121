#!/usr/bin/env python3
"""docs/reference/openapi-client.json and openapi-admin.json, against the code and against a real proxy.

* It is valid OpenAPI 3.1.
* Its paths, parameters, slugs and members are those of the code, and the other way round.
* Each response, header and parameter that another document may refer to is got from a proxy, and has the same members, words and headers.
* Schemathesis sends what the document allows, and what it does not: no 5xx, no status, header or body that is not in it.

Usage: check.py MAINSTAY_BINARY       (needs schemathesis and openapi-spec-validator from PyPI)
"""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

import openapi_spec_validator
from answers import compare
from stage import prepared, proxy

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/reference/openapi-client.json"
ADMIN = ROOT / "docs/reference/openapi-admin.json"
EXAMPLES = os.environ.get("OPENAPI_EXAMPLES", "20")
faults = []


def expect(held, message):
    if not held:
        faults.append(message)


def against_the_code(document):
    """What stands in the sources and not in the document, or the other way round."""
    routes = (ROOT / "proxy/src/control/routes.rs").read_text()
    arms = re.findall(r"\[((?:\"[\w:.]*\"|id|slug|, )+)\] => \{\s*self\.allow\(&\[([^\]]*)\]\)", routes)
    served = {}
    for segments, methods in arms:
        path = "/" + "/".join(part.strip('"') if part.startswith('"') else f"{{{part}}}" for part in segments.split(", "))
        served[path] = {method.lower() for method in re.findall(r"Method::(\w+)", methods)} - {"head"}
    described = {path: set(methods) for path, methods in document["paths"].items()}
    expect(described == served, f"paths: the document has {described}, the code {served}")
    taken = set()
    for file in (ROOT / "proxy/src/control").glob("*.rs"):
        for names in re.findall(r"Params::read\([^&]*&\[([^\]]*)\]", file.read_text()):
            taken |= set(re.findall(r'"(\w+)"', names))
    known = {
        parameter["name"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", [])
        if parameter.get("in") == "query"
    }
    expect(known == taken, f"parameters of queries: the document has {sorted(known)}, the code {sorted(taken)}")
    slugs = set(re.findall(r'^    \w+ = "([a-z-]+)", [A-Z_]+, ', (ROOT / "policies/src/problem.rs").read_text(), re.M))
    said = set(document["components"]["headers"]["MainstayError"]["schema"]["enum"])
    expect(said == slugs, f"slugs: the document has {sorted(said - slugs)} too many and lacks {sorted(slugs - said)}")
    named = set(re.findall(r'^        "(\w+)": ', (ROOT / "proxy/src/api/document.rs").read_text().partition("fn of_attention")[0], re.M))
    members = set(document["components"]["schemas"]["Operation"]["properties"])
    # Only where there is something to say.
    members.discard("superseded_by")
    expect(members == named, f"members of an operation: the document has {sorted(members ^ named)} otherwise than the code")


def admin_against_the_code(document):
    """The same of the operators' side: that each address answers is asked of a real proxy by tests/it/openapi_admin.rs."""
    admin = ROOT / "proxy/src/admin"
    routes = (admin / "routes.rs").read_text()
    listed = lambda before: set(re.findall(r'"([\w.-]+)"', re.search(before + r"\[([^\]]*)\]", routes)[1]))
    heads = set(re.findall(r'\["([\w:.-]*)"(?:, \w+)?\] =>', routes)) | listed(r"LOOKS[^=]*=\s*")
    heads |= set(re.findall(r'"/(\w+)" => match \w+::', routes))
    acts = listed(r"if !") | set(re.findall(r'Some\(\(\w+, "(\w+)"\)\)', routes))
    acts |= set(re.findall(r'"(\w+)" => breakers::\w+\(self, name\)', routes))
    described = {path.split("/")[1] for path in document["paths"]}
    expect(described == heads, f"admin, first segments: {sorted(described ^ heads)} stand in one only")
    named = {path.rsplit(":", 1)[1] for path in document["paths"] if ":" in path and "{" in path}
    expect(named == acts, f"admin, acts: {sorted(named ^ acts)} stand in one only")
    taken = set(re.findall(r'"(\w+)"', re.search(r"FILTERS[^=]*= \[([^\]]*)\]", (admin / "filters.rs").read_text())[1]))
    for file in admin.glob("*.rs"):
        for names in re.findall(r"(?:Params::read\([^&]*&|FILTERS\.into_iter\(\)\.chain\()\[([^\]]*)\]", file.read_text()):
            taken |= set(re.findall(r'"(\w+)"', names))
    known = {
        parameter["name"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", [])
        if parameter.get("in") == "query"
    } | {parameter["name"] for parameter in document["components"]["parameters"].values() if parameter["in"] == "query"}
    expect(known == taken, f"admin, parameters of queries: {sorted(known ^ taken)} stand in one only")
    own = set(re.findall(r'^        "(\w+)": ', (admin / "documents.rs").read_text().partition("let more = json!({")[2].partition("});")[0], re.M))
    shared = set(re.findall(r'^        "(\w+)": ', (ROOT / "proxy/src/api/document.rs").read_text().partition("fn of_attention")[0], re.M))
    required = set(document["components"]["schemas"]["Operation"]["required"])
    expect(required == own | shared, f"admin, members of an operation: {sorted(required ^ (own | shared))} stand in one only")


def with_examples(document, ids):
    """The document with keys and ids that exist here, so that not everything is a 404."""
    mine = json.loads(json.dumps(document))
    parameter = mine["components"]["parameters"]["OperationId"]
    parameter.pop("example", None)
    parameter["examples"] = {str(number): {"value": value} for number, value in enumerate(ids)}
    for given in mine["paths"].get("/breakers/{name}:force", {}).get("post", {}).get("parameters", []):
        if given.get("name") == "name":
            given["examples"] = {"one": {"value": "write@app"}}
    for given in mine["paths"]["/operations"]["get"]["parameters"]:
        if given.get("name") == "key":
            given["examples"] = {key: {"value": key} for key in ["paid", "declined", "lost", "doubt", "absent"]}
    return mine


def schemathesis(binary, document, is_admin, examples, *options):
    with proxy(binary) as (home, base, operators):
        ids = prepared(base)
        (home / "openapi.json").write_text(json.dumps(with_examples(document, ids)))
        command = [pathlib.Path(sys.executable).with_name("schemathesis"), "run", home / "openapi.json"]
        command += ["--url", operators if is_admin else f"{base}/_mainstay", "--max-examples", examples, "--generation-database", "none", "--no-color"]
        # A reading may wait for 30 s (`Prefer: wait`).
        command += ["--request-timeout", "40", *options]
        command += ["--exclude-checks", "ignored_auth,positive_data_acceptance,missing_required_header,unsupported_method,negative_data_rejection"]
        ended = subprocess.run(command, cwd=home, capture_output=True, text=True)
        return "" if ended.returncode == 0 else f"schemathesis:\n{ended.stdout[-8000:]}{ended.stderr[-2000:]}"


def main(binary):
    document, admin = json.loads(DOCUMENT.read_text()), json.loads(ADMIN.read_text())
    for each in [document, admin]:
        openapi_spec_validator.validate(each)
    against_the_code(document)
    admin_against_the_code(admin)
    faults.extend(compare(binary, document))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [
            # Who the caller is comes from a front, and is no part of the document.
            pool.submit(schemathesis, binary, document, False, EXAMPLES, "--header", "X-Tenant: ann"),
            # What happens is told for as long as somebody listens.
            pool.submit(schemathesis, binary, admin, True, str(max(1, int(EXAMPLES) // 4)), "--exclude-path", "/events"),
        ]
        for run in runs:
            expect(not run.result(), run.result())
    paths, schemas = len(document["paths"]), len(document["components"]["responses"])
    print("\n".join(faults) or f"{paths} paths (and {len(admin['paths'])} of the operators), {schemas} responses to refer to: as the code has them, and as a proxy answers")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
