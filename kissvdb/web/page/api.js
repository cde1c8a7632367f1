// The one way to the server: `api(method, path, body)`. Keeps the key, who it is, and the calls.
import { signal } from "/page/store.js";
import { route } from "/page/router.js";

const KEY = "kissvdb.key";
const CALLS_MAX = 8;

/** What the server refused, or "unreachable" where there was no answer. */
export class ApiError extends Error {
  constructor(status, code, message, requestId, body) {
    super(message);
    Object.assign(this, { name: "ApiError", status, code, requestId, body });
  }
}

/** Who asks, as GET /v1/auth/me says it; null before it is known. */
export const me = signal(null);
/** Why a key is asked for; null: none is. */
export const keyWanted = signal(null);
/** "ok", "lost" or "starting". */
export const connection = signal("ok");
/** Changes with the key: what is shown is then drawn anew. */
export const generation = signal(0);
/** Per view, the newest first: `{method, path, body}`. */
export const calls = signal({});

let key = null;
try {
  key = sessionStorage.getItem(KEY);
} catch {
  // Kept in memory only.
}

export const getKey = () => key;

/** Use another key (null: none) from now on. Raises ApiError where the server does not know it. */
export async function setKey(text) {
  const before = key;
  key = text || null;
  try {
    await whoAmI();
  } catch (error) {
    if (error.code !== "unreachable") key = before;
    throw error;
  }
  try {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
  keyWanted.value = null;
  generation.value += 1;
}

/** Have no key from now on, whatever the server says to that; what was shown with it is gone. */
export function forgetKey() {
  key = null;
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
  me.value = null;
  calls.value = {};
  generation.value += 1;
  whoAmI().catch(() => {});
}

export async function whoAmI() {
  me.value = await api("GET", "/v1/auth/me", undefined, { quiet: true });
  return me.value;
}

const ROLES = ["public", "read", "write", "admin"];

/** Why the key may not do what needs this role, or null where it may. `whole`: it is about the
 * whole database, which a key with scopes may never do. */
export function refusal(role, whole = false) {
  const who = me.value;
  if (!who) return "it is not known yet what this key may do";
  if (ROLES.indexOf(who.role) < ROLES.indexOf(role)) return `needs the role ${role}; this key has ${who.role}`;
  if (whole && who.scopes) return "needs a key without scopes";
  return null;
}

/** The headers that every request carries, for `fetch` by other means. */
export const headers = (more = {}) => (key ? { authorization: `Bearer ${key}`, ...more } : { ...more });

function note(method, path, body, type) {
  const id = route.value.id || "overview";
  const name = (call) => call.method + call.path.split("?")[0];
  const call = { method, path, body, type };
  const others = (calls.value[id] ?? []).filter((each) => name(each) !== name(call));
  calls.value = { ...calls.value, [id]: [call, ...others].slice(0, CALLS_MAX) };
}

/**
 * The answer: `{data, text, status, headers}`. `body` is sent as JSON unless it is a string or bytes.
 * `quiet`: not among the calls that the view shows. Raises ApiError.
 */
export async function call(method, path, body, { headers: more, signal: abort, quiet = false, type } = {}) {
  if (!quiet) note(method, path, body, type);
  const plain = body === undefined || typeof body === "string" || body instanceof Uint8Array;
  const content = body === undefined ? {} : { "content-type": type ?? "application/json" };
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      headers: headers({ ...content, ...more }),
      body: plain ? body : JSON.stringify(body),
      signal: abort,
      cache: "no-store",
    });
    text = await response.text();
  } catch (error) {
    if (abort?.aborted) throw error;
    connection.value = "lost";
    throw new ApiError(0, "unreachable", `no answer from ${location.host}: is the server running?`);
  }
  if (!response.ok && response.status !== 304) throw refused(response, text);
  connection.value = "ok";
  const isJson = (response.headers.get("content-type") ?? "").startsWith("application/json");
  return { data: isJson && text ? JSON.parse(text) : text || null, text, status: response.status, headers: response.headers };
}

/** The error of an answer; tells the rest of the page what it means. */
export function refused(response, text) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // Of a proxy, perhaps.
  }
  const code = body.error ?? "refused";
  const id = response.headers.get("x-request-id");
  const message = body.message ?? `status ${response.status}: ${text.slice(0, 200)}`;
  if (response.status === 401) keyWanted.value = message;
  connection.value = code === "starting" ? "starting" : "ok";
  return new ApiError(response.status, code, message, id, body);
}

/** The parsed JSON of the answer (text, where it is not JSON). Raises ApiError. */
export async function api(method, path, body, options) {
  return (await call(method, path, body, options)).data;
}

/** A segment of a path: percent-encoded, slashes too. */
export const segment = (text) => encodeURIComponent(text).replace(/^\.{1,2}$/, (dots) => dots.replaceAll(".", "%2E"));

/** `?a=1&b=2` of what is given; "" of nothing. */
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
