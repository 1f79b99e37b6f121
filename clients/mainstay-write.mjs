// A write that happens once, through Mainstay. To be copied; needs nothing but a browser, or Node 20.
//
//   const told = await write({ method: "POST", url: "/payments", headers: {}, body: '{"amount":100}' });
//
// told.outcome is "done" (told.answer), "failed" (told.answer; if told.declined, a new attempt needs a new key), or "unknown"
// (told.operation, told.key: it may have happened, never use a new key for it). It keeps key and bytes, follows no redirect,
// reads Mainstay-Outcome before the status, obeys Retry-After, and asks the operation where repeats are refused. A `store`
// (`set`, `delete`, `entries`, as a Map has them, or promises of it) holds what is open; `resume` takes it up at a restart.
// From another origin the page needs `listeners.NAME.cors` in Mainstay, or it cannot read these headers.

const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

// A key that you pass may have been used before, so what is only ever refused under it ends as "unknown".
export async function write(request, { key, patience = 60_000, store, send = withFetch, attempt = 15_000 } = {}) {
  const inDoubt = key !== undefined;
  key ??= Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  await store?.set(key, request);
  const told = await settle(request, key, inDoubt, Date.now() + patience, send, attempt);
  if (told.outcome !== "unknown") await store?.delete(key);
  return told;
}

// Takes up what a process or a page that ended has left open.
export async function resume(store, options = {}) {
  const told = [];
  for (const [key, request] of [...(await store.entries())]) told.push(await write(request, { ...options, key, store }));
  return told;
}

async function settle(request, key, inDoubt, until, send, attempt) {
  const headers = { ...request.headers, "idempotency-key": key };
  for (let operation, pause = 200; ; pause = Math.min(5000, pause * 2)) {
    const left = Math.max(100, until - Date.now());
    let answer = await attempted(send, { ...request, headers }, Math.min(left, attempt));
    let fact = factOf(answer);
    operation = locationOf(request.url, answer) ?? operation;
    if (fact === "refused" && inDoubt && operation) [fact, answer] = await ask(send, operation, request, attempt, answer);
    if (fact === "done") return { outcome: "done", key, answer };
    if (fact === "declined") return { outcome: "failed", declined: true, key, answer };
    inDoubt = fact === "doubt" || fact === "unprotected" || (inDoubt && fact !== "nothing");
    const named = retryAfter(answer);
    const wait = named ?? pause * (0.8 + 0.4 * Math.random());
    const passes = named !== undefined || [408, 425, 429].includes(answer?.status) || answer?.status >= 500;
    const worth = fact === "doubt" || (fact !== "unprotected" && passes);
    if (!worth || Date.now() + wait >= until) {
      return inDoubt ? { outcome: "unknown", key, operation } : { outcome: "failed", declined: false, key, answer };
    }
    await sleep(wait);
    headers.prefer = `wait=${Math.max(0, Math.floor(Math.min(until - Date.now(), attempt / 2) / 1000))}`;
  }
}

// What an answer says of the write: first in Mainstay's own word, and only without one by its status.
function factOf(answer) {
  if (!answer) return "doubt";
  const outcome = answer.headers.get("mainstay-outcome");
  if (outcome) return { succeeded: "done", failed: "declined", not_executed: "nothing", none: "refused" }[outcome] ?? "doubt";
  if (answer.headers.get("mainstay-error")) {
    // No key protects here: what may have happened must not be sent again.
    return documentOf(answer).effect === "none" ? "refused" : "unprotected";
  }
  if (answer.status >= 200 && answer.status < 300) return "done";
  return answer.status >= 400 && answer.status < 500 && answer.status !== 408 ? "refused" : "doubt";
}

// The operation's document, where a repeat was refused.
async function ask(send, operation, { headers }, timeout, refusal) {
  const answer = await attempted(send, { method: "GET", url: operation, headers }, timeout);
  const told = answer?.status === 200 ? documentOf(answer) : {};
  if (told.effect === "happened") {
    const result = await attempted(send, { method: "GET", url: `${operation}/result`, headers }, timeout);
    return ["done", result?.headers.get("mainstay-outcome") === "succeeded" ? result : answer];
  }
  if (told.effect === "none" && told.state === "failed") return ["declined", answer];
  return [told.effect === "none" && told.state === "not_executed" ? "nothing" : "refused", refusal];
}

function documentOf(answer) {
  try {
    return JSON.parse(new TextDecoder().decode(answer.body));
  } catch {
    return {};
  }
}

// The operation's address; credentials go to the origin of the write and nowhere else.
function locationOf(url, answer) {
  const said = answer?.headers.get("operation-location");
  const from = new URL(url, globalThis.location?.href);
  const place = said && new URL(said, from);
  return place && place.origin === from.origin ? place.href : undefined;
}

function retryAfter(answer) {
  const said = answer?.headers.get("retry-after") ?? "";
  if (/^\d+$/.test(said)) return Number(said) * 1000;
  const date = Date.parse(said);
  return Number.isNaN(date) ? undefined : Math.max(1000, date - Date.now());
}

const attempted = (send, request, timeout) => send(request, timeout).catch(() => undefined);

async function withFetch({ method, url, headers, body }, timeout) {
  const signal = AbortSignal.timeout(timeout);
  const reply = await fetch(url, { method, headers, body, redirect: "manual", cache: "no-store", signal });
  return { status: reply.status, headers: reply.headers, body: new Uint8Array(await reply.arrayBuffer()) };
}
