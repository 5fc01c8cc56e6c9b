// The rows of a selection as a table, which is also what the chart says to who cannot see it; and as CSV.

import { askJson, modelPath, request } from "./api.js";
import { el, say } from "./dom.js";
import { formatCount, formatScore, levelOf } from "./score.js";

const STEP = 100, MOST = 2000; // rows shown at first; beyond this, the CSV has them
const PART_BYTES = 1 << 24; // of a CSV, before the browser may put it elsewhere than into its memory

export class RowsTable {
  #limit = STEP;

  constructor(root, uid) {
    Object.assign(this, { uid, saving: false });
    this.body = el("tbody");
    this.caption = el("caption", {}, "Rows");
    this.more = el("button", { type: "button", hidden: true }, "Show more rows");
    this.save = el("button", { type: "button", id: "csv", click: () => this.#download() }, "Download CSV");
    this.progress = el("span", { role: "status", class: "progress" });
    root.append(el("div", { class: "actions" }, this.save, this.progress),
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Rows" },
        el("table", { id: "rows" }, this.caption, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Time (UTC)"),
          ...["Value", "Score", "Row"].map((name) => el("th", { scope: "col", class: "number" }, name)))), this.body)), this.more);
    this.more.addEventListener("click", () => this.#showMore());
  }

  // All of the selection's rows are there already.
  set(range, rows) {
    this.#show(range, rows, rows.length);
    this.again = () => this.#show(range, rows, rows.length);
  }

  // The first of them are to be loaded; there are `count`.
  async load(range, count, signal) {
    const rows = await this.#ask(range, signal);
    this.#show(range, rows, count);
    this.again = async () => {
      const more = await this.#ask(range);
      if (this.range === range) { // else another selection is there by now
        this.#show(range, more, count);
      }
    };
  }

  // Another selection: few rows at first, as ever.
  reset() {
    this.#limit = STEP;
    this.progress.textContent = "";
  }

  async #showMore() {
    this.#limit = Math.min(MOST, this.#limit * 4);
    try {
      await this.again();
    } catch (error) {
      say(this.progress, `No more rows: ${error.message}`);
    }
  }

  async #ask(range, signal) {
    const path = modelPath(this.uid, "data", { ...range, anomaly: -1, limit: this.#limit });
    return (await askJson(path, { signal })).data;
  }

  #show(range, rows, count) {
    this.range = range;
    const shown = rows.slice(0, this.#limit);
    this.body.replaceChildren(...shown.map(([time, value, score, rowid]) => el("tr", { class: levelOf(score) },
      el("td", {}, time), el("td", { class: "number" }, String(value)),
      el("td", { class: "number" }, score === null ? "no score" : formatScore(score)), el("td", { class: "number" }, String(rowid)))));
    say(this.caption, shown.length < count ? `The first ${shown.length} of ${count} rows` : formatCount(count, "row"));
    this.more.hidden = shown.length >= count || this.#limit >= MOST;
    this.save.disabled = this.saving || count === 0;
  }

  // With the key, which a link would not send.
  async #download() {
    this.save.disabled = this.saving = true;
    try {
      const path = modelPath(this.uid, "data", { ...this.range, anomaly: -1 });
      const blob = await this.#collect((await request(path, { accept: "text/csv" })).body.getReader());
      this.#hand(blob);
      say(this.progress, `${(blob.size / 1e6).toFixed(1)} MB saved`);
    } catch (error) {
      say(this.progress, `Not saved: ${error.message}`);
    }
    this.save.disabled = this.saving = false;
  }

  async #collect(reader) {
    const blobs = [];
    let parts = [], size = 0, pending = 0;
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      parts.push(piece.value);
      size += piece.value.length;
      pending += piece.value.length;
      if (pending >= PART_BYTES) {
        blobs.push(new Blob(parts));
        parts = [];
        pending = 0;
      }
      say(this.progress, `${(size / 1e6).toFixed(1)} MB`);
    }
    return new Blob([...blobs, ...parts], { type: "text/csv" });
  }

  #hand(blob) {
    const link = el("a", { href: URL.createObjectURL(blob), download: `${this.uid}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }
}
