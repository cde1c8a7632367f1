// Values that components look at: `signal(x)`, `useSignal(s)`; and helpers that outlive a drawing.
import { useEffect, useReducer, useRef } from "/vendor/preact.js";

/** A value with listeners. Setting an identical value tells nobody. */
export function signal(value) {
  const listeners = new Set();
  return {
    get value() {
      return value;
    },
    set value(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) listener(value);
    },
    /** Call `listener` at every change; returns what ends it. */
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** The value of a signal; the component is drawn anew when it changes. */
export function useSignal(source) {
  const [, draw] = useReducer((n) => n + 1, 0);
  const drawn = useRef();
  drawn.current = source.value;
  useEffect(() => {
    // It may have changed between the drawing and now.
    if (!Object.is(drawn.current, source.value)) draw();
    return source.subscribe(draw);
  }, [source]);
  return source.value;
}

/** `work()` now and then every `everyMs` while the page is looked at; never twice at once. */
export function useEvery(everyMs, work, inputs = []) {
  useEffect(() => {
    let ended = false;
    let timer;
    let busy = false;
    const round = async () => {
      // Two rounds at once would each begin the next: a chain more for every look at the page.
      if (busy) return;
      clearTimeout(timer);
      busy = true;
      try {
        if (!document.hidden) await work();
      } finally {
        busy = false;
        if (!ended) timer = setTimeout(round, everyMs);
      }
    };
    const seen = () => {
      if (!document.hidden) round();
    };
    document.addEventListener("visibilitychange", seen);
    round();
    return () => {
      ended = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, inputs);
}

/** A small value kept in this browser, or the default where the browser keeps nothing. */
export const kept = {
  get(name, otherwise) {
    try {
      const text = localStorage.getItem(`kissvdb.${name}`);
      return text === null ? otherwise : JSON.parse(text);
    } catch {
      return otherwise;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`kissvdb.${name}`, JSON.stringify(value));
    } catch {
      // A browser that keeps nothing is fine.
    }
  },
};
