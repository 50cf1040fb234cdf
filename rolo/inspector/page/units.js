// Numbers as people read them, and as they write them in filters.

export function bytes(count) {
  if (count === null || count === undefined) return "";
  if (count < 1000) return `${count} B`;
  for (const unit of ["kB", "MB", "GB"]) {
    count /= 1000;
    if (count < 1000 || unit === "GB") return `${count.toPrecision(3)} ${unit}`;
  }
  return "";
}

export function seconds(value) {
  if (value === null || value === undefined) return "";
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${(value * 1000).toPrecision(3)} ms`;
  if (value < 120) return `${value.toPrecision(3)} s`;
  return `${Math.round(value / 60)} min`;
}

export function clock(wall) {
  const date = new Date(wall * 1000);
  return date.toLocaleTimeString([], { hour12: false }) + "." +
    String(date.getMilliseconds()).padStart(3, "0");
}

const FACTORS = { "": 1, us: 1e-6, ms: 1e-3, s: 1, m: 60, min: 60, h: 3600 };
const SIZES = { "": 1, b: 1, k: 1e3, kb: 1e3, m: 1e6, mb: 1e6, g: 1e9, gb: 1e9 };

function measured(text, units) {
  const match = /^(\d+(?:\.\d+)?)([a-z]*)$/.exec(text.toLowerCase());
  if (!match || !(match[2] in units)) return null;
  return Number(match[1]) * units[match[2]];
}

export const parseSeconds = (text) => measured(text, FACTORS);
export const parseBytes = (text) => measured(text, SIZES);
export const parseNumber = (text) => measured(text, { "": 1 });
