// Feedback on a metric: a note and what was in view go into a dump of the metric with all its rows (POST
// /_logging/feedback): how far that is, and in the end its key, or why not.

import { ApiError, readParts, request } from "./api.js";
import { el, say } from "./dom.js";
import { formatTime } from "./time.js";

const STAGES = { build: "Building the dump", upload: "Uploading" };

class Feedback {
  // view: {from, to} in seconds; null: there is nothing to see.
  constructor(uid, name, view) {
    this.uid = uid;
    this.view = view && { from: formatTime(view.from), to: formatTime(view.to) };
    this.note = el("textarea", { id: "note", rows: 4, maxlength: 10000 });
    this.state = el("p", { role: "status", id: "feedback-state" });
    this.bar = el("progress", { hidden: true, "aria-label": "Dump and upload" });
    this.send = el("button", { type: "submit", class: "primary", id: "feedback-send" }, "Send");
    this.dialog = el("dialog", { id: "feedback", "aria-labelledby": "feedback-title", close: () => this.dialog.remove() },
      el("form", { method: "dialog", submit: (event) => this.#submit(event) },
        el("h2", { id: "feedback-title" }, `Feedback on ${name}`),
        el("p", {}, `All rows of the metric are dumped and uploaded, with your note${
          view ? ` and what is in view: ${this.view.from} to ${this.view.to}` : ""}.`),
        el("label", {}, "Note ", this.note), this.bar, this.state,
        el("div", { class: "actions" },
          el("button", { type: "button", id: "feedback-close", click: () => this.close() }, "Close"), this.send)));
    document.body.append(this.dialog);
    this.dialog.showModal();
  }

  // What is sent already goes on.
  close() {
    this.dialog.close();
    this.dialog.remove();
  }

  async #submit(event) {
    event.preventDefault();
    this.send.disabled = true;
    this.bar.hidden = false;
    this.bar.removeAttribute("value");
    say(this.state, "Asking for the dump…");
    try {
      const body = JSON.stringify({ uid: this.uid, note: this.note.value, view: this.view ?? undefined });
      const response = await request("/_logging/feedback", { method: "POST", body, accept: "application/x-ndjson, text/plain" });
      const end = await this.#follow(response);
      if (end) {
        this.#done(end);
      } else {
        say(this.state, "The answer broke off: whether the dump comes to its end is not known. Send it again, if in doubt.");
        this.send.disabled = false;
      }
    } catch (error) {
      say(this.state, `Not sent: ${error.message}`);
      this.send.disabled = false;
    }
    this.bar.hidden = true;
  }

  // To the end of the answer: {status, key}; null: it broke off.
  async #follow(response) {
    if (!response.headers.get("Content-Type").startsWith("application/x-ndjson")) {
      return { status: response.status, key: await response.text() };
    }
    let end = null;
    const take = (text) => {
      const line = JSON.parse(text);
      if (line.stage) {
        this.#show(line);
      } else {
        end = line;
      }
    };
    await readParts(response.body, "\n", take).catch(() => {});
    if (end?.result) {
      throw new ApiError(end.status, end.result);
    }
    return end;
  }

  #show({ stage, done, total }) {
    const share = total > 0 ? Math.min(1, done / total) : 0, name = STAGES[stage] ?? stage;
    this.bar.value = share;
    say(this.state, `${name}: ${Math.round(100 * share)} %`);
  }

  #done({ status, key }) {
    const means = status === 200 ? "Uploaded as " : "Accepted; the upload goes on by itself, to ";
    this.state.replaceChildren(means, el("code", { id: "feedback-key" }, key));
  }
}

export function openFeedback(uid, name, view) {
  return new Feedback(uid, name, view);
}
