// Search in a collection of vectors: by words, by both, by a vector, or near to one that is there.

import { call, segment } from "/page/api.js";
import { Button, Empty, Field, html, Problem, Spinner, useEffect, useRef, useState } from "/page/parts.js";
import { go, link, useRoute } from "/page/router.js";
import { Explain, Facets, Hit, MARKS } from "/views/explain.js";
import { chip, FilterBar, filterOf, withChip } from "/views/filters.js";
import { exact } from "/views/raw.js";

const WAYS = {
  hybrid: "words and meaning",
  text: "words",
  meaning: "meaning of a text",
  vector: "vector",
  id: "similar to an id",
};

/** Which ways there are: without an embedder no vector is made of a text. */
const waysOf = (info) => Object.keys(WAYS).filter((way) => info.embedder || !["hybrid", "meaning"].includes(way));

/** What is sent. Throws SyntaxError for a vector or a filter that is none. */
export function searchBody({ way, text, vector, id, k, ef, exact, typos, chips, filterText, facets }) {
  const body = { k, include_meta: true, include_text: true, explain: true };
  if (way === "id") body.id = id;
  else if (way === "vector") body.vector = vectorOf(vector);
  else {
    body.text = text;
    body.mode = way === "meaning" ? "vector" : way;
    if (way !== "meaning") body.highlight = MARKS;
    if (!typos) body.typos = "off";
  }
  if (way === "vector" && text.trim()) {
    // A vector and words: both are asked.
    Object.assign(body, { text, mode: "hybrid", highlight: MARKS });
  }
  const filters = filterOf(chips, filterText);
  if (filters) body.filters = filters;
  if (exact) body.exact = true;
  else if (ef) body.ef_search = ef;
  if (facets.length) body.facets = facets;
  return body;
}

/** Numbers as an array of JSON, or with blanks, commas or lines between them. */
export function vectorOf(text) {
  const numbers = text.replace(/^\s*\[|\]\s*$/g, "").split(/[\s,;]+/).filter(Boolean).map(Number);
  if (!numbers.length) throw new SyntaxError("paste the numbers of a vector, such as [0.1, 0.2]");
  const bad = numbers.findIndex((each) => !Number.isFinite(each));
  if (bad >= 0) throw new SyntaxError(`number ${bad + 1} of the vector is none`);
  return numbers;
}

/** The names of fields that facets can be of, as the hits have them. */
function fieldsOf(hits) {
  const names = new Set();
  for (const { meta } of hits) {
    if (meta === null || typeof meta !== "object" || Array.isArray(meta)) continue;
    for (const [name, value] of Object.entries(meta)) {
      if (value === null || typeof value !== "object" || Array.isArray(value)) names.add(name);
    }
  }
  return [...names].sort();
}

export function Search({ name, info, fields }) {
  const { query } = useRoute();
  const ways = waysOf(info);
  const [asked, setAsked] = useState(() => ({
    way: query.id ? "id" : ways.includes(query.by) ? query.by : ways[0],
    text: query.q ?? "", vector: "", id: query.id ?? "", k: 10, ef: 0, exact: false, typos: true,
    chips: [], filterText: "", facets: null,
  }));
  const [answer, setAnswer] = useState({});
  const [known, setKnown] = useState([]);
  const last = useRef(0);
  // Until somebody chooses: the two fields that are worth most.
  const chosen = (fields ?? []).slice(0, 2);
  const set = (more) => setAsked((before) => ({ ...before, ...more }));
  const ready = { id: asked.id, vector: asked.vector.trim() }[asked.way] ?? asked.text.trim();

  async function search(wanted = asked) {
    const turn = (last.current += 1);
    let body;
    try {
      body = searchBody({ ...wanted, facets: wanted.facets ?? chosen });
    } catch (error) {
      return setAnswer((before) => ({ ...before, error, loading: false }));
    }
    setAnswer((before) => ({ ...before, loading: true }));
    const began = performance.now();
    try {
      const data = exact((await call("POST", `/v1/vector/${segment(name)}/search`, body)).text, BigInt);
      if (turn !== last.current) return;
      setAnswer({ data, tookMs: performance.now() - began });
      setKnown((before) => [...new Set([...before, ...fieldsOf(data.hits)])].sort());
    } catch (error) {
      if (turn === last.current) setAnswer((before) => ({ data: before.data, error }));
    }
  }

  // A click on "similar", here or in another tab, comes as an address.
  useEffect(() => {
    if (!query.id || fields === null) return;
    const next = { ...asked, way: "id", id: query.id };
    setAsked(next);
    search(next);
  }, [query.id, fields === null]);
  // What is clicked counts at once.
  const began = useRef(false);
  useEffect(() => {
    if (began.current && ready) search();
    began.current = true;
  }, [asked.chips, asked.facets, asked.k, asked.ef, asked.exact, asked.typos]);

  const pick = (added) => set({ chips: withChip(asked.chips, added) });
  const isArray = (field) => (answer.data?.hits ?? []).some(({ meta }) => Array.isArray(meta?.[field]));
  const hits = answer.data?.hits ?? [];
  const filterProblem = problemOf(() => filterOf(asked.chips, asked.filterText));
  return html`<div class="v-search">
    <form class="v-ask" onSubmit=${(event) => (event.preventDefault(), search())}>
      <${Field} label="Search by">
        <select value=${asked.way} onChange=${(event) => set({ way: event.target.value })}>
          ${ways.map((way) => html`<option key=${way} value=${way}>${WAYS[way]}</option>`)}
        </select>
      <//>
      <${Query} asked=${asked} set=${set} info=${info} />
      <${Button} type="submit" kind="primary" icon="search" disabled=${!ready}>Search<//>
    </form>
    <${Options} asked=${{ ...asked, facets: asked.facets ?? chosen }} set=${set} known=${[...new Set([...(fields ?? []), ...known])].sort()} />
    <${FilterBar}
      chips=${asked.chips} setChips=${(chips) => set({ chips })}
      text=${asked.filterText} setText=${(filterText) => set({ filterText })} problem=${filterProblem}
    />
    <${Problem} error=${answer.error} />
    ${answer.loading && !answer.data && html`<${Spinner} label="Searching" />`}
    ${answer.data?.explain && html`<${Explain} explain=${answer.data.explain} tookMs=${answer.tookMs} />`}
    <div class=${answer.data?.facets ? "v-with-facets" : ""} aria-busy=${Boolean(answer.loading)}>
      ${answer.data?.facets &&
      html`<${Facets} facets=${answer.data.facets} onPick=${(field, value) => pick(chip(field, value, { inArray: isArray(field) }))} />`}
      <ol class="v-hits" aria-label="Hits">
        ${hits.map(
          (hit, n) => html`<${Hit} key=${hit.id} hit=${hit} rank=${n + 1} best=${hits[0].score} metric=${info.metric} onPick=${pick}>
            <a class="button small quiet" href=${link("vectors", [name], { tab: "search", id: hit.id })}>similar</a>
            <a class="button small quiet" href=${link("vectors", [name], { tab: "rows", row: hit.id })}>open</a>
          <//>`,
        )}
      </ol>
    </div>
    ${answer.data && !hits.length && html`<${Empty} title="Nothing found" icon="search">${
      asked.chips.length || asked.filterText ? "The filter leaves nothing, or no text has these words." : "No text has these words."
    }<//>`}
    ${answer.data?.exhausted && hits.length > 0 && html`<p class="muted">These are all that match and pass.</p>`}
  </div>`;
}

function Query({ asked, set, info }) {
  if (asked.way === "id") {
    return html`<${Field} label="Id"><input
      value=${asked.id} spellcheck=${false} onInput=${(event) => set({ id: event.target.value })} /><//>`;
  }
  const words = html`<${Field} label=${asked.way === "vector" ? "And words (hybrid, may be empty)" : "Words"}><input
    type="search" value=${asked.text} placeholder=${'words, "a phrase", begin*, -not'} onInput=${(event) => set({ text: event.target.value })} /><//>`;
  if (asked.way !== "vector") return words;
  return html`<${Field} label=${`Vector of ${info.dim} numbers`}><textarea
      rows="2" class="v-json" spellcheck=${false} value=${asked.vector} placeholder="[0.12, -0.3, ...]"
      onInput=${(event) => set({ vector: event.target.value })} ></textarea><//>${words}`;
}

function Options({ asked, set, known }) {
  const number = (name, label, most, hint) => html`<label class="v-option" title=${hint}>${label}
    <input type="number" min="0" max=${most} value=${asked[name] || ""} placeholder="auto"
      onChange=${(event) => set({ [name]: Math.min(most, Number(event.target.value) || 0) || (name === "k" ? 10 : 0) })} /></label>`;
  return html`<div class="v-options">
    ${number("k", "hits (k)", 256, "how many hits")}
    ${number("ef", "in view (ef)", 4096, "vectors the walk keeps in view: more finds more and takes longer")}
    <label class="v-option"><input type="checkbox" checked=${asked.exact} onChange=${(event) => set({ exact: event.target.checked })} /> exact</label>
    <label class="v-option"><input type="checkbox" checked=${asked.typos} onChange=${(event) => set({ typos: event.target.checked })} /> forgive typos</label>
    ${known.length > 0 &&
    html`<label class="v-option">count values of
      <select value="" onChange=${(event) => event.target.value && set({ facets: [...new Set([...asked.facets, event.target.value])].slice(-4) })}>
        <option value="">field…</option>
        ${known.filter((each) => !asked.facets.includes(each)).map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
      </select>
    </label>`}
    ${asked.facets.length > 0 && html`<${Button} small kind="quiet" onClick=${() => set({ facets: [] })}>no counts<//>`}
  </div>`;
}

function problemOf(work) {
  try {
    work();
    return null;
  } catch (error) {
    return error.message;
  }
}

/** To a search for what is near to a row. */
export const similar = (name, id) => go("vectors", [name], { tab: "search", id });
