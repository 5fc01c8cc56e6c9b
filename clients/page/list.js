// A list of any length of which only what is seen is in the document. Rows are equally high. The focus moves by the
// arrow keys, and with it the part that is seen.

import { el } from "./dom.js";

const SPARE = 6; // rows beyond either edge

export class VirtualList {
  #items = [];
  #rows = new Map(); // index -> element
  #height = 64;
  #current = 0; // the row that Tab reaches
  #frame = 0;

  // draw(item, index): an element, whose first link is the row's; seen(items): those in sight, after each change.
  constructor(root, label, draw, seen) {
    this.draw = draw;
    this.seen = seen;
    this.rows = el("div", { class: "rows", role: "list", "aria-label": label });
    this.box = el("div", { class: "list", scroll: () => this.#later() }, this.rows);
    this.rows.addEventListener("keydown", (event) => this.#key(event));
    this.rows.addEventListener("focusin", (event) => this.#focused(event));
    root.append(this.box);
    this.watcher = new ResizeObserver(() => this.#later());
    this.watcher.observe(this.box);
  }

  close() {
    this.watcher.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  // Other items, each with a uid. Unless top is true, the place in the list is kept, and the focus on its item.
  set(items, top) {
    const focused = this.rows.contains(document.activeElement), item = this.#items[this.#current];
    const place = top || !item ? 0 : items.findIndex(({ uid }) => uid === item.uid);
    this.#items = items;
    this.#current = Math.max(0, place);
    this.#drop(() => true);
    if (top) {
      this.box.scrollTop = 0;
    }
    this.#layout();
    if (focused) {
      this.#link(this.#current)?.focus({ preventScroll: true });
    }
  }

  // Draws a row anew, if it is in sight.
  refresh(index) {
    const row = this.#rows.get(index);
    if (row) {
      const focused = row.contains(document.activeElement);
      this.#put(index);
      row.remove();
      if (focused) {
        this.#link(index).focus({ preventScroll: true });
      }
    }
  }

  focus() {
    this.#move(this.#current);
  }

  #later() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#layout());
  }

  #drop(which) {
    for (const [index, row] of this.#rows) {
      if (which(index)) {
        row.remove();
        this.#rows.delete(index);
      }
    }
  }

  #put(index) {
    const row = this.draw(this.#items[index], index);
    row.setAttribute("role", "listitem");
    row.setAttribute("aria-setsize", this.#items.length);
    row.setAttribute("aria-posinset", index + 1);
    row.dataset.index = index;
    row.style.transform = `translateY(${index * this.#height}px)`;
    row.querySelector("a").tabIndex = index === this.#current ? 0 : -1;
    const next = Math.min(...[...this.#rows.keys()].filter((other) => other > index));
    this.#rows.set(index, row);
    this.rows.insertBefore(row, this.#rows.get(next) ?? null); // they are read in the order of the document
  }

  #layout() {
    const height = parseFloat(getComputedStyle(this.box).getPropertyValue("--row-height")) || this.#height;
    if (height !== this.#height) {
      this.#height = height;
      this.#drop(() => true);
    }
    this.rows.style.height = `${this.#items.length * height}px`;
    const first = Math.max(0, Math.floor(this.box.scrollTop / height) - SPARE);
    const end = Math.min(this.#items.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / height) + SPARE);
    const kept = (index) => (index >= first && index < end) || index === this.#current;
    this.#drop((index) => !kept(index) || index >= this.#items.length);
    for (let index = first; index < end; index++) {
      if (!this.#rows.has(index)) {
        this.#put(index);
      }
    }
    if (this.#items.length > 0 && !this.#rows.has(this.#current)) {
      this.#put(this.#current);
    }
    this.seen(this.#items.slice(first, end));
  }

  #link(index) {
    return this.#rows.get(index)?.querySelector("a");
  }

  #focused(event) {
    const index = Number(event.target.closest("[data-index]")?.dataset.index);
    if (index >= 0 && index !== this.#current) {
      const before = this.#link(this.#current);
      if (before) {
        before.tabIndex = -1;
      }
      this.#current = index;
      this.#link(index).tabIndex = 0;
    }
  }

  #move(index) {
    if (this.#items.length === 0) {
      return;
    }
    const to = Math.max(0, Math.min(this.#items.length - 1, index));
    const top = to * this.#height, bottom = top + this.#height;
    if (top < this.box.scrollTop) {
      this.box.scrollTop = top;
    } else if (bottom > this.box.scrollTop + this.box.clientHeight) {
      this.box.scrollTop = bottom - this.box.clientHeight;
    }
    this.#layout();
    if (!this.#rows.has(to)) {
      this.#put(to);
    }
    this.#link(to).focus({ preventScroll: true });
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.#height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (Object.hasOwn(steps, event.key) && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      this.#move(this.#current + steps[event.key]);
    }
  }
}
