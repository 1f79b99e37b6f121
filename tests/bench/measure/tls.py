"""Over TLS: what a connection costs, and what a request on one that is kept. Everybody speaks the same: the clients offer one suite,
one group and TLS 1.3 alone, and every proxy shows the same ECDSA P-256 certificate."""

import os
import subprocess
from statistics import median

from . import load
from .machine import Trouble

SUITE = "TLS_AES_128_GCM_SHA256"
GROUP = "X25519"
CONTENDERS = ("mainstay", "mainstay-before", "haproxy", "nginx")
# Where each template listens in clear, and how it does over TLS. No session is resumed: wrk offers none.
SECURED = {
    "mainstay.yaml": (
        "    address: 127.0.0.1:$port\n",
        "    address: 127.0.0.1:$port\n    tls: { cert_file: $directory/own.pem, key_file: $directory/own.key, min_version: '1.3' }\n",
    ),
    "haproxy.cfg": (
        "    bind 127.0.0.1:$port\n",
        "    bind 127.0.0.1:$port ssl crt $directory/both.pem ssl-min-ver TLSv1.3 no-tls-tickets alpn http/1.1\n",
    ),
    "nginx.conf": (
        "        listen 127.0.0.1:$port;\n",
        "        listen 127.0.0.1:$port ssl;\n        ssl_protocols TLSv1.3;\n        ssl_session_tickets off;\n"
        "        ssl_certificate $directory/own.pem;\n        ssl_certificate_key $directory/own.key;\n",
    ),
}
# What every program over OpenSSL does by itself: wrk has no options for it.
_CLIENT = f"""openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = clients
[clients]
MinProtocol = TLSv1.3
Ciphersuites = {SUITE}
Groups = {GROUP}
"""


def tls(stage, names, rounds, seconds):
    """Rows in the order of `names`; every figure is the median over the rounds."""
    _certificates(stage)
    stage.secured = SECURED
    contenders = [stage.start(name) for name in names]
    for contender in contenders:
        _expect_suite(stage, contender)
    samples = {name: [] for name in names}
    for turn in range(rounds):
        start = turn % len(contenders)
        for contender in contenders[start:] + contenders[:start]:
            samples[contender.name].append(_measure(stage, contender, seconds))
    rows = [{"name": name} | {key: median(one[key] for one in samples[name]) for key in samples[name][0]} for name in names]
    by_name = {row["name"]: row for row in rows}
    for row in rows:
        for peer in ("haproxy", "nginx"):
            if peer in by_name:
                for figure in ("handshake_cpu", "cpu"):
                    row[f"{figure}_to_{peer}"] = row[f"{figure}_us"] / by_name[peer][f"{figure}_us"]
    return rows


def _measure(stage, contender, seconds):
    sample = {}
    for kind, headers in (("handshake_", ["Connection: close"]), ("", [])):
        one = {"secure": True, "headers": headers, "env": _environment(stage)}
        load.wrk(contender.name, contender.port, 1, **one)
        before = contender.process.cpu_seconds()
        seen = load.wrk(contender.name, contender.port, seconds, **one)
        cpu = contender.process.cpu_seconds() - before
        sample |= {
            f"{kind}per_second": seen.per_second,
            f"{kind}cpu_us": cpu / seen.requests * 1e6,
            f"{kind}p99_ms": seen.p99_ms,
            f"{kind}busy": cpu / seconds,
        }
    sample["loaded_rss_bytes"] = contender.process.rss_bytes()
    contender.process.check()
    load.check_answer(contender.name, contender.port, secure=True)
    return sample


def _environment(stage):
    return {**os.environ, "OPENSSL_CONF": str(stage.directory / "clients.cnf")}


def _certificates(stage):
    stage.write("clients.cnf", _CLIENT)
    own, key = stage.directory / "own.pem", stage.directory / "own.key"
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", own)
    both = stage.write("both.pem", own.read_text() + key.read_text())
    # Workers that give up root have read theirs by then; nobody else is to.
    for secret in (key, both):
        secret.chmod(0o600)


def _expect_suite(stage, contender):
    told = _openssl("s_client", "-connect", f"127.0.0.1:{contender.port}", "-brief", env=_environment(stage))
    for wanted in ("Protocol version: TLSv1.3", f"Ciphersuite: {SUITE}", "Signature type: ECDSA", f"Server Temp Key: {GROUP}"):
        if wanted not in told:
            raise Trouble(f"{contender.name}: its handshake lacks {wanted!r}:\n{told}")


def _openssl(*arguments, env=None):
    done = subprocess.run(["openssl", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env)
    if done.returncode != 0:
        raise Trouble(f"openssl {arguments[0]} failed:\n{done.stderr}")
    return done.stdout + done.stderr
