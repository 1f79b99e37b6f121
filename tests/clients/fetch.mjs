// Node's fetch, with its defaults, as check.py wants it: the status, and below it the body. Without a body it reads.
const [url, key, body] = process.argv.slice(2);
const answer = await fetch(url, {
  method: body ? "POST" : "GET",
  headers: { "Idempotency-Key": key, "Content-Type": "application/json" },
  body: body || undefined,
});
process.stdout.write(`${answer.status}\n${await answer.text()}`);
