// All rows that the page knows, and those of them that the filter lets through, in order.

import { call } from "./api.js";
import { parse } from "./filter.js";

export class Rows extends EventTarget {
  constructor() {
    super();
    this.byId = new Map();
    this.shown = [];
    this.filter = parse("");
    this.found = null; // of text: filters, ids that the server found
    this.search = 0;
  }

  get all() {
    return [...this.byId.values()];
  }

  // Takes a batch: rows new or changed, ids that are gone, or everything anew.
  take({ rows, gone = [], anew = false }) {
    if (anew) this.byId.clear();
    let resort = anew;
    const last = this.shown.at(-1)?.id ?? 0;
    let changed = false;
    for (const id of gone) changed = this.byId.delete(id) || changed;
    const added = [];
    for (const row of rows) {
      const known = this.byId.get(row.id);
      if (known === undefined) {
        this.byId.set(row.id, row);
        if (!this.lets(row)) continue;
        if (row.id < last) resort = true;
        added.push(row);
      } else {
        const before = this.lets(known);
        Object.assign(known, row);
        if (before !== this.lets(known)) resort = true;
      }
    }
    if (gone.length && changed) this.shown = this.shown.filter((row) => this.byId.has(row.id));
    if (resort) this.renew();
    else {
      added.sort((a, b) => a.id - b.id);
      this.shown.push(...added);
    }
    this.dispatchEvent(new Event("change"));
  }

  lets(row) {
    return this.filter.test(row) && (this.found === null || this.found.has(row.id));
  }

  renew() {
    this.shown = this.all.filter((row) => this.lets(row)).sort((a, b) => a.id - b.id);
  }

  // Throws a FilterError if the line cannot be read.
  async use(line) {
    const filter = parse(line);
    this.filter = filter;
    this.found = null;
    const number = ++this.search;
    if (filter.texts.length === 0) {
      this.renew();
      this.dispatchEvent(new Event("change"));
      return;
    }
    const query = new URLSearchParams(filter.texts.map(({ negative, value }) => [negative ? "without" : "text", value]));
    const { ids } = await call(`search?${query}`);
    if (number !== this.search) return;
    this.found = new Set(ids);
    this.renew();
    this.dispatchEvent(new Event("change"));
  }
}
