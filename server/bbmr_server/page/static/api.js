// Requests to this server. Repeats them while the server is full or starting.

import { partsOf } from "./parts.js";
import { Refusal, documentOf, problemOf, refusal } from "./refusals.js";

const KEY = "bbmr-key";
const TRIES = 8;
const CONTAINER = "application/vnd.bbmr";
const BYTES = "application/octet-stream";

export const keepKey = (key) => sessionStorage.setItem(KEY, key);

/**
 * Returns functions that send requests, such as `facts(container)`. They take blobs and return blobs or plain data.
 * While the server is full or starting, `waiting(seconds, left, slug)` is called each second with the whole wait and
 * the rest of it. `unlessAborted(promise)` returns its value, but throws as a request does if `signal` was aborted.
 */
export function server(signal, waiting) {
  const post = (path, query, body, headers) =>
    request(`${path}?${new URLSearchParams(query)}`, { method: "POST", body, headers, signal }, waiting);
  return {
    facts: async (container) => (await post("page/facts", {}, container, type(BYTES))).json(),
    photo: async (photo) => (await post("page/photo", {}, photo, type(BYTES))).blob(),
    compare: (photo, query) => compare(photo, query, signal, waiting),
    reconstruct: async (container, query) => {
      const answer = await post("reconstruct", query, container, { ...type(CONTAINER), Accept: "image/png" });
      const picture = await answer.blob();
      const network = /network;dur=([\d.]+)/.exec(answer.headers.get("Server-Timing"));
      return { picture, model: answer.headers.get("BBMR-Model"), seconds: network ? network[1] / 1000 : undefined };
    },
    models: async () => (await request("models", { signal }, waiting)).json(),
    limits: async () => (await request("page/limits", { signal }, waiting)).json(),
    unlessAborted: async (promise) => {
      const value = await promise;
      signal.throwIfAborted();
      return value;
    },
    file: async (path) => (await request(path, { signal }, waiting)).blob(),
  };
}

/** Yields the parts of the server's answer about a photo (`bbmr_server.page.comparison`), the last of them "figures". */
async function* compare(photo, query, signal, waiting) {
  const path = `page/compare?${new URLSearchParams(query)}`;
  for (let attempt = 1; ; attempt++) {
    const answer = await request(path, { method: "POST", body: photo, headers: type(BYTES), signal }, waiting);
    let problem = null;
    try {
      for await (const part of partsOf(answer)) {
        if (part.part === "problem") problem = part;
        else yield part;
        if (part.part === "figures") return;
      }
    } catch (error) {
      if (error.name === "AbortError") throw error;
    }
    if (!problem) throw lost();
    if (!problem.retry_after || attempt === TRIES) throw refusal(problem.status, documentOf(problem));
    await pause(waitOf(problem.retry_after), signal, (left) => waiting(waitOf(problem.retry_after), left, documentOf(problem).slug));
  }
}

/** Returns the limits, or null if the server does not answer now. Shows no error. */
export async function earlyLimits() {
  try {
    const answer = await fetch("page/limits", { cache: "no-cache" });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

const type = (mime) => ({ "Content-Type": mime });

async function request(path, options, waiting) {
  for (let attempt = 1; ; attempt++) {
    const headers = { ...options.headers };
    const key = sessionStorage.getItem(KEY);
    if (key) headers.Authorization = `Bearer ${key}`;
    let answer;
    try {
      answer = await fetch(path, { ...options, headers, cache: "no-cache" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw lost();
    }
    if (answer.ok) return answer;
    const problem = await problemOf(answer);
    const busy = (answer.status === 429 || answer.status === 503) && answer.headers.has("Retry-After");
    if (!busy || attempt === TRIES) throw refusal(answer.status, problem);
    const seconds = waitOf(answer.headers.get("Retry-After"));
    await pause(seconds, options.signal, (left) => waiting(seconds, left, problem.slug));
  }
}

function lost() {
  const words = navigator.onLine === false ? "This computer is offline." : "It may have been stopped, or the connection is down.";
  return new Refusal("The server cannot be reached", words, "later");
}

const waitOf = (seconds) => Math.min(60, Math.max(1, Number(seconds) || 1));

async function pause(seconds, signal, waiting) {
  for (let left = seconds; left > 0; left--) {
    waiting(left);
    await new Promise((resolve, reject) => {
      const timer = setTimeout(done, 1000);
      signal?.addEventListener("abort", stop, { once: true });
      function done() {
        signal?.removeEventListener("abort", stop);
        resolve();
      }
      function stop() {
        clearTimeout(timer);
        reject(new DOMException("given up", "AbortError"));
      }
    });
  }
  waiting(0);
}
