// A captured body, as what it is: JSON folded, text, a form, an image, or bytes in hex.

import { call } from "./api.js";
import { button, clear, el, visible } from "./dom.js";
import { bytes } from "./units.js";

const TEXT_SHOWN = 256 * 1024;
const HEX_SHOWN = 16 * 1024;
const CHILDREN_SHOWN = 200;
// How pictures begin that may be shown, whatever their head claims; SVG is a document.
const PICTURES = /^(\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|BM|\0\0\x01\0|RIFF[^]{4}WEBP|[^]{4}ftypavi[fs])/;

// Shows the body of one side ("request" or "answer") of an exchange in `panel`.
export async function showBody(panel, id, side, body) {
  clear(panel);
  if (body === null || body.size === 0) {
    panel.append(el("p", { class: "quiet" }, "No body."));
    return;
  }
  const about = [body.type || "no content type", bytes(body.size)];
  if (body.coding) about.push(`sent as ${body.coding}`);
  if (body.missing) about.push(body.missing);
  const chosen = el("div", { class: "tabs", role: "tablist", "aria-label": "Views of the body" });
  const view = el("div", {});
  panel.append(el("p", { class: "quiet" }, about.join(", ")), chosen, view);
  if (body.kept === 0) return;
  const path = `exchanges/${id}/body/${side}`;
  const answer = await call(path, { raw: true });
  const data = new Uint8Array(await answer.arrayBuffer());
  if (answer.headers.get("X-Rolo-Undecoded")) {
    panel.firstChild.append(`; shown as it is: ${answer.headers.get("X-Rolo-Undecoded")}`);
  }
  const views = viewsOf(data, body, path);
  const buttons = views.map(([name, make]) =>
    button(name, () => use(name, make), { role: "tab", "aria-selected": "false" }));
  chosen.append(...buttons);
  function use(name, make) {
    for (const each of buttons) each.setAttribute("aria-selected", String(each.textContent === name));
    clear(view).append(make());
  }
  use(...views[0]);
}

function viewsOf(data, body, path) {
  const views = [];
  const text = decode(data, body.charset);
  if (text !== null) {
    const value = parsed(text);
    if (value !== undefined) views.push(["JSON", () => el("div", { class: "tree" }, tree(value))]);
    if (body.type === "application/x-www-form-urlencoded") views.push(["Form", () => form(text)]);
  }
  if (body.type === "multipart/form-data") views.push(["Parts", () => parts(path)]);
  if ((body.type ?? "").startsWith("image/") && PICTURES.test(String.fromCharCode(...data.subarray(0, 16)))) {
    views.push(["Image", () => el("img", { class: "picture", src: `api/${path}?picture=1`, alt: "The captured image" })]);
  }
  const asText = ["Text", () => shortened(text ?? new TextDecoder("utf-8").decode(data))];
  const asHex = ["Hex", () => hex(data)];
  if (text === null) views.push(asHex, asText);
  else views.push(asText, asHex);
  return views;
}

// Returns null if the bytes are not text in that charset.
function decode(data, charset) {
  try {
    const text = new TextDecoder(charset || "utf-8", { fatal: true }).decode(data);
    return text.includes("\u0000") ? null : text;
  } catch {
    return null;
  }
}

function parsed(text) {
  if (!/^\s*[[{"\d\-tfn]/.test(text)) return undefined;
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

// A value of JSON that unfolds as it is opened.
export function tree(value, key = null) {
  const name = key === null ? [] : [el("span", { class: "key" }, visible(JSON.stringify(key))), ": "];
  if (typeof value !== "object" || value === null) {
    const kind = typeof value === "string" ? "text" : "number";
    return el("div", {}, ...name, scalar(value, kind));
  }
  const isList = Array.isArray(value);
  const size = isList ? value.length : Object.keys(value).length;
  const summary = isList ? `[ ${size} ]` : `{ ${size} }`;
  const details = el("details", {}, el("summary", {}, ...name, summary));
  let filled = false;
  const fill = () => {
    if (filled) return;
    filled = true;
    const entries = isList ? value.map((each, index) => [index, each]) : Object.entries(value);
    more(details, entries, ([each, inner]) => tree(inner, each));
  };
  details.addEventListener("toggle", () => details.open && fill());
  if (key === null || size <= 20) {
    if (key === null) details.open = true;
    if (details.open) fill();
  }
  return details;
}

function scalar(value, kind) {
  const text = JSON.stringify(value);
  if (text.length <= 2000) return el("span", { class: kind }, visible(text));
  const shown = el("span", { class: kind }, visible(text.slice(0, 2000)));
  return el("span", {}, shown, button(`… ${text.length - 2000} more`, (event) => {
    shown.textContent = visible(text);
    event.target.remove();
  }));
}

// Appends the first items, and a button for those that follow.
function more(element, items, render, from = 0) {
  const until = Math.min(items.length, from + CHILDREN_SHOWN);
  element.append(...items.slice(from, until).map(render));
  if (until < items.length) {
    element.append(button(`${items.length - until} more`, (event) => {
      event.target.remove();
      more(element, items, render, until);
    }));
  }
}

export function shortened(text) {
  const pre = el("pre", { tabindex: "0" }, visible(text.slice(0, TEXT_SHOWN)));
  if (text.length <= TEXT_SHOWN) return pre;
  return el("div", {}, pre, button(`Show all ${text.length} letters`, (event) => {
    pre.textContent = visible(text);
    event.target.remove();
  }));
}

export function hex(data, from = 0) {
  const until = Math.min(data.length, from + HEX_SHOWN);
  const lines = [];
  for (let at = from; at < until; at += 16) {
    const row = [...data.subarray(at, Math.min(at + 16, until))];
    const codes = row.map((byte) => byte.toString(16).padStart(2, "0"));
    const letters = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·"));
    lines.push(`${at.toString(16).padStart(8, "0")}  ${codes.join(" ").padEnd(47)}  ${letters.join("")}`);
  }
  const pre = el("pre", { class: "hex", tabindex: "0" }, lines.join("\n"));
  if (until >= data.length) return pre;
  const box = el("div", {}, pre);
  box.append(button(`${data.length - until} more bytes`, (event) => event.target.replaceWith(hex(data, until))));
  return box;
}

function form(text) {
  return fieldTable([...new URLSearchParams(text)]);
}

export function fieldTable(pairs) {
  return el("table", {}, el("tbody", {}, pairs.map(([name, value]) =>
    el("tr", {}, el("th", { scope: "row" }, visible(name)), el("td", {}, visible(value))))));
}

function parts(path) {
  const box = el("div", {}, "…");
  call(`${path}?parts=1`).then(
    ({ parts: found }) => clear(box).append(fieldTable(found.map((part) => [
      part.filename === null ? part.name : `${part.name} (${part.filename}, ${part.type ?? "no type"})`,
      part.text ?? bytes(part.size),
    ]))),
    (error) => clear(box).append(error.message),
  );
  return box;
}
