// All metrics, the most anomalous of the window first: by the greatest score in it, then by name.
//
// A window ends with the slice that has the newest row of all metrics, not now: so a store of old rows shows them too.
// Rows from the future do not count for that, else one wrong clock would leave every window empty.
// One summary with one bucket a metric sorts the list; strips come for the rows in sight (strips.js). What changes is
// asked for metric by metric where it is few, and else all of it.

import { ApiError, askJson, modelPath } from "./api.js";
import { el, readOut, say } from "./dom.js";
import { Live } from "./live.js";
import { VirtualList } from "./list.js";
import { Loader, notice } from "./loader.js";
import { LEVELS, metricLink, overviewLink, rememberOverview, replaceRoute, WINDOWS } from "./route.js";
import { BUCKET, formatCount, formatScore, formatValue, HIGH, levelOf, MEDIUM } from "./score.js";
import { drawStrip, SLICES, Strips } from "./strips.js";
import { formatTime, parseTime } from "./time.js";

const WINDOW_NAMES = { hour: "Hour", day: "Day", week: "Week", all: "All" };
const LEVEL_NAMES = { any: "Any score", medium: `From ${MEDIUM}`, high: `From ${HIGH}` };
const COLUMNS = ["Metric, server", "Greatest score of each 60th of the time", "Greatest", "Last value, time (UTC)"];
const STRIP_AGAIN_MS = 1000;
const FEW = 20; // changed metrics
const AHEAD = 86400; // seconds that a clock may be wrong
const LEVEL_LEAST = { any: -Infinity, medium: MEDIUM, high: HIGH };

// All of time: said, so that nobody has to look for the first and the last row of all metrics.
const EVER = { from: "0001-01-01", to: "9999-12-31" };

let left = null; // {link, place}: what the overview was like when it was left, for who comes back

// Of the times of metrics' last rows; -Infinity: there is no row.
function newest(times) {
  const bound = Date.now() / 1000 + AHEAD, known = times.filter((time) => !Number.isNaN(time));
  const past = known.filter((time) => time <= bound);
  return (past.length > 0 ? past : known).reduce((most, time) => Math.max(most, time), -Infinity);
}

function lastOf(model) {
  return parseTime(model.last_timestamp ?? "");
}

// The window of that name, up to a whole slice; null: all.
function windowOf(name, end) {
  const size = WINDOWS[name], slice = size / SLICES;
  if (!Number.isFinite(size) || !Number.isFinite(end)) {
    return null;
  }
  const to = (Math.floor(end / slice) + 1) * slice - 1;
  return { from: to - size + 1, to };
}

function toMetric(model, bucket) {
  return {
    uid: model.uid,
    name: model.name,
    server: model.server,
    words: `${model.name}\n${model.server}\n${model.uid}\n${model.location ?? ""}`.toLowerCase(),
    last: lastOf(model),
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
  #closing = new AbortController();

  constructor(root, route) {
    this.#go(route);
    this.place = left?.link === overviewLink(route) ? left.place : null; // until the list is there
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
      this.count,
      el("div", { class: "columns", "aria-hidden": "true" }, ...COLUMNS.map((name) => el("span", {}, name))));
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
    this.#go({ ...this.route, ...changes });
    this.place = null;
    if (changes.window) {
      this.#loader.start();
    } else {
      this.#show(null);
    }
    replaceRoute(overviewLink(this.route));
  }

  #go(route) {
    this.route = route;
    if (this.count) {
      readOut(this.count, true);
    }
    rememberOverview(route);
  }

  update(route) {
    const reload = route.window !== this.route.window;
    this.#go(route);
    this.#fill();
    if (reload) {
      this.#loader.start();
    } else {
      this.#show(null);
    }
  }

  // Loads anew what may have changed; what is shown stays until the answer is there. uids null: everything.
  async refresh(uids = null) {
    readOut(this.count, false);
    const known = uids?.length <= FEW && this.end !== undefined && uids.every((uid) => this.#metrics.some((metric) => metric.uid === uid));
    if (!known || !(await this.#renew(uids))) {
      await this.#loader.start();
    }
  }

  // Loads these metrics anew; false: it is not done with that.
  async #renew(uids) {
    const range = this.range;
    try {
      const renewed = await Promise.all(uids.map((uid) => this.#ask(uid)));
      const others = this.#metrics.filter((metric) => !uids.includes(metric.uid));
      const metrics = [...others, ...renewed].sort(inOrder), end = newest(metrics.map(({ last }) => last));
      if (range !== this.range || windowOf(this.route.window, end)?.to !== range?.to) {
        return false;
      }
      this.end = end;
      this.#metrics = metrics;
    } catch (error) {
      if (error instanceof ApiError || this.#closing.signal.aborted) {
        return false; // one is gone, or the server is away, or nobody looks any more
      }
      throw error;
    }
    uids.forEach((uid) => this.strips.renew(uid));
    this.#show();
    return true;
  }

  async #ask(uid) {
    const { signal } = this.#closing;
    const [[model], summary] = await Promise.all([askJson(modelPath(uid, null), { signal }),
      askJson(modelPath(uid, "summary", { ...(this.range ?? EVER), buckets: 1 }), { signal })]);
    return toMetric(model, summary.data[0]);
  }

  close() {
    left = { link: overviewLink(this.route), place: this.place ?? this.list.place() };
    this.live.close();
    this.#closing.abort();
    this.#loader.close();
    this.strips.close();
    this.list.close();
    document.removeEventListener("keydown", this.keys);
  }

  async #load(signal) {
    const models = await askJson("/_models", { signal });
    const end = newest(models.map(lastOf)), range = windowOf(this.route.window, end);
    const summary = await askJson(modelPath(null, "summary", { ...(range ?? EVER), buckets: 1 }), { signal });
    const buckets = new Map(summary.metrics.map(({ uid, data }) => [uid, data[0]]));
    this.#metrics = models.map((model) => toMetric(model, buckets.get(model.uid)));
    this.#metrics.sort(inOrder);
    Object.assign(this, { end, range });
    this.strips.reset(range);
    if (this.place === null) {
      this.#show();
    } else {
      this.#comeBack();
    }
  }

  // To the row that was left, with the focus, if that is not elsewhere by now.
  #comeBack() {
    this.#show(this.place);
    this.place = null;
    if (document.activeElement?.id === "content") {
      this.list.focus();
    }
  }

  // place: in the list, null: its top; left out: as it is.
  #show(place) {
    const words = this.route.search.toLowerCase().split(/\s+/).filter(Boolean);
    const least = LEVEL_LEAST[this.route.level];
    this.#shown = this.#metrics.filter((metric) => rank(metric.score) >= least
      && words.every((word) => metric.words.includes(word)));
    this.#places = new Map(this.#shown.map((metric, index) => [metric.uid, index]));
    this.list.set(this.#shown, place);
    say(this.count, this.#describe());
  }

  #describe() {
    const all = this.#metrics.length, shown = this.#shown.length;
    if (all === 0) {
      return "There are no metrics yet: the commands “metricmq import” and “metricmq demo” make some.";
    }
    const high = this.#shown.filter((metric) => levelOf(metric.score) === "high").length;
    const count = `${shown === all ? "" : `${shown} of `}${formatCount(all, "metric")}`;
    const last = Number.isFinite(this.end) ? `newest row ${formatTime(this.end)}` : "no rows yet";
    return `${count}, ${high} with a score of ${HIGH} or more; ${last}`;
  }

  #draw(metric) {
    const strip = this.strips.get(metric.uid);
    const level = levelOf(metric.score);
    return el("div", { class: "row" },
      el("span", { class: "name" },
        el("a", { href: metricLink(metric.uid, metric.score === undefined ? null : this.range), title: metric.name }, metric.name),
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
