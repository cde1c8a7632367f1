// Everything that happens, as it happens: filters, pause, replay, gaps, and one event in full.
import { follow } from "/page/feed.js";
import { go, link } from "/page/router.js";
import { gapText, parsed, Ring, ROWS_MAX, subject } from "/page/ring.js";
import { exactly } from "/page/json_text.js";
import { useCommands } from "/page/menu.js";
import { Badge, brief, Button, Call, clock, Copy, count, Empty, Field, Head, html, Icon, Json, moment, Problem, Save, short, toast, useEffect, useLayoutEffect, useRef, useState } from "/page/parts.js";

const ROW_PX = 28;
const SPARE_ROWS = 10;
/** So often at most the list is drawn: each time may bring a thousand events. */
const DRAW_EVERY_MS = 90;

const FILTERS = [
  { id: "types", label: "Types", hint: "state_updated,job" },
  { id: "key_prefix", label: "Key begins", hint: "job:" },
  { id: "key", label: "Key", hint: "job:1" },
  { id: "collection", label: "Collection", hint: "notes" },
  { id: "table", label: "SQL table", hint: "loans" },
  { id: "tag", label: "Tag", hint: "import" },
  { id: "job_id", label: "job_id", hint: "7" },
];
const TONES = { state_deleted: "bad", vector_deleted: "bad", doc_deleted: "bad", gap: "warn", error: "bad", ended: "bad", audit: "warn" };
const CSV = [
  { title: "offset", value: (event) => event.offset },
  { title: "ts_ms", value: (event) => event.ts_ms },
  { title: "type", value: (event) => event.type },
  { title: "key", value: subject },
  { title: "data", value: (event) => event.data },
];

/** One stream for as long as its filters stay; draws a few times a second, however much comes. */
function useStream(wanted, paused) {
  const ring = useRef(new Ring());
  const held = useRef(null);
  const [, draw] = useState(0);
  const [state, setState] = useState({ state: "connecting" });
  const timer = useRef(0);
  const soon = () => {
    timer.current ||= setTimeout(() => {
      timer.current = 0;
      draw((n) => n + 1);
    }, DRAW_EVERY_MS);
  };
  useEffect(() => {
    ring.current.clear();
    held.current = null;
    const close = follow(wanted, {
      onEvents: (events) => {
        ring.current.add(events);
        soon();
      },
      onState: (next) => {
        setState((before) => ({ ...next, epoch: next.epoch ?? before.epoch }));
        if (next.state === "lost") ring.current.mark(`Connection lost at ${clock(Date.now())}`, "warn");
        if (next.state === "live" && next.lostMs) ring.current.mark(`Connected again after ${short(next.lostMs / 1000)} s`, "good");
        if (next.state === "live" && next.former && next.former !== next.epoch) ring.current.mark(`Epoch ${next.epoch.slice(0, 8)} begins: offsets of ${next.former.slice(0, 8)} mean nothing in it`, "warn");
        soon();
      },
    });
    // The rate falls also when nothing comes.
    const idle = setInterval(soon, 1000);
    return () => {
      close();
      clearInterval(idle);
      clearTimeout(timer.current);
      timer.current = 0;
    };
  }, [JSON.stringify(wanted)]);
  if (paused) held.current ??= [...ring.current.rows];
  else held.current = null;
  return { ring: ring.current, rows: held.current ?? ring.current.rows, state, redraw: () => draw((n) => n + 1) };
}

function Row({ row, chosen, onChoose, top }) {
  const style = { top: `${top}px` };
  if (row.kind === "mark") return html`<div class=${`ev mark ${row.tone}`} style=${style} role="row"><span role="cell">${row.text}</span></div>`;
  const event = parsed(row);
  if (event.type === "gap") return html`<div class="ev mark warn" style=${style} role="row"><span role="cell">${gapText(event)}</span></div>`;
  return html`<div
    class=${`ev ${chosen ? "selected" : ""}`} style=${style} role="row" tabindex=${chosen ? 0 : -1} aria-selected=${chosen ? "true" : "false"} data-n=${row.n}
    onClick=${() => onChoose(row)}
  >
    <span class="ev-offset" role="cell">${event.offset === null || event.offset === undefined ? "–" : event.offset}</span>
    <span class="ev-time" role="cell">${event.ts_ms ? clock(event.ts_ms) : ""}</span>
    <span class=${`ev-type ${TONES[event.type] ?? ""}`} role="cell">${event.type}</span>
    <span class="ev-key" role="cell">${subject(event)}</span>
    <span class="ev-data" role="cell">${brief(event.data?.value ?? event.data, 240)}</span>
  </div>`;
}

/** The newest first; only the rows in sight are parsed and drawn. */
function Events({ rows, chosen, onChoose, onAway }) {
  const box = useRef();
  const [view, setView] = useState({ first: 0, rows: 40 });
  const measure = () => {
    const element = box.current;
    const first = Math.max(0, Math.floor(element.scrollTop / ROW_PX) - SPARE_ROWS);
    const most = Math.ceil(element.clientHeight / ROW_PX) + 2 * SPARE_ROWS;
    setView((before) => (before.first === first && before.rows === most ? before : { first, rows: most }));
    onAway(element.scrollTop > ROW_PX / 2);
  };
  useLayoutEffect(measure, []);
  useEffect(() => {
    const watch = new ResizeObserver(measure);
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const keys = (event) => {
    const by = { ArrowDown: -1, ArrowUp: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const at = chosen ? rows.findIndex((row) => row.n === chosen.n) + by : rows.length - 1;
    const next = rows[Math.max(0, Math.min(rows.length - 1, at))];
    if (!next || next.kind === "mark") return;
    onChoose(next);
    const top = (rows.length - 1 - rows.indexOf(next)) * ROW_PX;
    const element = box.current;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + 2 * ROW_PX > element.scrollTop + element.clientHeight) element.scrollTop = top + 2 * ROW_PX - element.clientHeight;
  };
  const shown = [];
  for (let place = view.first; place < Math.min(rows.length, view.first + view.rows); place += 1) {
    const row = rows[rows.length - 1 - place];
    shown.push(html`<${Row} key=${row.n} row=${row} top=${place * ROW_PX} chosen=${chosen?.n === row.n} onChoose=${onChoose} />`);
  }
  return html`<div class="events" ref=${box} onScroll=${measure} onKeyDown=${keys} tabindex="0" role="table" aria-label="Events, the newest first" aria-rowcount=${rows.length}>
    <div class="events-inner" role="rowgroup" style=${{ height: `${rows.length * ROW_PX}px` }}>${shown}</div>
  </div>`;
}

function Details({ row, onClose, onReplay }) {
  const event = parsed(row);
  const key = event.key ?? (typeof event.data?.key === "string" ? event.data.key : null);
  return html`<aside class="panel" aria-label="The event">
    <header><h2>${event.type}</h2><${Copy} text=${row.text} label="Copy the event as JSON" />
      <${Button} kind="quiet" small icon="close" label="Close" onClick=${onClose} /></header>
    <div class="panel-body">
      <dl class="facts">
        <div><dt>Offset</dt><dd>${event.offset ?? "none: transient"}</dd></div>
        <div><dt>Time</dt><dd>${moment(event.ts_ms)}</dd></div>
        ${key && html`<div><dt>Key</dt><dd class="mono">${event.type.startsWith("state_") || !event.type.includes("_") ? html`<a href=${link("state", [key], { key: 1 })}>${key}</a>` : key}</dd></div>`}
        ${event.tags?.length > 0 && html`<div><dt>Tags</dt><dd>${event.tags.join(", ")}</dd></div>`}
      </dl>
      <${Json} key=${row.n} value=${exactly(row.text).data ?? event.data} open=${3} />
      <div class="row">
        ${event.offset !== null && html`<${Button} small icon="refresh" onClick=${() => onReplay(event.offset - 1)}>Replay from here<//>`}
        ${key && html`<${Button} small icon="filter" onClick=${() => go("stream", [], { key })}>Only this key<//>`}
        <${Button} small icon="filter" onClick=${() => go("stream", [], { types: event.type })}>Only ${event.type}<//>
      </div>
    </div>
  </aside>`;
}

function Filters({ query, onDone }) {
  const [values, setValues] = useState(query);
  useEffect(() => setValues(query), [JSON.stringify(query)]);
  const submit = (event) => {
    event.preventDefault();
    onDone(values);
  };
  return html`<form class="filters" onSubmit=${submit}>
    ${FILTERS.map(
      (each, at) => html`<${Field} label=${each.label} key=${each.id}>
        <input data-filter=${at === 0} value=${values[each.id] ?? ""} placeholder=${each.hint} autocomplete="off" spellcheck=${false} onInput=${(event) => setValues({ ...values, [each.id]: event.target.value.trim() })} />
      <//>`,
    )}
    <${Field} label="From offset"><input value=${values.since ?? ""} placeholder="now" inputmode="numeric" autocomplete="off" onInput=${(event) => setValues({ ...values, since: event.target.value.trim() })} /><//>
    <div class="row"><${Button} type="submit" kind="primary" onClick=${undefined}>Apply<//><${Button} onClick=${() => onDone({})}>Clear<//></div>
  </form>`;
}

const STATES = { connecting: ["", "connecting"], live: ["good", "live"], lost: ["warn", "reconnecting"], ended: ["bad", "ended"] };

function Stream({ route }) {
  const [paused, setPaused] = useState(false);
  const [away, setAway] = useState(false);
  const [chosen, setChosen] = useState(null);
  const [open, setOpen] = useState(Object.keys(route.query).some((name) => name !== "since"));
  const wanted = { since: "now", ...Object.fromEntries(Object.entries(route.query).filter(([, value]) => value)) };
  const { ring, rows, state, redraw } = useStream(wanted, paused || away);
  const toggle = () => setPaused((before) => !before);
  useCommands(
    [
      { id: "pause", title: "Pause or resume the stream", icon: "pause", keys: "p", run: toggle },
      { id: "filters", title: "Filters of the stream", icon: "filter", keys: "f", run: () => setOpen((before) => !before) },
    ],
    [],
  );
  const held = paused || away ? ring.count - (rows.at(-1)?.n ?? 0) : 0;
  const active = Object.entries(route.query).filter(([, value]) => value);
  const types = [...ring.types.entries()].sort((a, b) => b[1] - a[1]).slice(0, 12);
  const [kind, text] = STATES[state.state];
  const path = `/v1/stream?${new URLSearchParams(wanted)}`;
  return html`<div class="fill">
    <${Head} title="Events" sub=${html`<${Badge} kind=${kind}>${text}<//> <span class="nums">${count(ring.count)} events, ${short(ring.rate)}/s</span>`}>
      <${Button} icon=${paused ? "play" : "pause"} onClick=${toggle} title="Pause or resume (p)">${paused ? "Resume" : "Pause"}<//>
      <${Button} icon="filter" onClick=${() => setOpen(!open)} aria-expanded=${open ? "true" : "false"} title="Filters (f)">Filters${active.length > 0 && html` <${Badge} kind="accent">${active.length}<//>`}<//>
    <//>
    ${open && html`<${Filters} query=${route.query} onDone=${(values) => go("stream", [], values)} />`}
    <div class="bar slim">
      ${types.map(
        ([type, n]) => html`<button type="button" class="chip" key=${type} title=${`Only ${type}`} onClick=${() => go("stream", [], { ...route.query, types: type })}>${type} <b>${short(n)}</b></button>`,
      )}
      ${active.map(([name, value]) => html`<button type="button" class="chip on" key=${name} title="Remove this filter" onClick=${() => go("stream", [], { ...route.query, [name]: "" })}>${name} = ${value} <${Icon} name="close" /></button>`)}
      <span class="row push">
        <${Button} kind="quiet" small onClick=${() => (ring.clear(), setChosen(null), redraw())}>Clear<//>
        <${Button} kind="quiet" small onClick=${() => go("stream", [], { ...route.query, since: "0" })}>Replay all<//>
        <${Save} name="events" columns=${CSV} rows=${() => rows.filter((row) => row.kind !== "mark").map(parsed)} />
      </span>
    </div>
    ${state.error && html`<${Problem} error=${state.error} />`}
    <div class=${chosen ? "split open" : "split"}>
      <div class="split-main">
        ${held > 0 && html`<button type="button" class="held" onClick=${() => (setPaused(false), document.querySelector(".events").scrollTo(0, 0))}><${Icon} name="up" />${count(held)} more came since: show them</button>`}
        ${rows.length
          ? html`<${Events} rows=${rows} chosen=${chosen} onChoose=${setChosen} onAway=${setAway} />`
          : html`<${Empty} title="Nothing has happened yet" icon="stream">
              <span>Events appear here as they are written. Try it:</span>
              <${Call} method="POST" path="/v1/events" body=${{ type: "hello", data: { from: "the page" } }} />
            <//>`}
        ${rows.length >= ROWS_MAX && html`<div class="foot">The newest ${count(ROWS_MAX)} are kept here; the log keeps more: replay from an offset.</div>`}
      </div>
      ${chosen && html`<${Details} row=${chosen} onClose=${() => setChosen(null)} onReplay=${(since) => (toast(`Replaying from offset ${since + 1}`), go("stream", [], { ...route.query, since }))} />`}
    </div>
    <details class="under"><summary>The call behind it</summary><${Call} method="GET" path=${path} /></details>
  </div>`;
}

export const view = { id: "stream", title: "Events", icon: "stream", path: "#/stream", component: Stream };
