// The API key: asked for when the server wants one, kept for this tab's session, sent as a header and nowhere else.

import { byId, say } from "./dom.js";

const NAME = "metricmq-key";
let asking = null; // whoever wants a key meanwhile waits for the same answer

export function currentKey() {
  return sessionStorage.getItem(NAME);
}

export function forgetKey() {
  sessionStorage.removeItem(NAME);
  byId("forget").hidden = true;
}

export function showForget() {
  byId("forget").hidden = currentKey() === null;
}

// The adapter's form of it: KEY as the name of Basic, with no password.
export function authorization(key) {
  const bytes = new TextEncoder().encode(`${key}:`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

function openDialog(reason, settle) {
  const dialog = byId("key-dialog"), input = byId("key-input");
  say(byId("key-reason"), reason);
  input.value = "";
  dialog.returnValue = "";
  byId("key-cancel").onclick = () => dialog.close("cancel");
  dialog.onclose = () => {
    const key = dialog.returnValue === "cancel" ? "" : input.value;
    input.value = "";
    if (key) {
      sessionStorage.setItem(NAME, key);
    }
    showForget();
    settle(key || null);
  };
  dialog.oncancel = () => {
    input.value = "";
  };
  dialog.showModal();
  input.focus();
}

// The key that was entered, or null.
export function askKey(reason) {
  asking ??= new Promise((settle) => openDialog(reason, settle)).finally(() => {
    asking = null;
  });
  return asking;
}
