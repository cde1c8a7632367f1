// Collections of documents, and each with what is found in it by fields and by words.

import { api, call, segment } from "/page/api.js";
import {
  Badge, bytes, Button, confirm, count, Empty, Field, Head, html, Json, moment, Problem, Save, Spinner, Table, Tabs, toast,
  useEffect, useEvery, useLoad, useMemo, useRef, useState,
} from "/page/parts.js";
import { go, link, useRoute } from "/page/router.js";
import { DocumentDialog } from "/views/document.js";
import { Explain, Facets, Hit, MARKS } from "/views/explain.js";
import { chip, colourable, FilterBar, filterOf, plural, withChip } from "/views/filters.js";
import { exact } from "/views/raw.js";
import { columnsOf, usePages } from "/views/rows.js";

const PAGE = 100;
const FACETS_MAX = 4;
const FACET_VALUES = 10;
const EVERY_MS = 5000;

function Documents() {
  const { rest } = useRoute();
  return rest[0] ? html`<${Collection} key=${rest[0]} name=${rest[0]} />` : html`<${List} />`;
}

export const view = { id: "documents", title: "Documents", icon: "documents", path: "#/documents", component: Documents };

const COLUMNS = [
  { id: "name", title: "collection", width: "240px", value: (row) => row.collection, render: (row) => html`<a href=${link("documents", [row.collection])}>${row.collection}</a>` },
  { id: "count", title: "documents", width: "110px", align: "right", value: (row) => row.count, render: (row) => count(row.count), copy: false },
  { id: "bytes", title: "size", width: "100px", align: "right", value: (row) => row.bytes, render: (row) => bytes(row.bytes), copy: false },
  { id: "created", title: "begun", width: "170px", value: (row) => row.created_at_ms, render: (row) => moment(row.created_at_ms), copy: false },
  { id: "updated", title: "changed", width: "170px", value: (row) => row.updated_at_ms, render: (row) => moment(row.updated_at_ms), copy: false },
];

function List() {
  const { data, error, reload } = useLoad((signal) => api("GET", "/v1/doc", undefined, { signal }), []);
  const [adding, setAdding] = useState(false);
  useEvery(EVERY_MS, async () => reload());
  const rows = data?.collections ?? [];
  return html`
    <${Head} title="Documents" sub=${data ? plural(rows.length, "collection") : ""}>
      <${Button} kind="primary" icon="plus" need="write" onClick=${() => setAdding(true)}>New document<//>
    <//>
    <${Problem} error=${error} onRetry=${reload} />
    ${!data && !error && html`<${Spinner} />`}
    ${data && !rows.length && html`<${Empty} title="No documents yet" icon="documents">
      <span>A document is any JSON under an id; its collection comes to be with the first.</span>
      <pre>curl -X PUT ${location.origin}/v1/doc/books/solaris -H 'content-type: application/json' -d '{"title": "Solaris", "year": 1961}'</pre><//>`}
    ${rows.length > 0 && html`<${Table} label="Collections of documents" columns=${COLUMNS} rows=${rows} rowKey=${(row) => row.collection} onRow=${(row) => go("documents", [row.collection])} />`}
    ${adding && html`<${DocumentDialog} onClose=${() => setAdding(false)} changed=${reload} />`}
  `;
}

const TABS = [
  { id: "find", title: "Find" },
  { id: "search", title: "Search by words" },
  { id: "about", title: "About" },
];

function Collection({ name }) {
  const { query } = useRoute();
  const tab = TABS.some(({ id }) => id === query.tab) ? query.tab : "find";
  const { data: info, error, reload } = useLoad((signal) => api("GET", `/v1/doc/${segment(name)}`, undefined, { signal }), [name]);
  const [adding, setAdding] = useState(false);
  const [chips, setChips] = useState([]);
  const [text, setText] = useState("");
  const [round, setRound] = useState(0);
  const changed = () => (setRound((n) => n + 1), reload());
  let filter, problem;
  try {
    filter = filterOf(chips, text);
  } catch (wrong) {
    problem = wrong.message;
  }
  const open = (id) => go("documents", [name], { tab, id });
  const pick = (added) => setChips(withChip(chips, added));
  const common = { name, info, filter, pick, open, round, chosen: query.id };
  return html`
    <${Head} title=${name} sub=${info ? `${plural(info.count, "document")} · ${bytes(info.bytes)}` : ""}>
      <${Button} icon="plus" need="write" onClick=${() => setAdding(true)}>New document<//>
      <a class="button quiet" href=${link("documents")}>All collections</a>
    <//>
    <${Tabs} tabs=${TABS} current=${tab} label="Parts of the collection" onChange=${(id) => go("documents", [name], { tab: id })} />
    <${Problem} error=${error} onRetry=${reload} />
    ${!info && !error && html`<${Spinner} />`}
    ${info && html`<div class="body v-body" role="tabpanel" aria-label=${TABS.find(({ id }) => id === tab).title}>
      ${tab !== "about" && html`<${FilterBar} chips=${chips} setChips=${setChips} text=${text} setText=${setText} problem=${problem} />`}
      ${tab === "find" && html`<${Find} ...${common} changed=${changed} />`}
      ${tab === "search" && html`<${Search} ...${common} />`}
      ${tab === "about" && html`<${About} name=${name} info=${info} reload=${reload} />`}
    </div>`}
    ${query.id && html`<${DocumentDialog} key=${query.id} collection=${name} id=${query.id} changed=${changed} onPick=${(added) => (pick(added), open(undefined))} onClose=${() => open(undefined)} />`}
    ${adding && html`<${DocumentDialog} collection=${name} changed=${changed} onClose=${() => setAdding(false)} />`}
  `;
}

/** Which fields are counted: a choice that both ways of looking share. */
function FacetChoice({ fields, facets, setFacets }) {
  return html`<label class="v-option">count values of
    <select value="" onChange=${(event) => event.target.value && setFacets([...new Set([...facets, event.target.value])].slice(-FACETS_MAX))}>
      <option value="">field…</option>
      ${fields.filter((each) => !facets.includes(each)).map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
    </select></label>
    ${facets.length > 0 && html`<${Button} small kind="quiet" onClick=${() => setFacets([])}>no counts<//>`}`;
}

const at = (document, path) => path.split(".").reduce((value, name) => value?.[name], document);
const picked = (documents, pick) => (field, value) =>
  pick(chip(field, value, { inArray: documents.some((each) => Array.isArray(at(each, field))) }));

function Find({ name, info, filter, pick, open, round, chosen, changed }) {
  const [sort, setSort] = useState(null);
  const [fields, setFields] = useState("");
  // Null: what is worth counting is not known yet.
  const [facets, setFacets] = useState(null);
  const told = useRef({});
  const wish = {
    limit: PAGE, ...(filter ? { filter } : {}), ...(sort ? { sort: `${sort.down ? "-" : ""}${sort.id}` } : {}),
    ...(fields.trim() ? { fields: fields.split(/[\s,]+/).filter(Boolean) } : {}),
  };
  const asked = JSON.stringify([wish, facets]);
  const pages = usePages(async (cursor) => {
    const first = cursor ? { cursor } : { count: true, explain: true, ...(facets?.length ? { facets: Object.fromEntries(facets.map((each) => [each, FACET_VALUES])) } : {}) };
    const found = exact((await call("POST", `/v1/doc/${segment(name)}/find`, { ...wish, ...first })).text);
    // What only the first page tells is kept with the others.
    if (!cursor) told.current = { total: found.count, facets: found.facets, explain: found.explain };
    if (!cursor && facets === null) setFacets(colourable(found.documents.map(({ doc }) => doc)).slice(0, 2));
    return { rows: found.documents, cursor: found.cursor, ...told.current };
  }, [name, asked, round]);
  const columns = useMemo(
    () => [{ id: "$id", title: "id", width: "200px", mono: true, value: (row) => row.id, sort: false }, ...columnsOf(pages.rows, (row) => row.doc),
      { id: "$revision", title: "revision", width: "80px", align: "right", value: (row) => row.revision, copy: false }],
    [pages.rows],
  );
  const deleteAll = async () => {
    const text = `${count(pages.total)} of ${count(info.count)} documents of ${name} pass ${JSON.stringify(filter)}.`;
    if (!(await confirm({ title: "Delete what passes the filter", text, action: `Delete ${count(pages.total)}`, danger: true, typed: name }))) return;
    try {
      const { deleted } = await api("POST", `/v1/doc/${segment(name)}/delete_by_filter`, { filter });
      toast(`${plural(deleted, "document")} deleted`, "good");
      changed();
    } catch (error) {
      toast(error, "bad");
    }
  };
  const sortable = (next) => setSort(next && !next.id.startsWith("$") ? next : null);
  return html`
    <div class="v-options">
      <${Field} label="Sort" inline><input list="v-doc-fields" value=${sort?.id ?? ""} placeholder="by id" spellcheck=${false}
        onChange=${(event) => setSort(event.target.value.trim() ? { id: event.target.value.trim(), down: sort?.down ?? false } : null)} /><//>
      <label class="v-option"><input type="checkbox" checked=${sort?.down ?? false} disabled=${!sort} onChange=${(event) => setSort({ ...sort, down: event.target.checked })} /> descending</label>
      <datalist id="v-doc-fields">${info.fields.map((each) => html`<option key=${each} value=${each}></option>`)}</datalist>
      <${Field} label="Fields" inline><input value=${fields} placeholder="all, or title, -body" spellcheck=${false} onChange=${(event) => setFields(event.target.value)} /><//>
      <${FacetChoice} fields=${info.fields} facets=${facets ?? []} setFacets=${setFacets} />
    </div>
    <div class="v-tools">
      <span class="muted" role="status">${pages.total === undefined ? "" : `${count(pages.total)} found, ${count(pages.rows.length)} shown`}</span>
      ${pages.loading && html`<span class="muted">…</span>`}
      <${Save} name=${name} rows=${pages.rows} columns=${columns} json=${(row) => ({ id: row.id, ...row.doc })} />
      <${Button} small kind="danger" icon="trash" need="write" disabled=${!filter || !pages.total || pages.loading} title=${filter ? undefined : "Set a filter first"} onClick=${deleteAll}>Delete these<//>
    </div>
    <${Problem} error=${pages.error} onRetry=${pages.again} />
    <div class=${pages.facets ? "v-with-facets" : ""}>
      ${pages.facets && html`<${Facets} facets=${pages.facets} onPick=${picked(pages.rows.map(({ doc }) => doc), pick)} />`}
      <${Table} label=${`Documents of ${name}`} columns=${columns} rows=${pages.rows} rowKey=${(row) => row.id} height="clamp(260px, 60vh, 900px)"
        onRow=${(row) => open(row.id)} selected=${chosen} more=${pages.more} sort=${sort} onSort=${sortable} empty=${pages.loading ? "…" : "No document passes"} />
    </div>
    ${pages.explain && html`<details><summary>How it went</summary><${Explain} explain=${pages.explain} /></details>`}`;
}

function Search({ name, info, filter, pick, open, round }) {
  const [asked, setAsked] = useState({ text: "", k: 20, all: false, typos: true });
  const [facets, setFacets] = useState([]);
  const [answer, setAnswer] = useState({});
  const turn = useRef(0);
  const search = async () => {
    if (!asked.text.trim()) return;
    const now = (turn.current += 1);
    const body = {
      text: asked.text, k: asked.k, highlight: MARKS, explain: true, count: true, ...(asked.all ? { match: "all" } : {}), ...(asked.typos ? {} : { typos: "off" }),
      ...(filter ? { filter } : {}), ...(facets.length ? { facets: Object.fromEntries(facets.map((each) => [each, FACET_VALUES])) } : {}),
    };
    const began = performance.now();
    try {
      const data = await api("POST", `/v1/doc/${segment(name)}/search`, body);
      if (now === turn.current) setAnswer({ data, tookMs: performance.now() - began });
    } catch (error) {
      if (now === turn.current) setAnswer((before) => ({ data: before.data, error }));
    }
  };
  useEffect(() => {
    search();
  }, [JSON.stringify([filter ?? null, facets, asked.k, asked.all, asked.typos, round])]);
  const set = (more) => setAsked({ ...asked, ...more });
  const hits = answer.data?.hits ?? [];
  return html`
    <form class="v-ask" onSubmit=${(event) => (event.preventDefault(), search())}>
      <${Field} label="Words"><input type="search" value=${asked.text} placeholder=${'words, "a phrase", begin*, -not, field:word'} onInput=${(event) => set({ text: event.target.value })} /><//>
      <${Button} type="submit" kind="primary" icon="search" disabled=${!asked.text.trim()}>Search<//>
    </form>
    <div class="v-options">
      <label class="v-option">hits <input type="number" min="1" max="256" value=${asked.k} onChange=${(event) => set({ k: Math.max(1, Math.min(256, Number(event.target.value) || 20)) })} /></label>
      <label class="v-option"><input type="checkbox" checked=${asked.all} onChange=${(event) => set({ all: event.target.checked })} /> all of the words</label>
      <label class="v-option"><input type="checkbox" checked=${asked.typos} onChange=${(event) => set({ typos: event.target.checked })} /> forgive typos</label>
      <${FacetChoice} fields=${info.fields} facets=${facets} setFacets=${setFacets} />
    </div>
    <${Problem} error=${answer.error} />
    ${answer.data?.explain && html`<${Explain} explain=${answer.data.explain} tookMs=${answer.tookMs} />`}
    ${answer.data && html`<p class="muted" role="status">${count(answer.data.count)} documents match</p>`}
    <div class=${answer.data?.facets ? "v-with-facets" : ""}>
      ${answer.data?.facets && html`<${Facets} facets=${answer.data.facets} onPick=${picked(hits.map(({ doc }) => doc), pick)} />`}
      <ol class="v-hits" aria-label="Hits">${hits.map(
        (hit, n) => html`<${Hit} key=${hit.id} hit=${hit} rank=${n + 1} best=${hits[0].score} onPick=${pick}>
          <button type="button" class="button small quiet" onClick=${() => open(hit.id)}>open</button><//>`,
      )}</ol>
    </div>
    ${answer.data && !hits.length && html`<${Empty} title="Nothing found" icon="search">No document that passes has these words.<//>`}`;
}

function About({ name, info, reload }) {
  const path = `/v1/doc/${segment(name)}`;
  const doing = async (work) => {
    try {
      toast(await work(), "good");
      reload();
    } catch (error) {
      toast(error, "bad");
    }
  };
  const vacuum = () => doing(async () => `${count((await api("POST", `${path}/vacuum`)).removed)} dead rows are gone`);
  const drop = async () => {
    const text = `All ${count(info.count)} documents of ${name} are deleted one by one, and the settings.`;
    if (!(await confirm({ title: "Drop the collection", text, action: "Drop", danger: true, typed: name }))) return;
    try {
      toast(`${count((await api("DELETE", path)).documents)} documents deleted`, "good");
      go("documents");
    } catch (error) {
      toast(error, "bad");
    }
  };
  const facts = [
    ["documents", count(info.count)], ["size of rows and indexes", bytes(info.bytes)], ["fields", count(info.fields.length)],
    ["begun", moment(info.created_at_ms)], ["changed", moment(info.updated_at_ms)], ["offset", count(info.applied_offset)], ["upkeep", info.working ?? "at rest"],
  ];
  return html`<div class="v-about">
    ${info.damage && html`<p class="v-note">${info.damage}</p>`}
    <dl class="v-facts">${facts.map(([label, value]) => html`<div key=${label}><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>
    <h2>Indexed fields</h2>
    <p class="v-chips">${info.fields.slice(0, 200).map((each) => html`<${Badge} key=${each}>${each}<//>`)}</p>
    <h2>How it is searched</h2>
    <${Json} value=${info.settings} />
    <div class="v-tools">
      <${Button} icon="refresh" need="admin" onClick=${vacuum}>Vacuum now<//>
      <${Button} kind="danger" icon="trash" need="write" onClick=${drop}>Drop the collection<//>
    </div></div>`;
}
