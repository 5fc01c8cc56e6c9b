// What `metricmq status` shows: broker, services, workers, spool, store. Asked for anew every few seconds, while the tab
// is in sight.

import { ApiError, askJson } from "./api.js";
import { el, say } from "./dom.js";
import { Loader } from "./loader.js";
import { formatSpan } from "./time.js";

const EVERY_MS = 3000, WORKERS_MOST = 200;
const SERVICE_COLUMNS = [["Workers", "workers"], ["Capacity", "capacity"], ["Busy", "busy"], ["Queued", "queued"],
  ["Requests", "requests"], ["Errors", "errors"]];
const STORE_SIZES = [["Size", "bytes"], ["Log", "log_bytes"], ["Free in the file", "free_bytes"], ["Free on the disk", "disk_free_bytes"]];

function megabytes(bytes) {
  return typeof bytes === "number" ? `${(bytes / 1e6).toFixed(1)} MB` : "–";
}

// rows: [[head, ...cells], ...]
function table(id, columns, rows) {
  const head = el("thead", {}, el("tr", {}, ...columns.map((name) => el("th", { scope: "col" }, name))));
  const body = rows.map(([name, ...cells]) => el("tr", {}, el("th", { scope: "row" }, name),
    ...cells.map((cell) => el("td", { class: typeof cell === "string" ? null : "number" }, String(cell ?? "–")))));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": columns[0] },
    el("table", { id, "aria-label": columns[0] }, head, el("tbody", {}, ...body)));
}

function facts(pairs) {
  return el("dl", {}, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value ?? "–"))]));
}

class Status {
  #loader = new Loader((signal) => this.#load(signal));
  #timer = 0;

  constructor(root) {
    this.seen = () => document.visibilityState === "visible" && this.#loader.start();
    document.addEventListener("visibilitychange", this.seen);
    this.ready = el("p", { role: "status", id: "ready" });
    this.parts = el("div", { id: "status" });
    root.append(el("h1", {}, "Status"), this.ready, this.parts);
    document.title = "Status · metricmq";
    this.#loader.start();
  }

  update() { /* there is but one */ }

  close() {
    document.removeEventListener("visibilitychange", this.seen);
    clearTimeout(this.#timer);
    this.#loader.close();
  }

  async #load(signal) {
    clearTimeout(this.#timer);
    say(this.ready, await this.#readiness(signal));
    try {
      this.#show(await askJson("/_status", { signal }));
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 403)) {
        throw error;
      }
      this.parts.replaceChildren(el("p", {}, `The rest is not for this key: ${error.message}.`));
    }
    this.#timer = setTimeout(this.seen, EVERY_MS);
  }

  async #readiness(signal) {
    try {
      await askJson("/health/ready", { signal });
      return "Ready: the broker answers and each service has a worker.";
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 503) {
        throw error;
      }
      return `Not ready: ${error.message}.`;
    }
  }

  // Where the reader is in a table, and the focus, stay.
  #show(answer) {
    const find = () => [...this.parts.querySelectorAll(".scroll")];
    const before = find().map((box) => ({ left: box.scrollLeft, top: box.scrollTop, focused: box === document.activeElement }));
    this.#draw(answer);
    find().forEach((box, index) => {
      const { left = 0, top = 0, focused = false } = before[index] ?? {};
      box.scrollTo(left, top);
      focused && box.focus({ preventScroll: true });
    });
  }

  #draw({ broker, spool, store }) {
    this.parts.replaceChildren(
      el("h2", {}, "Broker"),
      ...(broker ? this.#broker(broker) : [el("p", {}, "It does not answer.")]),
      el("h2", {}, "Spool"),
      spool ? this.#spool(spool) : el("p", {}, "No feedback worker answers."),
      el("h2", {}, "Store"),
      store ? facts(STORE_SIZES.filter(([, key]) => key in store).map(([name, key]) => [name, megabytes(store[key])]))
        : el("p", {}, "No query worker answers."));
  }

  #broker(broker) {
    const services = Object.entries(broker.services ?? {}), workers = (broker.workers ?? []).slice(0, WORKERS_MOST);
    return [
      facts([["Up", formatSpan(broker.uptime_ms / 1000)], ["Clients", broker.clients],
        ["Connections", `${broker.client_connections} of clients, ${broker.worker_connections} of workers`], ["Memory", megabytes(broker.memory)]]),
      el("h2", {}, "Services"),
      table("services", ["Service", ...SERVICE_COLUMNS.map(([name]) => name)],
        services.map(([name, counts]) => [name, ...SERVICE_COLUMNS.map(([, key]) => counts[key])])),
      el("h2", {}, "Workers"),
      table("workers", ["Worker", "Service", "Capacity", "At work", "Requests", "Ready for"],
        workers.map((worker) => [worker.name || `${worker.number}`, worker.service, worker.capacity, worker.held, worker.requests,
          formatSpan(worker.ready_ms / 1000)]))];
  }

  #spool(spool) {
    return facts([["Jobs", `${spool.jobs} (${spool.waiting} waiting, ${spool.settings} settings, ${spool.held} held)`],
      ["Size", megabytes(spool.bytes)], ["Oldest", spool.jobs ? formatSpan(spool.oldest_age_s) : "–"],
      ["In quarantine", spool.quarantined], ...(spool.last_error ? [["Last error", spool.last_error]] : [])]);
  }
}

export function openStatus(root) {
  return new Status(root);
}
