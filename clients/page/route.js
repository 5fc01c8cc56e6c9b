// Where the page is, in its fragment, so that each view has a link:
//
//   #/?window=day&q=cpu&level=high          metrics
//   #/metric/UID?from=TIME&to=TIME          one of them; without times, all of it
//   #/status

import { formatTime, parseTime } from "./time.js";

export const WINDOWS = { hour: 3600, day: 86400, week: 7 * 86400, all: Infinity };
export const LEVELS = ["any", "medium", "high"];
const UID = /^[A-Za-z0-9._-]+$/, NO_UIDS = [".", "..", "data", "export", "summary"]; // as paths they mean something else

let overviewSeen = "#/";

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

// What cannot be read counts as absent.
export function parseRoute(fragment) {
  const [path, query] = fragment.replace(/^#/, "").split("?", 2);
  const values = new URLSearchParams(query ?? "");
  const metric = /^\/metric\/([^/]+)$/.exec(path), uid = metric && decode(metric[1]);
  if (UID.test(uid ?? "") && !NO_UIDS.includes(uid)) {
    const from = parseTime(values.get("from")), to = parseTime(values.get("to"));
    return { view: "detail", uid, range: from < to ? { from, to } : null };
  }
  if (path === "/status") {
    return { view: "status" };
  }
  const window = values.get("window"), level = values.get("level");
  return {
    view: "overview",
    window: Object.hasOwn(WINDOWS, window) ? window : "all",
    search: values.get("q") ?? "",
    level: LEVELS.includes(level) ? level : "any",
  };
}

export function metricLink(uid, range) {
  const times = range ? `?from=${formatTime(range.from, "T")}&to=${formatTime(range.to, "T")}` : "";
  return `#/metric/${encodeURIComponent(uid)}${times}`;
}

// As the overview was when it was last looked at: the way back to it.
export function backLink() {
  return overviewSeen;
}

export function rememberOverview(route) {
  overviewSeen = overviewLink(route);
}

export function overviewLink({ window, search, level }) {
  const values = new URLSearchParams();
  if (window !== "all") {
    values.set("window", window);
  }
  if (search) {
    values.set("q", search);
  }
  if (level !== "any") {
    values.set("level", level);
  }
  return values.size > 0 ? `#/?${values}` : "#/";
}

// The address says it from now on; nothing is loaded anew, and "back" leaves the view. Browsers allow it some three
// times a second. Who has followed a link meanwhile stays where it leads.
export function replaceRoute(fragment) {
  const here = parseRoute(location.hash), there = parseRoute(fragment);
  if (here.view === there.view && here.uid === there.uid) {
    history.replaceState(null, "", fragment);
  }
}
