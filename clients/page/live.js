// What changes, as the server tells it: the events of GET /_watch, read with fetch, since EventSource cannot send the
// key. While nobody looks at the tab there is no connection: a browser has but six for a server.

import { ApiError, readParts, request } from "./api.js";

const AGAIN_MS = [1000, 2000, 4000, 8000], SILENT_MS = 35000; // the server says something every 15 s
const GATHER_MS = 200, REST_MS = 600, REST_SHARE = 3; // a change is shown at once; the next when there was some rest

// {event, data, id} of an event, as far as it has them.
function readEvent(text) {
  return Object.fromEntries(text.split("\n").map((line) => {
    const at = line.indexOf(":");
    return [line.slice(0, at), line.slice(at + 1).trimStart()];
  }));
}

export class Live {
  #controller = null;
  #timer = 0;       // until the connection is made anew, or the silence has been too long
  #failures = 0;
  #last = null;     // id of the last event
  #changed = new Set(); // uids; of everything: all is true
  #all = false;
  #busy = false;

  // uid: of one metric; null: of all. show(uids): a promise; uids null: anything may have changed.
  constructor(uid, show) {
    this.path = uid === null ? "/_watch" : `/_watch?uid=${encodeURIComponent(uid)}`;
    this.show = show;
    this.seen = () => this.#see();
    document.addEventListener("visibilitychange", this.seen);
    this.#see();
  }

  close() {
    document.removeEventListener("visibilitychange", this.seen);
    this.#stop();
    this.show = null;
  }

  #see() {
    this.#stop();
    if (document.visibilityState === "visible") {
      this.#failures = 0;
      this.#run();
    }
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#controller?.abort();
  }

  async #run() {
    const controller = this.#controller = new AbortController();
    const headers = this.#last === null ? {} : { "Last-Event-ID": this.#last };
    let again = true;
    try {
      const response = await request(this.path, { signal: controller.signal, accept: "text/event-stream", headers });
      await readParts(response.body, "\n\n", (text) => this.#take(readEvent(text)), () => this.#heard(controller));
    } catch (error) { // what breaks off is taken up again
      again = !(error instanceof ApiError) || error.passing;
    }
    if (this.#controller === controller && this.show !== null && again && document.visibilityState === "visible") {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#run(), AGAIN_MS[Math.min(this.#failures, AGAIN_MS.length - 1)]);
      this.#failures++;
    }
  }

  #heard(controller) {
    this.#failures = 0;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => controller.abort(), SILENT_MS);
  }

  // The first that is heard (": watching") has no event: what was loaded before it may lack something.
  #take({ event, data, id }) {
    const first = this.#last === null;
    this.#last = id ?? this.#last;
    if (event === "change") {
      JSON.parse(data).metrics.forEach(([uid]) => this.#changed.add(uid));
    } else if (event === "reload" || (first && id !== undefined)) {
      this.#all = true;
    } else {
      return;
    }
    this.#showSoon();
  }

  async #showSoon() {
    if (this.#busy) {
      return;
    }
    this.#busy = true;
    let rest = GATHER_MS;
    try {
      while (this.show !== null && (this.#all || this.#changed.size > 0)) {
        await new Promise((done) => setTimeout(done, rest));
        const uids = this.#all ? null : [...this.#changed], began = performance.now();
        this.#changed.clear();
        this.#all = false;
        await this.show?.(uids);
        rest = Math.max(REST_MS, REST_SHARE * (performance.now() - began));
      }
    } finally {
      this.#busy = false;
    }
  }
}
