"""A payment provider behind TLS of a private authority: it wants credentials, executes a key once, and counts what it did.

Its first answer never comes: the money is taken, and the caller waits. The certificates are made anew at each start, in $LEDGER.
What it saw and did is told in clear on $SERVICE_PORT.
"""

import json
import os
import pathlib
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from backstage import Server, Service, serve

HOME = pathlib.Path(os.environ.get("LEDGER", "/tmp/mainstay-third-party"))
TOKEN = "sk_of_this_example"
charges, seen = {}, []
lock = threading.Lock()


class Provider(Service):
    def do_POST(self):
        order = json.loads(self.body())
        key = self.headers["Idempotency-Key"].strip('"')
        with lock:
            seen.append({"path": self.path, "fields": {name.lower(): value for name, value in self.headers.items()}})
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                return self.answer(401, {"error": "who are you?"})
            is_first = key not in charges
            charge = charges.setdefault(key, {"id": f"ch_{len(charges) + 1}", "amount": order["amount"]})
        if is_first and order.get("lose"):
            time.sleep(60)
        return self.answer(201, charge)


class Witness(Service):
    """What the provider would show to its accountant."""

    def do_GET(self):
        with lock:
            return self.answer(200, {"charges": charges, "seen": seen})


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], cwd=HOME, check=True, capture_output=True)


def certificates():
    HOME.mkdir(parents=True, exist_ok=True)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    authority = ["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=an authority of our own"]
    openssl("req", "-x509", *curve, *authority, "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", *curve, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=provider")
    (HOME / "names").write_text("basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
    openssl("x509", "-req", "-in", "own.csr", *signed, "-out", "own.pem")
    (HOME / "token").write_text(f"{TOKEN}\n")


if __name__ == "__main__":
    certificates()
    secure = Server(("127.0.0.1", int(os.environ.get("PROVIDER_PORT", "9443"))), Provider)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(HOME / "own.pem", HOME / "own.key")
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    threading.Thread(target=secure.serve_forever, daemon=True).start()
    serve(Witness)
