// One metric: its chart, and the rows of what the chart shows.
//
// A look at {from, to} asks for as many buckets as the screen has room for; where they hold few rows, for the rows
// themselves. So zooming in ends at single rows, and a metric of any length costs the same. What is on the screen
// stays until the answer is there.

import { askJson, modelPath } from "./api.js";
import { Chart } from "./chart.js";
import { el, readOut, say } from "./dom.js";
import { openFeedback } from "./feedback.js";
import { Gestures } from "./gestures.js";
import { Live } from "./live.js";
import { Loader } from "./loader.js";
import { backLink, metricLink, replaceRoute } from "./route.js";
import { RowsTable } from "./rows.js";
import { BUCKET, bucketSeconds, formatCount, formatScore, formatValue, HIGH, MEDIUM } from "./score.js";
import { seriesOfBuckets, seriesOfRows } from "./series.js";
import { formatSpan, formatTime, parseTime } from "./time.js";

const SINGLE_ROWS = 2500;  // so many or fewer are drawn as they are
const BUCKETS_MOST = 1000;
const SETTLE_MS = 150;     // a gesture is over
const LEAST_SECONDS = 10;

// For whoever measures how long the first chart takes: "answer", "drawn".
function markFirst(name) {
  if (performance.getEntriesByName(name).length === 0) {
    performance.mark(name);
  }
}

class Detail {
  #loader = new Loader((signal) => this.#load(signal));
  #record = null;
  #ends = null;   // {from, to} of all rows
  #range = null;  // as the route has it; null: all
  #series = null;
  #stale = false; // what was loaded of the record is old
  #picking = false; // what is in the fields is not yet what is looked at

  constructor(root, { uid, range }) {
    Object.assign(this, { uid });
    this.#range = range && this.#bounded(range);
    this.#build(root);
    this.chart = new Chart(this.box, (index) => this.#readOut(index));
    this.gestures = new Gestures(this.figure, this.chart, (to) => this.#go(to, SETTLE_MS), () => this.#ends);
    this.table = new RowsTable(this.below, uid);
    this.#loader.start();
    this.live = new Live(uid, () => this.refresh());
  }

  #build(root) {
    this.title = el("h1", {}, this.uid);
    this.facts = el("p", { class: "facts" });
    this.feedback = el("button", { type: "button", id: "feedback-open", disabled: true, click: () => this.#openFeedback() }, "Feedback…");
    this.from = el("input", { type: "datetime-local", step: 1, id: "from", required: true });
    this.to = el("input", { type: "datetime-local", step: 1, id: "to", required: true });
    this.box = el("div", { class: "plots" });
    this.figure = el("div", { class: "chart", id: "chart", tabindex: 0, role: "application", "aria-label":
      "Chart of value and score. Arrow keys pan, plus and minus zoom, Home and End go to the ends, 0 shows all. "
      + "The table below has the rows." }, this.box);
    this.readout = el("p", { class: "readout", id: "readout" });
    this.what = el("p", { class: "what", id: "what", role: "status" }, "Loading…");
    this.below = el("section", { class: "below", "aria-label": "Rows of the selection" });
    root.append(
      el("div", { class: "heading" }, el("a", { href: backLink(), class: "back" }, "← Metrics"),
        this.title, this.feedback),
      this.facts, this.#buildControls(), this.figure, this.readout, this.#buildLegend(), this.what, this.below);
  }

  #buildControls() {
    const button = (text, label, act) => el("button", { type: "button", "aria-label": label, title: label, click: act }, text);
    return el("form", { class: "controls", "aria-label": "What is in view", novalidate: true, submit: (event) => this.#pick(event),
      input: () => { this.#picking = true; } },
      el("label", {}, "From (UTC) ", this.from), el("label", {}, "to ", this.to), el("button", { type: "submit", id: "apply" }, "Show"),
      el("span", { class: "buttons" },
        button("◀", "Earlier", () => this.gestures.pan(-0.5)), button("▶", "Later", () => this.gestures.pan(0.5)),
        button("+", "Zoom in", () => this.gestures.zoom(0.5)), button("−", "Zoom out", () => this.gestures.zoom(2)),
        button("All", "All rows", () => this.#go(null, 0))));
  }

  #buildLegend() {
    const entry = (kind, text) => el("li", {}, el("span", { class: `key ${kind}` }), text);
    return el("ul", { class: "legend", "aria-label": "Legend" }, entry("line", "value"), entry("band", "least to greatest"),
      entry("low", "score"), entry("medium", `score from ${MEDIUM}`), entry("high", `from ${HIGH}: anomaly`), entry("unscored", "no score yet"));
  }

  update({ range }) {
    this.#go(range, 0);
  }

  // Loads anew what is in view, which stays until the answer is there. Who looks at the end goes on to the new end.
  refresh() {
    this.#stale = true;
    readOut(this.what, false);
    return this.#loader.start();
  }

  close() {
    this.live.close();
    this.#loader.close();
    this.dialog?.close();
    this.chart.destroy();
  }

  #pick(event) {
    event.preventDefault();
    const from = parseTime(this.from.value), to = parseTime(this.to.value);
    this.to.setCustomValidity(from < to ? "" : "This must be after the beginning");
    if (this.from.reportValidity() && this.to.reportValidity()) {
      this.#go({ from, to }, 0);
    }
  }

  // Looks at a range, at what is loaded first, and loads when nothing more is asked for.
  #go(range, delay) {
    this.#range = range && this.#bounded(range);
    this.#picking = false;
    readOut(this.what, true);
    if (this.#series && this.#shown()) {
      this.chart.look(this.#shown());
    }
    this.#fillPickers();
    this.table.reset();
    this.#loader.start(delay);
  }

  // Whole seconds, not too few, nor far beyond all that there is.
  #bounded({ from, to }) {
    if (to - from < LEAST_SECONDS) {
      const middle = (from + to) / 2;
      from = middle - LEAST_SECONDS / 2;
      to = middle + LEAST_SECONDS / 2;
    }
    if (this.#ends) {
      const width = Math.min(to - from, 2 * (this.#ends.to - this.#ends.from) + LEAST_SECONDS);
      from = Math.max(this.#ends.from - width / 2, Math.min(this.#ends.to - width / 2, from));
      to = from + width;
    }
    return { from: Math.round(from), to: Math.round(to) };
  }

  #shown() {
    return this.#range ?? (this.#ends && (this.#ends.to > this.#ends.from ? this.#ends
      : { from: this.#ends.from - LEAST_SECONDS, to: this.#ends.to + LEAST_SECONDS }));
  }

  async #load(signal) {
    if (this.#ends === null || this.#stale) {
      await this.#loadRecord(signal);
    }
    replaceRoute(metricLink(this.uid, this.#range));
    if (this.#ends === null) {
      this.#showNothing();
      return;
    }
    const shown = this.#shown();
    const buckets = Math.max(100, Math.min(BUCKETS_MOST, this.box.clientWidth - 74));
    const summary = await askJson(modelPath(this.uid, "summary", { ...shown, buckets }), { signal });
    markFirst("answer");
    const count = summary.data.reduce((sum, bucket) => sum + bucket[BUCKET.rows], 0);
    if (count <= SINGLE_ROWS) {
      await this.#showRows(shown, signal);
    } else {
      const width = bucketSeconds(shown, buckets);
      this.#draw(seriesOfBuckets(summary.data, width), shown);
      say(this.what, `${formatCount(count, "row")} in view; each point sums up ${formatSpan(width)}`);
      await this.table.load(shown, count, signal);
    }
  }

  // There is no row; if there were some, they are gone.
  #showNothing() {
    if (this.#series) {
      this.#draw(seriesOfRows([]), this.chart.range);
      this.table.set(this.chart.range, []);
    }
    say(this.what, "The metric has no rows yet.");
  }

  async #showRows(shown, signal) {
    const { data } = await askJson(modelPath(this.uid, "data", { ...shown, anomaly: -1 }), { signal });
    this.#draw(seriesOfRows(data), shown);
    say(this.what, data.length > 0 ? `${formatCount(data.length, "row")} in view, each a point` : "No rows in view");
    this.table.set(shown, data);
  }

  #draw(series, shown) {
    this.#series = series;
    this.chart.draw(series, shown);
    this.#fillPickers();
    requestAnimationFrame(() => setTimeout(() => markFirst("drawn")));
  }

  async #loadRecord(signal) {
    const [[record], summary] = await Promise.all([
      askJson(modelPath(this.uid, null), { signal }),
      askJson(modelPath(this.uid, "summary", { buckets: 1 }), { signal })]);
    const all = summary.data[0];
    const before = this.#ends;
    this.#record = record;
    this.#ends = all ? { from: parseTime(all[BUCKET.start]), to: parseTime(record.last_timestamp) } : null;
    this.#stale = false;
    if (before && this.#ends && this.#range && this.#range.to >= before.to && this.#range.to < this.#ends.to) {
      const more = this.#ends.to - this.#range.to;
      this.#range = { from: this.#range.from + more, to: this.#range.to + more };
    }
    document.title = `${record.name} · metricmq`;
    say(this.title, record.name);
    say(this.facts, [record.server, record.location, all ? formatCount(all[BUCKET.rows], "row") : null,
      all ? `last ${formatValue(all[BUCKET.last])} at ${record.last_timestamp}` : null,
      all ? `greatest score ${formatScore(all[BUCKET.score])}` : null].filter(Boolean).join(" · "));
    this.feedback.disabled = false;
  }

  #fillPickers() {
    const shown = this.#shown();
    if (shown && !this.#picking) {
      this.from.value = formatTime(shown.from, "T");
      this.to.value = formatTime(shown.to, "T");
    }
  }

  #readOut(index) {
    const series = this.#series;
    if (index === null || series.value[index] === null) {
      this.readout.textContent = "";
      return;
    }
    const least = series.least[index], many = least !== null && least !== series.greatest[index];
    const range = many ? ` (${formatValue(least)} to ${formatValue(series.greatest[index])})` : "";
    this.readout.textContent = `${formatTime(Math.floor(series.time[index]))}: ${formatValue(series.value[index])}${range}, ${
      series.score[index] === null ? "no score" : `score ${formatScore(series.score[index])}`}`;
  }

  #openFeedback() {
    this.dialog = openFeedback(this.uid, this.#record.name, this.#shown());
  }
}

export function openDetail(root, route) {
  return new Detail(root, route);
}
