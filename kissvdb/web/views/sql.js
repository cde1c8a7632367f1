// The SQL console: an editor that completes tables and columns, reading and writing told apart, the
// rows as a table, the plan as a tree, and what was asked before.

import { api, call } from "/page/api.js";
import {
  Badge, Button, Code, confirm, count, duration, Empty, Field, Head, html, kept, Save, Spinner, Table, toast, useEffect, useLoad, useRef, useState,
} from "/page/parts.js";
import { exact } from "/views/raw.js";
import { Schema } from "/views/sql_schema.js";
import { useCompletion } from "/views/sql_complete.js";
import { danger, tokens, writes } from "/views/sql_words.js";

const ROWS_MAX = 2000;
const HISTORY_MAX = 60;
const MODES = { query: "Query: only reads", exec: "Execute: writes" };
const FIRST = "SELECT key, value, revision\nFROM state\nORDER BY key\nLIMIT 20";

/** What there is to complete, and to show beside. */
async function loadSchema(signal) {
  const quiet = { signal, quiet: true };
  const none = () => ({ collections: [], tables: [] });
  const [schema, vectors, documents] = await Promise.all([
    api("GET", "/v1/sql/schema", undefined, { signal }),
    api("GET", "/v1/vector", undefined, quiet).catch(none),
    api("GET", "/v1/doc", undefined, quiet).catch(none),
  ]);
  const names = ({ collections }) => collections.map((each) => each.collection);
  return { tables: schema.tables, collections: { vectors: names(vectors), documents: names(documents) } };
}

function Console() {
  const [sql, setSql] = useState(() => kept.get("sql.text", FIRST));
  const [mode, setMode] = useState("query");
  const [params, setParams] = useState("");
  const [result, setResult] = useState(null);
  const [busy, setBusy] = useState(false);
  const [history, setHistory] = useState(() => kept.get("sql.history", []));
  const schema = useLoad(loadSchema, []);
  const handle = useRef();
  const tables = (schema.data?.tables ?? []).map((each) => ({ name: each.name, detail: each.kind, columns: each.columns.map(({ name }) => name) }));
  const completion = useCompletion(tables, schema.data?.collections ?? { vectors: [], documents: [] });
  useEffect(() => kept.set("sql.text", sql), [sql]);

  const remember = (more) => {
    const others = history.filter((each) => each.sql !== sql);
    const next = [{ sql, mode, at: Date.now(), ...more }, ...others].slice(0, HISTORY_MAX);
    setHistory(next);
    kept.set("sql.history", next);
  };
  async function run({ explain = false } = {}) {
    if (busy || !sql.trim()) return;
    const body = { sql };
    try {
      if (params.trim()) body.params = JSON.parse(params);
    } catch (error) {
      return setResult({ error: { code: "parameters", message: `no JSON: ${error.message}` } });
    }
    const executes = mode === "exec" && !explain;
    const risk = executes && danger(sql);
    if (risk && !(await confirm({ title: "Execute this?", text: `The statement ${risk}.`, action: "Execute", danger: true }))) return;
    Object.assign(body, executes ? {} : explain ? { explain: true } : { rows_max: ROWS_MAX });
    setBusy(true);
    const began = performance.now();
    try {
      const { text } = await call("POST", executes ? "/v1/sql/exec" : "/v1/sql/query", body);
      const data = exact(text);
      const tookMs = performance.now() - began;
      setResult({ kind: executes ? "exec" : explain ? "plan" : "rows", data, tookMs, sql });
      remember({ ms: Math.round(tookMs), rows: data.rows?.length ?? data.rows_affected });
      if (executes) schema.reload();
    } catch (error) {
      setResult({ error, sql });
      remember({ failed: true });
    }
    setBusy(false);
  }
  const keys = (event, element) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      event.stopImmediatePropagation();
      run();
    } else completion.onKey(event, element, handle.current);
  };
  const insert = (text) => {
    handle.current.focus();
    handle.current.insert(text);
  };
  const wrong = mode === "query" && writes(sql);
  return html`
    <${Head} title="SQL" sub="your tables beside everything else" />
    <div class="v-sql">
      <div class="v-sql-main">
        <div class="v-editor">
          <${Code} language="sql" label="SQL statement" value=${sql} rows=${7} onChange=${(text) => (setSql(text), completion.onChange())} onKey=${keys} handle=${handle} />
          ${completion.popup}
        </div>
        <div class="v-tools">
          <span class="segmented" role="group" aria-label="What the statement may do">
            ${Object.entries(MODES).map(
              ([id, title]) => html`<button type="button" key=${id} aria-pressed=${id === mode ? "true" : "false"} onClick=${() => setMode(id)}>${title}</button>`,
            )}
          </span>
          <${Button} kind=${mode === "exec" ? "danger" : "primary"} icon="play" need=${mode === "exec" ? "write" : "read"} disabled=${busy || !sql.trim()} onClick=${() => run()}>
            ${mode === "exec" ? "Execute" : "Run"} <kbd>Ctrl ↵</kbd><//>
          <${Button} disabled=${busy || !sql.trim() || writes(sql)} title="The plan of SQLite, without running it" onClick=${() => run({ explain: true })}>Plan<//>
          <${Field} label="Parameters" inline><input class="v-json" value=${params} spellcheck=${false} placeholder=${'["a", 1] or {"name": 1}'} onInput=${(event) => setParams(event.target.value)} /><//>
        </div>
        ${wrong && html`<p class="v-note">This statement writes: a query is refused. <button type="button" class="v-link" onClick=${() => setMode("exec")}>Switch to Execute</button></p>`}
        ${busy ? html`<${Spinner} label="The statement runs" />` : html`<${Result} result=${result} />`}
      </div>
      <aside class="v-sql-side" aria-label="Schema and history">
        <${Schema} schema=${schema} onInsert=${insert} onAsk=${(text) => (setSql(text), setMode("query"))} />
        <${History} history=${history} onPick=${(each) => (setSql(each.sql), setMode(each.mode))} onClear=${() => (setHistory([]), kept.set("sql.history", []))} />
      </aside>
    </div>`;
}

export const view = { id: "sql", title: "SQL", icon: "sql", path: "#/sql", component: Console };

function Result({ result }) {
  if (!result) return html`<${Empty} title="Nothing asked yet" icon="sql">Ctrl-Enter runs the statement. Ctrl-Space shows what may come next.<//>`;
  if (result.error) return html`<${Refusal} error=${result.error} sql=${result.sql ?? ""} />`;
  const { data, kind, tookMs } = result;
  if (kind === "exec") {
    return html`<div class="v-done" role="status"><${Badge} kind="good">done<//>
      ${count(data.rows_affected)} rows by the statement, ${count(data.changes)} changed in all,
      ${data.offset === null ? "nothing to log" : `offset ${count(data.offset)}`}, ${duration(tookMs)}</div>`;
  }
  if (kind === "plan") return html`<${Plan} rows=${data.rows} />`;
  const columns = data.columns.map((name) => ({
    id: name, title: name, value: (row) => row[name], width: widthOf(data.rows, name), align: numeric(data.rows, name) ? "right" : "",
    render: (row) => (row[name] === null ? html`<i class="v-null">NULL</i>` : String(row[name])),
  }));
  return html`<div class="v-result">
    <div class="v-tools"><span role="status">${count(data.rows.length)} rows${data.truncated ? " (there are more)" : ""}, ${duration(tookMs)}, true at offset ${count(data.offset)}</span>
      <${Save} name="query" rows=${data.rows} columns=${columns} /></div>
    <${Table} label="Rows of the statement" columns=${columns} rows=${data.rows} rowKey=${(row) => data.rows.indexOf(row)} height="clamp(200px, 46vh, 700px)" empty="No rows" />
  </div>`;
}

const numeric = (rows, name) => rows.length > 0 && rows.slice(0, 50).every((row) => row[name] === null || typeof row[name] === "number");

function widthOf(rows, name) {
  const longest = rows.slice(0, 50).reduce((most, row) => Math.max(most, String(row[name] ?? "NULL").length), name.length + 2);
  return `${Math.min(420, 26 + longest * 7.4)}px`;
}

/** A refusal with the place in the text that it is about, where that can be told. */
function Refusal({ error, sql }) {
  const place = placeOf(error.message ?? "", sql);
  return html`<div class="problem" role="alert"><div>
    <strong>${error.code}</strong> <span>${error.message}</span>
    ${place && html`<pre class="v-place">${place.before}<mark>${place.text}</mark>${place.after}
<span class="muted">line ${place.line}</span></pre>`}
  </div></div>`;
}

/** The only place of the word that SQLite names; null where there are several, or none. */
export function placeOf(message, sql) {
  const named = /near "([^"]+)"|no such (?:table|column|function): (?:\w+\.)?([\w$]+)|unrecognized token: "([^"]*)/.exec(message);
  const word = named && (named[1] ?? named[2] ?? named[3]);
  if (!word) return null;
  const found = tokens(sql).filter(({ text }) => text.toLowerCase() === word.toLowerCase() || text === `"${word}"`);
  if (found.length !== 1) return null;
  const { at, text } = found[0];
  const start = sql.lastIndexOf("\n", at - 1) + 1;
  const end = sql.indexOf("\n", at);
  return { text, before: sql.slice(start, at), after: sql.slice(at + text.length, end < 0 ? undefined : end), line: sql.slice(0, at).split("\n").length };
}

/** SQLite's plan: each step below the one that it is part of. */
function Plan({ rows }) {
  const below = (parent) => rows.filter((each) => each.parent === parent);
  const branch = (parent) => {
    const steps = below(parent);
    if (!steps.length) return null;
    return html`<ul>${steps.map(
      (step) => html`<li key=${step.id}><code>${step.detail}</code> ${mark(step.detail)}${branch(step.id)}</li>`,
    )}</ul>`;
  };
  return html`<div class="v-plan" role="region" aria-label="Plan of the statement">${branch(0) ?? "SQLite has no plan for this: it only computes."}</div>`;
}

function mark(detail) {
  if (/^SCAN/.test(detail) && !/USING|VIRTUAL/.test(detail)) return html`<${Badge} kind="warn">reads every row<//>`;
  if (/^SEARCH/.test(detail)) return html`<${Badge} kind="good">by index<//>`;
  if (/TEMP B-TREE/.test(detail)) return html`<${Badge}>sorts<//>`;
  return null;
}

function History({ history, onPick, onClear }) {
  if (!history.length) return null;
  return html`<details class="v-history"><summary>History <span class="muted">${history.length}</span></summary>
    <ul>${history.map(
      (each) => html`<li key=${each.at}><button type="button" title=${each.sql} onClick=${() => onPick(each)}>
        <code>${each.sql.replace(/\s+/g, " ").slice(0, 90)}</code>
        <span class="muted">${each.failed ? "refused" : `${count(each.rows)} rows, ${duration(each.ms)}`}</span></button></li>`,
    )}</ul>
    <${Button} small kind="quiet" onClick=${() => (onClear(), toast("History forgotten"))}>Forget<//></details>`;
}
