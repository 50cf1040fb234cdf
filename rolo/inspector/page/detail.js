// The chosen exchange.

import { call } from "./api.js";
import { showBody } from "./bodies.js";
import { endToEnd, headDiff, isChanged } from "./diff.js";
import { $, button, clear, el, visible } from "./dom.js";
import { Messages } from "./messages.js";
import { PHASES, waterfall } from "./traffic.js";
import { bytes, clock, seconds } from "./units.js";

const MASK = "••••••";

function diffOf(before, after, isRequest) {
  const [first, second] = [endToEnd(before, isRequest), endToEnd(after, isRequest)];
  return isChanged(first, second) ? headDiff(first, second) : el("p", { class: "quiet" }, "Unchanged.");
}

export class Detail {
  constructor({ feed, rows, act, choose }) {
    this.feed = feed;
    this.rows = rows;
    this.act = act; // (name, exchange) => void
    this.choose = choose; // shows another exchange
    this.side = $("side");
    this.tab = null;
    this.exchange = null;
    this.messages = null;
    this.request = 0;
  }

  get id() {
    return this.exchange?.row.id ?? null;
  }

  async open(id, { secrets = false } = {}) {
    const request = ++this.request;
    let exchange;
    try {
      exchange = await call(`exchanges/${id}${secrets ? "?secrets=1" : ""}`);
    } catch (error) {
      if (request === this.request) this.fail(error);
      return;
    }
    if (request !== this.request) return;
    const isSame = this.id === id;
    this.exchange = exchange;
    this.secrets = secrets;
    this.side.hidden = false;
    if (!isSame) this.side.scrollTop = 0;
    this.draw();
    this.feed.send({ watch: id, from: this.messages?.items.length ?? 0 });
  }

  fail(error) {
    this.exchange = null;
    this.side.hidden = false;
    clear(this.side).append(el("p", { class: "panel", role: "alert" }, error.message));
  }

  close() {
    this.request++;
    this.messages?.close();
    this.messages = null;
    this.exchange = null;
    this.side.hidden = true;
    this.feed.send({ watch: null });
  }

  // The row of the open exchange has changed: what is shown is asked for again, but not the
  // messages, which come by themselves.
  changed(row) {
    if (this.id !== row.id || this.tab === "Messages" || this.tab === "Events") {
      if (this.id === row.id) this.exchange.row = row;
      return;
    }
    clearTimeout(this.again);
    this.again = setTimeout(() => this.id === row.id && this.open(row.id, { secrets: this.secrets }), 150);
  }

  tabs() {
    const { row, tries, answer } = this.exchange;
    const found = [["Request", () => this.request_()], ["Answer", () => this.answer_()]];
    if (row.kind === "websocket" && answer?.status === 101) found.unshift(["Messages", (panel) => this.messages_(panel, true)]);
    if (row.kind === "sse") found.unshift(["Events", (panel) => this.messages_(panel, false)]);
    if (tries.length) found.push(["Upstream", () => this.upstream()]);
    found.push(["Timing", () => this.timing()]);
    return found;
  }

  draw() {
    const { row } = this.exchange;
    this.messages?.close();
    this.messages = null;
    clear(this.side);
    const tabs = this.tabs();
    if (!tabs.some(([name]) => name === this.tab)) this.tab = tabs[0][0];
    const state = row.open ? "open" : `${row.outcome}${row.error ? `: ${row.error}` : ""}`;
    const tablist = el("div", { class: "tabs", role: "tablist", "aria-label": "Parts of the exchange" },
      tabs.map(([name]) => button(name, () => {
        this.tab = name;
        this.draw();
      }, { role: "tab", "aria-selected": String(name === this.tab) })));
    const tools = el("div", { class: "tabs", role: "toolbar", "aria-label": "Do with this exchange" },
      [["Resend", "resend"], ["Edit and send", "edit"], ["Copy", "copy"], [row.pinned ? "Unpin" : "Pin", "pin"]]
        .map(([label, name]) => button(label, () => this.act(name, this.exchange), { "data-do": name })),
      button("Close", () => this.close(), { "data-do": "close" }));
    this.side.append(el("div", { class: "head" },
      el("h2", {}, visible(`${row.method} ${this.exchange.url}`)),
      el("div", { class: "state quiet" }, visible(`${state}${this.exchange.detail ? ` (${this.exchange.detail})` : ""}`)),
      tools, tablist));
    const panel = el("div", { class: "panel", role: "tabpanel", "aria-label": this.tab });
    this.side.append(panel);
    const [, make] = tabs.find(([name]) => name === this.tab);
    const made = make(panel);
    if (made) panel.append(made);
  }

  head(head) {
    const box = el("div", { class: "raw" }, el("div", {}, visible(head.line)));
    for (const [name, value, masked] of head.fields) {
      box.append(el("div", {}, el("span", { class: "name" }, visible(name)), ": ",
        masked ? button(MASK, () => this.open(this.id, { secrets: true }), { class: "masked", title: "Show the secrets of this exchange" })
          : visible(value)));
    }
    return box;
  }

  part(head, side) {
    const body = el("div", {});
    showBody(body, this.id, side, head.body).catch((error) => body.append(error.message));
    const trailers = head.trailers.length
      ? [el("h3", {}, "Trailers"), this.head({ line: "", fields: head.trailers })] : [];
    return el("div", {}, this.head(head), el("h3", {}, "Body"), body, trailers);
  }

  request_() {
    return this.part(this.exchange.request, "request");
  }

  answer_() {
    const { answer, interims, close } = this.exchange;
    const box = el("div", {}, interims.map((head) => [this.head(head), el("hr")]).flat());
    box.append(answer === null ? el("p", { class: "quiet" }, "No answer.") : this.part(answer, "answer"));
    if (close) box.append(el("p", {}, visible(`Closed by the ${close.by}: ${close.code} ${close.reason}`)));
    return box;
  }

  upstream() {
    const { request, answer, tries } = this.exchange;
    const box = el("div", {});
    tries.forEach((attempt, index) => {
      box.append(el("h3", {}, `${tries.length > 1 ? `Try ${index + 1}: ` : ""}${attempt.origin}`));
      const about = [];
      if (attempt.conn !== null) about.push(`connection ${attempt.conn}, ${attempt.reused ? "used before" : "new"}`);
      if (attempt.retried) about.push(`sent again: ${attempt.retried}`);
      if (attempt.error) about.push(attempt.error);
      box.append(el("p", { class: "quiet" }, visible(about.join("; "))));
      box.append(el("h3", {}, "Request: what came, and what went"), diffOf(request, attempt.request, true));
      if (attempt.answer && answer && index === tries.length - 1) {
        box.append(el("h3", {}, "Answer: what came, and what went"), diffOf(attempt.answer, answer, false));
      } else if (attempt.answer) box.append(this.head(attempt.answer));
    });
    return box;
  }

  timing() {
    const { row } = this.exchange;
    const lines = [["Began", clock(row.started)], ["Client", row.client ?? ""]];
    for (const [name, label] of PHASES) {
      const part = row.phases?.[name];
      if (part !== undefined && part !== null) lines.push([label, seconds(part)]);
    }
    lines.push(["To the head", seconds(row.head)], ["To the end", row.open ? "open" : seconds(row.seconds)],
      ["Received", bytes(row.up)], ["Sent", bytes(row.size)]);
    const others = row.conn === null ? []
      : this.rows.all.filter((other) => other.conn === row.conn).sort((a, b) => a.id - b.id);
    const table = el("table", {}, el("tbody", {}, lines.map(([name, value]) =>
      el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value)))));
    const legend = el("p", { class: "legend" }, PHASES.map(([name, label]) =>
      el("span", {}, el("i", { class: `p-${name}` }), `${label}  `)));
    return el("div", {}, table, waterfall(row), legend, others.length ? [
      el("h3", {}, `Upstream connection ${row.conn}: ${others.length} exchanges`),
      el("ul", {}, others.slice(0, 200).map((other) => el("li", {},
        button(`#${other.id} ${other.method} ${visible(other.path)}`, () => this.choose(other.id))))),
    ] : []);
  }

  messages_(panel, isWebsocket) {
    this.messages = new Messages(panel, this.id, { open: this.exchange.row.open, isWebsocket });
  }
}
