#!/usr/bin/env python3
"""Builds every kustomization under deploy/kubernetes as `kubectl kustomize` would, and checks what a cluster would get:

* every object against the strict schema of the Kubernetes versions it is meant for;
* the configuration that the pod would mount, with `mainstay check`;
* that terminationGracePeriodSeconds covers everything that must end within it, and that a preStop hook begins the drain;
* that a ledger on disk lies on a claim of the pod's own, that one which others do not share has one pod, which its successor
  never stands beside, and that a shared one's password and certificate are mounted;
* that a volume's ConfigMap, a port's name and a Service's selector lead somewhere.

Usage: check.py MAINSTAY_BINARY       (needs the PyPI package kubernetes-validate)
"""

import copy
import pathlib
import re
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
# Kinds of objects that make pods.
WORKLOADS = {"Deployment", "StatefulSet"}
# Seconds that must be left when everything took as long as it may.
MARGIN = 5
# Which Kubernetes each kustomization is for. The strict schemas of old versions refuse what those do not know.
VERSIONS = {
    "base": ["1.34", "1.37"],
    "overlays/jaeger": ["1.34", "1.37"],
    "overlays/plain-container": ["1.27", "1.37"],
    "overlays/replicas": ["1.34", "1.37"],
    "overlays/trial": ["1.34", "1.37"],
}


class Problem(Exception):
    pass


def expect(held, message):
    if not held:
        raise Problem(message)


def load(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def build(directory):
    """The objects of a kustomization, for the fields that ours use; any other field is a problem, not a guess."""
    (kustomization,) = load(directory / "kustomization.yaml")
    known = {"apiVersion", "kind", "labels", "resources", "configMapGenerator", "generatorOptions", "patches"}
    expect(set(kustomization) <= known, f"{directory}: not understood by this check: {set(kustomization) - known}")
    objects = []
    for resource in kustomization.get("resources", []):
        path = directory / resource
        expect(path.exists(), f"{directory}: resource {resource} does not exist")
        objects += build(path.resolve()) if path.is_dir() else load(path)
    for generator in kustomization.get("configMapGenerator", []):
        generate(directory, generator, objects)
    for patch in kustomization.get("patches", []):
        target = patch["target"]
        matching = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (target["kind"], target["name"])]
        expect(matching, f"{directory}: patch {patch['path']} matches no object")
        for document in matching:
            apply(document, load(directory / patch["path"])[0])
    for label in kustomization.get("labels", []):
        for document in objects:
            document["metadata"].setdefault("labels", {}).update(label["pairs"])
    return objects


def generate(directory, generator, objects):
    expect(set(generator) <= {"name", "behavior", "files"}, f"{directory}: not understood: {generator}")
    existing = [o for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"] == generator["name"]]
    merge = generator.get("behavior") == "merge"
    expect(merge == bool(existing), f"{directory}: ConfigMap {generator['name']} must exist exactly if it is merged")
    data = {pathlib.Path(file).name: (directory / file).read_text() for file in generator["files"]}
    if merge:
        existing[0]["data"].update(data)
    else:
        metadata = {"name": generator["name"]}
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def apply(document, operations):
    """JSON Patch (RFC 6902): add at the end of a list, remove, replace and move, which is what ours use."""
    for operation in operations:
        op = operation["op"]
        expect(op in {"add", "remove", "replace", "move"}, f"patch operation not understood by this check: {op}")
        if op == "add":
            path, last = operation["path"].rsplit("/", 1)
            parent, key = locate(document, path)
            expect(last == "-" and isinstance(parent[key], list), f"not the end of a list: {operation['path']}")
            parent[key].append(copy.deepcopy(operation["value"]))
            continue
        source = operation["from"] if op == "move" else operation["path"]
        parent, key = locate(document, source)
        expect(key in parent if isinstance(parent, dict) else key < len(parent), f"nothing at {source}")
        if op == "replace":
            parent[key] = copy.deepcopy(operation["value"])
            continue
        value = parent.pop(key)
        if op == "move":
            parent, key = locate(document, operation["path"])
            if isinstance(parent, list):
                expect(key <= len(parent), f"{operation['path']} is beyond the end")
                parent.insert(key, value)
            else:
                parent[key] = value


def locate(document, pointer):
    *steps, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for step in steps:
        document = document[int(step) if isinstance(document, list) else step]
    return document, int(last) if isinstance(document, list) else last


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def check_references(objects):
    maps = {o["metadata"]["name"] for o in objects if o["kind"] == "ConfigMap"}
    secrets = {o["metadata"]["name"] for o in objects if o["kind"] == "Secret"}
    workloads = [o for o in objects if o["kind"] in WORKLOADS]
    pods = [o["spec"]["template"] for o in workloads]
    for workload, pod in zip(workloads, pods):
        volumes = {v["name"]: v for v in pod["spec"].get("volumes", [])}
        for volume in volumes.values():
            if "secret" in volume:
                name = volume["secret"]["secretName"]
                expect(name in secrets, f"volume {volume['name']}: no Secret {name}")
                continue
            name = volume["configMap"]["name"]
            expect(name in maps, f"volume {volume['name']}: no ConfigMap {name}")
        volumes |= {claim["metadata"]["name"]: claim for claim in workload["spec"].get("volumeClaimTemplates", [])}
        for container in containers(pod["spec"]):
            for mount in container.get("volumeMounts", []):
                expect(mount["name"] in volumes, f"{container['name']}: no volume {mount['name']}")
                expect("subPath" not in mount, f"{container['name']}: subPath never updates")
    for service in (o for o in objects if o["kind"] == "Service"):
        selector = service["spec"]["selector"].items()
        chosen = [pod for pod in pods if selector <= pod["metadata"]["labels"].items()]
        expect(chosen, f"Service {service['metadata']['name']} selects no pod")
        ports = {port["name"] for c in containers(chosen[0]["spec"]) for port in c.get("ports", [])}
        for port in service["spec"]["ports"]:
            expect(port["targetPort"] in ports, f"no container port is called {port['targetPort']}")


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def check_shutdown(objects):
    """The sum of statefulset.yaml, from the values that the pod would really use; and who is told when it ends."""
    spec, config = payments(objects)["spec"]["template"]["spec"], configuration(objects)
    (mainstay,) = [c for c in containers(spec) if c["name"] == "mainstay"]
    command = mainstay["lifecycle"]["preStop"]["exec"]["command"]
    expect(command[1:] == ["drain", "--scope", "inbound"], "callers are not told to go elsewhere by a preStop hook")
    entry = re.search(r'^ENTRYPOINT \["([^"]+)"\]$', (DEPLOY.parent / "Containerfile").read_text(), re.MULTILINE)
    expect(command[0] == entry[1], f"preStop: the image has no {command[0]}")
    drain = yaml.safe_load(config["drain.yaml"])["drain"]
    ours = seconds(drain["delay"]) + seconds(drain["timeout"])
    (service,) = [c for c in spec["containers"] if c["name"] == "payments"]
    hook = service["lifecycle"]["preStop"]
    pre_stop = hook["sleep"]["seconds"] if "sleep" in hook else int(hook["exec"]["command"][1])
    theirs = pre_stop + int(next(e["value"] for e in service["env"] if e["name"] == "DRAIN_SECONDS"))
    native = any(c["name"] == "mainstay" for c in spec.get("initContainers", []))
    if native:
        needed = theirs + ours + MARGIN
    else:
        expect(pre_stop > ours, f"the service goes after {pre_stop} s, before Mainstay has drained ({ours} s)")
        needed = max(theirs, ours) + MARGIN
    grace = spec["terminationGracePeriodSeconds"]
    expect(grace >= needed, f"terminationGracePeriodSeconds is {grace}, shutdown may take {needed}")


def payments(objects):
    (workload,) = [o for o in objects if o["kind"] in WORKLOADS and o["metadata"]["name"] == "payments"]
    return workload


def configuration(objects):
    (config,) = [o["data"] for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"] == "mainstay"]
    return config


def gibibytes(size):
    number, unit = re.fullmatch(r"(\d+)(GiB|Gi|MiB|Mi)", size).groups()
    return int(number) / (1 if unit.startswith("G") else 1024)


def check_ledger(objects):
    """A ledger on disk lies on a claim of the pod's own, which no second pod can have and nothing removes; only a shared one
    has several pods, and each of them its password."""
    workload, ledger = payments(objects), yaml.safe_load(configuration(objects)["ledger.yaml"])["ledger"]
    claims = {c["metadata"]["name"]: c["spec"] for c in workload["spec"].get("volumeClaimTemplates", [])}
    (mainstay,) = [c for c in containers(workload["spec"]["template"]["spec"]) if c["name"] == "mainstay"]
    if ledger.get("store") == "postgres":
        expect(not claims, "a claim for a ledger in a database")
        expect("@" in ledger["url"] and ":" not in ledger["url"].split("//")[1].split("@")[0], "a password in the url")
        for file in [ledger["password_file"], ledger["tls"]["ca_file"]]:
            mounts = [m for m in mainstay["volumeMounts"] if file.startswith(m["mountPath"] + "/")]
            expect(len(mounts) == 1, f"{file} is not mounted")
        return
    check_alone(objects, workload)
    if ledger.get("store") == "memory":
        expect(not claims, "a claim for a ledger in memory")
        return
    mounts = [m for m in mainstay["volumeMounts"] if ledger["path"].startswith(m["mountPath"] + "/")]
    expect(len(mounts) == 1 and mounts[0]["name"] in claims, f"{ledger['path']} lies on no claim")
    claim = claims[mounts[0]["name"]]
    expect(claim["accessModes"] == ["ReadWriteOncePod"], "two pods could have the ledger's claim")
    kept = workload["spec"]["persistentVolumeClaimRetentionPolicy"]
    expect(set(kept.values()) == {"Retain"}, "the ledger's claim goes with the set")
    size, most = gibibytes(claim["resources"]["requests"]["storage"]), gibibytes(ledger["max_bytes"])
    expect(size >= 1.25 * most, f"a claim of {size} GiB for a ledger of {most} GiB")


def check_alone(objects, workload):
    """A ledger that others do not share has one pod, and never a second one beside it for a while."""
    name, spec = workload["metadata"]["name"], workload["spec"]
    cure = "use a shared ledger (overlays/replicas), or one replica that is replaced and never stood beside"
    expect(spec.get("replicas", 1) == 1, f"a repeat that reaches another pod of {name} executes again: {cure}")
    scaled = [o for o in objects if o["kind"] == "HorizontalPodAutoscaler"
              and o["spec"]["scaleTargetRef"]["name"] == name]
    expect(not scaled, f"{name} is scaled, and a repeat that reaches another pod executes again: {cure}")
    surges = workload["kind"] == "Deployment" and spec.get("strategy", {}).get("type") != "Recreate"
    expect(not surges, f"a rollout of {name} has two pods for a while: {cure}")


def check_the_check():
    """What a private ledger must not have is refused, each alone."""
    target = {"scaleTargetRef": {"kind": "StatefulSet", "name": "payments"}, "maxReplicas": 3}
    autoscaler = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "payments"}, "spec": target}
    for what, spoil in {
        "three replicas": lambda objects: payments(objects)["spec"].update(replicas=3),
        "an autoscaler": lambda objects: objects.append(autoscaler),
        "a rollout that surges": lambda objects: payments(objects).update(kind="Deployment"),
    }.items():
        for overlay in ["base", "overlays/trial"]:
            objects = build(DEPLOY / overlay)
            spoil(objects)
            try:
                check_ledger(objects)
            except Problem as problem:
                expect("executes again" in str(problem) or "two pods" in str(problem), f"{what}: {problem}")
            else:
                raise Problem(f"{overlay} with {what} is accepted, and its ledger is private")


def check_configuration(objects, mainstay):
    config = configuration(objects)
    with tempfile.TemporaryDirectory() as directory:
        for name, text in config.items():
            (pathlib.Path(directory) / name).write_text(text)
        checked = subprocess.run([mainstay, "check", directory], capture_output=True, text=True, timeout=30)
    report = checked.stdout + checked.stderr
    expect(checked.returncode == 0, f"mainstay check refuses the mounted configuration:\n{report}")
    # The one warning it should give, and in a trial only: that the only ledger there is forgets.
    forgets = "store: memory" in config["ledger.yaml"]
    odd = [line for line in report.splitlines() if "warning" in line
           and not (forgets and "operations are kept in memory" in line)]
    expect(not odd, "\n".join(odd))


def check(name, mainstay):
    objects = build(DEPLOY / name)
    check_references(objects)
    check_shutdown(objects)
    check_ledger(objects)
    for version in VERSIONS[name]:
        for document in objects:
            kubernetes_validate.validate(document, version, strict=True)
    check_configuration(objects, mainstay)
    return len(objects)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = {str(path.parent.relative_to(DEPLOY)) for path in DEPLOY.rglob("kustomization.yaml")}
    failed = False
    try:
        check_the_check()
    except Problem as problem:
        print(f"kubernetes: {problem}", file=sys.stderr)
        failed = True
    if found != set(VERSIONS):
        print(f"kubernetes: kustomizations and VERSIONS differ: {found ^ set(VERSIONS)}", file=sys.stderr)
        failed = True
    for name in sorted(found & set(VERSIONS)):
        try:
            count = check(name, sys.argv[1])
            print(f"kubernetes: {name}: {count} objects valid for {', '.join(VERSIONS[name])}")
        except Problem as problem:
            print(f"kubernetes: {name}: {problem}", file=sys.stderr)
            failed = True
        except kubernetes_validate.ValidationError as error:
            place = ".".join(map(str, error.path))
            print(f"kubernetes: {name}: not valid for {error.version}: {place}: {error.message}", file=sys.stderr)
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
