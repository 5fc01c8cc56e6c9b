// A list of any length of which only what is seen is in the document. Rows are equally high. The focus moves by the
// arrow keys, and with it the part that is seen. What changes is put into the rows that are there: one that is pressed,
// or read aloud, stays the same element.

import { el } from "./dom.js";

const SPARE = 6; // rows beyond either edge

// The old row with the parts of the new one that differ.
function renewed(old, fresh) {
  if (old?.children.length !== fresh.children.length) {
    old?.remove();
    return fresh;
  }
  [...fresh.children].forEach((part, index) => {
    if (!part.isEqualNode(old.children[index])) {
      old.children[index].replaceWith(part);
    }
  });
  return old;
}

export class VirtualList {
  #items = [];
  #rows = new Map(); // index -> element
  #old = new Map();  // uid -> element, of rows that wait for their new index
  #height = 64;
  #current = 0; // the row that Tab reaches
  #frame = 0;

  // draw(item): an element, whose first link is the row's; seen(items): those in sight, after each change.
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

  // Where one is in it.
  place() {
    return { uid: this.#items[this.#current]?.uid, top: this.box.scrollTop };
  }

  // Other items, each with a uid, from that place on; the focus stays on its item. null: from the top.
  set(items, place = this.place()) {
    const focused = this.rows.contains(document.activeElement);
    this.#old = new Map([...this.#rows].map(([index, row]) => [this.#items[index].uid, row]));
    this.#rows.clear();
    this.#items = items;
    this.#current = Math.max(0, items.findIndex(({ uid }) => uid === place?.uid));
    this.#measure();
    this.box.scrollTop = place?.top ?? 0;
    this.#layout();
    if (focused) {
      this.#link(this.#current)?.focus({ preventScroll: true });
    }
  }

  // Draws a row anew, if it is in sight.
  refresh(index) {
    if (this.#rows.has(index)) {
      this.#put(index);
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
    const item = this.#items[index], fresh = this.draw(item);
    fresh.querySelector("a").tabIndex = index === this.#current ? 0 : -1;
    const row = renewed(this.#rows.get(index) ?? this.#old.get(item.uid), fresh);
    row.setAttribute("role", "listitem");
    row.setAttribute("aria-setsize", this.#items.length);
    row.setAttribute("aria-posinset", index + 1);
    row.dataset.index = index;
    row.style.transform = `translateY(${index * this.#height}px)`;
    this.#old.delete(item.uid);
    this.#rows.set(index, row);
    const next = this.#rows.get(Math.min(...[...this.#rows.keys()].filter((other) => other > index))) ?? null;
    if (row.parentNode === null || row.nextSibling !== next) {
      this.rows.insertBefore(row, next); // they are read in the order of the document
    }
  }

  #measure() {
    const height = parseFloat(getComputedStyle(this.box).getPropertyValue("--row-height")) || this.#height;
    if (height !== this.#height) {
      this.#height = height;
      this.#drop(() => true);
    }
    this.rows.style.height = `${this.#items.length * height}px`;
  }

  // From the last row up: so each finds the one before which it stands, mostly where it is already.
  #layout() {
    this.#measure();
    const count = this.#items.length, { scrollTop: top, clientHeight } = this.box;
    const first = Math.max(0, Math.floor(top / this.#height) - SPARE);
    const end = Math.min(count, Math.ceil((top + clientHeight) / this.#height) + SPARE);
    const wanted = new Set(count > 0 ? [this.#current] : []);
    for (let index = first; index < end; index++) {
      wanted.add(index);
    }
    this.#drop((index) => !wanted.has(index));
    const uids = new Set([...wanted].map((index) => this.#items[index].uid));
    this.#old.forEach((row, uid) => uids.has(uid) || row.remove());
    [...wanted].sort((a, b) => b - a).filter((index) => !this.#rows.has(index)).forEach((index) => this.#put(index));
    this.#old.clear();
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
