// A list of any length of which only what is in sight exists. All lines have one height.

import { el } from "./dom.js";

const MARGIN = 8; // lines beyond what is in sight

// The highest element that browsers lay out without mistakes.
const HIGHEST = 8_000_000;

export class VirtualList {
  // `render(item, index)` makes the element of a line; `lines()` returns all items. Lines that
  // look as before stay the elements that they are.
  constructor(container, { lines, render, follow = true }) {
    this.container = container;
    this.lines = lines;
    this.render = render;
    this.follow = follow;
    this.spacer = el("div", { class: "spacer" });
    this.window = el("div", { class: "window", role: "rowgroup" });
    this.spacer.append(this.window);
    container.append(this.spacer);
    this.planned = false;
    this.elements = new Map();
    container.addEventListener("scroll", () => this.plan());
    this.observer = new ResizeObserver(() => this.plan());
    this.observer.observe(container);
  }

  // Draws once with the next frame, however often it was asked for.
  plan() {
    if (this.planned) return;
    this.planned = true;
    requestAnimationFrame(() => {
      this.planned = false;
      this.draw();
    });
  }

  get height() {
    if (!this.measured) {
      const probe = el("div", { class: "line" }, "X");
      this.window.append(probe);
      this.measured = probe.getBoundingClientRect().height || 22;
      probe.remove();
    }
    return this.measured;
  }

  get atEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.container;
    return scrollTop + clientHeight >= scrollHeight - this.height * 1.5;
  }

  draw() {
    const lines = this.lines();
    const wasAtEnd = this.atEnd;
    const total = Math.min(lines.length * this.height, HIGHEST);
    this.spacer.style.height = `${total}px`;
    if (this.follow && wasAtEnd && lines.length > (this.drawn ?? 0)) {
      this.container.scrollTop = this.container.scrollHeight;
    }
    this.drawn = lines.length;
    const inSight = Math.ceil(this.container.clientHeight / this.height);
    const scale = total > 0 ? (lines.length * this.height) / total : 1;
    const top = Math.floor((this.container.scrollTop * scale) / this.height);
    const first = Math.max(0, top - MARGIN);
    const last = Math.min(lines.length, top + inSight + MARGIN);
    const offset = this.container.scrollTop - (top - first) * this.height -
      ((this.container.scrollTop * scale) % this.height);
    this.window.style.transform = `translateY(${scale === 1 ? first * this.height : Math.max(0, offset)}px)`;
    const before = this.elements;
    this.elements = new Map();
    for (let index = first; index < last; index++) {
      const element = this.render(lines[index], index);
      const known = before.get(index);
      this.elements.set(index, known?.isEqualNode(element) ? known : element);
    }
    const shown = [...this.elements.values()];
    const same = shown.length === this.window.children.length &&
      shown.every((element, at) => element === this.window.children[at]);
    if (!same) this.window.replaceChildren(...shown);
  }

  // Scrolls so that the line with this index is in sight.
  show(index) {
    const top = index * this.height;
    const { scrollTop, clientHeight } = this.container;
    if (top < scrollTop) this.container.scrollTop = top;
    else if (top + this.height > scrollTop + clientHeight) {
      this.container.scrollTop = top + this.height - clientHeight;
    }
    this.plan();
  }

  toEnd() {
    this.container.scrollTop = this.container.scrollHeight;
    this.plan();
  }

  close() {
    this.observer.disconnect();
  }
}
