// What the console is seen in: proxies, a service that loses answers, a store of traces, Prometheus with the published alerts.

import { spawn, spawnSync } from "node:child_process";
import { createServer } from "node:http";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const PATIENCE = Number(process.env.MANY ?? 0) > 1000 ? 120_000 : 30_000;
const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const home = mkdtempSync(join(tmpdir(), "mainstay-console-"));
const children = new Set(), servers = [];
export const faults = [];
export const expect = (held, message) => { if (!held) faults.push(message); };
export const inHome = name => join(home, name);

export async function eventually(what, check) {
  const until = Date.now() + PATIENCE;
  for (;;) {
    const found = await Promise.resolve().then(check).catch(() => null);
    if (found) return found;
    if (Date.now() > until) throw new Error(`not within ${PATIENCE / 1000} s: ${what}`);
    await new Promise(done => setTimeout(done, 50));
  }
}
export const json = async (address, init) => (await fetch(address, init)).json();

export function serve(answer) {
  const server = createServer(answer);
  servers.push(server);
  return new Promise(done => server.listen(0, "127.0.0.1", () => done(server.address().port)));
}
export function freePort() {
  // Its own: who asks for ports at the same time must not close another's.
  const server = createServer();
  return new Promise(done => server.listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => done(port));
  }));
}
function start(name, program, args) {
  const log = openSync(inHome(`${name}.log`), "a");
  const child = spawn(program, args, { stdio: ["ignore", log, log] });
  children.add(child);
  return child;
}
export async function stop(child) {
  const ended = new Promise(done => child.once("exit", done));
  child.kill("SIGKILL");
  await ended;
  children.delete(child);
}
export const logOf = name => readFileSync(inHome(`${name}.log`), "utf8");

// Takes writes and loses each answer; asked what became of them, it cannot say.
export const service = () => serve((request, response) => {
  if (request.method === "POST" && request.url === "/pay") request.resume().on("end", () => request.socket.destroy());
  else if (request.url === "/broken" || request.url.startsWith("/by-ref")) response.writeHead(500).end("{}");
  else request.resume().on("end", () => response.writeHead(200, { "Content-Type": "application/json" }).end("{}"));
});

// A proxy in front of it, on ports of its own; `again` starts another process in its place.
export async function proxy(name, behind, { admin = "", telemetry = "" } = {}) {
  const [port, probes, operators] = [await freePort(), await freePort(), await freePort()], file = inHome(`${name}.yaml`);
  writeFileSync(file, `
listeners: { inbound: { address: "127.0.0.1:${port}" } }
probes: { address: "127.0.0.1:${probes}" }
admin: { address: "127.0.0.1:${operators}", reveal: true${admin} }
ledger: { path: "${inHome(`${name}-ledger`)}" }
${telemetry}
upstreams: { app: { endpoints: ["http://127.0.0.1:${behind}"] }, gone: { endpoints: ["http://127.0.0.1:1"] } }
routes:
  - { match: { path: "/{kind}", methods: [POST] }, upstream: app, policy: write }
  - { match: { path: /gone, methods: [GET] }, upstream: gone, policy: read }
  - { match: { path: "/**", methods: [GET] }, upstream: app, policy: read }
policies:
  read: { timeout: 1s, circuit_breaker: { error_ratio: 0.5, min_requests: 5, window: 10m, open_duration: 10m }, rate_limit: { requests: 1000, unit: 24h, key: client_ip }, concurrency_limit: 50 }
  write:
    timeout: 5s
    idempotency:
      required: true
      status:
        request: "GET /by-ref/{key}"
        rate: 5000/s
        schedule: { first: 20ms, max: 10m, give_up: 100ms }
        rules: [{ status: 200, then: succeeded }]
`);
  const own = { base: `http://127.0.0.1:${operators}`, probes: `http://127.0.0.1:${probes}`, inbound: `http://127.0.0.1:${port}`, file };
  own.write = (key, path = "/pay") => fetch(own.inbound + path, { method: "POST", body: "{}", headers: { "Idempotency-Key": `"${key}"` } });
  own.again = async () => {
    if (own.child) await stop(own.child);
    own.child = start(name, process.argv[2], ["-c", file]);
    await eventually(`${name} is ready: ${logOf(name).slice(-500)}`, async () => (await fetch(`${own.probes}/readyz`)).ok);
  };
  await own.again();
  return own;
}
// Bytes of memory that a proxy holds now; pages of its program, which the system reads and drops as it likes, are not its own.
export const memory = ({ child }) => 1024 * Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))[1]);

// Rotel, the receiver of examples/tracing, and a page for each trace that it has got spans of.
export async function traces() {
  const found = spawnSync("python3", ["-c", "import importlib.util; print(importlib.util.find_spec('rotel').origin)"], { encoding: "utf8" }).stdout.trim();
  if (!found) throw new Error("needs the PyPI package rotel: pip install -r tests/requirements.txt");
  const [http, grpc] = [await freePort(), await freePort()];
  start("rotel", join(dirname(found), "rotel-agent"), ["start", "--otlp-http-endpoint", `127.0.0.1:${http}`, "--otlp-grpc-endpoint", `127.0.0.1:${grpc}`, "--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]);
  const spans = id => logOf("rotel").split(/^Span #/m).filter(span => span.includes(id)).map(span => /^    Name *: ?(.*)$/m.exec(span)?.[1] ?? "");
  const page = await serve((request, response) => {
    const text = spans(request.url.split("/").at(-1)).map(name => `<li>${name}</li>`).join("");
    response.writeHead(200, { "Content-Type": "text/html" }).end(`<!doctype html><html lang="en"><title>trace</title><h1>A trace</h1><ul>${text}</ul>`);
  });
  return { spans, telemetry: `telemetry: { otlp: "http://127.0.0.1:${http}", trace_url: "http://127.0.0.1:${page}/trace/{trace_id}" }` };
}

// Prometheus with the published rules, whose patience is taken away; what fires.
export async function alerts(probes) {
  const rules = readFileSync(join(ROOT, "deploy/observability/rules.yaml"), "utf8").replaceAll(/^( +)for: .*$/gm, "$1for: 0s");
  writeFileSync(inHome("rules.yaml"), rules);
  writeFileSync(inHome("prometheus.yaml"), `
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: ["${inHome("rules.yaml")}"]
scrape_configs: [{ job_name: mainstay, static_configs: [{ targets: ["${new URL(probes).host}"] }] }]
`);
  const port = await freePort();
  start("prometheus", "prometheus", [`--config.file=${inHome("prometheus.yaml")}`, `--storage.tsdb.path=${inHome("prometheus")}`, `--web.listen-address=127.0.0.1:${port}`]);
  return async name => (await json(`http://127.0.0.1:${port}/api/v1/alerts`)).data.alerts.find(alert => alert.labels.alertname === name && alert.state === "firing");
}

export async function end() {
  for (const child of children) child.kill("SIGKILL");
  for (const server of servers) { server.close(); server.closeAllConnections(); }
  rmSync(home, { recursive: true, force: true });
}
