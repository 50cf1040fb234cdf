// The filter line. The server reads the same language for breakpoints (rolo/inspector/filters.py);
// one table of cases tests both.

import { parseBytes, parseNumber, parseSeconds } from "./units.js";

const STATES = ["open", "held", "pinned", "edited", "reused", "retried", "failed"];
const TYPES = ["ws", "sse", "json", "html", "image", "form", "text", "xml", "css", "js"];
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

export const KEYS = {
  method: "the method", status: "of the answer: 404, 5xx, >=400", host: "part of the host",
  path: "part of path and query", type: TYPES.join(", "), slow: "seconds to the end: >1s, <20ms",
  size: "bytes of the answer: >10k", up: "bytes of the request", error: "part of the outcome or error",
  client: "part of the client's address", is: STATES.join(", "), conn: "number of the connection",
  id: "number of the exchange", text: "in heads, bodies and messages",
};

const COMPARED = { slow: parseSeconds, size: parseBytes, up: parseBytes };

export class FilterError extends Error {}

// Returns { test(row), texts } or throws a FilterError that says what is wrong.
export function parse(line) {
  const tests = [];
  const texts = [];
  for (const { negative, key, value } of tokens(line)) {
    if (key === "text") {
      texts.push({ negative, value });
      continue;
    }
    const test = key === null ? anywhere(value) : condition(key, value);
    tests.push(negative ? (row) => !test(row) : test);
  }
  return { test: (row) => tests.every((test) => test(row)), texts };
}

export function tokens(line) {
  const found = [];
  const pattern = /\s*(-?)(?:([a-z]+):(?!\/\/))?(?:"((?:[^"\\]|\\.)*)("?)|(\S*))/gy;
  while (pattern.lastIndex < line.trimEnd().length) {
    const match = pattern.exec(line);
    if (match === null) break;
    const [, minus, key, quoted, closed, word] = match;
    if (quoted !== undefined && !closed) throw new FilterError('a quotation mark is missing: "');
    let value = quoted === undefined ? word : quoted.replace(/\\(.)/g, "$1");
    if (key !== undefined && !(key in KEYS)) {
      throw new FilterError(`unknown: ${key}: (known are ${Object.keys(KEYS).join(", ")})`);
    }
    if (key === undefined && value === "" && quoted === undefined) continue;
    found.push({ negative: minus === "-", key: key ?? null, value });
  }
  return found;
}

function anywhere(word) {
  word = word.toLowerCase();
  return (row) => `${row.method} ${row.scheme}://${row.host}${row.path}`.toLowerCase().includes(word);
}

function condition(key, value) {
  if (value === "") return () => true; // still being written
  const part = value.toLowerCase();
  switch (key) {
    case "method": return (row) => row.method.toLowerCase() === part;
    case "host": return (row) => row.host.toLowerCase().includes(part);
    case "path": return (row) => row.path.toLowerCase().includes(part);
    case "client": return (row) => (row.client ?? "").includes(part);
    case "error": return (row) => `${row.outcome ?? ""} ${row.error ?? ""}`.toLowerCase().includes(part);
    case "id": return (row) => String(row.id) === part;
    case "conn": return (row) => String(row.conn) === part;
    case "type": return ofType(part);
    case "is": return ofState(part);
    case "status": {
      const many = /^([1-5])xx$/.exec(part);
      if (many) return (row) => row.status !== null && Math.floor(row.status / 100) === Number(many[1]);
      return compared(part, parseNumber, (row) => row.status, key);
    }
    case "slow": return compared(part, parseSeconds, (row) => row.seconds, key);
    case "size": return compared(part, parseBytes, (row) => row.size, key);
    case "up": return compared(part, parseBytes, (row) => row.up, key);
  }
  throw new FilterError(`unknown: ${key}:`);
}

function ofType(type) {
  if (type === "ws") return (row) => row.kind === "websocket";
  if (type === "sse") return (row) => row.kind === "sse";
  return (row) => (row.type ?? "").includes(type === "js" ? "javascript" : type);
}

function ofState(state) {
  if (!STATES.includes(state)) throw new FilterError(`is: ${STATES.join(", ")}, not ${state}`);
  if (state === "failed") return (row) => row.outcome !== null && row.outcome !== "complete";
  return (row) => row[state] === true;
}

function compared(text, parseValue, get, key) {
  const [, operator, rest] = /^(>=|<=|>|<|=)?(.*)$/.exec(text);
  if (rest === "") return () => true;
  const bound = parseValue(rest);
  if (bound === null) throw new FilterError(`${key}: cannot read ${rest}`);
  const compare = {
    ">=": (a) => a >= bound, "<=": (a) => a <= bound, ">": (a) => a > bound, "<": (a) => a < bound,
    "=": (a) => a === bound,
  }[operator ?? (key in COMPARED ? ">=" : "=")];
  return (row) => {
    const value = get(row);
    return value !== null && value !== undefined && compare(value);
  };
}

// What may stand at the caret, as [text, explanation].
export function completions(line, caret, rows) {
  const start = line.lastIndexOf(" ", caret - 1) + 1;
  const word = line.slice(start, caret);
  const [, minus, key, part] = /^(-?)(?:([a-z]+):)?(.*)$/.exec(word);
  let offered;
  if (key === undefined) {
    offered = Object.entries(KEYS).map(([name, help]) => [`${name}:`, help]);
  } else {
    offered = valuesOf(key, rows).map((value) => [`${key}:${value}`, ""]);
  }
  const wanted = (key === undefined ? part : `${key}:${part}`).toLowerCase();
  return {
    start,
    offers: wanted === "" && key === undefined && word === ""
      ? [] : offered.filter(([text]) => text.toLowerCase().startsWith(wanted) && text !== wanted)
        .slice(0, 12).map(([text, help]) => [minus + text, help]),
  };
}

function valuesOf(key, rows) {
  if (key === "is") return STATES;
  if (key === "type") return TYPES;
  if (key === "slow") return [">1s", ">100ms", "<10ms"];
  if (key === "size" || key === "up") return [">1k", ">100k", ">1m"];
  const seen = new Set(key === "method" ? METHODS : key === "status" ? [">=400", ">=500", "2xx", "3xx", "4xx", "5xx"] : []);
  for (const row of rows.slice(-500)) {
    if (key in row && row[key] !== null) seen.add(key === "path" ? quoted(row.path.split("?")[0]) : quoted(row[key]));
  }
  return [...seen];
}

function quoted(value) {
  const text = String(value);
  return /[\s"]/.test(text) ? `"${text.replace(/["\\]/g, "\\$&")}"` : text;
}
