// The console: pages over the operators' own documents. Whatever it shows it writes as text (`h` makes text nodes), and whatever it does
// the command line does, too. It is kept in memory only.
"use strict";

const EVERY_MS = 5000, PAGE = 50, LINES = 500;
// Address, title, key after `g`, what shows it, and whether its figures change without an event.
const VIEWS = [
	["", "Overview", "h", overview, true], ["operations", "Operations", "o", operations], ["routes", "Routes", "r", routes, true],
	["protect", "Breakers and limits", "b", protect, true], ["upstreams", "Upstreams", "u", upstreams, true], ["config", "Configuration", "c", config],
	["audit", "Audit", "a", audit], ["live", "Live", "l", live], ["help", "Help", "?", help],
];
const dialog = () => document.querySelector("dialog[open]");
const by = id => document.getElementById(id), uri = encodeURIComponent, pairs = Object.entries;
const main = by("main"), all = selector => [...main.querySelectorAll(selector)];
let token = sessionStorage.getItem("mainstay-token"), status = null, actor = "", found = null, prefix = "";
let turn = 0, shown = "", heardAt = Date.now(), stream = "none", soon = 0, relisting = 0;
const picked = new Set(), lines = [], tape = { isPaused: false, text: "", kind: "", leftOut: 0, seen: 0 };

// ---- Nodes

const isThere = value => value != null && value !== false && value !== "";
const SHORT = { label: "aria-label", k: "data-k" };
// An element, with its class behind a dot: h("p.note bad", {}, "text").
function h(tag, attributes, ...children) {
	const [name, kind] = tag.split("."), node = document.createElement(name);
	if (kind) node.className = kind;
	for (const [name, value] of pairs(attributes ?? {})) {
		if (!isThere(value) && value !== "") continue;
		if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
		else node.setAttribute(SHORT[name] ?? name, value === true ? "" : value);
	}
	node.append(...children.flat(9).filter(isThere));
	return node;
}
const none = text => h("p.none", {}, text), p = (...content) => h("p", {}, ...content), h2 = (...content) => h("h2", {}, ...content), b = (...content) => h("strong", {}, ...content);
const code = (...content) => h("code", {}, ...content), soft = (...content) => h("span.soft", {}, ...content);
const pre = (label, text, more) => h("pre", { tabindex: "0", label: label, ...more }, text);
const tag = (kind, text) => h(`span.tag ${kind}`, {}, text);
const link = (address, ...text) => h("a", { href: address }, ...text);
const h1 = (...text) => h("h1", { tabindex: "-1" }, ...text);
const button = (text, onclick, more) => h("button", { type: "button", onclick, k: text, ...more }, text);
const facts = told => h("dl", {}, told.filter(([, value]) => isThere(value))
	.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
const said = text => { by("said").textContent = text; };
const copy = async text => { await navigator.clipboard?.writeText(text); said("Copied"); };
// The line that does the same; it is selected whole by a click, and copied by its button.
const cli = text => h("p.cli", {}, h("span", {}, "On the command line"), code(text), button("Copy", () => copy(text), { k: "copy line" }));

// A table that is a list of cards where there is no room; the roles keep it a table for those who hear it.
function table(caption, heads, rows, empty) {
	if (!rows.length) return none(empty);
	for (const row of rows) [...row.children].forEach((cell, at) => cell.setAttribute("data-head", heads[at] ?? ""));
	return h("div.scroll", { tabindex: "0", role: "region", label: caption }, h("table", { role: "table" }, h("caption", {}, caption),
		h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads.map(head => h("th", { scope: "col", role: "columnheader" }, head)))),
		h("tbody", { role: "rowgroup" }, rows)));
}
const cell = content => (content instanceof Element && content.tagName === "TD" ? content : h("td", { role: "cell" }, isThere(content) ? content : "–"));
const row = cells => h("tr", { role: "row" }, cells.map(cell));
const wide = (...content) => h("td.wide", { role: "cell" }, ...content);
const input = (id, more) => h("input", { id, autocomplete: "off", ...more });
const labelled = (label, field) => [h("label", { for: field.id }, label), field];
const choice = (id, label, values, value, change) => h("div", {}, labelled(label,
	h("select", { id, k: id, onchange: event => change(event.target.value) }, values.map(([name, text]) => h("option", { value: name, selected: value === name }, text)))));

// ---- Words

const counted = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
function age(ms) {
	const s = Math.max(0, Math.round(ms / 1000));
	if (s < 100) return `${s} s`;
	if (s < 6000) return `${Math.round(s / 60)} min`;
	if (s < 172800) return `${Math.round(s / 3600)} h`;
	return `${Math.round(s / 86400)} d`;
}
const since = at => (at ? h("time", { datetime: at, title: at, class: "age" }, age(Date.now() - Date.parse(at))) : "–");
const full = at => (at ? h("time", { datetime: at }, at.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC")) : null);
const ms = n => (n < 1000 ? `${n < 10 ? +n.toFixed(1) : Math.round(n)} ms` : n < 100000 ? `${+(n / 1000).toFixed(1)} s` : age(n));
const rate = n => (n < 10 ? +n.toFixed(1) : Math.round(n));
const percent = share => `${+(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
function size(n) {
	const unit = ["B", "KiB", "MiB", "GiB", "TiB"], at = Math.min(4, n < 1 ? 0 : Math.floor(Math.log2(n) / 10)), value = n / 1024 ** at;
	return `${value < 10 && at ? +value.toFixed(1) : Math.round(value)} ${unit[at]}`;
}
const short = id => `${id.slice(0, 16).replace(/^0+(?=.)/, "")}-${id.slice(16, 20)}`;
const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;
const opLink = id => h("a", { href: `#/operations/${id}`, class: "mono open", k: id }, short(id));
const STATES = {
	pending: ["plain", "… in flight"], unknown: ["warn", "? in doubt"], succeeded: ["good", "✓ succeeded"], failed: ["plain", "✗ failed"], not_executed: ["plain", "∅ not executed"],
};
const needsPerson = () => [" ", tag("bad", "! needs a person")];
const state = name => tag(...(STATES[name] ?? ["plain", name]));
const PHRASES = {
	attempt_timeout: "the attempt timed out", timeout: "timed out", reset: "the connection broke off", refused: "not taken by the service", connect_error: "no connection",
	tls_error: "no TLS connection", malformed: "the answer was not HTTP", request_body: "the caller's body broke off", drain: "the proxy was ended", draining: "the proxy was ended",
	restart: "the proxy was started again", abandoned: "nobody waited any more", overdue: "nothing was heard in time", owner_lost: "its replica was lost", http_5xx: "the service failed",
	http_no_proof: "an answer that proves nothing", unknown: "in doubt", succeeded: "it happened", failed: "the service decided against it", not_executed: "not executed",
	resolve_exhausted: "gave up asking", conflict: "contradicted", ambiguous: "which proves nothing", operator: "a person said so", pending: "in flight",
};
const phrase = word => PHRASES[word] ?? String(word).replaceAll(/[_-]/g, " ");
const SPEAKERS = { response: "the answer", late_response: "a late answer", status_query: "the service, asked", redispatch: "the answer to another dispatch", operator: "a person" };
const SETTLED = { succeeded: "done", failed: "failed", not_executed: "not executed" };
const heardAs = flag => (flag.heard === "not_executed" ? "the service did nothing" : phrase(flag.heard ?? "something else"));

const lost = op => (op.reason?.startsWith("http") ? `answered: ${op.http_status ?? phrase(op.reason)}` : `answer lost: ${phrase(op.reason)}`);
// Why it stands where it stands, as a table has room for.
function why(op) {
	const flag = op.attention;
	if (flag?.settled_as) return `contradicted: settled as ${SETTLED[flag.settled_as]}, then ${flag.http_status ?? heardAs(flag)}`;
	if (op.state === "unknown" && flag) return op.checks ? `gave up asking after ${counted(op.checks, "question")}` : `${lost(op)}; nobody can be asked`;
	if (op.state === "unknown") return op.checks ? `${lost(op)}; asked ${op.checks} ×` : lost(op);
	if (op.state === "pending") return "in flight";
	if (op.source === "status_query") return `asked: ${op.history.findLast(entry => entry.event === "asked")?.http_status ?? phrase(op.state)}`;
	if (op.source === "operator") return "a person said so";
	if (op.source === "late_response") return `a late answer: ${op.http_status}`;
	return /^http_\d+$/.test(op.reason) ? `answered: ${op.reason.slice(5)}` : phrase(op.reason ?? "");
}
function headline(op) {
	const flag = op.attention;
	if (flag?.settled_as) return `Contradicted: settled as ${SETTLED[flag.settled_as]}, but ${heardAs(flag)}`;
	const call = flag ? ". A person is needed" : "";
	return {
		pending: "In flight: the service has not answered yet", unknown: "In doubt: nobody knows yet whether it happened", succeeded: "Succeeded: the service did it",
		failed: "Failed: the service decided against it", not_executed: "Not executed: the service did nothing, and its key is free",
	}[op.state] + call;
}
// What the caller holds, by the last that its own request came to.
function wasTold(op) {
	const last = op.history.findLast(entry => ["answer", "lost"].includes(entry.event));
	if (op.state === "pending") return "Nothing yet; it waits.";
	if (!last) return null;
	if (last.event === "answer") return `The service's answer${last.http_status ? `, ${last.http_status}` : ""}${op.history.some(entry => entry.event === "asked") ? ", with Mainstay-Outcome: unknown" : ""}.`;
	if (last.evidence === "not_executed") return "That it did not reach the service, and may be repeated.";
	return "outcome-unknown, with the address of this operation; nothing, if it was gone by then.";
}
function isTold(op) {
	const kept = op.result && `${[op.http_status, op.result.content_type, size(op.result.bytes)].filter(Boolean).join(", ")}; Idempotent-Replayed: true`;
	if (op.state === "pending") return "in-progress (409), or it waits for this one. Nothing is sent.";
	if (op.state === "unknown") return "outcome-unknown (409). The service is asked, where it can be; the write is not sent again.";
	if (op.state === "not_executed") return op.attention ? "outcome-unknown (409), until the flag is taken away. Then it is sent, and executes." : "It is sent to the service, and executes.";
	if (kept) return `The answer that was kept: ${kept}.`;
	if (op.state === "failed") return op.attention ? "outcome-unknown (409), until the flag is taken away. Then write-failed (422)." : "write-failed (422).";
	return op.source === "response" ? "response-not-retained (409): the answer was not kept." : "That it happened, with this operation as its document.";
}

// ---- The documents

class Refused extends Error {
	constructor(code, problem) {
		super(problem.detail ?? problem.title ?? `HTTP ${code}`);
		Object.assign(this, { code, title: problem.title ?? `HTTP ${code}` });
	}
}
const headers = more => ({ ...(token && { Authorization: `Bearer ${token}` }), ...more });
const ask = (path, init) => fetch(path, { ...init, cache: "no-store", credentials: "omit" });
async function api(path, body, more) {
	const reply = await ask(path, body === undefined ? { headers: headers({ Accept: "application/json" }) }
		: { method: "POST", body: JSON.stringify(body), headers: headers({ "Content-Type": "application/json", ...more }) });
	const text = await reply.text();
	let document = null;
	try { document = JSON.parse(text); } catch { /* No document of ours: told below. */ }
	if (!reply.ok) throw new Refused(reply.status, document ?? {});
	if (typeof (document ?? "") !== "object") throw new Refused(0, { title: "Something else answers", detail: `${path.split("?")[0]} is no document of Mainstay's.` });
	heardAt = Date.now();
	return Object.assign(document, { etag: reply.headers.get("etag") });
}
const query = params => pairs(params).filter(([, value]) => value).map(([name, value]) => `${name}=${uri(value)}`).join("&");
const mayAct = () => status && !status.read_only;
// Who acts: the token's name, where it has one.
const asWho = () => (!status?.caller && actor ? { actor } : {});

// ---- Where we are, and how it is drawn

function place() {
	const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
	const parts = path.split("/").map(part => { try { return decodeURIComponent(part); } catch { return part; } });
	return { view: parts[0], rest: parts.slice(1).join("/"), params: Object.fromEntries(new URLSearchParams(search ?? "")) };
}
const address = (view, params) => { const text = query(params ?? {}); return `#/${view}${text ? `?${text}` : ""}`; };
const listed = params => address("operations", params), visit = to => { location.hash = to; };
const viewOf = here => VIEWS.find(([name]) => name === here.view) ?? [null, "Not here", null, nowhere];

async function render(isRefresh) {
	const mine = ++turn, here = place(), [, title, , view] = viewOf(here);
	if (!isRefresh) begin(title, here);
	let content;
	try {
		await look(here);
		content = await view(here);
	} catch (error) {
		if (mine !== turn) return;
		if (error.code === 401) return signIn();
		// The line above says since when it is stale; what was seen stays readable.
		if (!(error instanceof Refused) && isRefresh && shown) return;
		content = [h1(title), failure(error)];
	}
	if (mine === turn) draw([content].flat(9).filter(Boolean), title, isRefresh);
}
const refresh = () => render(true);

function begin(title, here) {
	shown = "";
	main.setAttribute("aria-busy", "true");
	main.replaceChildren(h1(title), none("Loading…"));
	document.title = `${title} · Mainstay`;
	for (const a of by("nav").children) {
		if (a.dataset.view === here.view) a.setAttribute("aria-current", "page");
		else a.removeAttribute("aria-current");
	}
}
async function look(here) {
	const before = status;
	const now = await api(here.view === "" ? "/status?series=true" : "/status");
	if (!now.version || !now.writes) throw new Refused(0, { title: "Something else answers", detail: "This is not the operators' listener of Mainstay any more." });
	status = now;
	by("proxy").textContent = `${status.name} ${status.version}${status.read_only ? " · read only" : ""}`;
	if (before && before.started_at !== status.started_at) isAnother(before);
	follow();
}
function isAnother(before) {
	picked.clear();
	const note = h("div.note", { role: "alert" }, p(b("Another process answers now. "), `${status.name} has run for ${age(status.uptime_ms)}; what was shown before came from ${before.name}, started ${before.started_at}.`), button("Understood", () => note.remove()));
	by("news").replaceChildren(note);
}
function draw(nodes, title, isRefresh) {
	const active = document.activeElement, isInside = main.contains(active);
	if (isRefresh && dialog()) return;
	// What somebody is writing is not taken away under their hands.
	if (isRefresh && isInside && /^(INPUT|SELECT|TEXTAREA)$/.test(active.tagName) && active.type !== "checkbox") return;
	const text = nodes.map(node => new XMLSerializer().serializeToString(node)).join("").replace(/ class="age">[^<]*</g, "><");
	main.removeAttribute("aria-busy");
	if (text === shown) return;
	const kept = active?.dataset?.k, scrolled = all(".scroll, pre").map(node => [node.scrollLeft, node.scrollTop]);
	shown = text;
	main.replaceChildren(...nodes);
	if (isRefresh) {
		all(".scroll, pre").forEach((node, at) => { [node.scrollLeft, node.scrollTop] = scrolled[at] ?? [0, 0]; });
		if (isInside && kept) all("[data-k]").find(node => node.dataset.k === kept)?.focus({ preventScroll: true });
	} else {
		said(title);
		if (!active || active === document.body || !active.isConnected || isInside) main.querySelector("h1")?.focus({ preventScroll: true });
		const target = main.querySelector("[data-target]");
		if (target) target.scrollIntoView({ block: "center" });
		else scrollTo(0, 0);
	}
}

function failure(error) {
	const note = (title, ...rest) => h("div.note bad", { role: "alert" }, p(b(title)), rest);
	if (error.code === 403) return note("Not allowed", p(error.message));
	if (error.code === 0) return note(error.title, p(error.message), p("Look which process listens here: ", code(`mainstay status --admin ${location.origin}`)));
	if (error.code) return note(error.title, p(error.message));
	return note("The proxy does not answer", p(`It is asked again every ${EVERY_MS / 1000} s. On its machine: `, code("mainstay status")));
}
const nowhere = () => [h1("Not here"), p("There is no such view. ", link("#/", "To the overview"))];

function signIn() {
	const field = input("token", { type: "password", required: true }), keep = h("input", { id: "keep", type: "checkbox" });
	const wrong = token ? h("p.note bad", { role: "alert" }, "This token is not known here.") : "";
	token = status = null;
	sessionStorage.removeItem("mainstay-token");
	main.removeAttribute("aria-busy");
	main.replaceChildren(h1("A token is needed"), wrong, h("form", { onsubmit: event => {
		event.preventDefault();
		token = field.value.trim();
		if (keep.checked) sessionStorage.setItem("mainstay-token", token);
		render();
	} }, p("The content of ", code("admin.token_file"), ", or of a file of ", code("admin.tokens"), ". It is kept in memory only: a reload asks again."),
	h("div.row", {}, h("div", {}, labelled("Token", field)), h("label.check", { for: "keep" }, keep, "Remember for this tab"), h("button.do", {}, "Go on"))));
	field.focus();
}

// ---- Overview

// A line of the last minutes; a gap where nothing was measured.
function spark(name, values, unit) {
	const known = (values ?? []).filter(value => value !== null);
	if (known.length < 2) return null;
	const NS = "http://www.w3.org/2000/svg", svg = document.createElementNS(NS, "svg"), path = document.createElementNS(NS, "path");
	const most = Math.max(...known, 1e-9), show = value => `${rate(value)}${unit}`, text = `${name}: ${show(known.at(-1))} now, ${show(Math.max(...known))} at most in ${Math.max(1, Math.round(values.length * EVERY_MS / 60000))} min`;
	let isOn = false;
	const points = values.map((value, at) => {
		if (value === null) { isOn = false; return ""; }
		const step = `${isOn ? "L" : "M"}${180 - values.length + at} ${(34 - 32 * value / most).toFixed(1)}`;
		isOn = true;
		return step;
	});
	for (const [attribute, value] of [["viewBox", "0 0 180 36"], ["preserveAspectRatio", "none"], ["class", "spark"], ["aria-hidden", "true"]]) svg.setAttribute(attribute, value);
	path.setAttribute("d", points.join(""));
	svg.append(path);
	return h("figure", {}, svg, h("figcaption", {}, text));
}
const card = (level, title, word, ...content) => {
	const [kind, sign] = [["good", "✓"], ["warn", "?"], ["bad", "!"]][level];
	return [level, h(`section.card ${kind}`, {}, h2(title, tag(kind, `${sign} ${word}`)), content)];
};

const series = name => status.series?.[name];
function overview() {
	const cards = [proxyCard(), writesCard(), trafficCard(), breakersCard(), upstreamsCard(), ledgerCard(), configCard(), tracesCard()].filter(Boolean).sort((a, b) => b[0] - a[0]);
	const bad = cards.filter(([level]) => level === 2).length;
	return [h1("Overview"), h(`p.large ${bad ? "bad" : "good"}`, {}, bad ? (bad === 1 ? "One thing needs you" : `${bad} things need you`) : "Nothing needs you"),
		h("div.cards", {}, cards.map(([, node]) => node)), cli("mainstay status")];
}
function proxyCard() {
	const up = p(`Up ${age(status.uptime_ms)}, since `, full(status.started_at));
	if (status.draining) return card(2, "Proxy", "DRAINING", up, cli("mainstay drain --undo"));
	return status.ready ? card(0, "Proxy", "ready", up) : card(2, "Proxy", "NOT READY", p(status.not_ready_because.map(phrase).join(", ")), up);
}
function writesCard() {
	const { writes } = status, asked = writes.settled_by_asking_today;
	const level = writes.attention ? 2 : writes.in_doubt ? 1 : 0;
	return card(level, "Writes", ["settled", "in doubt", "NEEDS A PERSON"][level],
		writes.attention > 0 && p(link(listed({ attention: "true" }), b(`${writes.attention} need a person`)), writes.oldest_contradicted && [", one ", link(`#/operations/${writes.oldest_contradicted}`, "contradicted")]),
		p(link(listed({ state: "unknown" }), `${writes.in_doubt} in doubt`), writes.oldest_in_doubt_at && [", the oldest for ", since(writes.oldest_in_doubt_at)], ", ", link(listed({ state: "pending" }), `${writes.pending} in flight`)),
		asked > 0 && p(`${asked} settled by asking today`), spark("In doubt", series("in_doubt"), ""));
}
function trafficCard() {
	const traffic = status.traffic;
	const isBad = traffic.error_share > 0.05;
	return card(isBad ? 1 : 0, "Traffic", traffic.error_share === null ? "no answers" : isBad ? "errors" : "flows",
		p(link("#/routes", `${rate(traffic.rate)}/s`), traffic.error_share !== null && `, ${percent(traffic.error_share)} errors`, traffic.p50_ms !== null && `, p50 ${ms(traffic.p50_ms)}, p99 ${ms(traffic.p99_ms)}`),
		p(`${traffic.retried} retried, ${traffic.limited} limited, ${traffic.replayed} replayed in the last minute`),
		spark("Requests per second", series("rate"), "/s"), spark("Errors per second", series("errors"), "/s"), spark("p99", series("p99_ms"), " ms"));
}
const tripped = why => (why ? `${phrase(why.condition)} ${+Number(why.value).toFixed(3)} of at most ${why.threshold}${why.requests ? `, in ${counted(why.requests, "request")}` : ""}` : "");
function breakersCard() {
	const { breakers } = status, isOpen = breakers.some(breaker => breaker.state === "open");
	if (!breakers.length) return card(0, "Breakers", "closed", p(link("#/protect", "None is open.")));
	return card(isOpen ? 2 : 1, "Breakers", isOpen ? "OPEN" : "not closed", breakers.slice(0, 5).map(breaker => p(link("#/protect", breaker.name), ` ${phrase(breaker.state)}`, breaker.forced && ", held by a person",
		breaker.since && [" for ", since(breaker.since)], breaker.why && `: ${tripped(breaker.why)}`, breaker.retry_after_ms !== null && `; probes in ${age(breaker.retry_after_ms)}`)),
	breakers.length > 5 && p(link("#/protect", `and ${breakers.length - 5} more`)));
}
function upstreamsCard() {
	const { upstreams } = status;
	if (!upstreams.length) return card(0, "Upstreams", "reachable", p(link("#/upstreams", "All are reachable.")));
	return card(upstreams.some(upstream => !upstream.up) ? 2 : 1, "Upstreams", "UNREACHABLE", upstreams.map(upstream => [p(link("#/upstreams", `${upstream.name} ${upstream.up}/${upstream.total}`), " reachable"),
		upstream.endpoints.slice(0, 5).map(endpoint => p(`${endpoint.address}: ${endpoint.cause}, ${endpoint.failures_last_minute} × in the last minute`))]));
}
function ledgerCard() {
	const { ledger } = status, isFull = ledger.max_bytes && ledger.bytes > 0.9 * ledger.max_bytes;
	const level = ledger.health !== "writable" ? 2 : isFull ? 1 : 0;
	return card(level, "Ledger", level === 2 ? phrase(ledger.health).toUpperCase() : isFull ? "nearly full" : "writable",
		p(`${ledger.store}, `, link(listed({ all: "1" }), `${ledger.operations ?? "?"} operations`), ledger.bytes && `, ${size(ledger.bytes)}`, ledger.bytes && ledger.max_bytes && ` of ${size(ledger.max_bytes)}`,
			ledger.commit_p99_ms && `, commit p99 ${ms(ledger.commit_p99_ms)}`, ledger.queued > 0 && `, ${ledger.queued} wait`, ledger.replicas > 1 && `, ${ledger.replicas} replicas`));
}
function configCard() {
	const { config } = status, found = pairs(config.findings).filter(([, count]) => count > 0);
	const level = config.last_reload_succeeded ? (config.findings.error || config.findings.warning ? 1 : 0) : 2;
	return card(level, "Configuration", ["in force", "warnings", "RELOAD REFUSED"][level], p(config.file && `${config.file} `, link("#/config", `#${config.hash.slice(0, 6)}`), ", loaded ", since(config.loaded_at), " ago"),
		found.length > 0 && p(link("#/config", found.map(([severity, count]) => counted(count, severity)).join(", "))));
}
function tracesCard() {
	const { traces } = status;
	return traces && card(traces.dropped ? 1 : 0, "Traces", traces.dropped ? "dropped" : "sent", p(`${traces.endpoint}, ${counted(traces.exported, "span")} sent, ${traces.dropped} dropped`));
}

// ---- Operations

const FILTERS = ["state", "reason", "route", "upstream", "policy", "older", "newer", "since", "until", "trace_id", "id_prefix", "attention"];
const FLAGS = { trace_id: "trace", newer: "since" };
const filterOf = params => {
	const filter = Object.fromEntries(FILTERS.filter(name => params[name]).map(name => [name, params[name]]));
	if (!params.all && !Object.keys(filter).length) filter.open = "true";
	return filter;
};
// The filter as the command line takes it.
const asFlags = filter => pairs(filter).filter(([name]) => name !== "open" && name !== "id_prefix")
	.map(([name, value]) => (name === "attention" ? " --attention" : ` --${FLAGS[name] ?? name} ${quoted(value)}`)).join("");
// In an order `--reason` says why it is given, so what it is about comes from a listing.
const asOrder = (order, filter) => (filter.reason || filter.id_prefix ? `mainstay ops ls${asFlags(filter)} -o ids | xargs mainstay ops ${order}` : `mainstay ops ${order}${asFlags(filter)}`);

async function operations(here) {
	if (here.rest) return operation(here.rest);
	const { params } = here, filter = filterOf(params), order = params.order ?? "oldest";
	let rows, next = null, groups = [], isWhole = true;
	if (params.find) {
		if (!found) return [h1("Operations"), p("A key stands in no address: search for it again.")];
		({ operations: rows, complete: isWhole } = found);
	} else {
		const page = await api(`/operations?${query({ ...filter, order, limit: PAGE, cursor: params.cursor })}`);
		({ operations: rows, next_cursor: next } = page);
		if (!params.cursor && rows.length > 1) ({ groups, complete: isWhole } = await groupsOf(query(filter)));
	}
	const boxes = mayAct() && !params.find, caption = `${rows.length} shown${next || params.cursor ? ", a page of more" : ""}`;
	const empty = params.find ? "No write is known under this key." : filter.open ? "Nothing is open, and nothing needs a person." : "No operation is like this.";
	return [h1("Operations"), await filters(params), grouped(groups, params, isWhole), boxes && rows.length > 0 && bulk(rows, filter),
		isWhole === false && p(tag("warn", "? cut short"), " There are too many to count them all."),
		operationTable(caption, rows, boxes, empty),
		(next || params.cursor) && p(params.cursor && [link(listed({ ...params, cursor: "" }), "First page"), " · "], next && link(listed({ ...params, cursor: next }), "Next page")),
		cli(params.find ? "mainstay ops find --key -" : `mainstay ops ls${params.all ? " --all" : ""}${order === "newest" ? " --newest" : ""}${asFlags(filter)}`)];
}
// Counting looks at all that the filter matches, so it takes up to a twentieth of the time, however often the rows are read.
let counting = {};
async function groupsOf(filter) {
	if (counting.filter !== filter || Date.now() > counting.until) {
		const began = Date.now(), answer = await api(`/operations?${filter}&group_by=reason,upstream`);
		counting = { filter, answer, until: Date.now() + Math.min(60000, 20 * (Date.now() - began)) };
	}
	return counting.answer;
}
function operationTable(caption, rows, boxes, empty) {
	const pick = op => event => { picked[event.target.checked ? "add" : "delete"](op.id); refresh(); };
	return table(caption, ["Pick", "Id", "State", "Why", "Route", "Upstream", "Age"].slice(boxes ? 0 : 1), rows.map(op => row([boxes ? h("input", { type: "checkbox", label: `Pick ${short(op.id)}`, k: `pick ${op.id}`, checked: picked.has(op.id), onchange: pick(op) }) : null,
		opLink(op.id), [state(op.state), op.attention && needsPerson()],
		wide(why(op)), wide(op.route), op.upstream, since(op.created_at)].slice(boxes ? 0 : 1))), empty);
}
async function filters(params) {
	const known = await api("/routes"), go = name => value => visit(listed({ ...params, cursor: "", find: "", [name]: value }));
	const each = (values, none) => [["", none], ...[...new Set(values)].map(value => [value, value])];
	const pick = (name, label, values) => choice(`f-${name}`, label, values, params[name] ?? "", go(name));
	const reasons = [...new Set(["conflict", "resolve_exhausted", params.reason].filter(Boolean))].map(name => [name, phrase(name)]);
	const chip = name => h("li", {}, link(listed({ ...params, cursor: "", [name]: "" }), `× ${phrase(name)}: ${name === "state" ? STATES[params[name]]?.[1] ?? params[name] : name === "reason" ? phrase(params[name]) : params[name]}`));
	const chips = FILTERS.filter(name => params[name]).map(chip);
	return [h("div.row filters", {},
		pick("all", "Which", [["", "Open, or in need of a person"], ["1", "All"]]), pick("attention", "Flag", [["", "Any"], ["true", "Needs a person"]]), pick("state", "State", [["", "Any"], ...pairs(STATES).map(([name, [, text]]) => [name, text])]),
		pick("reason", "Reason", [["", "Any"], ...reasons]), pick("route", "Route", each(known.routes.map(route => route.name), "Any")), pick("upstream", "Upstream", each(known.routes.map(route => route.upstream), "Any")),
		pick("older", "Age", [["", "Any"], ["1m", "over 1 min"], ["10m", "over 10 min"], ["1h", "over 1 h"], ["24h", "over 1 d"]]), pick("order", "Order", [["", "Oldest first"], ["newest", "Newest first"]])),
	chips.length > 0 && h("ul.groups", { label: "Filters in force" }, chips, chips.length > 1 && h("li", {}, link("#/operations", "× all of them")))];
}
function grouped(groups, params, isWhole) {
	const many = groups.filter(group => group.count > 1);
	if (!many.length || (groups.length === 1 && params.reason && params.upstream)) return null;
	return h("ul.groups", { label: "Groups" }, groups.slice(0, 12).map(group => h("li", {}, h("a", { href: listed({ ...params, reason: group.reason, upstream: group.upstream }) }, b(`${group.count}${isWhole ? "" : "+"} ×`), ` ${phrase(group.reason)}, ${group.upstream}`),
		h("span", {}, " oldest ", since(group.oldest_at)))));
}
function bulk(rows, filter) {
	// What is picked when the button is pressed, whatever was drawn before.
	const chosen = () => rows.filter(op => picked.has(op.id)), count = chosen().length, all = count === rows.length, isAny = count > 0 || !filter.open;
	const order = (text, action, as) => button(text, () => {
		const ids = chosen().map(op => op.id), words = as ? `${action} --as ${as}` : action;
		if (ids.length) many(action, as, { ids }, `mainstay ops ${words} ${ids.map(short).join(" ")}`);
		else if (!count) many(action, as, { filter }, asOrder(words, filter));
	}, { disabled: !isAny });
	const toggle = () => { for (const op of rows) picked[all ? "delete" : "add"](op.id); refresh(); };
	const save = () => {
		const url = URL.createObjectURL(new Blob([chosen().map(op => JSON.stringify(op)).join("\n"), "\n"], { type: "application/x-ndjson" }));
		h("a", { href: url, download: "operations.jsonl" }).click();
		setTimeout(() => URL.revokeObjectURL(url), 1000);
	};
	return h("div.row", { role: "group", label: "With those that are picked" }, button(all ? "Pick none" : "Pick all shown", toggle, { k: "pick all" }),
		order("Ask again…", "query"), order("Resolve as succeeded…", "resolve", "succeeded"), order("Resolve as failed…", "resolve", "failed"),
		button("Export", save, { disabled: !count, label: "Export the picked as JSON lines" }), h("span.count", {}, count ? `${count} picked` : isAny ? "none picked: all that the filter matches" : "none picked"));
}
async function many(action, as, which, line) {
	const order = { action, ...(as && { as }), ...which };
	let preview;
	try { preview = await api("/operations:batch", { ...order, dry_run: true, ...asWho() }); } catch (error) { tell("This is not possible", failure(error)); return; }
	const states = pairs(preview.by_state).map(([name, count]) => `${count} ${phrase(name)}`).join(", ");
	act({ title: `${action === "query" ? "Ask again" : `Resolve as ${as}`}: ${counted(preview.matched, "operation")}`,
		about: [p(b(counted(preview.matched, "operation")), states && `: ${states}`), p(h("span.mono", {}, preview.sample.map(short).join(" "), preview.matched > preview.sample.length && " …"))],
		line,
		send: async who => {
			const { job } = await api("/operations:batch", { ...order, expect: preview.matched, ...who });
			picked.clear();
			attend(job);
		} });
}
async function attend(id) {
	const text = h("p", { role: "status" }, "Begun…"), box = tell("The order is carried out", text);
	for (;;) {
		const job = await api(`/jobs/${uri(id)}`).catch(() => null);
		if (job) text.textContent = `${phrase(job.state)}: ${job.done} of ${job.matched}; ${job.succeeded} succeeded, ${job.refused} refused. ${pairs(job.by_result).map(([name, count]) => `${count} × ${name}`).join(", ")}`;
		if (!box.isConnected || (job && job.state !== "running")) break;
		await new Promise(done => setTimeout(done, 500));
	}
	refresh();
}

// ---- One operation

// What its record tells, with what people did and what came under its key later: [moment, words], in order.
function story(op) {
	const told = [], sent = op.history.filter(entry => /dispatched$/.test(entry.event)).length;
	const heardOf = entry => entry.http_status ?? (entry.evidence ? phrase(entry.evidence) : "no answer");
	const to = `to ${op.upstream} (${op.method ?? ""} ${op.path})`;
	const words = {
		begun: () => "its first request arrived", dispatched: () => `dispatched ${to}`, redispatched: () => `dispatched again, without its caller, ${to}`,
		lost: entry => (entry.evidence === "not_executed" ? `it did not reach the service: ${phrase(entry.because ?? "")}` : `answer lost: ${entry.because ? phrase(entry.because) : "nobody knows why"}`),
		answer: entry => `answered: ${heardOf(entry)}`, late_answer: entry => `a late answer to ${sent < 2 ? "the first dispatch" : "a dispatch"}: ${heardOf(entry)}`,
		asked: entry => `asked the service: ${heardOf(entry)}${{ fenced: ", believed because the endpoint is said to be fenced", settle_after: ", believed because it can no longer be on its way" }[entry.because] ?? (entry.evidence || !entry.http_status ? "" : ", which proves nothing")}`,
		flagged: () => "a person was called: nothing else can settle it",
	};
	for (const entry of op.history) {
		const at = Date.parse(entry.at), last = told.at(-1);
		if (entry.event === "settled" || entry.event === "contradicted") {
			const outcome = entry.event === "settled" ? phrase(entry.evidence) : "contradiction";
			if (last?.at === at) last.words += ` → ${outcome}`;
			else if (entry.by !== "operator") told.push({ at, words: `${SPEAKERS[entry.by] ?? "nobody"}: ${outcome}` });
		} else if (words[entry.event]) told.push({ at, words: words[entry.event](entry) });
	}
	if (op.history_folded) told.splice(1, 0, { at: told[0]?.at, words: `… ${counted(op.history_folded, "event")} more, which are not kept` });
	const trail = (op.audit ?? []).filter((entry, at, all) => entry.result !== "begun" || !all.slice(at + 1).some(later => later.action === entry.action && later.actor === entry.actor));
	for (const entry of trail) told.push({ at: Date.parse(entry.at), words: `${entry.action} by ${entry.actor}: ${entry.reason} (${entry.result}${entry.before && entry.after ? `, ${entry.before} → ${entry.after}` : ""})` });
	return told.sort((a, b) => a.at - b.at);
}
function timeline(op) {
	const told = story(op), waits = told.map((event, at) => (at ? event.at - told[at - 1].at : 0)), longest = Math.max(1, ...waits);
	const isOneDay = new Set(told.map(event => new Date(event.at).toISOString().slice(0, 10))).size < 2;
	return h("ol.time", {}, told.map((event, at) => {
		const bar = h("div.bar", { "aria-hidden": "true" }), iso = new Date(event.at).toISOString();
		bar.style.width = `${Math.max(0.2, 100 * waits[at] / longest)}%`;
		return h("li", {}, h("time", { datetime: iso, title: iso }, isOneDay ? iso.slice(11, 23) : iso.slice(5, 23).replace("T", " ")), h("div", {}, h("p", {}, event.words, at > 0 && soft(` + ${ms(waits[at])}`)), waits[at] > 0 && bar));
	}));
}
async function operation(id) {
	const op = await api(`/operations/${uri(id)}`), name = short(op.id), flag = op.attention;
	const trace = op.trace_id && (/^https?:\/\//.test(op.trace_url ?? "") ? h("a", { href: op.trace_url, rel: "noreferrer", class: "mono", id: "trace" }, op.trace_id) : h("a", { href: listed({ trace_id: op.trace_id, all: "1" }), class: "mono" }, op.trace_id));
	const page = { resolve_exhausted: "attention-resolve_exhausted", conflict: "attention-conflict" }[flag?.reason];
	return [h1(h("span.mono", {}, name), "  ", headline(op)),
		p(state(op.state), flag && [" ", tag("bad", `! ${why(op)}`)], flag && [" for ", since(flag.since)], page && [" · ", link(`#/help/runbook/${page}`, "what to do")]),
		flag?.later?.length > 0 && h("div.note bad", {}, p(b(`Both ${name} and `), flag.later.map(later => [opLink(later), " "]), b("may have happened. "), "The key was used again. Look for two effects in the service, and take one back there.")),
		mayAct() && acts(op, name),
		h2("What happened"), timeline(op),
		h2("What its caller knows"), facts([["It was told", wasTold(op)], ["A repeat now", isTold(op)], ["Advice", op.advice]]),
		h2("Facts"), facts([["Route", [`${op.method ?? ""} `, link(listed({ route: op.route, all: "1" }), op.path)]], ["Upstream", link(listed({ upstream: op.upstream, all: "1" }), op.upstream)], ["Policy", op.policy], ["Listener", op.listener],
			["Begun", full(op.created_at)], ["Settled", op.settled_at && [full(op.settled_at), op.source && `, by ${SPEAKERS[op.source] ?? phrase(op.source)}`]], ["Next question", op.next_check_at && full(op.next_check_at)], ["Kept until", full(op.expires_at)],
			["Attempts", op.attempts], ["Questions", op.checks], ["Sent again", op.redispatches || null], ["Trace", trace], ["Key's hash", code(op.key_hash)], ["Principal's hash", code(op.principal_hash)], ["Id", code(op.id)]]),
		h2("Under the same key"), table("Other operations under its key", ["Id", "State", "Begun"], op.same_key.map(other => row([opLink(other.id), [state(other.state), other.needs_a_person && needsPerson()], full(other.created_at)])), "No other is known."),
		h2("Audit"), table("Acts on this operation", ["At", "Who", "What", "Why", "Result"], (op.audit ?? []).map(entry => row(auditCells(entry))), "Nobody has acted on it."), cli(`mainstay ops show ${name}`)];
}
// Each act, and beneath them why others are not offered.
function acts(op, name) {
	const at = `/operations/${op.id}`, isContradicted = Boolean(op.attention?.settled_as), refused = [];
	const send = (what, body) => async who => {
		try { await api(`${at}:${what}`, { ...body, ...who }, { "If-Match": op.etag }); } catch (error) { throw error.code === 412 ? await overtaken(op, at) : error; }
		said("Done");
	};
	const offer = (isOffered, text, why, order) => (isOffered ? button(text, () => act(order)) : (refused.push(`${text.replace("…", "")}: ${why}.`), null));
	const resolve = as => ({ title: `Resolve ${name} as ${as.replace("_", " ")}`, typed: as === "not_executed" ? name : null, line: `mainstay ops resolve ${name} --as ${as}`, send: send("resolve", { state: as }),
		about: as === "not_executed" ? h("p.note bad", {}, "A repeat executes then: the key is free. If the first one did happen after all, it happens twice.") : p(as === "succeeded" ? "Every repeat is told that it happened." : "Every repeat is told that the service decided against it.") });
	const row = [
		offer(op.can_be_queried, "Ask again…", op.state === "unknown" ? "its policy has no status endpoint, or had none when it began" : "only what is in doubt is asked about", { title: `Ask the service about ${name}`, line: `mainstay ops query ${name}`, send: send("query", {}) }),
		offer(op.can_be_redispatched, "Send again…", op.state === "unknown" ? "its request is not kept, or its service does not honour keys" : "only what is in doubt is sent again", { title: `Send ${name} again`, about: p("Byte for byte, under the same key; the service honours it, so it does it once."), line: `mainstay ops redispatch ${name}`, send: send("redispatch", {}) }),
		isContradicted ? button("Acknowledge…", () => act({ title: `Acknowledge ${name}`, about: p(`You have taken the effect back: the flag goes, the state stays. ${op.state === "not_executed" ? "A repeat then EXECUTES" : op.state === "failed" ? "Its caller is then told that a new key is safe" : "Repeats are told that it happened"}.`), line: `mainstay ops resolve ${name} --acknowledge`, send: send("resolve", { state: op.state }) }))
			: op.can_be_resolved ? ["succeeded", "failed", "not_executed"].map(as => button(`Resolve as ${as.replace("_", " ")}…`, () => act(resolve(as))))
				: (refused.push(op.state === "pending" ? "Resolve: its attempt is in flight, and will say more than a person can." : "Resolve: it is settled, and nothing was heard against it."), null),
		offer(op.can_be_revealed, "Reveal the key…", "admin.reveal is not set", { title: `Reveal the key of ${name}`, about: p("That you looked, and why, is kept."), line: `mainstay ops reveal ${name}`, send: who => reveal(at, name, who) }),
	];
	return [h("div.row", { role: "group", label: "Acts" }, row), refused.length > 0 && h("p.soft", {}, `Not offered: ${refused.join(" ")}`)];
}
async function reveal(at, name, who) {
	const seen = await api(`${at}:reveal`, who);
	setTimeout(() => tell(`The key of ${name}`, facts([["Key", code(seen.key ?? "not kept")], ["Principal", seen.principal], ["Asked as", seen.status_request], ["Request", seen.request && `${seen.request.method} ${seen.request.target}`]])));
}
// Somebody was quicker: what has changed is shown, and nothing was done.
async function overtaken(op, at) {
	const now = await api(at), changed = ["state", "reason", "checks", "redispatches", "http_status"].filter(member => now[member] !== op[member]).map(member => `${phrase(member)}: ${op[member] ?? "–"} → ${now[member] ?? "–"}`);
	if (!now.attention !== !op.attention) changed.push(now.attention ? "it was flagged" : "its flag was taken away");
	return new Refused(412, { title: "It has changed in between", detail: `Nothing was done. ${changed.join("; ") || "It was told once more"}. Close this, and look again.` });
}

// ---- Dialogs

function open(box) {
	const back = document.activeElement, key = back?.dataset?.k;
	document.body.append(box);
	box.addEventListener("close", () => {
		box.remove();
		if (dialog()) return;
		(back?.isConnected ? back : [...document.querySelectorAll("[data-k]")].find(node => node.dataset.k === key) ?? main).focus();
	});
	box.showModal();
	return box;
}
function tell(title, content) {
	const box = h("dialog", { "aria-labelledby": "told" }, h("h1", { id: "told" }, title), content);
	box.append(h("div.row", {}, button("Close", () => box.close())));
	return open(box);
}
// Every act says who and why, and which line does the same.
function act({ title, about, line, send, typed, fields }) {
	const who = input("who", { required: true, maxlength: 128, value: status.caller ?? actor, readonly: Boolean(status.caller) });
	const reason = input("reason", { required: true, maxlength: 1000 });
	const again = typed ? input("typed", { required: true, spellcheck: "false" }) : null;
	const same = h("code.line", {}), wrong = h("div", {}), go = h("button.do", {}, "Do it");
	const write = () => {
		if (line) same.textContent = `${typeof line === "function" ? line() : line} --reason ${quoted(reason.value || "…")}${status.caller || !who.value ? "" : ` --actor ${quoted(who.value)}`}`;
		if (again) go.disabled = again.value.trim() !== typed;
	};
	const submit = async event => {
		event.preventDefault();
		actor = who.value.trim();
		go.disabled = true;
		try {
			await send({ reason: reason.value.trim(), ...(!status.caller && { actor }) });
			box.close();
			refresh();
		} catch (error) {
			wrong.replaceChildren(failure(error));
			go.disabled = error.code === 412;
		}
	};
	const box = h("dialog", { "aria-labelledby": "act" }, h("form", { oninput: write, onsubmit: submit }, h("h1", { id: "act" }, title), about, fields, labelled("Who you are", who),
		labelled("Why; it is kept in the audit trail", reason), again && labelled(`Type ${typed} to say that you mean it`, again),
		line && [h("p.soft", {}, "The same on the command line:"), same], wrong, h("div.row", {}, go, button("Cancel", () => box.close()))));
	write();
	open(box);
	(who.value ? reason : who).focus();
}

// ---- Routes

const LIFE = [["access", "Access"], ["rate_limit", "Rate limit"], ["concurrency_limit", "Concurrency limit"], ["cache", "Cache"], ["idempotency", "Idempotency"], ["timeout", "Timeout"], ["retry", "Retry"], ["hedge", "Hedging"],
	["circuit_breaker", "Circuit breaker"], ["fallback", "Fallback"]];
const breakerTag = state => tag(...({ closed: ["good", "✓ closed"], open: ["bad", "! OPEN"], half_open: ["warn", "~ half open"], disabled: ["plain", "∅ disabled"], forced_open: ["bad", "! HELD OPEN"], forced_closed: ["warn", "~ held closed"] }[state] ?? ["plain", phrase(state)]));
async function routes(here) {
	const document = await api("/routes");
	if (here.rest) return route(document, here.rest);
	const if_ = (value, show) => (value === null ? null : show(value));
	const figures = route => [if_(route.rate, value => `${rate(value)}/s`), if_(route.ok_share, percent), if_(route.p50_ms, ms), if_(route.p99_ms, ms), route.retried, route.limited, route.replayed,
		route.doubted ? link(listed({ route: route.name, state: "unknown" }), String(route.doubted)) : route.doubted, route.breaker ? link("#/protect", breakerTag(route.breaker)) : "–"];
	return [h1("Routes"), p(`Counted over the last ${age(document.window_ms)}.`),
		table("Routes, in the order in which they are tried", ["Route", "Methods", "Upstream", "Policy", "Writes", "Rate", "OK", "p50", "p99", "Retried", "Limited", "Replayed", "In doubt", "Breaker"],
			document.routes.map(route => row([wide(h("a", { href: `#/routes/${uri(route.name)}`, class: "open", k: route.name }, route.name)), route.methods.join(", ") || "all", link("#/upstreams", route.upstream), route.policy,
				route.protects_writes ? tag("good", route.asks_the_service ? "✓ protected, asks" : "✓ protected") : tag("plain", "not keyed"), ...figures(route)])), "This configuration has no route."), cli("mainstay routes")];
}
async function route({ routes, window_ms, five_minutes_ms }, name) {
	const at = routes.findIndex(route => route.name === name), found = routes[at];
	if (!found) return [h1("Routes"), h("p.note", {}, "There is no route of this name any more."), p(link("#/routes", "All routes"))];
	const policy = (await api("/config")).effective.policies?.[found.policy] ?? {}, rest = Object.keys(policy).filter(name => !LIFE.some(([known]) => known === name)).map(name => [name, phrase(name)]);
	const five = found.five_minutes, numbers = { access: `${five.admitted} admitted`, rate_limit: `${five.limited} limited`, concurrency_limit: `${five.queued} queued`, cache: `${five.cache_hits} from the cache`, idempotency: `${five.replayed} replayed`, timeout: `${five.timed_out} timed out`,
		retry: `${five.retried} retried`, circuit_breaker: [`${five.broken} turned away `, found.breaker && breakerTag(found.breaker)], fallback: `${five.fallback} answered instead` };
	const worst = found.worst_case;
	return [h1(found.name), facts([["Takes", code(`${found.methods.join(", ") || "all methods"} ${found.path}`)], ["Host", found.host], ["Upstream", link("#/upstreams", found.upstream)], ["Policy", [link(`#/config/policies.${found.policy}`, found.policy)]], ["Configured", link(`#/config/routes[${at}]`, "where it is written")],
		["Worst case", worst && `${ms(worst.latency_ms)} (${worst.latency_because}); ${counted(worst.attempts, "attempt")} (${worst.attempts_because})`], ["Writes", link(listed({ route: found.name, all: "1" }), "operations of this route")],
		["Traffic", found.rate !== null && `${rate(found.rate)}/s over the last ${age(window_ms)}, ${found.in_flight} in flight${found.ok_share === null ? "" : `, ${percent(found.ok_share)} OK`}`]]),
	h2("A request's life here"), p(`In the last ${age(five_minutes_ms)}: ${five.admitted} admitted.`), h("ol.life", {}, [...LIFE, ...rest].map(([name, title]) => {
		const value = policy[name], is = value !== undefined && value !== null;
		return h(is ? "li" : "li.off", {}, h("h3", {}, title), is && numbers[name] && p(numbers[name]), is ? pre(title, yaml(value)) : p("not configured"));
	})), p(link("#/routes", "All routes"))];
}

// ---- Breakers, limits, upstreams

async function protect() {
	const [{ breakers }, limits] = await Promise.all([api("/breakers"), api("/limits")]), isActing = mayAct();
	const name = breaker => `/breakers/${uri(breaker.name)}`;
	const force = breaker => {
		const to = h("select", { id: "to" }, ["open", "closed", "disabled"].map(name => h("option", {}, name))), within = h("input", { id: "for", type: "checkbox", checked: true });
		act({ title: `Hold ${breaker.name}`, fields: [labelled("Where", to), h("label.check", { for: "for" }, within, "Release in 10 m")], about: p("Open rejects every call; closed and disabled let every call through. It stays there until its time is over, it is released, or the proxy ends."),
			line: () => `mainstay breakers force ${quoted(breaker.name)} ${to.value}${within.checked ? " --for 10m" : ""}`,
			send: who => api(`${name(breaker)}:force`, { state: to.value, ...(within.checked && { for: "10m" }), ...who }) });
	};
	const release = breaker => act({ title: `Release ${breaker.name}`, line: `mainstay breakers release ${quoted(breaker.name)}`, send: who => api(`${name(breaker)}:release`, who) });
	const buttons = breaker => h("div.row", {}, button("Hold…", () => force(breaker), { label: `Hold ${breaker.name}`, k: `hold ${breaker.name}` }), breaker.forced && button("Release…", () => release(breaker), { label: `Release ${breaker.name}`, k: `release ${breaker.name}` }));
	const by = breaker => breaker.forced && [" held by ", breaker.forced_by ? `${breaker.forced_by.actor}: ${breaker.forced_by.reason}` : "a person", breaker.forced_by?.until && [", until ", full(breaker.forced_by.until)]];
	const rows = breakers.map(breaker => row([wide(breaker.name), [breakerTag(breaker.state), by(breaker)], wide(buckets(breaker)), wide(tripped(breaker.why) || "–"), since(breaker.since), breaker.retry_after_ms === null ? "–" : age(breaker.retry_after_ms), isActing && buttons(breaker)].filter(value => value !== false)));
	return [h1("Breakers and limits"), table("Circuit breakers", ["Name", "State", "Window", "Why", "Since", "Probes in", isActing && "Acts"].filter(Boolean), rows, "This configuration has no circuit breaker."),
		h2("Limits"), table("Rate and concurrency limits", ["Route", "Policy", "Rate", "Used most by", "Concurrency"], limits.routes.map(limit => row([wide(limit.route), limit.policy, wide(rateWords(limit.rate_limit)), topKeys(limit.rate_limit), wide(queueWords(limit.concurrency_limit))])), "No route has a limit."),
		table("What callers may ask of Mainstay itself", ["Listener", "Rate", "Used most by"], limits.control.map(limit => row([limit.listener, wide(rateWords(limit.rate_limit)), topKeys(limit.rate_limit)])), "No listener limits it."), cli("mainstay breakers")];
}
// What the breaker has in its window, by tenths of it, the oldest first: how many calls failed, were slow, and went well.
function buckets(breaker) {
	const most = Math.max(1, ...breaker.window.map(part => part.requests));
	const column = part => h("div", {}, [["bad", part.errors], ["warn", part.slow], ["good", Math.max(0, part.requests - part.errors - part.slow)]].map(([kind, count]) => {
		const piece = h(`div.${kind}`);
		piece.style.height = `${100 * count / most}%`;
		return piece;
	}));
	return [breaker.requests > 0 && h("div.buckets", { "aria-hidden": "true" }, breaker.window.map(column)), `${counted(breaker.requests, "call")}, ${counted(breaker.errors, "error")}${breaker.slow ? `, ${breaker.slow} slow` : ""} in ${age(breaker.window_ms)}`];
}
// Who has used most of a limit by caller; who they are is not kept.
const topKeys = limit => wide(limit?.top?.length ? [limit.top.map((key, at) => [at > 0 && ", ", code(key.hash.slice(0, 8)), ` ${key.remaining} of ${key.limit} left`]), limit.top_is_complete === false && " (of those looked at)"] : "–");
const rateWords = limit => (limit ? `${limit.requests} per ${ms(limit.unit_ms)}, burst ${limit.burst}, by ${phrase(limit.key)}${typeof limit.remaining === "number" ? `: ${limit.remaining} left` : `: ${counted(limit.keys, "caller")} seen`}${typeof limit.share === "number" ? `, share ${percent(limit.share)}` : ""}` : "–");
function queueWords(limit) {
	if (!limit) return "–";
	return [limit.shedding && tag("bad", "! SHEDDING"), ` ${limit.in_flight} of ${limit.limit ?? limit.max_concurrent} in flight, ${limit.queued} of ${limit.max_queue} queued`];
}
// Why an attempt at an endpoint went wrong; there a word may mean something else than in the life of a write.
const wrong = word => (word.startsWith("http_") ? `answered ${word.slice(5)}` : { refused: "connection refused", not_taken: phrase("refused") }[word] ?? phrase(word));
function reach(endpoint) {
	if (endpoint.unreachable_because) return [tag("bad", `! ${endpoint.unreachable_because}`), ` ${endpoint.failures_last_minute} × in the last minute`];
	if (endpoint.healthy === false) return [tag("bad", "! unhealthy"), ` ${endpoint.unhealthy_because ?? ""}`];
	return endpoint.healthy ? tag("good", "✓ healthy") : soft("no failure known");
}
async function upstreams() {
	const { upstreams, window_ms } = await api("/upstreams");
	const asked = ({ queue, last_answer }) => p(`Its status endpoint: ${queue ? `${counted(queue, "write")} wait to be asked about` : "no write waits to be asked about"}`, last_answer && ["; it last answered ", since(last_answer.at), ` ago: ${phrase(last_answer.result)}`]);
	const cells = ({ address, in_flight, rate: perSecond, p99_ms, last_error, breakers, ...endpoint }) => row([wide(address), wide(reach(endpoint)), in_flight, isThere(perSecond) && `${rate(perSecond)}/s`, isThere(p99_ms) && ms(p99_ms),
		wide(last_error ? [wrong(last_error.cause), ", ", since(last_error.at), " ago"] : soft("none")), wide(breakers.length ? breakers.map(breaker => [link("#/protect", breaker.name), " ", breakerTag(breaker.state), " "]) : "–")]);
	const one = upstream => [h2(upstream.name, " ", upstream.honours_key && tag("good", "✓ honours keys")), upstream.status_endpoint && asked(upstream.status_endpoint),
		table(`Endpoints of ${upstream.name}`, ["Address", "State", "In flight", "Rate", "p99", "Last error", "Breakers"], upstream.endpoints.map(cells), "It has no endpoint now: its name does not resolve.")];
	return [h1("Upstreams"), p(`Attempts of the last ${age(window_ms)}; the last error is kept.`), upstreams.length ? upstreams.map(one) : none("This configuration has no upstream."), cli("mainstay upstreams")];
}

// ---- Configuration

const scalar = value => (typeof value === "string" && !/^[\w./:@*{}-]+( [\w./:@*{}-]+)*$/.test(value) ? JSON.stringify(value) : String(value));
// A document as lines of YAML: [what the line says, the path of its value]; a path is written as the configuration's own places are.
function yamlLines(value, path = "", pad = "", lines = []) {
	for (const [name, inner] of Array.isArray(value) ? value.map((inner, at) => [at, inner]) : pairs(value)) {
		const isItem = Array.isArray(value), own = isItem ? `${path}[${name}]` : path ? `${path}.${name}` : name, head = `${pad}${isItem ? "-" : `${name}:`}`;
		if (inner === null || typeof inner !== "object") lines.push([`${head} ${scalar(inner)}`, own]);
		else if (!Object.keys(inner).length) lines.push([`${head} ${Array.isArray(inner) ? "[]" : "{}"}`, own]);
		else if (isItem) {
			const from = lines.length;
			yamlLines(inner, own, `${pad}  `, lines);
			if (lines[from]) lines[from][0] = `${pad}- ${lines[from][0].slice(pad.length + 2)}`;
		} else {
			lines.push([head, own]);
			yamlLines(inner, own, `${pad}  `, lines);
		}
	}
	return lines;
}
const yaml = value => (value === null || typeof value !== "object" ? scalar(value) : yamlLines(value).map(([text]) => text).join("\n"));
const SEVERITY = { error: ["bad", "! error"], warning: ["warn", "? warning"], note: ["plain", "· note"] };
async function config(here) {
	const document = await api("/config"), places = document.places, lines = yamlLines(document.effective);
	// Itself, something in it, or the short form that stands for it.
	const prefixes = path => path.split(/(?=[.[])/).map((_, at, all) => all.slice(0, at + 1).join("")), within = new Set(Object.keys(places ?? {}).flatMap(prefixes));
	const isWritten = path => within.has(path) || prefixes(path).some(prefix => places[prefix]);
	const first = lines.findIndex(([, path]) => here.rest && (path === here.rest || path.startsWith(`${here.rest}.`) || path.startsWith(`${here.rest}[`)));
	const reload = () => act({ title: "Reload the configuration", about: p("The files are read again. A configuration that is refused changes nothing."), send: async who => {
		const said = await api("/reload", who);
		setTimeout(() => tell({ reloaded: "Reloaded", unchanged: "Nothing has changed", refused: "Refused: what was in force stays" }[said.result] ?? phrase(said.result), [said.error && pre("Why", said.error), said.changed?.length > 0 && h("ul", {}, said.changed.map(change => h("li", {}, code(change))))]));
	} });
	return [h1("Configuration"), facts([["File", document.file], ["Hash", code(document.hash)], ["Loaded", full(document.loaded_at)], ["Log level", (await api("/log-level")).level]]),
		document.last_error ? h("div.note bad", {}, p(b("The last reload was refused; what is shown is still in force. "), full(document.last_error.at)), pre("Why it was refused", document.last_error.message))
			: !status.config.last_reload_succeeded && h("div.note bad", {}, p(b("The last reload was refused; what is shown is still in force."))),
		mayAct() && h("div.row", {}, button("Reload…", reload)),
		h2("Findings"), document.findings.length ? h("ul.findings", {}, document.findings.map(finding => h("li", {}, tag(...(SEVERITY[finding.severity] ?? ["plain", finding.severity])), " ", b(finding.code), " ", finding.file && code(`${finding.file}${finding.line ? `:${finding.line}` : ""}`), p(finding.message), finding.cure && p(soft("Cure: "), finding.cure))))
			: p("None."),
		h2("In force"), p(places ? "What is written has its file and line; what is soft is a default." : "With all defaults."),
		pre("The configuration in force", lines.map(([text, path], at) => h("span", { class: places && !isWritten(path) ? "soft" : null, "data-target": at === first }, text, places?.[path] && h("span.place", {}, `  # ${places[path].file}:${places[path].line}`), "\n")), { class: "yaml" }), cli("mainstay config live")];
}

// ---- Audit

const auditCells = entry => [full(entry.at), entry.actor, [entry.action, entry.before && entry.after && ` (${entry.before} → ${entry.after})`.replaceAll("_", " ")], wide(entry.reason), wide(entry.result)];
async function audit(here) {
	const { params } = here, page = await api(`/audit?${query({ operation: params.operation, actor: params.actor, action: params.action, limit: 100, cursor: params.cursor })}`), { entries } = page;
	const pick = (name, label) => choice(`a-${name}`, label, [["", "Any"], ...[...new Set([...entries.map(entry => entry[name]), params[name]].filter(Boolean))].sort().map(value => [value, value])], params[name] ?? "", value => visit(address("audit", { ...params, cursor: "", [name]: value })));
	const about = entry => (entry.operation ? opLink(entry.operation) : entry.target);
	return [h1("Audit"), h("div.row filters", {}, pick("actor", "Who"), pick("action", "What")), params.operation && p(`Of ${short(params.operation)} only. `, link(address("audit", { ...params, operation: "" }), "Of all operations")),
		table(`${counted(entries.length, "act")} shown, the latest first`, ["At", "Who", "What", "Why", "Result", "Operation"], entries.map(entry => row([...auditCells(entry), wide(about(entry))])), "Nobody has acted yet."),
		page.next_cursor && p(link(address("audit", { ...params, cursor: page.next_cursor }), "Earlier")), cli(`mainstay audit${params.operation ? ` --operation ${short(params.operation)}` : ""}${params.actor ? ` --actor ${quoted(params.actor)}` : ""}${params.action ? ` --action ${params.action}` : ""}`)];
}

// ---- Live

const KINDS = ["request", "operation", "breaker", "config", "ledger"];
async function live() {
	if (stream !== "open") {
		const { operations } = await api(`/operations?order=newest&limit=${PAGE}`);
		return [h1("Live"), p(`No events come: the latest writes, asked for each ${EVERY_MS / 1000} s.`), operationTable("The latest writes", operations, false, "No write has come yet."), cli("mainstay ops ls --all --newest")];
	}
	const filter = input("l-text", { value: tape.text, k: "l-text", oninput: event => { tape.text = event.target.value; relist(); } });
	const list = h("ol.tape", { id: "tape", tabindex: "0", label: "What happens, the latest first" });
	const pause = button(tape.isPaused ? "Go on" : "Pause", event => { tape.isPaused = !tape.isPaused; event.target.textContent = tape.isPaused ? "Go on" : "Pause"; relist(); }, { k: "pause" });
	setTimeout(relist);
	return [h1("Live"), h("div.row filters", {}, pause, choice("l-kind", "Kind", [["", "All"], ...KINDS.map(kind => [kind, kind])], tape.kind, value => { tape.kind = value; relist(); }), h("div", {}, labelled("Only with", filter)), h("span.count", { id: "left" })),
		list, cli("mainstay ops tail")];
}
function relist() {
	const list = by("tape");
	if (!list) return;
	const wanted = tape.isPaused && list.childElementCount ? null : lines.filter(line => (!tape.kind || line.kind === tape.kind) && (!tape.text || line.text.includes(tape.text)));
	if (wanted) list.replaceChildren(...(wanted.length ? wanted.slice(0, LINES).map(line => line.node) : [h("li.none", {}, "Nothing yet.")]));
	by("left").textContent = `${counted(tape.seen, "event")}${tape.leftOut ? `, ${tape.leftOut} left out` : ""}${tape.isPaused ? ", paused" : ""}`;
}
const EVENTS = {
	request: e => `${e.method} ${e.route ?? "no route"} ${e.status ?? "gone"} ${ms(e.duration_ms)} ${e.attempts} × ${e.outcome}${e.error ? ` ${e.error}` : ""}${e.endpoint ? ` ${e.endpoint}` : ""}`,
	operation: e => `${e.route} ${phrase(e.before)} → ${phrase(e.state)}${e.attention ? `, ${phrase(e.attention)}: needs a person` : ""}${e.reason ? ` (${phrase(e.reason)})` : ""}`,
	breaker: e => `${e.breaker} ${phrase(e.state)}${e.why ? `: ${tripped(e.why)}` : ""}`,
	config: e => `${e.result} #${e.hash}${e.error ? `: ${e.error.split("\n")[0]}` : ""}${e.changed?.length ? `: ${e.changed.join("; ")}` : ""}`,
	ledger: e => phrase(e.health), lost: e => `${e.count} events were left out: this page was too slow`,
};
function heard(block) {
	const kind = /^event: ?(.*)$/m.exec(block)?.[1], data = /^data: ?(.*)$/m.exec(block)?.[1];
	if (!kind || data === undefined) return;
	let event;
	try { event = JSON.parse(data); } catch { return; }
	if (kind === "hello") return;
	tape.leftOut += kind === "lost" ? event.count : event.left_out ?? 0;
	tape.seen += 1;
	const at = event.at ?? new Date().toISOString(), text = EVENTS[kind]?.(event) ?? data;
	const isBad = kind === "lost" || event.attention || event.result === "refused" || event.state === "open" || event.status >= 500;
	const node = h(isBad ? "li.bad" : "li", {}, h("time", { datetime: at }, at.slice(11, 23)), h("span.kind", {}, kind), h("span", {}, isBad && "! ", text, event.operation && [" ", opLink(event.operation)]));
	lines.unshift({ kind, text: `${kind} ${text}`, node });
	lines.length = Math.min(lines.length, LINES);
	const here = place().view;
	if (here === "live") {
		relisting ||= setTimeout(() => { relisting = 0; relist(); }, 200);
	} else if (kind !== "request") later();
}
// Server-sent events, by `fetch` because an EventSource sends no token. Where none come, the page asks each 5 s, and tries again.
async function follow() {
	if (stream !== "none") return;
	stream = "opening";
	try {
		const reply = await ask("/events", { headers: headers({ Accept: "text/event-stream" }) });
		if (!reply.ok || !/^text\/event-stream/.test(reply.headers.get("content-type") ?? "")) throw new Error("no events");
		stream = "open";
		later();
		const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
		for (let rest = "", read = await reader.read(); !read.done; read = await reader.read()) {
			heardAt = Date.now();
			const blocks = (rest + read.value).split(/\r?\n\r?\n/);
			rest = blocks.pop().slice(-65536);
			blocks.forEach(heard);
		}
	} catch { /* The polling goes on. */ }
	const wasOpen = stream === "open";
	stream = "closed";
	setTimeout(() => { stream = "none"; }, wasOpen ? EVERY_MS : 6 * EVERY_MS);
	if (wasOpen) later();
}
const later = () => { soon ||= setTimeout(() => { soon = 0; if (!document.hidden) refresh(); }, 500); };

// ---- Help

const PAGES = [["", "Keys and words"], ["runbook", "Runbook"], ["metrics", "Metrics and alerts"], ["problems", "Problems"]];
async function help(here) {
	const [name, part] = here.rest.split("/"), tabs = h("ul.groups", { label: "Pages" }, PAGES.map(([page, title]) => h("li", {}, h("a", { href: `#/help${page && `/${page}`}`, "aria-current": page === name && "page" }, title))));
	if (!name) return [h1("Help"), tabs, words()];
	const reply = await ask(`/help/${name}.md`, { headers: headers() });
	if (!reply.ok) return nowhere();
	return [h1("Help"), tabs, h("article", {}, markdown(await reply.text(), name, part))];
}
const words = () => [h2("Keys"), facts([["/", "search: an id or its beginning, a trace id, a key"], ["j, k", "next, previous row"], ["Enter", "open the row"], ["?", "this page"], ["Esc", "close; leave a field"], ...VIEWS.filter(([, , key]) => key !== "?").map(([, title, key]) => [`g ${key}`, title])]),
	h2("Words"), facts([["in doubt", "Sent, and its answer was lost: it may have happened. It is asked about, never sent again by itself."], ["needs a person", "Nothing else can settle it: look into the service, then say what happened."],
		["contradicted", "Settled one way, then the opposite was heard: look for two effects."], ["not executed", "It did nothing: its key is free, and a repeat executes."], ["acknowledge", "A contradiction was put right: the flag goes, the state stays."],
		["key", "What a caller names a write by, kept as a hash; reveal shows it where admin.reveal is set."]])];
// As much Markdown as the pages of docs/ have; links to other pages are text, for they are not here.
function inline(text) {
	return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]+\))/).map(part => {
		if (part.startsWith("`")) return code(part.slice(1, -1));
		if (part.startsWith("**")) return b(inline(part.slice(2, -2)));
		const [, label, to] = /^\[([^\]]+)\]\(([^)]+)\)$/.exec(part) ?? [];
		const [, name, anchor] = /(?:^|\/)(runbook|metrics|problems)\.md(?:#(.*))?$/.exec(to ?? "") ?? [];
		return name ? link(`#/help/${name}${anchor ? `/${anchor}` : ""}`, inline(label)) : label ?? part;
	});
}
function markdown(text, name, part) {
	const slug = title => title.toLowerCase().replaceAll(/[^\w\s-]/g, "").trim().replaceAll(/\s/g, "-");
	const cells = line => line.slice(1, -1).split("|").map(cell => wide(inline(cell.trim())));
	const block = text => {
		const [, marks, title] = /^(#+) (.*)$/.exec(text) ?? [], lines = text.split("\n");
		if (marks) return h(marks.length < 3 ? "h2" : "h3", { "data-target": part === slug(title) }, inline(title));
		if (text.startsWith("|")) return table(name, cells(lines[0]).map(cell => cell.textContent), lines.slice(2).map(line => h("tr", { role: "row" }, cells(line))), "");
		if (/^([-*]|\d+\.) /.test(text)) return h(/^\d/.test(text) ? "ol" : "ul", {}, text.split(/\n(?=(?:[-*]|\d+\.) )/).map(item => h("li", {}, inline(item.replace(/^\S+ /, "").replaceAll("\n", " ")))));
		return p(inline(lines.join(" ")));
	};
	// Every other part stands between fences.
	return text.replaceAll(/<!--.*?-->/gs, "").split(/^```.*\n/m).map((part, at) => (at % 2 ? pre("Example", part.trim()) : part.split(/\n\n+/).map(text => text.trim()).filter(Boolean).map(block)));
}

// ---- Search, keys, time

async function search(text) {
	const bare = text.toLowerCase();
	if (/^[0-9a-f]{32}$/.test(bare)) {
		const op = await api(`/operations/${bare}`).catch(() => null);
		visit(op ? `#/operations/${bare}` : listed({ trace_id: bare, all: "1" }));
		return;
	}
	if (/^[0-9a-f]{1,16}(-[0-9a-f]{0,16})?$/.test(bare)) {
		const { operations } = await api(`/operations?${query({ id_prefix: bare, limit: 2 })}`).catch(() => ({ operations: [] }));
		if (operations.length) {
			visit(operations.length === 1 ? `#/operations/${operations[0].id}` : listed({ id_prefix: bare, all: "1" }));
			return;
		}
	}
	// A key goes in a body: no address, log or history has it.
	found = await api("/operations:find", { key: text, ...asWho() });
	const next = listed({ find: "1" });
	if (location.hash === next) render();
	else visit(next);
}
by("search").addEventListener("submit", async event => {
	event.preventDefault();
	const text = by("q").value.trim();
	by("q").value = "";
	main.focus();
	try { if (text) await search(text); } catch (error) { tell("The search did not work", failure(error)); }
});
by("skip").addEventListener("click", event => { event.preventDefault(); main.focus(); });
addEventListener("keydown", event => {
	if (event.ctrlKey || event.metaKey || event.altKey || dialog()) return;
	const isField = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
	if (event.key === "Escape") { if (isField) event.target.blur(); main.focus(); return; }
	if (isField) return;
	const go = prefix === "g" && VIEWS.find(([, , key]) => key === event.key);
	prefix = event.key;
	if (go) visit(`#/${go[0]}`);
	else if (event.key === "/") { event.preventDefault(); by("q").focus(); } else if (event.key === "?") visit("#/help");
	else if (event.key === "j" || event.key === "k") {
		const rows = all("a.open"), at = rows.indexOf(document.activeElement);
		rows[Math.min(rows.length - 1, Math.max(0, at + (event.key === "j" ? 1 : -1)))]?.focus();
	}
});
addEventListener("hashchange", () => { if (place().view !== "operations") picked.clear(); render(); });
by("nav").append(...VIEWS.map(([name, title]) => h("a", { href: `#/${name}`, "data-view": name }, title)));
setInterval(() => {
	const isAway = document.hidden || main.querySelector("#token"), [, , , , isFigures] = viewOf(place());
	if (!isAway && (stream !== "open" || isFigures || Date.now() - heardAt > 4 * EVERY_MS)) refresh();
}, EVERY_MS);
setInterval(() => {
	const quiet = Date.now() - heardAt, text = quiet > (stream === "open" ? 5 : 2) * EVERY_MS ? `⚠ stale since ${age(quiet)}` : stream === "open" ? "● live" : "○ asking each 5 s";
	if (by("live").textContent !== text) { by("live").textContent = text; by("live").className = text.startsWith("⚠") ? "bad" : ""; }
	for (const node of all("time.age")) node.textContent = age(Date.now() - Date.parse(node.dateTime));
}, 1000);
render();
