// Runs a JavaScript class of a page in Node, unchanged, as a browser at the
// server would: with localStorage, and with fetch for paths without a host.
//
//   node page.mjs BASE-URL CLASS SCRIPT <<<'class CLASS {...}'
//
// SCRIPT is the body of an async function of the class and BASE-URL; what it
// returns is printed as JSON, with all that was fetched and logged as an error.
import { readFileSync } from 'node:fs';

const [base, name, script] = process.argv.slice(2);
const stored = new Map();
globalThis.localStorage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => stored.set(key, String(value)),
};

const answers = [];
const fetchAnywhere = globalThis.fetch;
globalThis.fetch = async (url, options) => {
  const response = await fetchAnywhere(new URL(url, base), options);
  answers.push({ status: response.status, body: await response.clone().json() });
  return response;
};

const errors = [];
console.error = (...args) => errors.push(args);

const AsyncFunction = (async () => {}).constructor;
const Class = new Function(`${readFileSync(0, 'utf8')}\nreturn ${name};`)();
const value = await new AsyncFunction(name, 'base', script)(Class, base);
console.log(JSON.stringify({ value, answers, errors, stored: Object.fromEntries(stored) }));
