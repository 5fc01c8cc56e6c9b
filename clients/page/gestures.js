// Zoom and pan over a chart: by mouse (drag: zoom into it; with Shift: pan; wheel with Ctrl, or while the chart has the
// focus: zoom; sideways: pan; double click: all), by touch (one finger pans, two zoom) and by keyboard.

import { el } from "./dom.js";

const LEAST_DRAG = 6, STEP = 0.25, ZOOM = 2;

function zoomed(range, at, factor) {
  return { from: at - (at - range.from) * factor, to: at + (range.to - at) * factor };
}

function moved(range, seconds) {
  return { from: range.from + seconds, to: range.to + seconds };
}

export class Gestures {
  #pointers = new Map(); // id -> clientX
  #start = null; // of what goes on: {range, x, spread, kind}

  // chart: a Chart; go(range): look there, null: at all of it; ends(): {from, to} of all rows.
  constructor(root, chart, go, ends) {
    Object.assign(this, { root, chart, go, ends });
    this.shade = el("div", { class: "shade", hidden: true });
    root.append(this.shade);
    root.addEventListener("pointerdown", (event) => this.#down(event));
    root.addEventListener("pointermove", (event) => this.#move(event));
    root.addEventListener("pointerup", (event) => this.#up(event));
    root.addEventListener("pointercancel", (event) => this.#up(event));
    root.addEventListener("dblclick", () => this.go(null));
    root.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    root.addEventListener("keydown", (event) => this.#key(event));
  }

  zoom(factor) {
    const { range } = this.chart;
    if (range) { // else there is nothing to see yet
      this.go(zoomed(range, (range.from + range.to) / 2, factor));
    }
  }

  pan(share) {
    const { range } = this.chart;
    if (range) {
      this.go(moved(range, share * (range.to - range.from)));
    }
  }

  #down(event) {
    const area = this.chart.area();
    if (area === null || event.button !== 0 || !this.chart.range) {
      return;
    }
    this.root.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, event.clientX);
    const select = event.pointerType === "mouse" && !event.shiftKey;
    this.#begin(select ? "select" : "pan");
  }

  // From here on: fingers that come or go begin anew.
  #begin(kind) {
    const places = [...this.#pointers.values()];
    const middle = places.reduce((sum, x) => sum + x, 0) / places.length;
    const spread = places.length > 1 ? Math.max(1, Math.abs(places[0] - places[1])) : null;
    this.#start = { range: this.chart.range, x: middle, spread, kind: spread ? "pinch" : kind };
  }

  #move(event) {
    if (!this.#pointers.has(event.pointerId)) {
      return;
    }
    this.#pointers.set(event.pointerId, event.clientX);
    const { range, x, spread, kind } = this.#start, places = [...this.#pointers.values()];
    const area = this.chart.area(), second = (range.to - range.from) / area.width;
    if (kind === "select") {
      this.#showShade(x, event.clientX, area);
    } else if (kind === "pan") {
      this.go(moved(range, (x - event.clientX) * second));
    } else if (places.length > 1) {
      const middle = (places[0] + places[1]) / 2, factor = spread / Math.max(1, Math.abs(places[0] - places[1]));
      const at = range.from + (x - area.left) * second;
      this.go(moved(zoomed(range, at, factor), (x - middle) * second * factor));
    }
  }

  #up(event) {
    if (!this.#pointers.delete(event.pointerId)) {
      return;
    }
    const { kind, x } = this.#start;
    this.shade.hidden = true;
    if (kind === "select" && event.type === "pointerup" && Math.abs(event.clientX - x) >= LEAST_DRAG) {
      const times = [this.chart.timeAt(x), this.chart.timeAt(event.clientX)].sort((a, b) => a - b);
      this.go({ from: times[0], to: times[1] });
    }
    if (this.#pointers.size > 0) {
      this.#begin("pan");
    }
  }

  #showShade(from, to, area) {
    const box = this.root.getBoundingClientRect();
    const clamp = (x) => Math.max(area.left, Math.min(area.left + area.width, x));
    const left = clamp(Math.min(from, to)), right = clamp(Math.max(from, to));
    this.shade.hidden = false;
    Object.assign(this.shade.style, { left: `${left - box.left}px`, width: `${right - left}px`,
      top: `${area.top - box.top}px`, height: `${area.bottom - area.top}px` });
  }

  #wheel(event) {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!this.chart.range || !(sideways || event.ctrlKey || this.root.contains(document.activeElement))) {
      return; // the page scrolls
    }
    event.preventDefault();
    if (sideways) {
      this.pan(event.deltaX / 800);
    } else {
      const factor = Math.exp(Math.max(-200, Math.min(200, event.deltaY)) / 400);
      this.go(zoomed(this.chart.range, this.chart.timeAt(event.clientX), factor));
    }
  }

  #key(event) {
    if (!this.chart.range || event.ctrlKey || event.altKey || event.metaKey) {
      return;
    }
    const { range } = this.chart, ends = this.ends(), width = range.to - range.from;
    const step = event.shiftKey ? 1 : STEP;
    const does = {
      ArrowLeft: () => this.pan(-step),
      ArrowRight: () => this.pan(step),
      "+": () => this.zoom(1 / ZOOM),
      "=": () => this.zoom(1 / ZOOM),
      "-": () => this.zoom(ZOOM),
      0: () => this.go(null),
      Home: () => ends && this.go({ from: ends.from, to: ends.from + width }),
      End: () => ends && this.go({ from: ends.to - width, to: ends.to }),
    }[event.key];
    if (does) {
      event.preventDefault();
      does();
    }
  }
}
