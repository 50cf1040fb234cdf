// What can be done with an exchange, and with all of them.

import { call } from "./api.js";
import { openDialog, field } from "./dialog.js";
import { button, el } from "./dom.js";

const COPIES = [
  ["curl", "curl"], ["requests", "Python: requests"], ["httpx", "Python: httpx"],
  ["stub", "stub of the harness"], ["hook", "hook of a proxy"],
];

export async function resend(exchange, edited = {}) {
  return call(`exchanges/${exchange.row.id}/resend`, { method: "POST", body: edited });
}

export async function edit(exchange, sent) {
  const whole = await call(`exchanges/${exchange.row.id}/draft`);
  const editor = requestEditor(whole);
  const problem = el("p", { role: "alert" });
  const close = openDialog("Edit and send", ...editor.controls, el("div", { class: "row" },
    button("Send", async () => {
      try {
        await resend(exchange, editor.value());
        close();
        sent();
      } catch (error) {
        problem.textContent = error.message;
      }
    }, { "data-do": "send" })), problem);
}

// Controls for a head and a body; `value()` is what they hold.
export function requestEditor({ line, fields, text, base64 = null }) {
  const first = el("input", { type: "text", value: line, size: "60", "aria-label": "First line" });
  const head = el("textarea", { rows: "8", "aria-label": "Fields" });
  head.value = fields.map(([name, value]) => `${name}: ${value}`).join("\n");
  const body = el("textarea", { rows: "8", "aria-label": "Body" });
  const isBinary = text === null && base64 !== null && base64 !== "";
  body.value = isBinary ? "" : (text ?? "");
  body.disabled = isBinary;
  body.placeholder = isBinary ? "The body is binary and is left as it is." : "";
  return {
    controls: [field("First line", first), field("Fields, one a line", head), field("Body", body)],
    value: () => ({
      line: first.value,
      fields: head.value.split("\n").filter((each) => each.trim() !== "").map((each) => {
        const at = each.indexOf(":");
        if (at < 1) throw new Error(`A field is a name, a colon and a value, not: ${each}`);
        return [each.slice(0, at).trim(), each.slice(at + 1).trim()];
      }),
      ...(isBinary ? {} : { text: body.value }),
    }),
  };
}

export function copy(exchange) {
  const shown = el("textarea", { rows: "14", readonly: true, "aria-label": "The copy" });
  const secrets = el("input", { type: "checkbox" });
  const told = el("span", { role: "status", class: "quiet" });
  let kind = "curl";
  const show = async () => {
    try {
      const { text } = await call(`exchanges/${exchange.row.id}/copy/${kind}${secrets.checked ? "?secrets=1" : ""}`);
      shown.value = text;
      try {
        await navigator.clipboard.writeText(text);
        told.textContent = "Copied.";
      } catch {
        shown.select();
        told.textContent = "Select and copy.";
      }
    } catch (error) {
      shown.value = error.message;
    }
  };
  secrets.addEventListener("change", show);
  openDialog("Copy as",
    el("div", { class: "row" }, COPIES.map(([name, label]) => button(label, () => {
      kind = name;
      show();
    }, { "data-copy": name }))),
    field("with secrets", secrets), shown, told);
  show();
}

export async function exportHar(ids) {
  const secrets = el("input", { type: "checkbox" });
  const told = el("p", { role: "status" });
  openDialog("Export as HAR",
    el("p", {}, `${ids.length} exchanges: those that the filter shows.`),
    field("with secrets (Authorization, cookies)", secrets),
    el("div", { class: "row" }, button("Save", async () => {
      try {
        const answer = await call("export", { method: "POST", body: { ids, secrets: secrets.checked }, raw: true });
        const url = URL.createObjectURL(await answer.blob());
        el("a", { href: url, download: "exchanges.har" }).click();
        setTimeout(() => URL.revokeObjectURL(url), 10_000);
        told.textContent = "Saved.";
      } catch (error) {
        told.textContent = error.message;
      }
    }, { "data-do": "save" })), told);
}

export function importHar(tell) {
  const chosen = el("input", { type: "file", accept: ".har,.json,.zip,application/json", "aria-label": "HAR file" });
  const told = el("p", { role: "status" });
  chosen.addEventListener("change", async () => {
    try {
      const { count } = await call(`import?name=${encodeURIComponent(chosen.files[0].name)}`, { method: "POST", body: chosen.files[0] });
      told.textContent = `${count} exchanges opened.`;
      tell(`${count} exchanges opened from ${chosen.files[0].name}.`);
    } catch (error) {
      told.textContent = error.message;
    }
  });
  openDialog("Open a HAR file", chosen, told);
}

export function pin(exchange) {
  return call(`exchanges/${exchange.row.id}/pin`, { method: "POST", body: { pinned: !exchange.row.pinned } });
}

