// Puts the page together.

import * as actions from "./actions.js";
import { call } from "./api.js";
import { complete } from "./completion.js";
import { Detail } from "./detail.js";
import { $, button } from "./dom.js";
import { Feed } from "./feed.js";
import { FilterError } from "./filter.js";
import { editBreakpoints, Held } from "./held.js";
import { help, listen } from "./keys.js";
import { Rows } from "./rows.js";
import { connections, summary } from "./summary.js";
import { Traffic } from "./traffic.js";

const rows = new Rows();
const traffic = new Traffic(rows);
const held = new Held();
const input = $("filter");
let paused = false;

const feed = new Feed({
  connected: () => {
    document.body.dataset.feed = "open";
    tell("");
    if (detail.id !== null) detail.open(detail.id);
  },
  lost: () => {
    document.body.dataset.feed = "lost";
    tell("The server does not answer; trying again.", true);
  },
  rows: (batch) => {
    if (batch.skipped) tell(`The page did not keep up: ${batch.skipped} changes were left out on the way, all rows are here.`);
    rows.take(batch);
    const row = rows.byId.get(detail.id);
    if (row !== undefined && batch.rows.some((each) => each.id === row.id)) detail.changed(row);
  },
  state: (state) => {
    paused = state.paused;
    pauseButton.setAttribute("aria-pressed", String(paused));
  },
  held: ({ items }) => held.take(items),
  messages: ({ id, from, items }) => {
    if (detail.id === id) detail.messages?.push(from, items);
  },
});

const detail = new Detail({ feed, rows, act, choose });
traffic.addEventListener("select", () => detail.open(traffic.selected));

function choose(id) {
  traffic.select(id, { scroll: true });
}

function tell(text, isBad = false) {
  const notice = $("notice");
  notice.textContent = text;
  notice.hidden = text === "";
  notice.classList.toggle("bad", isBad);
}

async function attempt(promise) {
  try {
    return await promise;
  } catch (error) {
    tell(error.message, true);
    return undefined;
  }
}

function act(name, exchange) {
  if (exchange === null) return;
  if (name === "resend") attempt(actions.resend(exchange).then(() => tell("Sent again.")));
  else if (name === "edit") attempt(actions.edit(exchange, () => tell("Sent.")));
  else if (name === "copy") actions.copy(exchange);
  else if (name === "pin") attempt(actions.pin(exchange).then(() => detail.open(exchange.row.id)));
}

// --- the filter line

let asked;
function filterChanged() {
  clearTimeout(asked);
  asked = setTimeout(useFilter, input.value.includes("text:") ? 250 : 0);
}

async function useFilter() {
  try {
    await rows.use(input.value);
    input.removeAttribute("aria-invalid");
    input.title = "";
    if (!$("notice").hidden && $("notice").dataset.filter) tell("");
    delete $("notice").dataset.filter;
  } catch (error) {
    input.setAttribute("aria-invalid", "true");
    input.title = error.message;
    tell(error instanceof FilterError ? `Filter: ${error.message}` : error.message, true);
    $("notice").dataset.filter = "1";
  }
}
input.addEventListener("input", filterChanged);
complete(input, rows, filterChanged);

// --- the tools

const pause = () => attempt(call("pause", { method: "POST", body: { paused: !paused } }));
const wipe = () => attempt(call("clear", { method: "POST", body: {} })).then(() => detail.close());
const harOut = () => actions.exportHar(rows.shown.map((row) => row.id));
const harIn = () => actions.importHar(tell);
const tools = document.querySelector(".tools");
const pauseButton = button("Pause", pause, { "aria-pressed": "false", "data-do": "pause" });
tools.append(
  pauseButton,
  button("Clear", wipe, { "data-do": "clear", title: "Forget all but what is pinned" }),
  button("Breakpoints", () => attempt(editBreakpoints()), { "data-do": "breakpoints" }),
  button("Summary", () => summary(rows.shown), { "data-do": "summary" }),
  button("Connections", () => connections(rows.shown, choose), { "data-do": "connections" }),
  button("Export", harOut, { "data-do": "export" }),
  button("Open HAR", harIn, { "data-do": "import" }),
  button("Theme", theme, { "data-do": "theme" }),
  button("?", help, { "data-do": "help", "aria-label": "Help: keys" }),
);

function theme() {
  const order = ["", "light", "dark"];
  const root = document.documentElement;
  const next = order[(order.indexOf(root.dataset.theme ?? "") + 1) % order.length];
  if (next === "") delete root.dataset.theme;
  else root.dataset.theme = next;
}

listen({
  "/": () => {
    input.focus();
    input.select();
  },
  j: () => traffic.move(1), ArrowDown: () => traffic.move(1),
  k: () => traffic.move(-1), ArrowUp: () => traffic.move(-1),
  PageDown: () => traffic.move(20), PageUp: () => traffic.move(-20),
  g: () => traffic.move(-Infinity),
  G: () => {
    traffic.move(Infinity);
    traffic.list.toEnd();
  },
  Enter: () => $("side").querySelector("[role=tab][aria-selected=true]")?.focus(),
  Escape: () => {
    detail.close();
    $("list").focus();
  },
  r: () => act("resend", detail.exchange),
  e: () => act("edit", detail.exchange),
  c: () => act("copy", detail.exchange),
  p: () => act("pin", detail.exchange),
  " ": pause, x: wipe, b: () => attempt(editBreakpoints()), s: () => summary(rows.shown),
  n: () => connections(rows.shown, choose), h: harOut, o: harIn, t: theme, "?": help,
});
