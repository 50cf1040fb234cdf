// What changed between two heads: lines that went, lines that came, in the order of the second.

import { el, visible } from "./dom.js";

// Of a connection, and not of what goes from end to end.
const HOP = /^(connection|keep-alive|proxy-connection|te|trailer|transfer-encoding)$/i;

const same = (a, b) => a[0] === b[0] && a[1] === b[1];

// The longest common part of two short lists of fields.
export function difference(before, after) {
  const longest = Array.from({ length: before.length + 1 }, () => new Array(after.length + 1).fill(0));
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      longest[i][j] = same(before[i], after[j])
        ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const lines = [];
  let i = 0, j = 0;
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && same(before[i], after[j])) {
      lines.push(["same", before[i]]);
      i++;
      j++;
    } else if (j >= after.length || (i < before.length && longest[i + 1][j] >= longest[i][j + 1])) {
      lines.push(["gone", before[i++]]);
    } else lines.push(["new", after[j++]]);
  }
  return lines;
}

// A head ({line, fields}) without what belongs to its connection; of a request, without its length,
// which is not known of what went.
export function endToEnd(head, isRequest) {
  return { line: head.line, fields: head.fields.filter(([name]) =>
    !HOP.test(name) && !(isRequest && name.toLowerCase() === "content-length")) };
}

// Shows two heads as one with what changed.
export function headDiff(before, after) {
  const asFields = (head) => [["", head.line], ...head.fields];
  const box = el("div", { class: "raw" });
  for (const [what, [name, value]] of difference(asFields(before), asFields(after))) {
    const text = visible(name === "" ? value : `${name}: ${value}`);
    box.append(el(what === "gone" ? "del" : what === "new" ? "ins" : "div", {}, text));
  }
  return box;
}

export function isChanged(before, after) {
  return before.line !== after.line || before.fields.length !== after.fields.length ||
    before.fields.some((field, index) => !same(field, after.fields[index]));
}
