// Offers what may stand in the filter line next.

import { $, clear, el } from "./dom.js";
import { completions } from "./filter.js";

export function complete(input, rows, changed) {
  const list = $("completions");
  let offers = [];
  let start = 0;
  let chosen = -1;

  function show() {
    ({ start, offers } = completions(input.value, input.selectionStart, rows.all));
    chosen = -1;
    clear(list).append(...offers.map(([text, help], index) =>
      el("li", { role: "option", id: `offer-${index}`, "aria-selected": "false", onmousedown: (event) => {
        event.preventDefault();
        take(index);
      } }, text, el("small", {}, help))));
    list.hidden = offers.length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
    input.removeAttribute("aria-activedescendant");
  }

  function hide() {
    list.hidden = true;
    offers = [];
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function choose(index) {
    list.children[chosen]?.setAttribute("aria-selected", "false");
    chosen = (index + offers.length) % offers.length;
    list.children[chosen].setAttribute("aria-selected", "true");
    input.setAttribute("aria-activedescendant", `offer-${chosen}`);
  }

  function take(index) {
    const caret = input.selectionStart;
    const [text] = offers[index];
    const isKey = text.endsWith(":");
    const before = input.value.slice(0, start) + text + (isKey ? "" : " ");
    input.value = before + input.value.slice(caret).trimStart();
    input.setSelectionRange(before.length, before.length);
    changed();
    if (isKey) show();
    else hide();
  }

  input.addEventListener("input", show);
  input.addEventListener("blur", hide);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (list.hidden) input.blur();
      else hide();
      event.preventDefault();
    } else if (offers.length > 0) {
      if (event.key === "ArrowDown") choose(chosen + 1);
      else if (event.key === "ArrowUp") choose(chosen - 1);
      else if (event.key === "Tab" && !event.shiftKey) take(Math.max(chosen, 0));
      else if (event.key === "Enter" && chosen >= 0) take(chosen);
      else return;
      event.preventDefault();
    } else if (event.key === "Enter") $("list").focus();
  });
}
