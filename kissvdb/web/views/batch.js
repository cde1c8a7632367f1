// A batch put together by hand: operations over all models with their guards, done together or not
// at all, with what became of each.

import { call } from "/page/api.js";
import { Badge, Button, Code, count, Field, Head, html, kept, Problem, useEffect, useState } from "/page/parts.js";

const TEMPLATES = {
  "put a key": { op: "put", key: "order:1", value: { items: 2 } },
  "patch a key": { op: "patch", key: "order:1", patch: { items: 3 } },
  "delete a key": { op: "delete", key: "order:1" },
  "put a document": { op: "doc_put", collection: "orders", id: "17", doc: { state: "open" } },
  "patch a document": { op: "doc_patch", collection: "orders", id: "17", patch: { state: "paid" } },
  "delete a document": { op: "doc_delete", collection: "orders", id: "17" },
  "write a vector": { op: "upsert", collection: "notes", id: "17", vector: [1, 0, 0], meta: { lang: "en" } },
  "delete a vector": { op: "vector_delete", collection: "notes", id: "17" },
  "append an event": { op: "event", type: "ordered", data: { order: 17 }, key: "order:17" },
  "execute SQL": { op: "sql", sql: "UPDATE stock SET left = left - ? WHERE item = ?", params: [1, "tea"] },
};
const GUARDS = {
  "a key is absent": { key: "order:1", if_absent: true },
  "a key is at a revision": { key: "order:1", if_revision: 3 },
  "a document is at a revision": { documents: "orders", id: "17", if_revision: 1 },
  "a document is absent": { documents: "orders", id: "17", if_absent: true },
  "a vector is absent": { vectors: "notes", id: "17", if_absent: true },
  "so many pass a filter": { documents: "orders", if_filter_count: { filters: { state: "open" }, at_most: 10 } },
};

let made = Date.now();
const part = (value) => ({ id: (made += 1), text: JSON.stringify(value, null, 2) });
const parsed = (text) => {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? null : "an object is wanted";
  } catch (error) {
    return error.message;
  }
};

function Composer() {
  const [operations, setOperations] = useState(() => kept.get("batch.operations", []));
  const [guards, setGuards] = useState(() => kept.get("batch.guards", []));
  const [name, setName] = useState("");
  const [outcome, setOutcome] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => (kept.set("batch.operations", operations), kept.set("batch.guards", guards)), [operations, guards]);
  const changed = (set) => (next) => (setOutcome(null), set(next));
  const problems = [...operations, ...guards].filter((each) => parsed(each.text));
  async function send() {
    setBusy(true);
    // The texts as they were typed: numbers stay what they are.
    const list = (parts) => `[${parts.map(({ text }) => text).join(",")}]`;
    const members = [`"operations":${list(operations)}`];
    if (guards.length) members.push(`"preconditions":${list(guards)}`);
    if (name) members.push(`"op_id":${JSON.stringify(name)}`);
    try {
      const { data } = await call("POST", "/v1/batch", `{${members.join(",")}}`);
      setOutcome({ data });
    } catch (error) {
      setOutcome({ error });
    }
    setBusy(false);
  }
  const refused = outcome?.error?.body ?? {};
  return html`
    <${Head} title="Batch" sub="operations over all models, all or none">
      <${Button} kind="primary" icon="play" need="write" disabled=${!operations.length || problems.length > 0 || busy}
        title=${problems.length ? "Some parts are no JSON objects" : undefined} onClick=${send}>Send ${operations.length ? count(operations.length) : ""} together<//>
    <//>
    <div class="body v-body v-batch">
      ${outcome?.data && html`<p class="v-done" role="status"><${Badge} kind="good">${outcome.data.repeated ? "done before" : "done"}<//>
        offsets ${outcome.data.first_offset === null ? "none: nothing to write" : `${count(outcome.data.first_offset)} to ${count(outcome.data.last_offset)}`}, visible at one moment</p>`}
      <${Problem} error=${outcome?.error} />
      <${Parts} title="Operations" add="Add an operation" templates=${TEMPLATES} parts=${operations} setParts=${changed(setOperations)}
        results=${outcome?.data?.results} refused=${refused.operation} none="Add operations: they happen together or not at all." />
      <${Parts} title="Guards" add="Add a guard" templates=${GUARDS} parts=${guards} setParts=${changed(setGuards)}
        refused=${refused.precondition} none="No guards: nothing has to hold before." />
      <div class="v-tools"><${Field} label="Idempotency key" hint="sent again under it, the batch is answered and not done again" inline>
          <input value=${name} spellcheck=${false} placeholder="none" onInput=${(event) => (setOutcome(null), setName(event.target.value))} /><//>
        ${operations.length + guards.length > 0 && html`<${Button} kind="quiet" onClick=${() => (setOutcome(null), setOperations([]), setGuards([]))}>Start again<//>`}</div>
    </div>`;
}

export const view = { id: "batch", title: "Batch", icon: "batch", path: "#/batch", component: Composer };

function Parts({ title, add, templates, parts, setParts, results, refused, none }) {
  const change = (at, more) => setParts(parts.map((each, n) => (n === at ? { ...each, ...more } : each)));
  const move = (at, by) => {
    const next = [...parts];
    next.splice(at + by, 0, ...next.splice(at, 1));
    setParts(next);
  };
  const choose = (event) => {
    if (event.target.value) setParts([...parts, part(templates[event.target.value])]);
    event.target.value = "";
  };
  return html`<section class="v-part-list" aria-label=${title}>
    <div class="v-side-head"><h2>${title} <span class="muted">${parts.length || ""}</span></h2>
      <select aria-label=${add} onChange=${choose}><option value="">${add}…</option>
        ${Object.keys(templates).map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></div>
    ${!parts.length && html`<p class="muted">${none}</p>`}
    <ol>${parts.map((each, n) => {
      const problem = parsed(each.text);
      const bad = refused === n;
      return html`<li key=${each.id} class=${bad ? "v-refused" : ""}>
        <div class="v-part-head"><b>${n}</b>
          ${bad && html`<${Badge} kind="bad">refused<//>`}
          ${results?.[n] && html`<${Badge} kind="good">${resultOf(results[n])}<//>`}
          ${problem && html`<span class="v-problem">${problem}</span>`}
          <span class="v-push"></span>
          <${Button} small kind="quiet" icon="up" label=${`Move ${n} up`} disabled=${n === 0} onClick=${() => move(n, -1)} />
          <${Button} small kind="quiet" icon="down" label=${`Move ${n} down`} disabled=${n === parts.length - 1} onClick=${() => move(n, 1)} />
          <${Button} small kind="quiet" icon="trash" label=${`Remove ${n}`} onClick=${() => setParts(parts.filter((_, other) => other !== n))} /></div>
        <${Code} label=${`${title} ${n} as JSON`} value=${each.text} rows=${3} invalid=${Boolean(problem)} onChange=${(text) => text !== each.text && change(n, { text })} />
      </li>`;
    })}</ol>
  </section>`;
}

const resultOf = ({ offset, revision, deleted, rows_affected: rows }) =>
  [offset === null ? "nothing to do" : `offset ${count(offset)}`, revision !== undefined && `revision ${revision}`, deleted === false && "was not there", rows !== undefined && `${rows} rows`]
    .filter(Boolean)
    .join(", ");
