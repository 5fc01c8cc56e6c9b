// All metrics, the most anomalous of the window first: by the greatest score in it, then by name.
//
// A window ends at the newest row of all metrics, not now: so a store of old rows shows them too. One summary with one
// bucket a metric sorts the list; strips come for the rows in sight (strips.js).

import { askJson, modelPath } from "./api.js";
import { el, say } from "./dom.js";
import { VirtualList } from "./list.js";
import { Loader, notice } from "./loader.js";
import { LEVELS, metricLink, overviewLink, replaceRoute, WINDOWS } from "./route.js";
import { BUCKET, formatScore, formatValue, HIGH, levelOf, MEDIUM } from "./score.js";
import { drawStrip, Strips } from "./strips.js";
import { formatTime, parseTime } from "./time.js";

const WINDOW_NAMES = { hour: "Hour", day: "Day", week: "Week", all: "All" };
const LEVEL_NAMES = { any: "Any score", medium: `From ${MEDIUM}`, high: `From ${HIGH}` };
const STRIP_AGAIN_MS = 1000;
const LEVEL_LEAST = { any: -Infinity, medium: MEDIUM, high: HIGH };

// All of time: said, so that nobody has to look for the first and the last row of all metrics.
const EVER = { from: "0001-01-01", to: "9999-12-31" };

function newest(models) {
  return models.reduce((most, model) => Math.max(most, parseTime(model.last_timestamp ?? "") || 0), 0);
}

function toMetric(model, bucket) {
  const last = parseTime(model.last_timestamp ?? "");
  return {
    uid: model.uid,
    name: model.name,
    server: model.server,
    words: `${model.name}\n${model.server}\n${model.uid}\n${model.location ?? ""}`.toLowerCase(),
    last,
    score: bucket?.[BUCKET.score],
    value: bucket?.[BUCKET.last],
  };
}

function rank(score) {
  return score ?? (score === null ? -1 : -2); // without a score; without a row in the window
}

class Overview {
  #metrics = [];
  #shown = [];
  #places = new Map(); // uid -> index in shown
  #loader = new Loader((signal) => this.#load(signal));

  constructor(root, route) {
    this.route = route;
    this.strips = new Strips((uid) => this.#stripReady(uid), (error) => this.#stripFailed(error));
    this.#build(root);
    this.list = new VirtualList(root, "Metrics", (metric) => this.#draw(metric), (seen) => this.strips.want(seen));
    this.keys = (event) => this.#key(event);
    document.addEventListener("keydown", this.keys);
    this.#fill();
    this.#loader.start();
    document.title = "metricmq";
  }

  #build(root) {
    this.search = el("input", { type: "search", id: "search", placeholder: "Name or server ( / )",
      "aria-label": "Search by name, server or uid", "aria-keyshortcuts": "/", autocomplete: "off",
      input: () => this.#change({ search: this.search.value }) });
    this.level = el("select", { id: "level", "aria-label": "Least score to show",
      change: () => this.#change({ level: this.level.value }) },
      ...LEVELS.map((level) => el("option", { value: level }, LEVEL_NAMES[level])));
    this.windows = Object.keys(WINDOWS).map((window) => el("input", { type: "radio", name: "window", value: window,
      id: `window-${window}`, change: () => this.#change({ window }) }));
    const choices = this.windows.map((input) => el("label", { class: "choice" }, input,
      el("span", {}, WINDOW_NAMES[input.value])));
    this.count = el("p", { class: "count", role: "status" }, "Loading…");
    root.append(el("h1", { class: "hidden" }, "Metrics"),
      el("form", { class: "controls", role: "search", submit: (event) => event.preventDefault() },
        el("fieldset", { class: "choices" }, el("legend", { class: "hidden" }, "Window, up to the newest row"), ...choices),
        this.search, this.level),
      this.count);
  }

  // What the route says, into the controls.
  #fill() {
    this.search.value = this.route.search;
    this.level.value = this.route.level;
    this.windows.forEach((input) => {
      input.checked = input.value === this.route.window;
    });
  }

  #change(changes) {
    this.route = { ...this.route, ...changes };
    replaceRoute(overviewLink(this.route));
    if (changes.window) {
      this.#loader.start();
    } else {
      this.#show(true);
    }
  }

  update(route) {
    const reload = route.window !== this.route.window;
    this.route = route;
    this.#fill();
    if (reload) {
      this.#loader.start();
    } else {
      this.#show(true);
    }
  }

  // Loads anew what is shown, which stays until the answer is there.
  refresh() {
    return this.#loader.start();
  }

  close() {
    this.#loader.stop();
    this.strips.close();
    this.list.close();
    document.removeEventListener("keydown", this.keys);
  }

  async #load(signal) {
    const models = await askJson("/_models", { signal });
    const end = newest(models), size = WINDOWS[this.route.window];
    const range = Number.isFinite(size) ? { from: end - size + 1, to: end } : null;
    const summary = await askJson(modelPath(null, "summary", { ...(range ?? EVER), buckets: 1 }), { signal });
    const buckets = new Map(summary.metrics.map(({ uid, data }) => [uid, data[0]]));
    this.#metrics = models.map((model) => toMetric(model, buckets.get(model.uid)));
    this.#metrics.sort((a, b) => rank(b.score) - rank(a.score) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    this.end = end;
    this.strips.reset(range);
    this.#show(false);
  }

  #show(top) {
    const words = this.route.search.toLowerCase().split(/\s+/).filter(Boolean);
    const least = LEVEL_LEAST[this.route.level];
    this.#shown = this.#metrics.filter((metric) => rank(metric.score) >= least
      && words.every((word) => metric.words.includes(word)));
    this.#places = new Map(this.#shown.map((metric, index) => [metric.uid, index]));
    this.list.set(this.#shown, top);
    say(this.count, this.#describe());
  }

  #describe() {
    const all = this.#metrics.length, shown = this.#shown.length;
    if (all === 0) {
      return "There are no metrics yet: `metricmq import` and `metricmq demo` make some.";
    }
    const high = this.#shown.filter((metric) => levelOf(metric.score) === "high").length;
    const count = shown === all ? `${all} metrics` : `${shown} of ${all} metrics`;
    return `${count}, ${high} with a score of ${HIGH} or more; newest row ${formatTime(this.end)}`;
  }

  #draw(metric) {
    const strip = this.strips.get(metric.uid);
    const level = levelOf(metric.score);
    return el("div", { class: "row" },
      el("span", { class: "name" },
        el("a", { href: metricLink(metric.uid, this.#linkRange()), title: metric.name }, metric.name),
        el("span", { class: "server" }, metric.server)),
      el("span", { class: "bars" }, strip ? drawStrip(strip) : null),
      el("span", { class: `score ${level}`, title: "greatest score of the window" },
        el("span", { class: "hidden" }, "greatest score "),
        metric.score === undefined ? "no rows" : formatScore(metric.score)),
      el("span", { class: "last" },
        el("span", { class: "value" }, formatValue(metric.value)),
        el("span", { class: "time" }, metric.last ? formatTime(metric.last) : "no rows yet")));
  }

  // A metric opens with the window that it was chosen in.
  #linkRange() {
    const size = WINDOWS[this.route.window];
    return Number.isFinite(size) && this.end ? { from: this.end - size + 1, to: this.end } : null;
  }

  #stripReady(uid) {
    const index = this.#places.get(uid);
    if (index !== undefined) {
      this.list.refresh(index);
    }
  }

  // Where the server is away, the list is asked for anew, which says so and tries again.
  #stripFailed(error) {
    if (error.passing) {
      this.#loader.start(STRIP_AGAIN_MS);
    } else {
      notice(`${error.message}.`);
    }
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) {
      return;
    }
    const typing = event.target.matches?.("input[type=search], select, textarea, dialog *");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      this.search.focus();
    } else if (event.target === this.search && (event.key === "ArrowDown" || event.key === "Enter")) {
      event.preventDefault();
      this.list.focus();
    }
  }
}

export function openOverview(root, route) {
  return new Overview(root, route);
}
