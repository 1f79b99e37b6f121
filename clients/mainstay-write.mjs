// A write that happens once, through Mainstay. To be copied; needs nothing but a browser, or Node 20.
//
//   const told = await write({ method: "POST", url: "/payments", headers: {}, body: '{"amount":100}' });
//
// told.outcome is "done" (told.answer), "failed" (told.answer; if told.declined, a new attempt needs a new key), or "unknown"
// (told.operation, told.key: it may have happened, never use a new key for it). It keeps key and bytes, follows no redirect,
// reads Mainstay-Outcome before the status, obeys Retry-After, and asks the operation where repeats are refused. A `store`
// (`set`, `delete`, `entries`, as a Map has them, or promises of it) holds what is open; `resume` takes it up at a restart.
// Nothing is repeated where nothing shows that keys are kept there.
// What is stored has the time of its first attempt, `began`, too: once Mainstay has forgotten a key, it is a new write, so that what
// was begun `tombstone` ms ago or more (or nobody knows when) is not sent: "unknown", with told.tooOld. Ask at told.operation, or have
// a person look.
// From another origin the page needs `listeners.NAME.cors` in Mainstay, or it cannot read these headers.

import { byKey, documentOf, factOf, keepsKeys, locationOf, retryAfter, rulesOf } from "./mainstay-answer.mjs";

const TOMBSTONE = 30 * 86_400_000; // ms: the least `tombstone_seconds` of /_mainstay/idempotency
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

// A key that you pass may have been used before, so what is only ever refused under it ends as "unknown".
export async function write(request, { key, patience = 60_000, store, send = withFetch, attempt = 15_000, tombstone = TOMBSTONE } = {}) {
  const inDoubt = key !== undefined;
  key ??= Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (store) {
    const saved = inDoubt && [...(await store.entries())].find(([name]) => name === key)?.[1];
    const began = saved ? Number(saved.began ?? 0) : Date.now();
    const known = began + tombstone - Date.now();
    if (!(known > 0)) return { outcome: "unknown", tooOld: true, key, operation: byKey(request, key) };
    patience = Math.min(patience, known);
    await store.set(key, { ...request, began });
  }
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
  let operation, isNewest, isKept, first;
  for (let pause = 200; ; pause = Math.min(5000, pause * 2)) {
    const left = Math.min(Math.max(100, until - Date.now()), attempt);
    if (inDoubt && !isKept) {
      // Where no keys are kept, this would be a second write.
      isKept = keepsKeys(request, await attempted(send, { ...request, method: "GET", url: rulesOf(request), body: undefined }, left));
    }
    if (inDoubt && isKept === false) return { outcome: "unknown", key, operation };
    let answer = isKept || !inDoubt ? await attempted(send, { ...request, headers }, left) : undefined;
    let fact = factOf(answer);
    const [place, said] = [locationOf(request.url, answer), answer?.headers.get("mainstay-outcome")];
    isKept ||= said ? true : undefined;
    // An attempt that names no address may have begun another operation: then the old one's "not executed" is not about it.
    isNewest = Boolean(place || (isNewest && fact === "refused"));
    operation = place ?? operation;
    if (said === "in-progress" && answer.status < 300) first = answer; // the service's own, too large to be kept: it comes once
    if (fact === "refused" && inDoubt && operation) [fact, answer] = await ask(send, operation, request, attempt, answer, isNewest);
    if (fact === "done") return { outcome: "done", key, answer: answer.headers.get("mainstay-error") ? first ?? answer : answer };
    if (fact === "declined") return { outcome: "failed", declined: true, key, answer };
    inDoubt = fact === "doubt" || fact === "unprotected" || (inDoubt && fact !== "nothing");
    const named = retryAfter(answer);
    const wait = named ?? pause * (0.8 + 0.4 * Math.random());
    const passes = named !== undefined || [408, 425, 429].includes(answer?.status) || answer?.status >= 500;
    const worth = fact === "doubt" || (fact !== "unprotected" && passes);
    if (!worth || Date.now() + wait >= until) {
      return inDoubt ? { outcome: "unknown", key, operation: isNewest ? operation : undefined } : { outcome: "failed", declined: false, key, answer };
    }
    await sleep(wait);
    headers.prefer = `wait=${Math.max(0, Math.floor(Math.min(until - Date.now(), attempt / 2) / 1000))}`;
  }
}

// The operation's document, where a repeat was refused.
async function ask(send, operation, { headers }, timeout, refusal, isNewest) {
  const answer = await attempted(send, { method: "GET", url: operation, headers }, timeout);
  const told = answer?.status === 200 ? documentOf(answer) : {};
  if (told.effect === "happened") {
    const result = await attempted(send, { method: "GET", url: `${operation}/result`, headers }, timeout);
    return ["done", result?.headers.get("mainstay-outcome") === "succeeded" ? result : answer];
  }
  if (told.effect === "none" && told.state === "failed") return ["declined", answer];
  return [isNewest && told.effect === "none" && told.state === "not_executed" ? "nothing" : "refused", refusal];
}

const attempted = (send, request, timeout) => send(request, timeout).catch(() => undefined);

async function withFetch({ method, url, headers, body }, timeout) {
  const signal = AbortSignal.timeout(timeout);
  const reply = await fetch(url, { method, headers, body, redirect: "manual", cache: "no-store", signal });
  return { status: reply.status, headers: reply.headers, body: new Uint8Array(await reply.arrayBuffer()) };
}
