#!/usr/bin/env python3
"""The image, without an engine: the root that deploy/Containerfile describes, with a binary that is there, run as a pod would run it.

    deploy/release && tests/release/image.py target/x86_64-unknown-linux-musl/dist/mainstay
    tests/release/image.py STATIC_BINARY --beside GLIBC_BINARY

The root is read-only and has nothing but the binary; the user is the image's; the configuration and the ledger's volume are mounted. It must
get ready, forward to a name that a resolver of this test's own knows, keep a write, answer its own probe, and end with 0. With
--beside, a binary over glibc must ask that resolver the same questions. Needs root, and unshare (util-linux).
"""

import argparse
import gzip
import http.client
import io
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 30  # seconds
# The resolver's own address: the port is 53, as resolv.conf cannot say another.
RESOLVER = "127.0.53.53"
RESOLV_CONF = f"nameserver {RESOLVER}\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
FOUND = "app.shop.svc.cluster.local"


def described():
    """What the last stage of the Containerfile says."""
    text = (ROOT / "deploy/Containerfile").read_text().split("\nFROM ")[-1]
    said = dict(re.findall(r"^(USER|ENTRYPOINT|CMD|ENV) (.*)$", text, re.M))
    (place,) = re.findall(r"^COPY --from=build \S+ (\S+)$", text, re.M)
    assert text.startswith("scratch\n"), "the image begins with something"
    return place, said["USER"], json.loads(said["ENTRYPOINT"]), json.loads(said["CMD"]), said["ENV"]


def is_static(binary):
    """Whether no loader is asked for: no program header of the type PT_INTERP."""
    data = binary.read_bytes()
    assert data[:5] == b"\x7fELF\x02", f"{binary} is no 64-bit ELF"
    (start,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
    return all(struct.unpack_from("<I", data, start + n * size)[0] != 3 for n in range(count))


def layer(binary, place):
    """The one layer of the image, as an engine would make it, compressed."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        entry = tarfile.TarInfo(place.lstrip("/"))
        entry.size, entry.mode = binary.stat().st_size, 0o755
        with binary.open("rb") as content:
            archive.addfile(entry, content)
    return gzip.compress(raw.getvalue(), mtime=0)


class Resolver:
    """Knows one name's address of IPv4, and keeps what it was asked."""

    def __init__(self):
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((RESOLVER, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, sender = self.socket.recvfrom(4096)
            at, labels = 12, []
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode())
                at += 1 + query[at]
            kind, question = struct.unpack_from(">H", query, at + 1)[0], query[12 : at + 5]
            name = ".".join(labels).lower()
            self.asked.append((name, kind))
            answers = [b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 30, 4) + bytes([127, 0, 0, 1])] if (name, kind) == (FOUND, 1) else []
            flags = 0x8580 if name == FOUND else 0x8583  # NXDOMAIN for every other name
            head = query[:2] + struct.pack(">HHHHH", flags, 1, len(answers), 0, 0)
            self.socket.sendto(head + question + b"".join(answers), sender)


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def call(port, path, method="GET", headers=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def eventually(what, probe, log, child):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            if probe():
                return
        except OSError:
            pass
        if child.poll() is not None:
            sys.exit(f"it ended with {child.returncode} before {what}:\n{log.read_text()}")
        time.sleep(0.05)
    sys.exit(f"waited in vain for {what}:\n{log.read_text()}")


def run(name, binary, home, service, image):
    """Runs it, in the image's root or, without one, beside it in this machine's; all that must hold is looked at."""
    place, user, entrypoint, command, env = described()
    port, probes = free_port(), free_port()
    config, data, resolv, log = home / name / "config", home / name / "data", home / name / "resolv.conf", home / f"{name}.log"
    config.mkdir(parents=True)
    data.mkdir()
    (config / "mainstay.yaml").write_text(f"""
listeners: {{ inbound: {{ address: "127.0.0.1:{port}" }} }}
probes: {{ address: "127.0.0.1:{probes}" }}
upstreams: {{ app: {{ endpoints: ["http://app:{service}"], resolve: {{ family: ipv4 }} }} }}
routes: [{{ match: {{ path: /** }}, upstream: app, policy: write }}]
policies: {{ write: {{ timeout: 10s, idempotency: {{ required: true, status: none }} }} }}
""")
    resolv.write_text(RESOLV_CONF)
    uid, gid = map(int, user.split(":"))
    for owned in (data, config, config / "mainstay.yaml"):
        os.chown(owned, uid, gid)
    root = home / name / "root"
    if image:
        for folder in ("bin", "etc/mainstay", "var/lib/mainstay"):
            (root / folder).mkdir(parents=True)
        (root / "etc/resolv.conf").touch()
        target = root / place.lstrip("/")
        target.write_bytes(binary.read_bytes())
        target.chmod(0o755)
        program = entrypoint + command
    else:
        program = [str(binary), *command]
    below = root if image else pathlib.Path("/")
    (below / "var/lib/mainstay").mkdir(parents=True, exist_ok=True)
    (below / "etc/mainstay").mkdir(parents=True, exist_ok=True)
    # A namespace of its own: nothing of this is seen outside, or left.
    steps = [f"mount --bind {root} {root}", f"mount -o remount,bind,ro {root}"] if image else []
    steps += [f"mount --bind {resolv} {below}/etc/resolv.conf", f"mount --bind {data} {below}/var/lib/mainstay"]
    steps += [f"mount --bind -o ro {config} {below}/etc/mainstay"]
    # The environment is the image's, in which there is no chroot.
    chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")
    steps += [f"exec env -i {env} {chroot} --userspec={uid}:{gid} {below} {shlex.join(program)}"]
    with log.open("wb") as output:
        child = subprocess.Popen(["unshare", "-m", "sh", "-ec", "\n".join(steps)], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        eventually("it is ready", lambda: call(probes, "/readyz") == 200, log, child)
        status = pathlib.Path(f"/proc/{child.pid}/status").read_text()
        assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status and f"Gid:\t{gid}\t" in status, status
        eventually("a name that resolves", lambda: call(port, "/") == 200, log, child)
        assert call(port, "/pay", "POST", {"Idempotency-Key": "k"}, "x") == 200, log.read_text()
        if image:
            # As an exec probe runs it: in the same root, of which it can write nothing.
            enter = ["nsenter", f"--mount=/proc/{child.pid}/ns/mnt", "chroot", f"--userspec={uid}:{gid}", root]
            probe = [*entrypoint, "probe", "ready", "--probes", f"http://127.0.0.1:{probes}"]
            subprocess.run([*enter, *probe], check=True, stdout=subprocess.DEVNULL)
        assert any(data.iterdir()), "the ledger is not on its volume"
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE) == 0, f"it ended with {child.returncode}:\n{log.read_text()}"
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--beside", type=pathlib.Path)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("only root can change the root")
    if not is_static(options.binary):
        sys.exit(f"{options.binary} asks for a loader, and the image has none: build it for musl (deploy/release)")
    packed = layer(options.binary, described()[0])
    print(f"image: {options.binary.stat().st_size / 2**20:.1f} MiB, its layer {len(packed) / 2**20:.1f} MiB compressed")
    resolver, service = Resolver(), ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="mainstay-image-") as home:
        home = pathlib.Path(home)
        home.chmod(0o755)
        questions = {}
        for name, binary in [("image", options.binary), ("beside", options.beside)]:
            if binary:
                resolver.asked.clear()
                run(name, binary.resolve(), home, service.server_address[1], name == "image")
                # What is asked again later is no other question.
                questions[name] = list(dict.fromkeys(resolver.asked))
        assert (FOUND, 1) in questions["image"], questions
        if options.beside:
            assert questions["image"] == questions["beside"], questions
            print(f"both ask: {questions['image']}")
    print("it runs from a read-only root as the image's user, resolves, keeps a write, answers its probe, and ends with 0")


if __name__ == "__main__":
    main()
