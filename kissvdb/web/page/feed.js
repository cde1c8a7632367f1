// Follows GET /v1/stream with fetch, so that the key goes in a header. Reconnects from its place.
import { headers, query, refused } from "/page/api.js";

const FIRST_PAUSE_MS = 250;
const PAUSE_MAX_MS = 4000;
const SILENCE_MAX_MS = 45_000;

const sleep = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

/**
 * `wanted`: what the route takes (`since`, `types`, `key_prefix`, ...). `onEvents(events)` gets all
 * that arrived together, as `{id, type, text}`: `text` is the JSON as it came, parsed by whoever
 * looks at it. `onState({state, error?, lostMs?, epoch?, former?})`: "connecting", "live", "lost"
 * (it is tried again) or "ended" (it is not). Returns what closes it.
 */
export function follow(wanted, { onEvents, onState }) {
  const closing = new AbortController();
  run(wanted, onEvents, onState, closing.signal).catch((error) => {
    if (!closing.signal.aborted) onState({ state: "ended", error });
  });
  return () => closing.abort();
}

async function run(wanted, onEvents, onState, closed) {
  let place;
  let epoch;
  let lostAt = 0;
  for (let failures = 0; !closed.aborted; ) {
    const silence = new AbortController();
    let timer;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MAX_MS);
    };
    try {
      alive();
      if (!lostAt) onState({ state: "connecting" });
      const resume = place === undefined ? {} : { "last-event-id": place, "kissvdb-epoch": epoch ?? "" };
      const rest = place === undefined ? wanted : { ...wanted, since: undefined };
      const response = await fetch(`/v1/stream${query(rest)}`, {
        headers: headers(resume),
        cache: "no-store",
        signal: AbortSignal.any([closed, silence.signal]),
      });
      if (!response.ok) throw refused(response, await response.text());
      const former = epoch;
      epoch = response.headers.get("kissvdb-epoch") ?? epoch;
      onState({ state: "live", lostMs: lostAt ? Date.now() - lostAt : 0, epoch, former });
      lostAt = 0;
      const last = await read(response.body, alive, (events) => {
        failures = 0;
        const end = events.at(-1);
        place = events.findLast((each) => each.id !== undefined)?.id ?? place;
        onEvents(events);
        return end.type === "ended" || end.type === "error" ? end : null;
      });
      if (last?.type === "ended") {
        const error = new Error(`the key of this stream is no longer valid (${JSON.parse(last.text).reason})`);
        onState({ state: "ended", error });
        return;
      }
    } catch (error) {
      if (closed.aborted) return;
      const lasting = error.status && ![503, 429].includes(error.status);
      if (lasting) {
        onState({ state: "ended", error });
        return;
      }
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
    if (closed.aborted) return;
    lostAt ||= Date.now();
    onState({ state: "lost" });
    await sleep(Math.min(PAUSE_MAX_MS, FIRST_PAUSE_MS * 2 ** failures) * (0.5 + Math.random() / 2), closed);
    failures += 1;
  }
}

/** Server-sent events (WHATWG HTML, section 9.2) of a body, until it ends or `take` wants no more. */
async function read(body, alive, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return null;
      alive();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      const events = [];
      for (const block of blocks) {
        let id;
        let type;
        let text;
        for (const line of block.split("\n")) {
          if (line.startsWith("data: ")) text = line.slice(6);
          else if (line.startsWith("event: ")) type = line.slice(7);
          else if (line.startsWith("id: ")) id = line.slice(4);
        }
        if (text !== undefined) events.push({ id, type, text });
      }
      const last = events.length ? take(events) : null;
      if (last) return last;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
