// One document: looked at, edited as it was typed, written only over the revision that was read, and
// when somebody else was first, both shown beside each other.

import { call, segment } from "/page/api.js";
import { Badge, Button, Code, confirm, count, Dialog, Field, html, moment, Problem, settled, Spinner, toast, useEffect, useState } from "/page/parts.js";
import { Fields } from "/views/filters.js";
import { exact, member, pretty } from "/views/raw.js";

const LINES_MAX = 1500;

/** Lines of two texts in one order: [{kind: "same" | "less" | "more", text}]. */
export function difference(before, after) {
  const [a, b] = [before.split("\n"), after.split("\n")];
  if (a.length > LINES_MAX || b.length > LINES_MAX) return [...a.map((text) => ({ kind: "less", text })), ...b.map((text) => ({ kind: "more", text }))];
  const longest = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
  }
  const made = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) made.push({ kind: "same", text: a[i] }), i++, j++;
    else if (j >= b.length || (i < a.length && longest[i + 1][j] >= longest[i][j + 1])) made.push({ kind: "less", text: a[i++] });
    else made.push({ kind: "more", text: b[j++] });
  }
  return made;
}

const pathOf = (collection, id) => `/v1/doc/${segment(collection)}/${segment(id)}`;

async function read(collection, id) {
  const { data, text } = await call("GET", pathOf(collection, id));
  return { id, text: pretty(member(text, "doc")), value: exact(member(text, "doc"), BigInt), revision: data.revision, offset: data.offset, expires: data.expires_at_ms };
}

/** ``id``: the document to show; without it a new one, without ``collection`` in any. */
export function DocumentDialog({ collection, id, changed, onPick, onClose }) {
  const fresh = id === undefined;
  const [was, setWas] = useState(fresh ? { text: "{\n  \n}", revision: 0 } : null);
  const [text, setText] = useState(was?.text ?? "");
  const [name, setName] = useState({ collection: collection ?? "", id: id ?? "", ttl: "" });
  const [error, setError] = useState(null);
  const [theirs, setTheirs] = useState(null);
  const [busy, setBusy] = useState(false);
  const load = async () => {
    try {
      const found = await read(collection, id);
      setWas(found);
      setText(found.text);
      setTheirs(null);
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  useEffect(() => {
    if (!fresh) load();
  }, [collection, id]);
  const problem = jsonProblem(text);
  const dirty = was && (text !== was.text || fresh);
  const edited = was && (text !== was.text || (fresh && Boolean(name.id || name.ttl || name.collection !== (collection ?? ""))));

  async function save(over = was.revision) {
    setBusy(true);
    setError(null);
    // Its end stays when it is, unless it was passed meanwhile.
    const left = was.expires ? Math.max(1, was.expires - Date.now()) : Math.round(Number(name.ttl || 0) * 1000);
    const query = new URLSearchParams({ if_revision: over, ...(left ? { ttl_ms: left } : {}) });
    try {
      await call("PUT", `${pathOf(name.collection, name.id)}?${query}`, text);
      toast(`Saved ${name.id}`, "good");
      settled();
      changed();
      onClose();
    } catch (refusal) {
      if (refusal.code === "revision_mismatch") setTheirs(await read(name.collection, name.id).catch(() => ({ gone: true, text: "", revision: 0 })));
      else setError(refusal);
    }
    setBusy(false);
  }
  async function remove() {
    if (!(await confirm({ title: "Delete this document", text: `${id} of ${collection}, at revision ${was.revision}.`, action: "Delete", danger: true }))) return;
    try {
      await call("DELETE", `${pathOf(collection, id)}?if_revision=${was.revision}`);
      toast(`Deleted ${id}`, "good");
      settled();
      changed();
      onClose();
    } catch (refusal) {
      if (refusal.code === "revision_mismatch") setTheirs(await read(collection, id).catch(() => ({ gone: true, text: "", revision: 0 })));
      else setError(refusal);
    }
  }
  const part = (member_) => (event) => setName({ ...name, [member_]: event.target.value });
  const actions = html`
    ${!fresh && html`<${Button} kind="danger" icon="trash" need="write" disabled=${!was} onClick=${remove}>Delete<//>`}
    <${Button} type="submit" kind="primary" need="write" disabled=${!dirty || busy || Boolean(problem) || !name.id || !name.collection || Boolean(theirs)}>${fresh ? "Insert" : "Save"}<//>`;
  return html`<${Dialog} wide dirty=${edited} title=${fresh ? "A new document" : id} onClose=${onClose} onSubmit=${() => dirty && !problem && !theirs && save()} actions=${actions}>
    <${Problem} error=${error} />
    ${!was && !error && html`<${Spinner} />`}
    ${fresh && html`<div class="v-two">
      <${Field} label="Collection"><input value=${name.collection} spellcheck=${false} disabled=${collection !== undefined} onInput=${part("collection")} /><//>
      <${Field} label="Id"><input value=${name.id} spellcheck=${false} onInput=${part("id")} /><//>
      <${Field} label="Time to live (seconds)"><input type="number" min="0" value=${name.ttl} placeholder="for ever" onInput=${part("ttl")} /><//></div>`}
    ${was && !fresh && html`<p class="v-tools"><${Badge}>revision ${count(was.revision)}<//><${Badge}>offset ${count(was.offset)}<//>
      ${was.expires && html`<${Badge} kind="warn">ends ${moment(was.expires)}, which a change keeps<//>`}</p>
      ${onPick && html`<${Fields} value=${was.value} onPick=${onPick} />`}`}
    ${theirs && html`<${Conflict} theirs=${theirs} mine=${text} was=${was.revision} busy=${busy} onMine=${() => save(theirs.revision)}
      onTheirs=${() => (theirs.gone ? onClose() : (setWas(theirs), setText(theirs.text), setTheirs(null)))} />`}
    ${was && html`<div class="field"><label>Document (JSON)</label>
      <${Code} label="Document as JSON" value=${text} rows=${10} invalid=${Boolean(problem)} onChange=${setText} />
      ${problem && html`<small class="bad">${problem}</small>`}</div>`}
  <//>`;
}

function jsonProblem(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return error.message;
  }
}

function Conflict({ theirs, mine, was, busy, onMine, onTheirs }) {
  const title = theirs.gone ? "It was deleted meanwhile" : was ? `Somebody was first: it is at revision ${theirs.revision} now, you read ${was}` : `There is such a document already, at revision ${theirs.revision}`;
  return html`<section class="v-conflict" role="alert" aria-label="Conflict">
    <strong>${title}</strong>
    <pre class="v-diff">${difference(theirs.text, pretty(mine)).map(
      ({ kind, text }, n) => html`<span key=${n} class=${`v-${kind}`}>${{ same: " ", less: "−", more: "+" }[kind]} ${text}${"\n"}</span>`,
    )}</pre>
    <p class="muted">− what is there now, + what you wrote</p>
    <div class="v-tools"><${Button} kind="danger" disabled=${busy} onClick=${onMine}>Write mine over it<//>
      <${Button} onClick=${onTheirs}>${theirs.gone ? "Leave it deleted" : "Take theirs"}<//></div>
  </section>`;
}
