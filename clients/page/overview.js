// All metrics, the most anomalous of the window first: by the greatest score in it, then by name.
//
// A window ends with the slice that has the newest row of all metrics, not now: so a store of old rows shows them too.
// One summary with one bucket a metric sorts the list; strips come for the rows in sight (strips.js). What changes is
// asked for metric by metric where it is few, and else all of it.

import { ApiError, askJson, modelPath } from "./api.js";
import { el, say } from "./dom.js";
import { Live } from "./live.js";
import { VirtualList } from "./list.js";
import { Loader, notice } from "./loader.js";
import { LEVELS, metricLink, overviewLink, replaceRoute, WINDOWS } from "./route.js";
import { BUCKET, formatScore, formatValue, HIGH, levelOf, MEDIUM } from "./score.js";
import { drawStrip, SLICES, Strips } from "./strips.js";
import { formatTime, parseTime } from "./time.js";

const WINDOW_NAMES = { hour: "Hour", day: "Day", week: "Week", all: "All" };
const LEVEL_NAMES = { any: "Any score", medium: `From ${MEDIUM}`, high: `From ${HIGH}` };
const STRIP_AGAIN_MS = 1000;
const FEW = 20; // changed metrics
const LEVEL_LEAST = { any: -Infinity, medium: MEDIUM, high: HIGH };

// All of time: said, so that nobody has to look for the first and the last row of all metrics.
const EVER = { from: "0001-01-01", to: "9999-12-31" };

function newest(models) {
  return models.reduce((most, model) => Math.max(most, parseTime(model.last_timestamp ?? "") || 0), 0);
}

// The window of that name, up to a whole slice; null: all.
function windowOf(name, end) {
  const size = WINDOWS[name], slice = size / SLICES;
  if (!Number.isFinite(size)) {
    return null;
  }
  const to = (Math.floor(end / slice) + 1) * slice - 1;
  return { from: to - size + 1, to };
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

function inOrder(a, b) {
  return rank(b.score) - rank(a.score) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
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
    this.live = new Live(null, (uids) => this.refresh(uids));
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

  // Loads anew what may have changed; what is shown stays until the answer is there. uids null: everything.
  async refresh(uids = null) {
    const known = uids?.length <= FEW && this.end !== undefined && uids.every((uid) => this.#metrics.some((metric) => metric.uid === uid));
    if (!known || !(await this.#renew(uids))) {
      await this.#loader.start();
    }
  }

  // Loads these metrics anew; false: it is not done with that.
  async #renew(uids) {
    try {
      const renewed = await Promise.all(uids.map((uid) => this.#ask(uid)));
      const end = Math.max(this.end, ...renewed.map((metric) => metric.last || 0));
      if (windowOf(this.route.window, end)?.to !== this.range?.to) {
        return false;
      }
      this.end = end;
      const others = this.#metrics.filter((metric) => !uids.includes(metric.uid));
      this.#metrics = [...others, ...renewed].sort(inOrder);
    } catch (error) {
      if (error instanceof ApiError) {
        return false; // one is gone, or the server is away
      }
      throw error;
    }
    uids.forEach((uid) => this.strips.renew(uid));
    this.#show(false);
    return true;
  }

  async #ask(uid) {
    const [[model], summary] = await Promise.all([askJson(modelPath(uid, null)),
      askJson(modelPath(uid, "summary", { ...(this.range ?? EVER), buckets: 1 }))]);
    return toMetric(model, summary.data[0]);
  }

  close() {
    this.live.close();
    this.#loader.stop();
    this.strips.close();
    this.list.close();
    document.removeEventListener("keydown", this.keys);
  }

  async #load(signal) {
    const models = await askJson("/_models", { signal });
    const end = newest(models), range = windowOf(this.route.window, end);
    const summary = await askJson(modelPath(null, "summary", { ...(range ?? EVER), buckets: 1 }), { signal });
    const buckets = new Map(summary.metrics.map(({ uid, data }) => [uid, data[0]]));
    this.#metrics = models.map((model) => toMetric(model, buckets.get(model.uid)));
    this.#metrics.sort(inOrder);
    Object.assign(this, { end, range });
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
        el("a", { href: metricLink(metric.uid, this.range), title: metric.name }, metric.name),
        el("span", { class: "server" }, metric.server)),
      el("span", { class: "bars" }, strip ? drawStrip(strip) : null),
      el("span", { class: `score ${level}`, title: "greatest score of the window" },
        el("span", { class: "hidden" }, "greatest score "),
        metric.score === undefined ? "no rows" : formatScore(metric.score)),
      el("span", { class: "last" },
        el("span", { class: "value" }, formatValue(metric.value)),
        el("span", { class: "time" }, metric.last ? formatTime(metric.last) : "no rows yet")));
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
