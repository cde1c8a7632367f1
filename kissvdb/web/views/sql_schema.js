// The tables beside the SQL console: the user's own, and those that show everything else.

import { Badge, Button, html, Problem, Spinner, useState } from "/page/parts.js";
import { VIRTUAL } from "/views/sql_words.js";

const named = (name) => (/^[A-Za-z_]\w*$/.test(name) ? name : `"${name.replace(/"/g, '""')}"`);

export function Schema({ schema, onInsert, onAsk }) {
  const { data, error, reload } = schema;
  return html`<section class="v-schema" aria-label="Tables">
    <div class="v-side-head"><h2>Your tables</h2><${Button} small kind="quiet" icon="refresh" label="Read the schema again" onClick=${reload} /></div>
    <${Problem} error=${error} />
    ${!data && !error && html`<${Spinner} />`}
    ${data && !data.tables.length && html`<p class="muted">None yet. Execute <code>CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)</code>.</p>`}
    <ul>${(data?.tables ?? []).map((each) => html`<${Table} key=${each.name} table=${each} onInsert=${onInsert} onAsk=${onAsk} />`)}</ul>
    <h2>Everything else, read-only</h2>
    <ul>${VIRTUAL.map(([name, call, columns, detail]) => html`<${Virtual} key=${name} name=${name} call=${call} columns=${columns} detail=${detail} data=${data} onInsert=${onInsert} onAsk=${onAsk} />`)}</ul>
  </section>`;
}

function Fold({ title, detail, children, onAsk }) {
  const [open, setOpen] = useState(false);
  return html`<li>
    <div class="v-fold">
      <button type="button" aria-expanded=${open ? "true" : "false"} onClick=${() => setOpen(!open)}><span aria-hidden="true">${open ? "▾" : "▸"} </span><code>${title}</code> <span class="muted">${detail}</span></button>
      ${onAsk && html`<button type="button" class="v-link" aria-label=${`Write a query of ${title}`} onClick=${onAsk}>query</button>`}
    </div>
    ${open && children}
  </li>`;
}

function Table({ table, onInsert, onAsk }) {
  const ask = () => onAsk(`SELECT *\nFROM ${named(table.name)}\nLIMIT 100`);
  return html`<${Fold} title=${table.name} detail=${table.kind === "table" ? "" : table.kind} onAsk=${ask}>
    <ul class="v-columns">${table.columns.map(
      (each) => html`<li key=${each.name}><button type="button" title="insert the name" onClick=${() => onInsert(named(each.name))}><code>${each.name}</code></button>
        <span class="muted">${each.type.toLowerCase()}${each.not_null ? " not null" : ""}</span>
        ${each.primary_key > 0 && html`<${Badge}>key<//>`}
        ${table.foreign_keys.filter(({ column }) => column === each.name).map((to) => html`<span class="muted" key=${to.table}>→ ${to.table}${to.to ? `.${to.to}` : ""}</span>`)}</li>`,
    )}
    ${table.indexes.map((each) => html`<li key=${each.name} class="muted">index ${each.name} (${each.columns.map((column) => column ?? "expression").join(", ")})</li>`)}</ul>
  <//>`;
}

/** A query that works as it stands, where there is a collection to ask. */
function example(name, columns, data) {
  const vectors = data?.collections.vectors[0];
  const documents = data?.collections.documents[0];
  const first = columns.map((each) => (each === "offset" ? '"offset"' : each));
  if (name === "state") return `SELECT ${first.join(", ")}\nFROM state\nWHERE key GLOB '*'\nORDER BY key\nLIMIT 100`;
  if (name === "events") return `SELECT type, count(*) AS times, max("offset") AS newest\nFROM events\nGROUP BY type\nORDER BY times DESC`;
  if (name === "documents") return documents && `SELECT id, doc, revision\nFROM documents('${documents}')\nLIMIT 100`;
  if (name === "vectors") return vectors && `SELECT id, meta, text\nFROM vectors('${vectors}')\nLIMIT 100`;
  if (name === "text_search") {
    const from = documents ?? vectors;
    return from && `SELECT rank, score, id, doc\nFROM text_search('${from}', 'some words', 20)\nORDER BY rank`;
  }
  if (name === "vector_search") {
    return vectors && `SELECT near.rank, near.score, near.id, near.text\nFROM (SELECT vector FROM vectors('${vectors}') LIMIT 1) AS one,\n  vector_search('${vectors}', one.vector, 10) AS near\nORDER BY near.rank`;
  }
  return vectors && `SELECT near.rank, near.score, near.id, near.text\nFROM (SELECT vector FROM vectors('${vectors}') LIMIT 1) AS one,\n  hybrid_search('${vectors}', 'some words', 10, NULL, one.vector) AS near\nORDER BY near.rank`;
}

function Virtual({ name, call, columns, detail, data, onInsert, onAsk }) {
  const text = example(name, columns, data);
  return html`<${Fold} title=${name} detail=${detail} onAsk=${text && (() => onAsk(text))}>
    <ul class="v-columns">
      ${call && html`<li class="muted"><code>${name}${call}</code></li>`}
      ${columns.map((each) => html`<li key=${each}><button type="button" title="insert the name" onClick=${() => onInsert(each === "offset" ? '"offset"' : each)}><code>${each}</code></button></li>`)}
    </ul>
  <//>`;
}
