// The list of exchanges: a row each, with its waterfall.

import { $, el, visible } from "./dom.js";
import { bytes, clock, seconds } from "./units.js";
import { VirtualList } from "./virtual.js";

const COLUMNS = [
  ["#", "id"], ["Method", "method"], ["Status", "status"], ["Host", "host"], ["Path", "path"],
  ["Type", "type"], ["Size", "size"], ["Time", "time"], ["Waterfall", "fall"],
];
// In the order in which they happen.
export const PHASES = [
  ["queue", "waiting for a connection"], ["connect", "connecting"], ["tls", "TLS handshake"],
  ["wait", "waiting for the answer"], ["body", "the answer's body"],
];

export class Traffic extends EventTarget {
  constructor(rows) {
    super();
    this.rows = rows;
    this.selected = null;
    $("columns").append(...COLUMNS.map(([label, name]) => el("span", { class: `c-${name}` }, label)));
    const list = $("list");
    this.list = new VirtualList(list, {
      lines: () => rows.shown,
      render: (row, index) => this.line(row, index),
    });
    // Not "click": a row that changes between down and up is another element.
    list.addEventListener("mousedown", (event) => {
      const line = event.target.closest(".line");
      if (line) this.select(Number(line.dataset.id));
    });
    rows.addEventListener("change", () => {
      this.list.plan();
      this.count();
    });
    this.count();
  }

  count() {
    const { shown, byId } = this.rows;
    $("list").setAttribute("aria-rowcount", shown.length);
    $("count").textContent = shown.length === byId.size
      ? `${byId.size} exchanges` : `${shown.length} of ${byId.size} exchanges`;
  }

  line(row, index) {
    const failed = row.outcome !== null && row.outcome !== "complete";
    const classes = ["line", `s${Math.floor((row.status ?? 0) / 100)}`];
    for (const state of ["open", "held", "pinned", "edited"]) if (row[state]) classes.push(state);
    if (failed) classes.push("failed");
    const selected = row.id === this.selected;
    if (selected) classes.push("selected");
    const cells = {
      id: row.id,
      method: row.kind === "websocket" ? "WS" : row.method,
      status: row.status ?? (row.open ? "…" : "–"),
      host: row.host, path: row.path,
      type: row.kind === "http" ? short(row.type) : row.kind === "sse" ? "events" : "websocket",
      size: bytes(row.size),
      time: row.open ? "open" : seconds(row.seconds),
    };
    const line = el("div", {
      class: classes.join(" "), role: "row", id: `row-${row.id}`, "data-id": row.id,
      "aria-rowindex": index + 1, "aria-selected": String(selected),
      title: `${clock(row.started)} ${failed ? `${row.outcome} ${row.error ?? ""}` : ""}`,
    });
    for (const [, name] of COLUMNS) {
      line.append(el("span", { class: `c-${name}`, role: "cell" },
        name === "fall" ? waterfall(row) : visible(cells[name])));
    }
    return line;
  }

  select(id, { scroll = false } = {}) {
    this.selected = id;
    const index = this.rows.shown.findIndex((row) => row.id === id);
    if (index >= 0) {
      if (scroll) this.list.show(index);
      $("list").setAttribute("aria-activedescendant", `row-${id}`);
    } else $("list").removeAttribute("aria-activedescendant");
    this.list.plan();
    this.dispatchEvent(new Event("select"));
  }

  // Selects the row that many lines below the selected one.
  move(by) {
    const { shown } = this.rows;
    if (shown.length === 0) return;
    const at = shown.findIndex((row) => row.id === this.selected);
    const index = at < 0 ? (by > 0 ? 0 : shown.length - 1)
      : Math.max(0, Math.min(shown.length - 1, at + by));
    this.select(shown[index].id, { scroll: true });
  }
}

function short(type) {
  return (type ?? "").replace(/^(application|text)\//, "").replace(/^x-/, "");
}

// The bar of a row: each part as wide as the share of time that it took.
export function waterfall(row) {
  const total = row.seconds || PHASES.reduce((sum, [name]) => sum + (row.phases?.[name] ?? 0), 0);
  const bar = el("span", { class: "fall" });
  const told = [];
  for (const [name, label] of PHASES) {
    const part = row.phases?.[name];
    if (!part || !total) continue;
    const piece = el("i", { class: `p-${name}` });
    piece.style.width = `${Math.max(1, (100 * part) / total)}%`;
    bar.append(piece);
    told.push(`${label} ${seconds(part)}`);
  }
  if (told.length) bar.title = told.join(", ");
  return bar;
}
