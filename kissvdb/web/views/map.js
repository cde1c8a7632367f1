// A collection in a plane: its points on a canvas, a list of them beside it, and the row that is
// pointed at. The points are computed by the server of a sample.

import { api, segment } from "/page/api.js";
import { Button, count, Empty, Field, html, Problem, Spinner, useEffect, useMemo, useRef, useState } from "/page/parts.js";
import { go } from "/page/router.js";
import { FilterBar, Fields, filterOf, shown, withChip } from "/views/filters.js";
import { plot, scale } from "/views/plot.js";

const LIST_MAX = 200;
const SAMPLES = [500, 1000, 2000, 5000];

export function VectorMap({ name, info, fields }) {
  const [asked, setAsked] = useState({ sample: 2000, field: "", chips: [], filterText: "" });
  const [answer, setAnswer] = useState({ loading: true });
  const set = (more) => setAsked((before) => ({ ...before, ...more }));
  let filters, filterProblem;
  try {
    filters = filterOf(asked.chips, asked.filterText);
  } catch (error) {
    filterProblem = error.message;
  }
  const colour = asked.field || fields[0] || "";
  const wish = JSON.stringify({ sample: asked.sample, ...(colour ? { field: colour } : {}), ...(filters ? { filters } : {}) });
  useEffect(() => {
    if (filterProblem) return undefined;
    const abort = new AbortController();
    setAnswer((before) => ({ ...before, loading: true }));
    api("POST", `/v1/vector/${segment(name)}/map`, JSON.parse(wish), { signal: abort.signal }).then(
      (data) => setAnswer({ data }),
      (error) => abort.signal.aborted || setAnswer((before) => ({ data: before.data, error })),
    );
    return () => abort.abort();
  }, [name, wish, Boolean(filterProblem)]);
  const data = answer.data;
  return html`<div class="v-mapview">
    <div class="v-options">
      <${Field} label="Colour by" inline><input
        list="v-map-fields" value=${asked.field} placeholder=${fields[0] ?? "a field"} spellcheck=${false}
        onChange=${(event) => set({ field: event.target.value.trim() })} /><//>
      <datalist id="v-map-fields">${fields.map((each) => html`<option key=${each} value=${each}></option>`)}</datalist>
      <${Field} label="Points" inline><select value=${asked.sample} onChange=${(event) => set({ sample: Number(event.target.value) })}>
        ${SAMPLES.map((each) => html`<option key=${each} value=${each}>at most ${count(each)}</option>`)}
      </select><//>
      ${data && html`<span class="muted">${count(data.points.length)} of ${count(data.passing)} vectors, PCA of ${info.dim} dimensions</span>`}
      ${data && data.points.length > 1 && html`<span class="muted" title="The part of the variance that the two axes have: the rest cannot be seen here">
        axes hold ${percent(data.explained[0])} and ${percent(data.explained[1])} of the variance</span>`}
    </div>
    <${FilterBar} chips=${asked.chips} setChips=${(chips) => set({ chips })} text=${asked.filterText}
      setText=${(filterText) => set({ filterText })} problem=${filterProblem} />
    <${Problem} error=${answer.error} />
    ${!data && answer.loading && html`<${Spinner} label="Computing the map" />`}
    ${data && !data.points.length && html`<${Empty} title="No vectors" icon="map">Nothing passes the filter, or the collection is empty.<//>`}
    ${data && data.points.length > 0 &&
    html`<${Plane} name=${name} points=${data.points} colour=${colour} busy=${answer.loading}
      onPick=${(added) => set({ chips: withChip(asked.chips, added) })} />`}
  </div>`;
}

const percent = (part) => `${(part * 100).toFixed(1)}%`;

function Plane({ name, points, colour, busy, onPick }) {
  const canvas = useRef();
  const drawn = useRef();
  const [at, setAt] = useState(-1);
  const [hidden, setHidden] = useState(new Set());
  const [text, setText] = useState("");
  const colours = useMemo(() => scale(points), [points]);
  const now = useRef();
  now.current = { points, name };

  useEffect(() => {
    const made = plot(canvas.current, {
      onHover: (n) => n >= 0 && setAt(n),
      onPick: (n) => go("vectors", [now.current.name], { tab: "search", id: now.current.points[n].id }),
    });
    drawn.current = made;
    return () => made.end();
  }, []);
  useEffect(() => {
    drawn.current.show(points, points.map(({ value }) => colours.of(value)));
    setHidden(new Set());
    setAt(-1);
  }, [points]);
  useEffect(() => drawn.current.select(at), [at]);
  useEffect(() => drawn.current.hide(hidden), [hidden]);

  const listed = useMemo(() => {
    const wanted = text.toLowerCase();
    const found = [];
    points.forEach((each, n) => {
      if (!wanted || each.id.toLowerCase().includes(wanted) || String(each.value ?? "").toLowerCase().includes(wanted)) found.push(n);
    });
    return found;
  }, [points, text]);
  useEffect(() => drawn.current.mark(text ? listed.slice(0, 500) : []), [listed]);

  const toggle = (key) => {
    const next = new Set(hidden);
    if (!next.delete(key)) next.add(key);
    setHidden(next);
  };
  return html`<div class="v-plane" aria-busy=${Boolean(busy)}>
    <div class="v-canvas">
      <canvas ref=${canvas} tabindex="0" role="img"
        aria-label=${`Map of ${points.length} vectors, coloured by ${colour || "nothing"}. Arrows move it, plus and minus zoom, 0 shows all. The same vectors are in the list.`}></canvas>
      <div class="v-zoom" role="group" aria-label="Zoom">
        <${Button} small icon="plus" label="Zoom in" onClick=${() => drawn.current.zoomBy(1.6)} />
        <button type="button" class="button small square" aria-label="Zoom out" onClick=${() => drawn.current.zoomBy(1 / 1.6)}>−</button>
        <${Button} small icon="refresh" label="Show all" onClick=${() => drawn.current.fit()} />
      </div>
      <ul class="v-colours" aria-label=${`Colours of ${colour}`}>
        ${colours.legend.map(
          (each) => html`<li key=${each.label}><button type="button" aria-pressed=${!hidden.has(each.colour)}
            title="show or hide these" onClick=${() => toggle(each.colour)}>
            <i style=${{ background: each.colour }}></i>${shown(each.label, 28)} <span class="muted">${count(each.count)}</span></button></li>`,
        )}
      </ul>
    </div>
    <aside class="v-beside" aria-label="Points and their rows">
      <${Row} name=${name} id=${points[at]?.id} onPick=${onPick} />
      <input type="search" aria-label="Find in the list" placeholder="find an id or value in the list" value=${text} onInput=${(event) => setText(event.target.value)} />
      <${List} points=${points} listed=${listed} at=${at} colours=${colours} setAt=${setAt} name=${name} />
    </aside>
  </div>`;
}

/** The points as a list: one is focused, arrows lead to the others, Enter asks for what is near. */
function List({ points, listed, at, colours, setAt, name }) {
  const box = useRef();
  const shownNumbers = listed.slice(0, LIST_MAX);
  const current = shownNumbers.includes(at) ? at : shownNumbers[0];
  const step = (event, n) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const next = shownNumbers[shownNumbers.indexOf(n) + by];
    if (next !== undefined) box.current.querySelector(`[data-n="${next}"]`).focus();
  };
  return html`<div>
    <ul class="v-points" ref=${box} aria-label="Vectors of the map">
      ${shownNumbers.map(
        (n) => html`<li key=${points[n].id}><button type="button" data-n=${n} tabindex=${n === current ? 0 : -1}
          class=${n === at ? "v-at" : ""} onFocus=${() => setAt(n)} onKeyDown=${(event) => step(event, n)}
          onClick=${() => go("vectors", [name], { tab: "search", id: points[n].id })}>
          <i style=${{ background: colours.of(points[n].value) }}></i><span>${points[n].id}</span>
          <em>${points[n].value === undefined ? "" : shown(points[n].value, 18)}</em></button></li>`,
      )}
    </ul>
    ${listed.length > LIST_MAX && html`<p class="muted">${count(listed.length - LIST_MAX)} more: find them by id.</p>`}
    ${!listed.length && html`<p class="muted">None of the points.</p>`}
  </div>`;
}

/** What is stored of the point that is looked at, without its numbers. */
function Row({ name, id, onPick }) {
  const [row, setRow] = useState(null);
  useEffect(() => {
    if (id === undefined) return setRow(null);
    const abort = new AbortController();
    // Not for each point that the mouse passes.
    const timer = setTimeout(() => {
      api("GET", `/v1/vector/${segment(name)}/get?${new URLSearchParams({ id })}`, undefined, { signal: abort.signal, quiet: true }).then(
        setRow,
        (error) => abort.signal.aborted || setRow({ id, meta: null, text: error.message }),
      );
    }, 60);
    return () => (clearTimeout(timer), abort.abort());
  }, [name, id]);
  if (id === undefined) return html`<div class="v-row muted">Point at a vector, or walk the list: its row shows here. A click finds what is similar.</div>`;
  return html`<div class="v-row" aria-live="polite">
    <div class="v-hit-head"><code class="v-id">${id}</code>
      <${Button} small kind="quiet" icon="search" onClick=${() => go("vectors", [name], { tab: "search", id })}>similar<//></div>
    ${row?.id === id && row.text && html`<p class="v-passage">${shown(row.text, 220)}</p>`}
    ${row?.id === id && html`<${Fields} value=${row.meta} onPick=${onPick} most=${8} />`}
  </div>`;
}
