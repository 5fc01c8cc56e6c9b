// The rows of a selection as a table, which is also what the chart says to who cannot see it; and as CSV.

import { askJson, modelPath, request } from "./api.js";
import { el, say } from "./dom.js";
import { formatScore, levelOf } from "./score.js";

const STEP = 100, MOST = 2000; // rows shown at first; beyond this, the CSV has them

export class RowsTable {
  #limit = STEP;

  constructor(root, uid) {
    this.uid = uid;
    this.body = el("tbody");
    this.caption = el("caption", {}, "Rows");
    this.more = el("button", { type: "button", hidden: true }, "Show more rows");
    this.save = el("button", { type: "button", id: "csv", click: () => this.#download() }, "Download CSV");
    this.progress = el("span", { role: "status", class: "progress" });
    root.append(el("div", { class: "actions" }, this.save, this.progress),
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Rows" },
        el("table", { id: "rows" }, this.caption,
          el("thead", {}, el("tr", {}, ...["Time (UTC)", "Value", "Score", "Row"].map((name) => el("th", { scope: "col" }, name)))),
          this.body)), this.more);
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
    this.again = async () => this.#show(range, await this.#ask(range), count);
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
    say(this.caption, shown.length < count ? `The first ${shown.length} of ${count} rows` : `${count} rows`);
    this.more.hidden = shown.length >= count || this.#limit >= MOST;
    this.save.disabled = count === 0;
  }

  // With the key, which a link would not send.
  async #download() {
    this.save.disabled = true;
    try {
      const path = modelPath(this.uid, "data", { ...this.range, anomaly: -1 });
      const response = await request(path, { accept: "text/csv" });
      const parts = [];
      let size = 0;
      const reader = response.body.getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        parts.push(piece.value);
        size += piece.value.length;
        say(this.progress, `${(size / 1e6).toFixed(1)} MB`);
      }
      this.#hand(new Blob(parts, { type: "text/csv" }));
      say(this.progress, `${(size / 1e6).toFixed(1)} MB saved`);
    } catch (error) {
      say(this.progress, `Not saved: ${error.message}`);
    }
    this.save.disabled = false;
  }

  #hand(blob) {
    const link = el("a", { href: URL.createObjectURL(blob), download: `${this.uid}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }
}
