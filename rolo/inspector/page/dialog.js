// The one dialog of the page.

import { $, button, clear, el } from "./dom.js";

// Shows `content` under `title`; returns what closes it.
export function openDialog(title, ...content) {
  const dialog = $("dialog");
  const close = () => dialog.close();
  clear(dialog).append(
    el("h2", { id: "dialog-title" }, title), ...content,
    el("div", { class: "row" }, button("Close", close, { "data-do": "close-dialog" })),
  );
  if (!dialog.open) dialog.showModal();
  return close;
}

export function field(label, control) {
  return el("label", {}, label, " ", control);
}
