// Rates, statuses and latencies of what the filter shows, drawn; and who shares connections.

import { openDialog } from "./dialog.js";
import { button, el, svg, visible } from "./dom.js";
import { bytes, seconds } from "./units.js";

const WIDTH = 360;
const HEIGHT = 130;
const EDGES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, Infinity];

export function summary(rows) {
  const done = rows.filter((row) => !row.open);
  const times = done.map((row) => row.seconds).filter((value) => value !== null).sort((a, b) => a - b);
  const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))];
  const facts = [
    ["Exchanges", rows.length], ["Open", rows.length - done.length],
    ["Failed", done.filter((row) => row.outcome !== "complete").length],
    ["Sent", bytes(rows.reduce((sum, row) => sum + (row.size ?? 0), 0))],
    ["Received", bytes(rows.reduce((sum, row) => sum + (row.up ?? 0), 0))],
    ["Median", seconds(at(0.5))], ["95 of 100 within", seconds(at(0.95))], ["Longest", seconds(times.at(-1))],
  ];
  openDialog("Summary of what is shown",
    el("table", {}, el("tbody", {}, facts.map(([name, value]) =>
      el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, String(value ?? "")))))),
    el("div", { class: "charts" },
      figure("Exchanges a second", rates(rows)), figure("Statuses", statuses(rows)), figure("Seconds to the end", latencies(times))));
}

function figure(label, bars) {
  const highest = Math.max(1, ...bars.map(([, value]) => value));
  const width = WIDTH / Math.max(1, bars.length);
  const told = bars.map(([name, value]) => `${name}: ${value}`).join(", ");
  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + 30}`, width: WIDTH, height: HEIGHT + 30, role: "img", "aria-label": `${label}. ${told}` });
  bars.forEach(([name, value], index) => {
    const height = (value / highest) * HEIGHT;
    const x = index * width;
    const bar = svg("rect", { x: x + 1, y: HEIGHT - height + 12, width: Math.max(1, width - 2), height });
    bar.append(svg("title", {}, `${name}: ${value}`));
    chart.append(bar);
    if (width > 18) {
      chart.append(svg("text", { x: x + width / 2, y: HEIGHT + 25, "text-anchor": "middle" }, name));
      if (value > 0) chart.append(svg("text", { x: x + width / 2, y: HEIGHT - height + 9, "text-anchor": "middle" }, String(value)));
    }
  });
  return el("figure", {}, el("figcaption", {}, label), chart);
}

function rates(rows) {
  if (rows.length === 0) return [];
  const first = Math.floor(rows[0].started);
  const last = Math.floor(rows.at(-1).started);
  const step = Math.max(1, Math.ceil((last - first + 1) / 60));
  const bars = Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, i) => [`${i * step} s`, 0]);
  for (const row of rows) bars[Math.floor((Math.floor(row.started) - first) / step)][1]++;
  return bars.map(([name, count]) => [name, Math.round((10 * count) / step) / 10]);
}

function statuses(rows) {
  const counts = new Map(["1xx", "2xx", "3xx", "4xx", "5xx", "none"].map((name) => [name, 0]));
  for (const row of rows) {
    const name = row.status === null ? "none" : `${Math.floor(row.status / 100)}xx`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts];
}

function latencies(times) {
  const bars = EDGES.map((edge) => [edge === Infinity ? ">10 s" : `<${seconds(edge).replace(/\.0+ /, " ")}`, 0]);
  for (const value of times) bars[EDGES.findIndex((edge) => value < edge)][1]++;
  return bars;
}

export function connections(rows, choose) {
  const found = new Map();
  for (const row of rows) {
    if (row.conn === null) continue;
    if (!found.has(row.conn)) found.set(row.conn, []);
    found.get(row.conn).push(row);
  }
  const close = openDialog("Connections to upstreams", ...(found.size === 0
    ? [el("p", { class: "quiet" }, "None of what is shown went to an upstream.")]
    : [...found].sort((a, b) => a[0] - b[0]).slice(0, 500).map(([conn, shared]) =>
      el("details", {}, el("summary", {}, visible(`${conn}: ${shared.length} exchanges with ${shared[0].upstream ?? "?"}`)),
        el("ul", {}, shared.slice(0, 200).map((row) => el("li", {}, button(`#${row.id} ${row.method} ${visible(row.path)}`, () => {
          close();
          choose(row.id);
        }))))))));
}
