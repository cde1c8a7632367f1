// Routes live in the hash: #/vectors/NAME?tab=map. Names are percent-encoded, so any key fits.
import { signal, useSignal } from "/page/store.js";

const decode = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [id = "", ...rest] = path.split("/");
  return { id: decode(id), rest: rest.filter(Boolean).map(decode), query: Object.fromEntries(new URLSearchParams(query)) };
}

/** Where one is: `{id, rest: [...], query: {...}}`. */
export const route = signal(read());
let shown = location.hash;
let mayLeave = () => true;
let asking = false;

/** `ask()` is asked before another address is shown: true, or a promise of whether it may be. */
export const guardLeaving = (ask) => (mayLeave = ask);

addEventListener("hashchange", async () => {
  const answer = location.hash === shown || (!asking && mayLeave());
  asking ||= typeof answer === "object";
  if (answer === true || (answer && (await answer))) {
    shown = location.hash;
    route.value = read();
  } else history.replaceState(null, "", shown || "#/");
  if (typeof answer === "object") asking = false;
});

export const useRoute = () => useSignal(route);

/** The address of a view, for `href`. What is undefined, null or "" in `query` is left out. */
export function link(id, rest = [], query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const path = [id, ...rest].map(encodeURIComponent).join("/");
  return `#/${path}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

/** Go there. `replace`: without a step of "back". */
export function go(id, rest, query, { replace = false } = {}) {
  const target = link(id, rest, query);
  if (target === location.hash) return;
  if (!replace) location.hash = target;
  else {
    history.replaceState(null, "", target);
    shown = location.hash;
    route.value = read();
  }
}
