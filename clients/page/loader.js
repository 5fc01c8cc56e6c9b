// Loads what a view shows. A newer load replaces the one under way; what fails for the moment is tried again, at
// growing intervals, while the notice says so.

import { ApiError } from "./api.js";
import { byId, say } from "./dom.js";

const FIRST_MS = 500, MOST_MS = 8000;

export function notice(text) {
  const element = byId("notice");
  element.hidden = text === "";
  say(element, text);
}

export class Loader {
  #load;
  #controller = null;
  #timer = 0;
  #wait = FIRST_MS;
  #closed = false;

  // load(signal): a promise.
  constructor(load) {
    this.#load = load;
  }

  // Loads at once, or after a moment without another call.
  start(delay = 0) {
    this.#stop();
    if (this.#closed) {
      return Promise.resolve();
    }
    const controller = this.#controller = new AbortController();
    if (delay > 0) {
      this.#timer = setTimeout(() => this.#run(controller), delay);
      return Promise.resolve();
    }
    return this.#run(controller);
  }

  // For good.
  close() {
    this.#closed = true;
    this.#stop();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#controller?.abort();
  }

  async #run(controller) {
    try {
      await this.#load(controller.signal);
      if (!controller.signal.aborted) {
        this.#wait = FIRST_MS;
        notice("");
      }
    } catch (error) {
      if (!controller.signal.aborted) {
        this.#fail(error, controller);
      }
    }
  }

  #fail(error, controller) {
    if (!(error instanceof ApiError)) {
      notice(`The page failed: ${error.message}.`);
      throw error;
    }
    notice(error.passing ? `${error.message}. Trying again…` : `${error.message}.`);
    if (error.passing) {
      this.#timer = setTimeout(() => this.#run(controller), this.#wait);
      this.#wait = Math.min(2 * this.#wait, MOST_MS);
    }
  }
}
