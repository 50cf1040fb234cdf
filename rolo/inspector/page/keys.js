// The keyboard: everything can be done with it.

import { openDialog } from "./dialog.js";
import { $, el } from "./dom.js";

export const KEYS = [
  ["/", "go to the filter"], ["j or ↓", "next exchange"], ["k or ↑", "previous exchange"],
  ["g", "first exchange"], ["G", "last exchange, and follow"], ["Enter", "go to the detail"],
  ["Escape", "close the detail, leave the filter"], ["r", "send again"], ["e", "edit and send"],
  ["c", "copy as ..."], ["p", "pin or unpin"], ["space", "pause or go on recording"],
  ["x", "clear"], ["b", "breakpoints"], ["s", "summary"], ["n", "connections"],
  ["h", "export as HAR"], ["o", "open a HAR file"], ["t", "light, dark, or as the system has it"], ["?", "this help"],
];

export function help() {
  openDialog("Keys", el("table", {}, el("tbody", {}, KEYS.map(([key, what]) =>
    el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, key)), el("td", {}, what))))));
}

// `commands` by key. Keys with modifiers, and within controls, are the browser's.
export function listen(commands) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
    const inControl = event.target.closest("input, textarea, select");
    if (inControl) return;
    if ((event.key === " " || event.key === "Enter") && event.target.closest("button, summary, a")) return;
    const command = commands[event.key];
    if (command === undefined) return;
    event.preventDefault();
    command();
  });
}
