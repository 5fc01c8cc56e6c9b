// The strip of bars that a metric has in the overview: the greatest score of each slice of the window. Strips are
// loaded for the rows in sight only, a few at a time, and kept for when they come into sight again.

import { askJson, modelPath } from "./api.js";
import { svg } from "./dom.js";
import { BUCKET, bucketSeconds, formatScore, levelOf } from "./score.js";
import { formatTime, parseTime } from "./time.js";

export const SLICES = 60;
const AT_ONCE = 4, KEPT = 2000;

// Buckets to the score of each slice: undefined where there is no row, null without a score.
function sliceScores(buckets, range) {
  const slices = new Array(SLICES).fill(undefined), width = bucketSeconds(range, SLICES);
  for (const bucket of buckets) {
    slices[Math.round((parseTime(bucket[BUCKET.start]) - range.from) / width)] = bucket[BUCKET.score];
  }
  return slices;
}

function describe(slices, range) {
  const high = slices.filter((score) => levelOf(score) === "high").length;
  let at = -1;
  slices.forEach((score, index) => {
    at = typeof score === "number" && (at < 0 || score > slices[at]) ? index : at;
  });
  if (at < 0) {
    return "no scores in this window";
  }
  const time = formatTime(range.from + at * bucketSeconds(range, SLICES));
  return `greatest score ${formatScore(slices[at])} at ${time} or soon after; ${high} of ${SLICES} slices high`;
}

// Bars as one path a level, so that a row costs few elements.
export function drawStrip({ slices, range }) {
  const paths = { none: "", low: "", medium: "", high: "" };
  slices.forEach((score, index) => {
    if (score !== undefined) {
      const height = score === null ? 2 : Math.max(2, Math.min(24, Math.round(score * 24)));
      paths[levelOf(score)] += `M${index * 4} 24v${-height}h3v${height}z`;
    }
  });
  const picture = svg("svg", { class: "strip", viewBox: `0 0 ${SLICES * 4} 24`, preserveAspectRatio: "none",
    role: "img", "aria-label": describe(slices, range) });
  for (const [level, path] of Object.entries(paths)) {
    if (path) {
      picture.append(svg("path", { class: `bar ${level}`, d: path }));
    }
  }
  return picture;
}

export class Strips {
  #kept = new Map();    // uid -> strip
  #old = new Set();     // uids of those that may be no longer true
  #wanted = [];
  #loading = new Map(); // uid -> AbortController
  #range = null;

  // ready(uid): its strip is there.
  constructor(ready, failed) {
    this.ready = ready;
    this.failed = failed;
  }

  get(uid) {
    return this.#kept.get(uid);
  }

  // A window {from, to}, or null for each metric's own. Strips of the same window are shown until there are new ones.
  reset(range) {
    const same = range?.from === this.#range?.from && range?.to === this.#range?.to;
    this.close();
    this.#range = range;
    this.#old = new Set(same ? this.#kept.keys() : []);
    if (!same) {
      this.#kept.clear();
    }
  }

  // The strip of one metric is to be loaded again.
  renew(uid) {
    this.#old.add(uid);
    this.#loading.get(uid)?.abort();
    this.#loading.delete(uid);
  }

  close() {
    this.#wanted = [];
    this.#loading.forEach((controller) => controller.abort());
    this.#loading.clear();
  }

  // The metrics in sight; others that have not begun to load do not.
  want(metrics) {
    this.#wanted = metrics.filter(({ uid, score }) => score !== undefined && !this.#loading.has(uid)
      && (!this.#kept.has(uid) || this.#old.has(uid)));
    this.#next();
  }

  #next() {
    while (this.#loading.size < AT_ONCE && this.#wanted.length > 0) {
      this.#load(this.#wanted.shift());
    }
  }

  async #load(metric) {
    const controller = new AbortController();
    this.#loading.set(metric.uid, controller);
    try {
      const path = modelPath(metric.uid, "summary", { ...this.#range, buckets: SLICES });
      const { data } = await askJson(path, { signal: controller.signal });
      if (data.length > 0) { // else its rows went meanwhile
        const range = this.#range ?? { from: parseTime(data[0][BUCKET.start]), to: metric.last };
        this.#keep(metric.uid, { range, slices: sliceScores(data, range) });
      }
    } catch (error) {
      if (!controller.signal.aborted) {
        this.failed(error);
      }
    }
    if (!controller.signal.aborted) {
      this.#loading.delete(metric.uid);
      this.#next();
    }
  }

  #keep(uid, strip) {
    this.#old.delete(uid);
    if (this.#kept.size >= KEPT) {
      this.#kept.delete(this.#kept.keys().next().value);
    }
    this.#kept.set(uid, strip);
    this.ready(uid);
  }
}
