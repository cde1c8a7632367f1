// One key: its value as a tree or as text to edit. Nothing that happens meanwhile touches an edit.
import { api, call, query, segment } from "/page/api.js";
import { diff, exactly, member, pretty, problem } from "/page/json_text.js";
import { useCommands } from "/page/menu.js";
import { Button, bytes, Call, Code, confirm, Copy, duration, Field, html, Json, moment, Problem, Spinner, toast, useEffect, useMemo, useRef, useState, useUnsaved } from "/page/parts.js";

const CLOCK_TRUST_MS = 2000;

/** The key as it is, `value` as text; null where there is none. */
export async function readKey(key, options) {
  try {
    const { text, data, headers } = await call("GET", `/v1/state/${segment(key)}`, undefined, options);
    const server = Date.parse(headers.get("date") ?? "");
    const ahead = Math.abs(server - Date.now()) > CLOCK_TRUST_MS ? server - Date.now() : 0;
    return { ...data, text: member(text, "value"), ahead };
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/** Write a text of JSON as it is. `revision` 0: only where there is no such key. */
export function writeKey(key, text, { revision, ttlMs }) {
  const more = (revision === undefined ? "" : `,"if_revision":${revision}`) + (ttlMs ? `,"ttl_ms":${Math.max(1, Math.round(ttlMs))}` : "");
  return api("PUT", `/v1/state/${segment(key)}`, `{"value":${text}${more}}`);
}

const Lines = ({ lines }) => html`<pre class="diff" tabindex="0" aria-label="Differences">${lines.map((each) => html`<div class=${each.kind}><span>${{ mine: "+", theirs: "−", same: " " }[each.kind]}</span>${each.text || " "}</div>`)}</pre>`;

/** Somebody else has written in between: both, line by line, and what to do. */
function Conflict({ mine, theirs, onMine, onTheirs, onBack }) {
  const lines = useMemo(() => diff(pretty(mine), theirs ? pretty(theirs.text) : ""), [mine, theirs]);
  return html`<div class="conflict" role="alert">
    <strong>${theirs ? `Somebody else has written this key: it is at revision ${theirs.revision} now` : "Somebody else has deleted this key"}</strong>
    <p><span class="good">+ yours</span>, <span class="bad">− theirs</span>. Nothing is written yet.</p>
    <${Lines} lines=${lines} />
    <div class="row">
      <${Button} kind="primary" need="write" onClick=${onMine}>Keep mine<//>
      <${Button} onClick=${onTheirs}>Take theirs<//>
      <${Button} kind="quiet" onClick=${onBack}>Go on editing<//>
    </div>
  </div>`;
}

function Expiry({ item }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  if (item.expires_at_ms === null) return "never";
  const left = item.expires_at_ms - Date.now() - item.ahead;
  return left > 0 ? `in ${duration(Math.max(1000, left))} (${moment(item.expires_at_ms)})` : "now";
}

const TTLS = { keep: "Keep it", never: "Never", set: "In …" };

function Edit({ item, text, onText, ttl, onTtl, onSave, onCancel, busy }) {
  const wrong = problem(text);
  const save = (event) => {
    if ((event.ctrlKey || event.metaKey) && (event.key === "s" || event.key === "Enter")) {
      event.preventDefault();
      if (!wrong && !busy) onSave();
    }
  };
  return html`
    <${Code} value=${text} onChange=${onText} label="Value as JSON" rows=${12} onKey=${save} invalid=${Boolean(wrong)} />
    ${wrong ? html`<small class="bad" role="status">Not JSON yet: ${wrong}</small>` : html`<small class="muted">Saved only over revision ${item.revision}. Ctrl-S saves</small>`}
    <div class="row">
      <${Field} label="Expires"><select value=${ttl.kind} onChange=${(event) => onTtl({ ...ttl, kind: event.target.value })}>
        ${Object.entries(TTLS).map(([kind, title]) => html`<option value=${kind}>${kind === "keep" && item.expires_at_ms === null ? "Never, as now" : title}</option>`)}
      </select><//>
      ${ttl.kind === "set" && html`<${Field} label="Seconds"><input type="number" min="1" value=${ttl.secs} onInput=${(event) => onTtl({ ...ttl, secs: event.target.value })} /><//>`}
    </div>
    <div class="row">
      <${Button} kind="primary" need="write" disabled=${Boolean(wrong) || busy} onClick=${onSave}>Save<//>
      <${Button} onClick=${onCancel}>Cancel<//>
    </div>
  `;
}

/** `seen`: the newest event of the stream about this key, if there was one. */
export function KeyPanel({ name, seen, onClose, onGone }) {
  const [item, setItem] = useState(undefined);
  const [error, setError] = useState(null);
  const [edit, setEdit] = useState(null);
  const [conflict, setConflict] = useState(null);
  const [busy, setBusy] = useState(false);
  const editing = useRef(false);
  editing.current = edit !== null;
  const load = async (options) => {
    try {
      setItem(await readKey(name, options));
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  useEffect(() => {
    setItem(undefined);
    setEdit(null);
    setConflict(null);
    load();
  }, [name]);
  useEffect(() => {
    // Whoever edits is told, and nothing is taken from them.
    if (seen && !editing.current && seen.data.revision !== item?.revision) load({ quiet: true });
  }, [seen]);
  useUnsaved(edit && item && (edit.text !== pretty(item.text) || edit.ttl.kind !== "keep"));
  const begin = () => setEdit({ text: pretty(item.text), ttl: { kind: "keep", secs: 60 } });
  const ttlMs = () => {
    if (edit.ttl.kind === "never") return undefined;
    if (edit.ttl.kind === "set") return 1000 * Math.max(1, Number(edit.ttl.secs) || 1);
    return item.expires_at_ms === null ? undefined : item.expires_at_ms - Date.now() - item.ahead;
  };
  const save = async (revision = item.revision) => {
    setBusy(true);
    setError(null);
    try {
      await writeKey(name, edit.text, { revision, ttlMs: ttlMs() });
      setEdit(null);
      setConflict(null);
      toast("Saved", "good");
      await load({ quiet: true });
    } catch (problem) {
      if (problem.code !== "revision_mismatch") setError(problem);
      else await readKey(name, { quiet: true }).then((theirs) => setConflict({ theirs }), setError);
    }
    setBusy(false);
  };
  const takeTheirs = () => {
    setEdit(null);
    setConflict(null);
    load();
  };
  const remove = async () => {
    if (!(await confirm({ title: "Delete the key?", text: name, action: "Delete", danger: true }))) return;
    try {
      await api("DELETE", `/v1/state/${segment(name)}${query({ if_revision: item.revision })}`);
      toast("Deleted", "good");
      onGone();
    } catch (problem) {
      setError(problem);
      load({ quiet: true });
    }
  };
  useCommands([{ id: "edit-key", title: "Edit the key", icon: "edit", keys: "e", run: () => item && !editing.current && begin() }], [item]);
  const newer = edit && seen && seen.data.revision !== item?.revision;
  return html`<aside class="panel" aria-label="The key">
    <header><h2 class="mono" title=${name}>${name}</h2><${Copy} text=${name} label="Copy the name" />
      <${Button} kind="quiet" small icon="close" label="Close" onClick=${onClose} /></header>
    <div class="panel-body">
      <${Problem} error=${error} onRetry=${item === undefined ? () => load() : undefined} />
      ${item === undefined && !error && html`<${Spinner} />`}
      ${item === null && html`<p class="muted">There is no such key: it was deleted, or its time is over.</p>`}
      ${item && html`<dl class="facts">
        <div><dt>Revision</dt><dd>${item.revision}</dd></div>
        <div><dt>Offset</dt><dd>${item.offset}</dd></div>
        <div><dt>Size</dt><dd>${bytes(new Blob([item.text]).size)}</dd></div>
        <div><dt>Expires</dt><dd><${Expiry} item=${item} /></dd></div>
      </dl>`}
      ${newer && !conflict && html`<p class="notice" role="status">This key has changed while you edit (${seen.type === "state_deleted" ? "deleted" : `revision ${seen.data.revision}`}). Your text stays; saving shows both.</p>`}
      ${conflict && html`<${Conflict} mine=${edit.text} theirs=${conflict.theirs} onMine=${() => save(conflict.theirs?.revision ?? 0)} onTheirs=${takeTheirs} onBack=${() => (setItem({ ...item, revision: conflict.theirs?.revision ?? 0 }), setConflict(null))} />`}
      ${item && edit && !conflict && html`<${Edit} item=${item} text=${edit.text} busy=${busy} ttl=${edit.ttl} onText=${(text) => setEdit((now) => ({ ...now, text }))} onTtl=${(ttl) => setEdit((now) => ({ ...now, ttl }))} onSave=${() => save()} onCancel=${() => (setEdit(null), load({ quiet: true }))} />`}
      ${item && !edit && html`<${Json} key=${`${name} ${item.revision}`} value=${exactly(item.text)} open=${3} />`}
      ${item && !edit && html`<${Call} method="GET" path=${`/v1/state/${segment(name)}`} />`}
    </div>
    ${item && !edit && html`<footer>
      <${Button} kind="primary" icon="edit" need="write" title="Edit (e)" onClick=${begin}>Edit<//>
      <${Copy} text=${() => pretty(item.text)} label="Copy the value" small=${false} />
      <${Button} kind="danger" icon="trash" need="write" onClick=${remove}>Delete<//>
    </footer>`}
  </aside>`;
}
