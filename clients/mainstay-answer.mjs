// What an answer says of a write, for mainstay-write.mjs.

const absolute = (url) => new URL(url, globalThis.location?.href);

// Below `control.path`, about the path of `url`.
const place = (name, url, question) =>
  new URL(`/_mainstay/${name}?${new URLSearchParams({ ...question, path: absolute(url).pathname })}`, absolute(url)).href;

// Where Mainstay says whether it keeps keys where the request goes; an older one lists all of its routes there.
export const rulesOf = ({ method, url }) => place("idempotency", url, { method });

// Where to ask about a write of which there is no more than its key: Mainstay, and by it the service.
export const byKey = ({ url }, key) => place("operations", url, { key });

// What an answer says of the write: first in Mainstay's own word, and only without one by its status.
export function factOf(answer) {
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

// Whether keys are kept where the request goes; undefined if nobody could be asked now.
export function keepsKeys({ method, url }, rules) {
  if (!rules || rules.status === 429 || rules.status >= 500) return undefined;
  const have = absolute(url).pathname.split("/");
  return (documentOf(rules).routes ?? []).some(({ path, methods, key }) => {
    const want = path.replace(/\/\*\*$/, "").split("/");
    const isLong = path.endsWith("/**") ? have.length >= want.length : have.length === want.length;
    const isThere = isLong && want.every((part, at) => part === have[at] || (part.startsWith("{") && have[at] !== ""));
    return isThere && methods.includes(method) && key.header.toLowerCase() === "idempotency-key";
  });
}

export function documentOf(answer) {
  try {
    return JSON.parse(new TextDecoder().decode(answer.body));
  } catch {
    return {};
  }
}

// The operation's address; credentials go to the origin of the write and nowhere else.
export function locationOf(url, answer) {
  const said = answer?.headers.get("operation-location");
  const from = absolute(url);
  const place = said && new URL(said, from);
  return place && place.origin === from.origin ? place.href : undefined;
}

export function retryAfter(answer) {
  const said = answer?.headers.get("retry-after") ?? "";
  if (/^\d+$/.test(said)) return Number(said) * 1000;
  const date = Date.parse(said);
  return Number.isNaN(date) ? undefined : Math.max(1000, date - Date.now());
}
