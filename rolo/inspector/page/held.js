// Breakpoints: which requests, answers and messages are held, and what is held now.

import { requestEditor } from "./actions.js";
import { call } from "./api.js";
import { field, openDialog } from "./dialog.js";
import { $, button, el, visible } from "./dom.js";

const STAGES = [
  ["request", "requests"], ["answer", "answers"],
  ["client", "messages of clients"], ["server", "messages of servers"],
];

export class Held {
  constructor() {
    this.items = new Map();
    this.box = $("held");
  }

  // What is held now, as the server tells it.
  take(items) {
    const ids = new Set(items.map((item) => item.id));
    for (const [id, shown] of this.items) {
      if (!ids.has(id)) {
        shown.remove();
        this.items.delete(id);
      }
    }
    for (const item of items) {
      if (this.items.has(item.id)) continue;
      const article = this.article(item);
      this.items.set(item.id, article);
      this.box.append(article);
    }
    this.box.hidden = this.items.size === 0;
  }

  article(item) {
    const problem = el("span", { role: "alert" });
    const isMessage = item.stage === "client" || item.stage === "server";
    let editor;
    if (isMessage) {
      const text = el("textarea", { rows: "3", "aria-label": "Message" });
      text.value = item.text ?? "";
      text.disabled = item.text === null;
      editor = { controls: [text], value: () => (item.text === null ? {} : { text: text.value }) };
    } else editor = requestEditor(item);
    const end = async (action, edited) => {
      try {
        await call(`held/${item.id}`, { method: "POST", body: { action, ...edited } });
      } catch (error) {
        problem.textContent = error.message;
      }
    };
    const tools = [
      button("Go on", () => end("go"), { "data-do": "go" }),
      button("Go on with edits", () => {
        try {
          end("edit", editor.value());
        } catch (error) {
          problem.textContent = error.message;
        }
      }, { "data-do": "go-edited" }),
      button(isMessage ? "Drop" : "Break off", () => end("drop"), { "data-do": "drop" }),
    ];
    const until = new Date(item.until * 1000).toLocaleTimeString([], { hour12: false });
    return el("article", { "data-held": item.id },
      el("h3", {}, visible(`#${item.exchange} ${item.title}: held (goes on by itself at ${until})`)),
      el("details", { open: true }, el("summary", {}, "Edit"), ...editor.controls),
      el("p", { class: "tabs" }, tools, problem));
  }
}

export async function editBreakpoints() {
  const { breakpoints } = await call("breakpoints");
  const list = el("div", {});
  const told = el("p", { role: "alert" });
  const lines = [];
  const add = ({ filter, stages, timeout }) => {
    const line = el("input", { type: "text", value: filter, size: "40", "aria-label": "Filter of the breakpoint" });
    const seconds = el("input", { type: "number", min: "1", max: "3600", value: String(timeout), "aria-label": "Seconds until it goes on" });
    const boxes = STAGES.map(([name, label]) => {
      const box = el("input", { type: "checkbox", "data-stage": name });
      box.checked = stages.includes(name);
      return [name, box, field(label, box)];
    });
    const row = el("div", { class: "panel" }, field("Filter", line), boxes.map((each) => each[2]),
      field("Goes on after seconds", seconds), button("Remove", () => {
        lines.splice(lines.indexOf(entry), 1);
        row.remove();
      }));
    const entry = () => ({
      filter: line.value, timeout: Number(seconds.value),
      stages: boxes.filter((each) => each[1].checked).map((each) => each[0]),
    });
    lines.push(entry);
    list.append(row);
  };
  breakpoints.forEach(add);
  if (breakpoints.length === 0) add({ filter: "", stages: ["request"], timeout: 60 });
  const close = openDialog("Breakpoints", list, el("div", { class: "row" },
    button("Add", () => add({ filter: "", stages: ["request"], timeout: 60 })),
    button("Save", async () => {
      try {
        await call("breakpoints", { method: "PUT", body: { breakpoints: lines.map((each) => each()) } });
        close();
      } catch (error) {
        told.textContent = error.message;
      }
    }, { "data-do": "save-breakpoints" })), told);
}

