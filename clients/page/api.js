// Requests to the adapter that the page came from.

import { askKey, authorization, currentKey, forgetKey } from "./key.js";

// status 0: there was no answer. Its message is a sentence for people.
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  // May it be otherwise in a moment?
  get passing() {
    return [0, 429, 500, 502, 503, 504].includes(this.status);
  }
}

async function send(path, key, { signal, method = "GET", body, accept = "application/json", headers: more }) {
  const headers = { Accept: accept, ...more };
  if (key !== null) {
    headers.Authorization = authorization(key);
  }
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
  }
  try { // "omit": else the browser would ask for a key itself, and keep it
    return await fetch(path, { method, headers, body, signal, credentials: "omit", referrerPolicy: "no-referrer" });
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new ApiError(0, "The server cannot be reached");
  }
}

async function refusal(response) {
  let sentence = `The server answered ${response.status}`;
  try {
    sentence = (await response.json()).result ?? sentence;
  } catch { /* no JSON: the status says it */ }
  return new ApiError(response.status, sentence);
}

// The Response to a request, whose status is 2xx; asks for a key when one is wanted.
export async function request(path, options = {}) {
  for (;;) {
    const key = currentKey();
    const response = await send(path, key, options);
    if (response.ok) {
      return response;
    }
    if (response.status !== 401) {
      throw await refusal(response);
    }
    if (key !== null && key === currentKey()) {
      forgetKey();
    }
    if (currentKey() === null) {
      const reason = key === null ? "The server wants a key." : "The server does not know this key.";
      if ((await askKey(reason)) === null) {
        throw new ApiError(401, "Without a key nothing can be shown. Reload the page to enter one");
      }
    }
  }
}

// A body that breaks off is no answer.
export async function read(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new ApiError(0, "The answer broke off");
  }
}

// Calls each(text) for the parts of a body that end so, to its end, and heard() for all that comes.
export async function readParts(body, end, each, heard = () => {}) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    heard();
    const parts = (text + piece.value).split(end);
    text = parts.pop();
    parts.forEach(each);
  }
}

export async function askJson(path, options) {
  return read(await request(path, options));
}

// "/_models/UID/WHAT?name=value&..."; values that are null or undefined are left out.
export function modelPath(uid, what, values = {}) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null && value !== undefined));
  const path = ["/_models", uid === null ? null : encodeURIComponent(uid), what].filter(Boolean).join("/");
  return query.size > 0 ? `${path}?${query}` : path;
}
