#!/usr/bin/env python3
"""The release archive, made of a binary that is there: what is in it, that it runs, and that it comes out the same twice.

Usage: check.py MAINSTAY_BINARY
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPECTED = {"mainstay", "LICENSE", "README.md", "THIRD-PARTY.txt", "sbom.cdx.json", "docs/tutorial.md", "clients/mainstay_write.py"}
EXPECTED |= {"deploy/systemd/mainstay.service", "deploy/observability/rules.yaml", "policies/presets/payment-write.yaml"}
EXPECTED |= {"completions/mainstay.bash", "completions/_mainstay", "completions/mainstay.fish", "man/man1/mainstay.1", "man/man1/mainstay-check.1"}


def made(binary, directory):
    command = [ROOT / "deploy/release", "--binary", binary, "--output", directory]
    # Modes and umasks of whoever makes it are not in it.
    subprocess.run(command, check=True, env=os.environ, stdout=subprocess.DEVNULL)
    (archive,) = directory.glob("*.tar.gz")
    digest, name = (directory / "SHA256SUMS").read_text().split()
    assert name == archive.name and digest == hashlib.sha256(archive.read_bytes()).hexdigest(), "the checksum is another file's"
    return archive, digest


def main(binary):
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home)
        archive, digest = made(binary, home / "one")
        assert made(binary, home / "two")[1] == digest, "the same came out differently"
        with tarfile.open(archive) as opened:
            names = {name.partition("/")[2] for name in opened.getnames()}
            owners = {(member.uid, member.uname) for member in opened.getmembers()}
            opened.extractall(home / "unpacked")
        assert names >= EXPECTED, f"missing: {EXPECTED - names}"
        assert owners == {(0, "")}, f"owned by {owners}"
        (folder,) = (home / "unpacked").iterdir()
        said = subprocess.run([folder / "mainstay", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
        assert said in folder.name, f"{folder.name} has version {said}"
        components = {component["name"] for component in json.loads((folder / "sbom.cdx.json").read_text())["components"]}
        assert {"tokio", "rustls", "rusqlite"} <= components, "the bill of materials lacks what is known to be in it"
        assert "proptest" not in components, "the bill of materials has what only tests need"
        text = (folder / "THIRD-PARTY.txt").read_text()
        unnamed = [name for name in components if f"{name} " not in text]
        assert not unnamed, f"no licence of {unnamed}"
    print(f"{archive.name}: {len(names)} files, {len(components)} components, the same twice")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
