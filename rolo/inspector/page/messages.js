// Messages of a websocket, or server-sent events, as they come.

import { call } from "./api.js";
import { button, clear, el, visible } from "./dom.js";
import { hex, shortened, tree } from "./bodies.js";
import { bytes, seconds } from "./units.js";
import { VirtualList } from "./virtual.js";

const PAGE = 2000;

export class Messages {
  // `open` tells whether the exchange still runs.
  constructor(panel, id, { open, isWebsocket }) {
    this.id = id;
    this.items = [];
    this.word = "";
    this.shown = this.items;
    this.isWebsocket = isWebsocket;
    this.search = el("input", {
      type: "search", "aria-label": "Search in messages", placeholder: "Search",
      oninput: () => this.find(this.search.value),
    });
    this.summary = el("span", { class: "quiet", role: "status" });
    this.box = el("div", { class: "messages", role: "table", tabindex: "0", "aria-label": isWebsocket ? "Messages" : "Events" });
    this.one = el("div", {});
    panel.append(el("p", {}, this.search, " ", this.summary), this.box, this.one);
    if (open && isWebsocket) panel.append(this.form());
    this.list = new VirtualList(this.box, { lines: () => this.shown, render: (item) => this.line(item) });
    this.box.addEventListener("mousedown", (event) => {
      const line = event.target.closest(".line");
      if (line) this.show(Number(line.dataset.number));
    });
    this.loading = this.load();
  }

  async load() {
    for (;;) {
      const { items, total } = await call(`exchanges/${this.id}/messages?from=${this.items.length}&count=${PAGE}`);
      this.take(this.items.length, items);
      if (items.length === 0 || this.items.length >= total) return;
    }
  }

  // Takes messages from the feed; asks for those between if some are missing.
  push(from, items) {
    if (from > this.items.length) {
      this.loading = this.loading.then(() => this.load());
      return;
    }
    this.take(from, items);
  }

  take(from, items) {
    const fresh = items.slice(this.items.length - from);
    this.items.push(...fresh);
    if (this.word !== "") this.shown = this.items.filter((item) => this.has(item));
    this.told();
    this.list.plan();
  }

  told() {
    const total = this.items.reduce((sum, item) => sum + item.size, 0);
    const found = this.word === "" ? "" : `${this.shown.length} of `;
    this.summary.textContent =
      `${found}${this.items.length} ${this.isWebsocket ? "messages" : "events"}, ${bytes(total)}`;
  }

  has(item) {
    return (item.text ?? "").toLowerCase().includes(this.word);
  }

  find(word) {
    this.word = word.toLowerCase();
    this.shown = this.word === "" ? this.items : this.items.filter((item) => this.has(item));
    this.told();
    this.list.plan();
  }

  line(item) {
    const arrow = item.by === "client" ? "→" : "←";
    const text = item.text === null ? `binary, ${bytes(item.size)}` : item.text.slice(0, 300);
    return el("div", { class: `line ${item.by}`, role: "row", "data-number": item.number },
      el("span", { role: "cell", title: item.by === "client" ? "from the client" : "from the server" }, arrow),
      el("span", { role: "cell" }, `+${seconds(item.at)}`),
      el("span", { role: "cell" }, bytes(item.size)),
      el("span", { role: "cell" }, visible((item.kind ? `${item.kind}: ` : "") + text.replace(/\s+/g, " "))));
  }

  async show(number) {
    const item = this.items[number];
    clear(this.one);
    const head = [`${item.by === "client" ? "From the client" : "From the server"}, +${seconds(item.at)}, ${bytes(item.size)}`];
    this.one.append(el("h3", {}, ...head));
    const { text, base64 } = item.whole === false
      ? await call(`exchanges/${this.id}/messages/${number}`) : item;
    if (text === null) {
      this.one.append(hex(Uint8Array.from(atob(base64 ?? ""), (c) => c.charCodeAt(0))));
      return;
    }
    try {
      const value = JSON.parse(text);
      if (typeof value === "object" && value !== null) {
        this.one.append(el("div", { class: "tree" }, tree(value)));
        return;
      }
    } catch {
      // Not JSON: text it is.
    }
    this.one.append(shortened(text));
  }

  form() {
    const text = el("textarea", { rows: "2", "aria-label": "Message to send" });
    const sent = el("span", { role: "status", class: "quiet" });
    const send = async (to) => {
      try {
        await call(`exchanges/${this.id}/send`, { method: "POST", body: { to, text: text.value } });
        sent.textContent = "Sent.";
      } catch (error) {
        sent.textContent = error.message;
      }
    };
    return el("div", {}, el("h3", {}, "Send a message by hand"), text, el("p", {},
      button("To the server", () => send("server")), " ", button("To the client", () => send("client")), " ", sent));
  }

  close() {
    this.list.close();
  }
}
