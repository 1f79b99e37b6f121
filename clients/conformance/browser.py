"""The JavaScript client in headless Chromium, in a page of another origin: what it tells is what happened, as in Node."""

import http.server
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

KIT = pathlib.Path(__file__).resolve().parent.parent
PAGE = """<!doctype html><title>a shop</title><script type="module">
import { write, resume } from "/mainstay-write.mjs";

const store = {
  set: (key, request) => localStorage.setItem(`write:${key}`, JSON.stringify(request)),
  delete: (key) => localStorage.removeItem(`write:${key}`),
  entries: () =>
    Object.keys(localStorage).filter((name) => name.startsWith("write:"))
      .map((name) => [name.slice(6), JSON.parse(localStorage.getItem(name))]),
};
const told = {};
const word = ({ outcome, declined }) => (outcome === "failed" ? (declined ? "declined" : "nothing") : outcome);
try {
  for (const way of WAYS) {
    const body = JSON.stringify({ id: `${way}, browser`, do: way });
    const request = { method: "POST", url: API, headers: { "content-type": "application/json" }, body };
    told[way] = word(await write(request, { store, attempt: 10_000 }));
  }
  told.open = store.entries().length;
  // A page that was closed left this behind.
  const left = { method: "POST", url: API, headers: { "content-type": "application/json" }, body: '{"id":"left, browser","do":"lose"}', began: Date.now() };
  store.set("left-by-a-page", left);
  told.left = (await resume(store, { attempt: 10_000 })).map(word).join();
} catch (error) {
  told.error = String(error);
}
await fetch("/told", { method: "POST", body: JSON.stringify(told) });
</script>"""


class Shop(http.server.BaseHTTPRequestHandler):
    """Serves the page and the client, and takes what the page tells."""

    def do_GET(self):
        files = {"/": ("text/html", self.server.page), **{f"/{file.name}": ("text/javascript", file.read_text()) for file in KIT.glob("*.mjs")}}
        kind, text = files.get(self.path, (None, ""))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind or "text/plain")
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self):
        self.server.told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.has_told.set()

    def log_message(self, *_):
        pass


class Browser:
    """A shop whose page writes to `api` in every way, and a browser that opens it."""

    def __init__(self):
        self.shop = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
        self.shop.has_told, self.shop.told = threading.Event(), None
        self.origin = f"http://127.0.0.1:{self.shop.server_port}"
        threading.Thread(target=self.shop.serve_forever, daemon=True).start()

    def tells(self, api, ways, patience):
        """What the page tells of each way, and of what was left open; None if it says nothing in time."""
        self.shop.page = PAGE.replace("WAYS", json.dumps(ways)).replace("API", json.dumps(api))
        program = shutil.which("chromium") or sys.exit("needs chromium")
        home = tempfile.mkdtemp(prefix="mainstay-browser-")
        quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-port=0"]
        quiet += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={home}"]
        browser = subprocess.Popen([program, *quiet, f"{self.origin}/"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return self.shop.told if self.shop.has_told.wait(patience) else None
        finally:
            browser.kill()
            browser.wait()
            shutil.rmtree(home, ignore_errors=True)
