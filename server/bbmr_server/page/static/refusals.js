// Turns problem documents of the server into messages for the visitor.

/**
 * A message for the visitor. `kind`: "problem", "setting" (another quality or network may work), "key" (the server needs
 * an API key), "later" (the same request may work later).
 */
export class Refusal extends Error {
  constructor(title, text, kind = "problem") {
    super(text);
    this.title = title;
    this.kind = kind;
  }
}

const PREFIX = "urn:bbmr:problem:";

// The server's own titles are for programs (bodies, containers); these are for visitors (files, photos).
const TITLES = {
  "unreadable-container": "This .bbmr file cannot be read",
  "unsupported-container": "This .bbmr file needs a newer or another reader",
  "unreadable-picture": "This photo cannot be read",
  "too-large": "This is too large for this server",
  "upload-timeout": "Sending took too long",
  "unknown-model": "This server does not have that network",
  "incompatible-model": "This network cannot read this .bbmr file",
  "queue-full": "The server is busy",
  "not-ready": "The server is not ready",
  deadline: "This took too long",
};
const TEXTS = {
  "upload-timeout": "The connection is slow. Try again, or choose a smaller file.",
  "queue-full": "Others are being served. Try again in a while.",
  "not-ready": "It is starting, or has to be looked after. Try again in a while.",
};
const WAITS = {
  "not-ready": "The server is starting.",
  "rate-limited": "This server takes only so many requests in a minute.",
};

/** Returns the problem document of a response. `slug` is the end of its type, "" if a proxy answered. */
export async function problemOf(answer) {
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // a proxy answered; only the status is known
  }
  return documentOf(problem, answer.status === 413 ? "too-large" : "");
}

/** Returns slug, title and detail of a problem document; `otherwise` is the slug of one that is not the server's. */
export function documentOf({ type, title, detail }, otherwise = "") {
  const slug = String(type ?? "").startsWith(PREFIX) ? type.slice(PREFIX.length) : "";
  return { slug: slug || otherwise, title, detail };
}

/** Returns the `Refusal` for a response of `status`. */
export function refusal(status, { slug, title, detail }) {
  const kind = status === 401 || status === 403 ? "key" : status === 429 || status >= 500 ? "later" : "problem";
  const bytes = slug === "too-large" && (!detail || /\bbody\b/.test(detail)); // a word that visitors do not know
  const text = bytes ? "It has more bytes than this server takes." : TEXTS[slug] ?? detail ?? "It did not say why.";
  return new Refusal(TITLES[slug] ?? title ?? `The server answered with status ${status}`, sentence(text), kind);
}

/** Returns the status line while a request waits to be repeated in `seconds`; 0: now. */
export const waiting = (seconds, slug) =>
  seconds ? `${WAITS[slug] ?? "The server is busy."} Trying again in ${seconds} s …` : "Trying again …";

function sentence(text) {
  const start = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
}
