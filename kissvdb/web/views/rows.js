// The rows of a collection of vectors, page after page in the order they were written: looked at,
// added, changed, deleted one by one or by a filter.

import { api, call, segment } from "/page/api.js";
import {
  brief, Button, Code, confirm, count, Dialog, Field, html, Problem, Save, settled, Spinner, Table, toast, useEffect, useMemo, useRef, useState,
} from "/page/parts.js";
import { go, useRoute } from "/page/router.js";
import { Fields, FilterBar, filterOf, plural, withChip } from "/views/filters.js";
import { exact, member, pretty } from "/views/raw.js";
import { similar, vectorOf } from "/views/search.js";

const PAGE = 100;
const COLUMNS_MAX = 6;

/** Columns of the fields that most rows have; the rest of the metadata in one. */
export function columnsOf(rows, values) {
  const counts = new Map();
  for (const row of rows.slice(0, 200)) {
    const fields = values(row);
    if (fields === null || typeof fields !== "object" || Array.isArray(fields)) continue;
    for (const [name, value] of Object.entries(fields)) {
      const long = typeof value === "string" && value.length > 90;
      counts.set(name, (counts.get(name) ?? 0) + (long ? 0.2 : 1));
    }
  }
  const names = [...counts].sort((a, b) => b[1] - a[1]).slice(0, COLUMNS_MAX).map(([name]) => name);
  return names.map((name) => ({ id: name, title: name, width: "150px", value: (row) => values(row)?.[name] }));
}

/** Page after page: `{rows, error, loading, more, again}`; `load(cursor)` answers `{rows, cursor}`. */
export function usePages(load, inputs) {
  const [state, setState] = useState({ rows: [], loading: true, cursor: null });
  const turn = useRef(0);
  const busy = useRef(false);
  const fetchPage = async (before, now) => {
    busy.current = true;
    try {
      const { rows, cursor, ...others } = await load(before.cursor);
      if (turn.current === now) setState({ ...others, rows: [...before.rows, ...rows], cursor, loading: false });
    } catch (error) {
      if (turn.current === now) setState({ ...before, error, loading: false });
    }
    if (turn.current === now) busy.current = false;
  };
  const again = () => {
    turn.current += 1;
    setState((before) => ({ ...before, loading: true }));
    return fetchPage({ rows: [], cursor: null }, turn.current);
  };
  useEffect(() => {
    again();
    return () => (turn.current += 1);
  }, inputs);
  const more = () => state.cursor && !busy.current && fetchPage(state, turn.current);
  return { ...state, more, again };
}

export function Rows({ name, info, reload }) {
  const { query } = useRoute();
  const [chips, setChips] = useState([]);
  const [text, setText] = useState("");
  const [adding, setAdding] = useState(false);
  const [total, setTotal] = useState(null);
  let filters, problem;
  try {
    filters = filterOf(chips, text);
  } catch (error) {
    problem = error.message;
  }
  const wish = JSON.stringify(filters ?? null);
  const path = `/v1/vector/${segment(name)}`;
  const pages = usePages(async (cursor) => {
    const body = { limit: PAGE, include_meta: true, include_text: true, ...(filters ? { filters } : {}), ...(cursor ? { cursor } : {}) };
    const page = exact((await call("POST", `${path}/scroll`, body)).text);
    if (!cursor) setTotal(filters ? (await api("POST", `${path}/count`, { filters }, { quiet: true })).count : null);
    return { rows: page.items, cursor: page.cursor };
  }, [name, wish]);
  const changed = () => (pages.again(), reload());
  const columns = useMemo(() => {
    const fields = columnsOf(pages.rows, (row) => row.meta);
    const texts = pages.rows.some((row) => row.text);
    return [
      { id: "id", title: "id", width: "220px", mono: true, value: (row) => row.id },
      ...(texts ? [{ id: "text", title: "text", width: "340px", value: (row) => row.text }] : []),
      ...fields,
      ...(fields.length ? [] : [{ id: "meta", title: "metadata", value: (row) => row.meta }]),
    ];
  }, [pages.rows]);
  const removeAll = async () => {
    const sure = await confirm({
      title: "Delete what passes the filter", danger: true, action: `Delete ${count(total)}`, typed: name,
      text: `${count(total)} of ${count(info.count)} vectors of ${name} pass ${brief(filters)}. They are gone for good, and every deletion is an event.`,
    });
    if (!sure) return;
    try {
      const { deleted } = await api("POST", `${path}/delete_by_filter`, { filters });
      toast(`${plural(deleted, "vector")} deleted`, "good");
      changed();
    } catch (error) {
      toast(error, "bad");
    }
  };
  const open = (id) => go("vectors", [name], { tab: "rows", row: id });
  return html`<div class="v-rows">
    <div class="v-tools">
      <${Button} icon="plus" need="write" onClick=${() => setAdding(true)}>Add a row<//>
      <${Button} kind="danger" icon="trash" need="write" disabled=${!filters || !total || pages.loading}
        title=${filters ? undefined : "Set a filter first: all of a collection goes by dropping it"} onClick=${removeAll}>
        Delete ${total === null ? "by filter" : `these ${count(total)}`}<//>
      <span class="muted">${filters && total !== null ? `${count(total)} pass, ` : ""}${count(pages.rows.length)} shown of ${count(info.count)}</span>
      <${Button} kind="quiet" icon="refresh" label="Load again" onClick=${changed} />
      <${Save} name=${name} rows=${pages.rows} columns=${columns} />
    </div>
    <${FilterBar} chips=${chips} setChips=${setChips} text=${text} setText=${setText} problem=${problem} />
    <${Problem} error=${pages.error} onRetry=${pages.again} />
    ${pages.loading && !pages.rows.length
      ? html`<${Spinner} label="Reading rows" />`
      : html`<${Table} label=${`Rows of ${name}`} columns=${columns} rows=${pages.rows} rowKey=${(row) => row.id} height="clamp(260px, 64vh, 900px)"
          onRow=${(row) => open(row.id)} more=${pages.more} sorted=${!pages.cursor} selected=${query.row}
          empty=${filters ? "No row passes the filter" : "No rows yet: add one here, or send them with the API"} />`}
    ${query.row && html`<${RowDialog} key=${query.row} name=${name} info=${info} id=${query.row} changed=${changed}
      onPick=${(added) => (setChips(withChip(chips, added)), open(undefined))} onClose=${() => open(undefined)} />`}
    ${adding && html`<${RowDialog} name=${name} info=${info} changed=${changed} onClose=${() => setAdding(false)} />`}
  </div>`;
}

const EMPTY = { id: "", text: "", meta: "{}", vector: "" };

/** A row to look at and change; without an ``id`` a new one. */
function RowDialog({ name, info, id, changed, onPick, onClose }) {
  const [was, setWas] = useState(id === undefined ? EMPTY : null);
  const [row, setRow] = useState(was);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const path = `/v1/vector/${segment(name)}`;
  useEffect(() => {
    if (id === undefined) return;
    call("GET", `${path}/get?${new URLSearchParams({ id })}`).then(
      ({ data, text }) => {
        const meta = member(text, "meta");
        const found = {
          id, text: data.text ?? "", meta: data.meta === null ? "" : pretty(meta), vector: JSON.stringify(data.vector),
          value: exact(meta, BigInt), expires: data.expires_at_ms,
        };
        setWas(found);
        setRow(found);
      },
      setError,
    );
  }, [id]);
  const set = (more) => setRow((before) => ({ ...before, ...more }));
  const save = async () => {
    setBusy(true);
    setError(null);
    try {
      await api("POST", `${path}/${id === undefined ? "add" : "update"}`, bodyOf(row, was, info));
      toast(id === undefined ? `Added ${row.id}` : `Saved ${row.id}`, "good");
      settled();
      changed();
      onClose();
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  const remove = async () => {
    if (!(await confirm({ title: "Delete this row", text: `${id} is deleted from ${name}.`, action: "Delete", danger: true }))) return;
    try {
      await api("POST", `${path}/delete`, { id });
      toast(`Deleted ${id}`, "good");
      settled();
      changed();
      onClose();
    } catch (problem) {
      setError(problem);
    }
  };
  const dirty = row && was && ["id", "text", "meta", "vector"].some((part) => row[part] !== was[part]);
  const actions = html`
    ${id !== undefined && html`<${Button} kind="danger" icon="trash" need="write" onClick=${remove}>Delete<//>
      <${Button} icon="search" onClick=${() => similar(name, id)}>Similar<//>`}
    <${Button} type="submit" kind="primary" need="write" disabled=${!dirty || busy || !row.id}>${id === undefined ? "Add" : "Save changes"}<//>`;
  return html`<${Dialog} wide dirty=${dirty} title=${id === undefined ? `A new row of ${name}` : id} onClose=${onClose} onSubmit=${() => dirty && save()} actions=${actions}>
    <${Problem} error=${error} />
    ${!row && !error && html`<${Spinner} />`}
    ${row && html`
      ${id === undefined && html`<${Field} label="Id"><input value=${row.id} spellcheck=${false} onInput=${(event) => set({ id: event.target.value })} /><//>`}
      ${id !== undefined && onPick && html`<${Fields} value=${was.value} onPick=${onPick} />`}
      <${Field} label="Text" hint=${info.embedder ? `its vector is made by ${info.embedder.name}` : undefined}>
        <textarea rows="3" value=${row.text} onInput=${(event) => set({ text: event.target.value })}></textarea><//>
      <div class="field"><label>Metadata (JSON)</label>
        <${Code} label="Metadata as JSON" value=${row.meta} rows=${6} onChange=${(meta) => set({ meta })} /></div>
      <details open=${id === undefined && !info.embedder}><summary>Vector of ${info.dim} numbers</summary>
        <textarea rows="4" aria-label="Vector" spellcheck=${false} value=${row.vector}
          placeholder=${info.embedder ? "left empty: made of the text" : "[0.12, -0.3, ...]"}
          onInput=${(event) => set({ vector: event.target.value })}></textarea></details>
      ${row.expires && html`<p class="muted">Its time is over at ${new Date(row.expires).toLocaleString("sv-SE")}.</p>`}`}
  <//>`;
}

/** What changed, as JSON text: numbers of the metadata stay as they were typed. */
function bodyOf(row, was, info) {
  const parts = [`"id":${JSON.stringify(row.id)}`];
  if (row.text !== was.text) parts.push(`"text":${JSON.stringify(row.text)}`);
  if (row.meta !== was.meta && row.meta.trim()) {
    JSON.parse(row.meta);
    parts.push(`"meta":${row.meta}`);
  } else if (row.meta !== was.meta) parts.push('"meta":{}');
  if (row.vector !== was.vector && row.vector.trim()) {
    const vector = vectorOf(row.vector);
    if (vector.length !== info.dim) throw new SyntaxError(`the vector has ${vector.length} numbers, ${info.collection} has ${info.dim}`);
    parts.push(`"vector":${JSON.stringify(vector)}`);
  }
  return `{${parts.join(",")}}`;
}
