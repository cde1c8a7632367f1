// API keys: who may do what. Issued, rotated and revoked; a secret is shown once.

import { api, me, refusal } from "/page/api.js";
import {
  Badge, Button, confirm, Copy, count, Dialog, duration, Empty, Field, Head, html, moment, Problem, Spinner, Table, toast, useLoad, useSignal, useState,
} from "/page/parts.js";

const KINDS = {
  keys: ["keys of the state", "job:*"],
  documents: ["collections of documents", "books, notes_*"],
  vectors: ["collections of vectors", "notes"],
  tables: ["tables of SQL", "orders"],
  events: ["types of events", "progress"],
  routes: ["routes (left empty: all)", "GET /v1/state*"],
};
const ROLES = { read: "read: look and search", write: "write: also change data", admin: "admin: also run the server" };
const UNITS = { 3600: "hours", 86400: "days" };

function Keys() {
  const who = useSignal(me);
  const reason = refusal("admin", true);
  if (reason) {
    return html`<${Head} title="Keys" /><${Empty} title="Keys are for admins" icon="keys">Not with this key: it ${reason}.<//>`;
  }
  return who.protected ? html`<${List} own=${who} />` : html`<${Open} />`;
}

export const view = { id: "keys", title: "Keys", icon: "keys", path: "#/keys", component: Keys };

/** A server without a key of its own issues none: the first would lock out who issued it. */
const Open = () => html`<${Head} title="Keys" />
  <${Empty} title="This server is open: it has no key of its own" icon="keys">
    <span>Whoever reaches it may do everything; it listens on this machine only, unless it was told otherwise.
    Give it a key and start it again: then it issues others, each with a role, scopes and an end.</span>
    <pre>export API_KEY=$(openssl rand -hex 32)
kissvdb serve</pre>
  <//>`;

const COLUMNS = [
  { id: "name", title: "name", width: "170px", value: (row) => row.name },
  { id: "id", title: "id", width: "160px", mono: true, value: (row) => row.id },
  { id: "role", title: "role", width: "80px", value: (row) => row.role, render: (row) => html`<${Badge} kind=${row.role === "admin" ? "warn" : row.role === "write" ? "accent" : ""}>${row.role}<//>`, copy: false },
  { id: "scopes", title: "scopes", width: "210px", value: (row) => scopesOf(row.scopes) },
  { id: "expires", title: "ends", width: "110px", value: (row) => row.expires_at_ms, render: (row) => html`<${Ends} at=${row.expires_at_ms} />`, copy: false },
  { id: "used", title: "last used", width: "145px", value: (row) => row.last_used_ms, render: (row) => (row.last_used_ms ? moment(row.last_used_ms) : html`<span class="muted">never</span>`), copy: false },
  { id: "created", title: "issued", width: "145px", value: (row) => row.created_at_ms, render: (row) => moment(row.created_at_ms), copy: false },
];

const scopesOf = (scopes) =>
  scopes === null ? "everything" : Object.entries(scopes).map(([kind, patterns]) => `${kind} ${patterns.join(" ")}`).join(" · ") || "nothing";

function Ends({ at }) {
  if (at === null) return html`<span class="muted">never</span>`;
  return at <= Date.now() ? html`<${Badge} kind="bad">expired<//>` : html`<span title=${moment(at)}>in ${duration(at - Date.now())}</span>`;
}

function List({ own }) {
  const { data, error, reload } = useLoad((signal) => api("GET", "/v1/auth/keys", undefined, { signal }), []);
  const [issuing, setIssuing] = useState(false);
  const [rotating, setRotating] = useState(null);
  const [fresh, setFresh] = useState(null);
  const revoke = async (row) => {
    const text = `${row.name} (${row.id}) works no more from the next request on, and its streams end.${row.id === own.id ? " It is the key that you are using." : ""}`;
    if (!(await confirm({ title: "Revoke this key", text, action: "Revoke", danger: true }))) return;
    try {
      await api("DELETE", `/v1/auth/keys/${row.id}`);
      toast(`Revoked ${row.name}`, "good");
      reload();
    } catch (problem) {
      toast(problem, "bad");
    }
  };
  const shown = (made) => {
    setIssuing(false);
    setRotating(null);
    setFresh(made);
    reload();
  };
  const menu = (row) => html`<span class="v-row-acts">
    <${Button} small kind="quiet" icon="refresh" label=${`Rotate ${row.name}`} title="Another secret" onClick=${() => setRotating(row)} />
    <${Button} small kind="quiet" icon="trash" label=${`Revoke ${row.name}`} title="Revoke" onClick=${() => revoke(row)} /></span>`;
  return html`
    <${Head} title="Keys" sub=${data ? `${count(data.length)} issued` : ""}>
      <${Button} kind="primary" icon="plus" onClick=${() => setIssuing(true)}>Issue a key<//>
    <//>
    <${Problem} error=${error} onRetry=${reload} />
    ${!data && !error && html`<${Spinner} />`}
    ${data && !data.length && html`<${Empty} title="No keys issued yet" icon="keys">The key of the server's configuration may do everything. Issue others for programs and people: each with a role, scopes and an end.<//>`}
    ${data?.length > 0 && html`<div class="v-wide-menu"><${Table} label="API keys" columns=${COLUMNS} rows=${data} rowKey=${(row) => row.id} menu=${menu} /></div>`}
    ${issuing && html`<${Issue} onClose=${() => setIssuing(false)} onDone=${shown} />`}
    ${rotating && html`<${Rotate} row=${rotating} onClose=${() => setRotating(null)} onDone=${shown} />`}
    ${fresh && html`<${Secret} made=${fresh} onClose=${() => setFresh(null)} />`}
  `;
}

/** The scopes of texts with commas or blanks between patterns; null: everything. */
export function scopesFrom(texts) {
  const given = Object.entries(texts).map(([kind, text]) => [kind, text.split(kind === "routes" ? /[,\n]+/ : /[\s,]+/).map((each) => each.trim()).filter(Boolean)]);
  return Object.fromEntries(given.filter(([, patterns]) => patterns.length));
}

function Issue({ onClose, onDone }) {
  const [asked, setAsked] = useState({ name: "", role: "read", scoped: false, amount: "", unit: "86400" });
  const [texts, setTexts] = useState(Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, ""])));
  const [error, setError] = useState(null);
  const set = (name) => (event) => setAsked({ ...asked, [name]: event.target.type === "checkbox" ? event.target.checked : event.target.value });
  const issue = async () => {
    const body = { name: asked.name, role: asked.role };
    if (asked.scoped) body.scopes = scopesFrom(texts);
    if (asked.amount) body.ttl_ms = Math.round(Number(asked.amount) * Number(asked.unit) * 1000);
    try {
      onDone(await api("POST", "/v1/auth/keys", body));
    } catch (problem) {
      setError(problem);
    }
  };
  const nothing = asked.scoped && !Object.keys(scopesFrom(texts)).length;
  const actions = html`<${Button} onClick=${onClose}>Cancel<//><${Button} type="submit" kind="primary" disabled=${!asked.name || nothing}>Issue<//>`;
  return html`<${Dialog} title="Issue a key" onClose=${onClose} onSubmit=${issue} actions=${actions}>
    <${Problem} error=${error} />
    <${Field} label="Name" hint="whose it is, or what for"><input value=${asked.name} maxlength="200" onInput=${set("name")} /><//>
    <${Field} label="Role"><select value=${asked.role} onChange=${set("role")}>
      ${Object.entries(ROLES).map(([role, title]) => html`<option key=${role} value=${role}>${title}</option>`)}</select><//>
    <div class="v-two"><${Field} label="Ends after"><input type="number" min="0" step="any" value=${asked.amount} placeholder="never" onInput=${set("amount")} /><//>
      <${Field} label="Unit"><select value=${asked.unit} onChange=${set("unit")}>
        ${Object.entries(UNITS).map(([secs, title]) => html`<option key=${secs} value=${secs}>${title}</option>`)}</select><//></div>
    <label class="check"><input type="checkbox" checked=${asked.scoped} onChange=${set("scoped")} /> only some names (scopes)</label>
    ${asked.scoped && html`<fieldset class="v-scopes"><legend>It may touch: a kind left empty is nothing at all; <code>*</code> at the end means every name that begins so</legend>
      ${Object.entries(KINDS).map(
        ([kind, [title, hint]]) => html`<${Field} key=${kind} label=${title}><input value=${texts[kind]} placeholder=${hint} spellcheck=${false}
          onInput=${(event) => setTexts({ ...texts, [kind]: event.target.value })} /><//>`,
      )}</fieldset>`}
  <//>`;
}

function Rotate({ row, onClose, onDone }) {
  const [grace, setGrace] = useState("60");
  const [error, setError] = useState(null);
  const rotate = async () => {
    try {
      onDone(await api("POST", `/v1/auth/keys/${row.id}/rotate`, { grace_ms: Math.round(Number(grace || 0) * 60_000) }));
    } catch (problem) {
      setError(problem);
    }
  };
  const actions = html`<${Button} onClick=${onClose}>Cancel<//><${Button} type="submit" kind="primary">Rotate<//>`;
  return html`<${Dialog} title=${`Another secret for ${row.name}`} onClose=${onClose} onSubmit=${rotate} actions=${actions}>
    <${Problem} error=${error} />
    <${Field} label="The former secret works for so many minutes more" hint="0: it ends at once, and so do its streams">
      <input type="number" min="0" step="any" value=${grace} onInput=${(event) => setGrace(event.target.value)} /><//>
  <//>`;
}

/** The secret, this once. */
function Secret({ made, onClose }) {
  const actions = html`<${Button} kind="primary" onClick=${onClose}>I have kept it<//>`;
  return html`<${Dialog} title=${`The key of ${made.name}`} onClose=${onClose} onSubmit=${onClose} actions=${actions}>
    <p>It is shown this once: the server keeps only a hash of it.</p>
    <div class="v-secret"><code>${made.key}</code><${Copy} text=${made.key} label="Copy the key" /></div>
    <p class="muted">Role ${made.role}, ${scopesOf(made.scopes)}, ends ${made.expires_at_ms === null ? "never" : moment(made.expires_at_ms)}.</p>
  <//>`;
}
