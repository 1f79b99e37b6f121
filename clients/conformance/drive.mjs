// The lines of drive.py, against the JavaScript client.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { webcrypto } from "node:crypto";
import { resume, write } from "../mainstay-write.mjs";

globalThis.crypto ??= webcrypto; // Node 18 has it in here only

const files = (folder) => {
  mkdirSync(folder, { recursive: true });
  return {
    set: (key, request) => writeFileSync(`${folder}/${key}`, JSON.stringify(request), { flush: true }),
    delete: (key) => rmSync(`${folder}/${key}`),
    entries: () => readdirSync(folder).map((key) => [key, JSON.parse(readFileSync(`${folder}/${key}`, "utf8"))]),
  };
};

for await (const line of createInterface({ input: process.stdin })) {
  const [url, key, patience, attempt, folder, body] = line.split("\t");
  const store = files(folder);
  const options = { patience: patience * 1000, attempt: attempt * 1000, store };
  if (key !== "-") options.key = key;
  const told =
    url === "resume"
      ? (await resume(store, options))[0]
      : await write({ method: "POST", url, headers: { "content-type": "application/json" }, body }, options);
  const text = told.answer && new TextDecoder().decode(told.answer.body);
  const word = told.outcome === "failed" ? (told.declined ? "declined" : "nothing") : told.outcome;
  console.log(`${word}\t${text ?? `${told.tooOld ? "too old: " : ""}${told.operation ?? ""}`}`);
}
