// The only module that talks HTTP. Every failure leaves here as an ApiError with a message and an action.
import { sleep } from "./dom.js";

export class ApiError extends Error {
  constructor({ status = 0, code = "unknown", message, action = "", retryAfter = null, answered = false }) {
    super(message);
    Object.assign(this, { status, code, action, retryAfter, answered });
  }
  /** Worth trying again without asking anybody: no answer, or a gateway's. */
  get transient() {
    if (this.status === 0) return true;
    if (this.answered) return (this.status === 503 || this.status === 429) && this.retryAfter !== null;
    return [502, 503, 504].includes(this.status);
  }
}

// The server's clock minus ours, from its Date header: students' laptops are often minutes off.
let skew = 0;
export const now = () => Date.now() + skew;

function noAnswer() {
  return navigator.onLine === false
    ? new ApiError({ code: "offline", message: "You are offline.", action: "Check your connection, then try again." })
    : new ApiError({ code: "no_answer", message: "The server does not answer.", action: "Wait a moment, then try again." });
}

async function call(method, path, { body, headers = {}, timeout = 15000 } = {}) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeout);
  try {
    const response = await fetch(path, {
      method,
      credentials: "same-origin",
      cache: "no-store",
      headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: abort.signal,
    });
    const date = Date.parse(response.headers.get("Date") ?? "");
    if (date) skew = Math.abs(date - Date.now()) > 3000 ? date - Date.now() : 0;
    const text = await response.text();
    let json = null;
    try {
      json = text ? JSON.parse(text) : null;
    } catch {
      // not ours: a gateway's page
    }
    if (response.ok && json) return json;
    throw problem(response, json?.error);
  } catch (error) {
    throw error instanceof ApiError ? error : noAnswer();
  } finally {
    clearTimeout(timer);
  }
}

function problem(response, error) {
  const after = Number(response.headers.get("Retry-After"));
  return new ApiError({
    status: response.ok ? 502 : response.status,
    code: error?.code,
    message: error?.message ?? `The server answered with an error (${response.status}).`,
    action: error?.action ?? (error ? "" : "Wait a moment, then try again."),
    retryAfter: response.headers.has("Retry-After") && Number.isFinite(after) ? after : null,
    answered: Boolean(error),
  });
}

const one = (id) => `/api/clusters/${encodeURIComponent(id)}`;

export const session = () => call("GET", "/api/session");
export const enter = (code) => call("POST", "/api/session", { body: { access_code: code } });
export const list = async () => (await call("GET", "/api/clusters")).clusters;
export const get = (id) => call("GET", one(id));
export const scale = (id, workers) => call("PATCH", one(id), { body: { workers } });
export const stop = (id) => call("DELETE", one(id));
export const open = (id, access) => call("PUT", `${one(id)}/access`, { body: { access } });
export const shares = async (id) => (await call("GET", `${one(id)}/shares`)).shares;
export const share = (id, seconds) => call("POST", `${one(id)}/shares`, { body: { seconds } });
export const unshare = async (id, share) => (await call("DELETE", `${one(id)}/shares/${encodeURIComponent(share)}`)).shares;
export const eventsPath = (id) => `${one(id)}/events`;

// One press, one cluster. The key is made when the button is pressed and kept, over a reload too,
// until an answer came; the same key with the same body launches once however often it is sent.
const PENDING = "slipway.pending";

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID(); // only in a secure context
  const b = crypto.getRandomValues(new Uint8Array(16));
  b[6] = (b[6] & 0x0f) | 0x40;
  b[8] = (b[8] & 0x3f) | 0x80;
  const hex = Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function keyFor(body) {
  const text = JSON.stringify(body);
  try {
    const kept = JSON.parse(sessionStorage.getItem(PENDING));
    if (kept?.body === text && Date.now() - kept.at < 600000) return kept.key;
  } catch {
    // none kept, or storage is off: the key then lives as long as this page
  }
  const key = uuid();
  remember(PENDING, JSON.stringify({ key, body: text, at: Date.now() }));
  return key;
}

export function remember(name, value) {
  try {
    if (value === null) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, value);
  } catch {
    // storage is off
  }
}

export function recall(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Launches, trying again by itself while there is no answer; `waiting(error)` hears of each wait. */
export async function launch(body, waiting) {
  const key = keyFor(body);
  for (let attempt = 0; ; attempt++) {
    try {
      const cluster = await call("POST", "/api/clusters", { body, headers: { "Idempotency-Key": key }, timeout: 30000 });
      remember(PENDING, null);
      return cluster;
    } catch (error) {
      if (error.status >= 400 && error.status < 500 && !error.transient) remember(PENDING, null);
      if (!error.transient || attempt >= 7) throw error;
      waiting(error);
      const wait = error.retryAfter !== null ? error.retryAfter * 1000 : Math.min(8000, 600 * 2 ** attempt);
      await sleep(Math.min(30000, wait) * (0.8 + Math.random() * 0.4));
    }
  }
}
