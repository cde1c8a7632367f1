// Collections of vectors: all of them with how they are, and each with its rows, searches and map.

import { api, segment } from "/page/api.js";
import {
  Badge, bytes, Button, confirm, count, Dialog, Empty, Field, Head, html, Json, moment, Problem, Spinner, Table, Tabs, toast,
  useEffect, useEvery, useLoad, useState,
} from "/page/parts.js";
import { go, link, useRoute } from "/page/router.js";
import { colourable, plural } from "/views/filters.js";
import { Changing, CODES, effortFacts, KINDS, Reindex, Tune } from "/views/indexing.js";
import { VectorMap } from "/views/map.js";
import { Rows } from "/views/rows.js";
import { Search } from "/views/search.js";

const DETAILS_MAX = 60;
const EVERY_MS = 5000;

function Vectors() {
  const { rest } = useRoute();
  return rest[0] ? html`<${Collection} key=${rest[0]} name=${rest[0]} />` : html`<${List} />`;
}

export const view = { id: "vectors", title: "Vectors", icon: "vectors", path: "#/vectors", component: Vectors };

async function listed(signal) {
  const { collections, damaged } = await api("GET", "/v1/vector", undefined, { signal });
  const details = await Promise.all(
    collections.slice(0, DETAILS_MAX).map((each) =>
      api("GET", `/v1/vector/${segment(each.collection)}`, undefined, { signal, quiet: true }).catch(() => each),
    ),
  );
  return { rows: [...details, ...collections.slice(DETAILS_MAX)], damaged };
}

const recallOf = (row) => (row.recall === null || row.recall === undefined ? null : row.recall);

const COLUMNS = [
  { id: "name", title: "collection", width: "177px", value: (row) => row.collection, render: (row) => html`<a href=${link("vectors", [row.collection])}>${row.collection}</a>` },
  { id: "count", title: "vectors", width: "85px", align: "right", value: (row) => row.count, render: (row) => count(row.count), copy: false },
  { id: "dim", title: "dim", width: "60px", align: "right", value: (row) => row.dim, copy: false },
  { id: "metric", title: "metric", width: "75px", value: (row) => row.metric, copy: false },
  { id: "index", title: "index", width: "110px", value: (row) => row.index?.kind, render: (row) => (row.index ? `${row.index.kind} · ${row.precision}` : "–"), copy: false },
  { id: "segments", title: "segments", width: "98px", align: "right", value: (row) => row.segments, copy: false },
  { id: "tail", title: "not indexed", width: "105px", align: "right", value: (row) => row.tail, render: (row) => count(row.tail), copy: false },
  { id: "deleted", title: "dead rows", width: "95px", align: "right", value: (row) => row.deleted, render: (row) => count(row.deleted), copy: false },
  { id: "recall", title: "recall", width: "80px", align: "right", value: recallOf, render: (row) => html`<${Recall} value=${recallOf(row)} />`, copy: false },
  { id: "bytes", title: "size", width: "90px", align: "right", value: (row) => row.bytes, render: (row) => bytes(row.bytes), copy: false },
  { id: "upkeep", title: "upkeep", width: "130px", value: (row) => row.upkeep?.working, render: (row) => html`<${Upkeep} info=${row} />`, copy: false },
];

function Recall({ value }) {
  if (value === null) return html`<span class="muted" title="no audit yet: it repeats recent searches exactly, once a minute">–</span>`;
  return html`<${Badge} kind=${value >= 0.95 ? "good" : "warn"} title="part of the exact answers that searches find">${(value * 100).toFixed(1)}%<//>`;
}

function Upkeep({ info }) {
  if (info.damage) return html`<${Badge} kind="bad" title=${info.damage}>damaged<//>`;
  if (info.reindex) return html`<${Badge} kind="accent">reindex ${info.reindex.done}/${info.reindex.total}<//>`;
  if (info.upkeep?.working) return html`<${Badge} kind="accent">${info.upkeep.working}<//>`;
  return html`<span class="muted">at rest</span>`;
}

function List() {
  const { data, error, reload } = useLoad(listed, []);
  const [creating, setCreating] = useState(false);
  useEvery(EVERY_MS, async () => reload());
  const open = (row) => go("vectors", [row.collection]);
  return html`
    <${Head} title="Vectors" sub=${data ? plural(data.rows.length, "collection") : ""}>
      <${Button} kind="primary" icon="plus" need="write" onClick=${() => setCreating(true)}>New collection<//>
    <//>
    <${Problem} error=${error} onRetry=${reload} />
    ${!data && !error && html`<${Spinner} />`}
    ${Object.entries(data?.damaged ?? {}).map(([name, text]) => html`<${Problem} key=${name} error=${{ code: name, message: text }} />`)}
    ${data && !data.rows.length && html`<${Empty} title="No collections of vectors yet" icon="vectors">
      <span>A collection holds vectors of one length, with an id, a text and metadata each.</span>
      <pre>curl ${location.origin}/v1/vector/notes -H 'content-type: application/json' -d '{"dim": 384}'</pre><//>`}
    ${data && data.rows.length > 0 && html`<${Table} label="Collections of vectors" columns=${COLUMNS} rows=${data.rows} rowKey=${(row) => row.collection} onRow=${open} />`}
    ${creating && html`<${Create} onClose=${() => setCreating(false)} onDone=${(name) => (setCreating(false), go("vectors", [name], { tab: "rows" }))} />`}
  `;
}

/** A new collection: of a length, or of what an embedder makes. */
function Create({ onClose, onDone }) {
  const [asked, setAsked] = useState({ name: "", by: "", dim: "384", metric: "cosine", kind: "hnsw", quantization: "auto", ttl: "" });
  const [error, setError] = useState(null);
  const embedders = useLoad((signal) => api("GET", "/v1/embedders", undefined, { signal, quiet: true }), []);
  const set = (name) => (event) => setAsked({ ...asked, [name]: event.target.value });
  const create = async () => {
    const body = asked.by ? { embedder: asked.by } : { dim: Number(asked.dim), metric: asked.metric };
    if (asked.kind !== "hnsw") body.index = { kind: asked.kind };
    if (asked.quantization !== "auto") body.quantization = asked.quantization;
    if (asked.ttl) body.ttl_ms = Math.round(Number(asked.ttl) * 1000);
    try {
      await api("POST", `/v1/vector/${segment(asked.name)}`, body);
      toast(`Created ${asked.name}`, "good");
      onDone(asked.name);
    } catch (problem) {
      setError(problem);
    }
  };
  const actions = html`<${Button} onClick=${onClose}>Cancel<//><${Button} type="submit" kind="primary" disabled=${!asked.name}>Create<//>`;
  const list = embedders.data?.embedders ?? [];
  return html`<${Dialog} title="New collection" onClose=${onClose} onSubmit=${create} actions=${actions}>
    <${Problem} error=${error} />
    <${Field} label="Name" hint="A-Z a-z 0-9 . _ -"><input value=${asked.name} spellcheck=${false} onInput=${set("name")} /><//>
    <${Field} label="Vectors are" hint=${list.find(({ name }) => name === asked.by)?.problem}><select value=${asked.by} onChange=${set("by")}>
      <option value="">sent as numbers</option>
      ${list.map((each) => html`<option key=${each.name} value=${each.name}>made of texts by ${each.name} (${each.model}, ${each.dim})</option>`)}
    </select><//>
    ${!asked.by && html`<div class="v-two">
      <${Field} label="Numbers (dim)"><input type="number" min="1" value=${asked.dim} onInput=${set("dim")} /><//>
      <${Field} label="Metric"><select value=${asked.metric} onChange=${set("metric")}>
        ${["cosine", "dot", "l2"].map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select><//></div>`}
    <details><summary>Index, codes, time to live</summary><div class="v-two">
      <${Field} label="Index"><select value=${asked.kind} onChange=${set("kind")}>
        ${KINDS.map(([kind, text]) => html`<option key=${kind} value=${kind}>${text}</option>`)}</select><//>
      <${Field} label="Codes"><select value=${asked.quantization} onChange=${set("quantization")}>
        ${CODES.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select><//>
      <${Field} label="Time to live (seconds)"><input type="number" min="0" value=${asked.ttl} placeholder="for ever" onInput=${set("ttl")} /><//></div></details>
  <//>`;
}

const TABS = [
  { id: "search", title: "Search" },
  { id: "rows", title: "Rows" },
  { id: "map", title: "Map" },
  { id: "about", title: "About" },
];

function Collection({ name }) {
  const { query } = useRoute();
  const tab = TABS.some(({ id }) => id === query.tab) ? query.tab : "search";
  const path = `/v1/vector/${segment(name)}`;
  const { data: info, error, reload } = useLoad((signal) => api("GET", path, undefined, { signal }), [name]);
  const [fields, setFields] = useState(null);
  useEvery(EVERY_MS / 5, async () => info?.reindex && reload(), [Boolean(info?.reindex)]);
  // A page of rows tells which fields there are to colour and to count by.
  useEffect(() => {
    api("POST", `${path}/scroll`, { limit: 100, include_meta: true }, { quiet: true }).then(
      ({ items }) => setFields(colourable(items.map(({ meta }) => meta))),
      () => setFields([]),
    );
  }, [name]);
  return html`
    <${Head} title=${name} sub=${info ? `${plural(info.count, "vector")} · ${info.dim} · ${info.metric}` : ""}>
      <a class="button quiet" href=${link("vectors")}>All collections</a>
    <//>
    <${Tabs} tabs=${TABS} current=${tab} label="Parts of the collection" onChange=${(id) => go("vectors", [name], { tab: id })} />
    <${Problem} error=${error} onRetry=${reload} />
    ${!info && !error && html`<${Spinner} />`}
    ${info && html`<div class="body v-body" role="tabpanel" aria-label=${TABS.find(({ id }) => id === tab).title}>
      <div hidden=${tab !== "search"}><${Search} name=${name} info=${info} fields=${fields} /></div>
      ${tab === "rows" && html`<${Rows} name=${name} info=${info} reload=${reload} />`}
      ${tab === "map" && html`<${VectorMap} name=${name} info=${info} fields=${fields ?? []} />`}
      ${tab === "about" && html`<${About} info=${info} name=${name} reload=${reload} />`}
    </div>`}
  `;
}

function About({ info, name, reload }) {
  const path = `/v1/vector/${segment(name)}`;
  const [busy, setBusy] = useState(false);
  const [dialog, setDialog] = useState(null);
  const close = () => setDialog(null);
  const vacuum = async () => {
    setBusy(true);
    try {
      const { removed } = await api("POST", `${path}/vacuum`);
      toast(`${count(removed)} dead rows are gone`, "good");
      reload();
    } catch (error) {
      toast(error, "bad");
    }
    setBusy(false);
  };
  const drop = async () => {
    const text = `${name} and its ${count(info.count)} vectors are gone for good. A backup has them.`;
    if (!(await confirm({ title: "Drop the collection", text, action: "Drop", danger: true, typed: name }))) return;
    try {
      await api("DELETE", path);
      toast(`Dropped ${name}`, "good");
      go("vectors");
    } catch (error) {
      toast(error, "bad");
    }
  };
  const facts = [
    ["vectors", count(info.count)], ["dead rows", count(info.deleted)], ["not in the index yet", count(info.tail)], ["segments", count(info.segments)],
    ["size of rows and index", bytes(info.bytes)], ["bytes a vector", info.count ? bytes(info.bytes / info.count) : "–"],
    ["memory of its own", bytes(info.memory.heap)], ["mapped from files", bytes(info.memory.mapped)], ["files", bytes(info.memory.disk)],
    ["index", info.index.kind + (info.index.m ? `, m ${info.index.m}` : "")], ...effortFacts(info), ["walks over", info.precision], ["codes asked for", info.quantization],
    ["recall of the last audit", info.recall === null ? "no audit yet" : `${(info.recall * 100).toFixed(1)}%`],
    ["upkeep", info.upkeep.working ?? "at rest"], ["pieces of upkeep done", count(info.upkeep.done)],
    ["embedder", info.embedder ? `${info.embedder.name} (${info.embedder.model})` : "none"], ["texts", `${info.text.language}, ${info.text.tokenizer}`],
    ["time to live", info.ttl_ms ? `${info.ttl_ms} ms` : "for ever"], ["created", moment(info.created_at_ms)], ["changed", moment(info.updated_at_ms)], ["offset", count(info.applied_offset)],
  ];
  return html`<div class="v-about">
    ${info.notes.map((note) => html`<p class="v-note" key=${note}>${note}</p>`)}
    <${Changing} name=${name} info=${info} reload=${reload} />
    <dl class="v-facts">${facts.map(([label, value]) => html`<div key=${label}><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>
    <div class="v-tools">
      <${Button} need="admin" disabled=${info.index.kind === "flat" || !info.count} title="Measure what searches find, and how hard they have to try" onClick=${() => setDialog("tune")}>Tune<//>
      <${Button} need="admin" disabled=${info.reindex} title="Another kind, parameters or codes, built beside" onClick=${() => setDialog("reindex")}>Another index<//>
      <${Button} icon="refresh" need="admin" disabled=${busy} title="Write the living vectors anew, beside reads and writes" onClick=${vacuum}>${busy ? "Vacuum is at it…" : "Vacuum now"}<//>
      <${Button} kind="danger" icon="trash" need="write" onClick=${drop}>Drop the collection<//>
    </div>
    <details><summary>All that the server says</summary><${Json} value=${info} /></details>
    ${dialog === "tune" && html`<${Tune} name=${name} onClose=${close} onDone=${reload} />`}
    ${dialog === "reindex" && html`<${Reindex} name=${name} info=${info} onClose=${close} onDone=${() => (close(), reload())} />`}
  </div>`;
}
