// The page's frame: which view the fragment names, and the way between them. A view is a function
// (root, route) => {update(route), close()}; update is for another fragment of the same view.

import { ApiError } from "./api.js";
import { byId, el } from "./dom.js";
import { forgetKey, showForget } from "./key.js";
import { Loader, notice } from "./loader.js";
import { parseRoute } from "./route.js";

const VIEWS = { // what is seen later is loaded later
  overview: async () => (await import("./overview.js")).openOverview,
  detail: async () => (await import("./detail.js")).openDetail,
  status: async () => (await import("./status.js")).openStatus,
};

let shown = null; // {id, view}
let serverWasAway = false; // when a view was wanted
const opener = new Loader(openRoute);

function mark(view) {
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.dataset.view === view;
    here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
}

async function serverAnswers() {
  try {
    return (await fetch(import.meta.url, { method: "HEAD", cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

// Some browsers ask once for a module, and remember that it could not be had: where the server was away and is back, only
// a new start of the page helps.
async function load(name) {
  try {
    return await VIEWS[name]();
  } catch {
    if (!await serverAnswers()) {
      serverWasAway = true;
    } else if (serverWasAway) {
      location.reload();
    }
    throw new ApiError(0, "The server cannot be reached");
  }
}

async function openRoute(signal) {
  const route = parseRoute(location.hash), id = `${route.view} ${route.uid ?? ""}`;
  if (shown?.id === id) {
    shown.view.update(route);
    return;
  }
  const openView = await load(route.view);
  if (signal.aborted) {
    return;
  }
  const first = shown === null;
  shown?.view.close();
  notice("");
  const root = el("div", { class: `view ${route.view}` });
  byId("content").replaceChildren(root);
  mark(route.view);
  shown = { id, view: openView(root, route) };
  if (!first) {
    byId("content").focus({ preventScroll: true });
  }
}

byId("forget").addEventListener("click", () => {
  forgetKey();
  location.reload();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("content").focus();
});
addEventListener("hashchange", () => opener.start());
showForget();
opener.start();
