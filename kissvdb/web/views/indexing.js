// The index of a collection of vectors: another one, and how hard searches try.

import { api, segment } from "/page/api.js";
import { Button, confirm, count, Dialog, Field, html, moment, Problem, toast, useState } from "/page/parts.js";

export const KINDS = [
  ["hnsw", "hnsw: a graph"],
  ["ivf", "ivf: lists, quicker to build"],
  ["vamana", "vamana: a graph on disk"],
  ["flat", "flat: every vector"],
];
export const CODES = ["auto", "q4", "q8", "none"];

const EFFORTS = { hnsw: "ef_search", ivf: "nprobe", vamana: "search_list_size" };
// What a kind may be told, with the field's name; nothing said is the default.
const PARAMETERS = { hnsw: ["m", "ef_construction"], ivf: ["lists", "nprobe"], vamana: ["max_degree", "search_list_size"], flat: [] };
const TARGETS = ["0.9", "0.95", "0.99", "0.999"];

const percent = (recall) => `${(recall * 100).toFixed(1)}%`;

/** What there is to say of how hard searches try: label and value. */
export function effortFacts(info) {
  const option = EFFORTS[info.index.kind];
  if (!option) return [];
  const effort = [option, info.index[option] ?? "the default"];
  const { tuning } = info;
  return [effort, ["effort measured", tuning ? moment(tuning.at_ms) : "never: tune"], ["measured with", tuning ? `${count(tuning.rows)} vectors` : "–"]];
}

/** How far a change of the index, or of the embedder, is; it can be given up. */
export function Changing({ name, info, reload }) {
  const { reindex } = info;
  if (!reindex) return null;
  const giveUp = async () => {
    const text = "What is done so far is thrown away; the collection stays as it is.";
    if (!(await confirm({ title: "Give the change up?", text, action: "Give up", danger: true }))) return;
    try {
      await api("DELETE", `/v1/vector/${segment(name)}/reindex`);
      toast("The collection stays as it is", "good");
    } catch (error) {
      toast(error, "bad");
    }
    reload();
  };
  const what = reindex.embedder
    ? `Vectors are made anew by ${reindex.embedder}`
    : `Another index is built: ${reindex.index?.kind ?? info.index.kind}, codes ${reindex.quantization ?? info.quantization}`;
  return html`<div class="v-note v-tools" role="status" aria-label="Change of the index">
    <span>${what}: ${reindex.state}, ${count(reindex.done)} of ${count(reindex.total)}. ${reindex.error ?? ""}</span>
    <${Button} small need="admin" onClick=${giveUp}>Give up<//>
  </div>`;
}

/** Another kind, other parameters or other codes, built beside the ones that serve. */
export function Reindex({ name, info, onClose, onDone }) {
  const [asked, setAsked] = useState({ kind: info.index.kind, quantization: info.quantization, parameters: {} });
  const [error, setError] = useState(null);
  const begin = async () => {
    const index = { kind: asked.kind };
    for (const field of PARAMETERS[asked.kind]) if (asked.parameters[field]) index[field] = Number(asked.parameters[field]);
    try {
      await api("POST", `/v1/vector/${segment(name)}/reindex`, { index, quantization: asked.quantization });
      toast("Begun: searches go on meanwhile", "good");
      onDone();
    } catch (problem) {
      setError(problem);
    }
  };
  const shown = (field) => (asked.kind === info.index.kind ? info.index[field] : undefined) ?? "as it comes";
  const actions = html`<${Button} onClick=${onClose}>Cancel<//><${Button} type="submit" kind="primary">Build it<//>`;
  return html`<${Dialog} title="Another index" onClose=${onClose} onSubmit=${begin} actions=${actions}>
    <${Problem} error=${error} />
    <p>It is built beside the one that serves, over all ${count(info.count)} vectors, and then takes its place. Until then it takes the room of a second copy on disk.</p>
    <div class="v-two">
      <${Field} label="Index"><select value=${asked.kind} onChange=${(event) => setAsked({ ...asked, kind: event.target.value })}>
        ${KINDS.map(([kind, text]) => html`<option key=${kind} value=${kind}>${text}</option>`)}</select><//>
      <${Field} label="Codes"><select value=${asked.quantization} onChange=${(event) => setAsked({ ...asked, quantization: event.target.value })}>
        ${CODES.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select><//>
      ${PARAMETERS[asked.kind].map((field) => html`<${Field} key=${asked.kind + field} label=${field}>
        <input type="number" min="1" placeholder=${shown(field)} value=${asked.parameters[field] ?? ""}
          onInput=${(event) => setAsked({ ...asked, parameters: { ...asked.parameters, [field]: event.target.value } })} /><//>`)}
    </div>
  <//>`;
}

/** Measure what searches find, and have them try so hard that they find enough. */
export function Tune({ name, onClose, onDone }) {
  const [recall, setRecall] = useState("0.95");
  const [busy, setBusy] = useState(false);
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const measure = async () => {
    setBusy(true);
    setError(null);
    try {
      setFound(await api("POST", `/v1/vector/${segment(name)}/tune`, { recall: Number(recall) }));
      onDone();
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  const actions = html`<${Button} onClick=${onClose}>${found ? "Close" : "Cancel"}<//>
    <${Button} type="submit" kind="primary" disabled=${busy}>${busy ? "It is measured…" : "Measure and set"}<//>`;
  return html`<${Dialog} title="How hard searches try" onClose=${onClose} onSubmit=${busy ? undefined : measure} actions=${actions}>
    <${Problem} error=${error} />
    <p>Recent queries, and vectors of the collection, are looked for exactly and by the index. The least effort that finds enough becomes the default.</p>
    <${Field} label="Of the 10 nearest, find"><select value=${recall} onChange=${(event) => setRecall(event.target.value)}>
      ${TARGETS.map((each) => html`<option key=${each} value=${each}>${percent(Number(each))}</option>`)}</select><//>
    ${found && html`<${Ladder} found=${found} />`}
  <//>`;
}

function Ladder({ found }) {
  const { option, effort, note, tuning } = found;
  return html`<div role="status" aria-label="What was measured">
    <p>${effort === null ? "Nothing was changed." : html`<strong>${option} ${effort}</strong> finds ${percent(found.reached)}.`} ${note ?? ""}</p>
    <table class="v-ladder"><thead><tr><th>${option}</th><th>finds</th><th>µs a search</th></tr></thead>
      <tbody>${tuning.ladder.map((step) => html`<tr key=${step.effort} aria-current=${step.effort === effort ? "true" : undefined}>
        <td>${step.effort}</td><td>${percent(step.recall)}</td><td>${Math.round(step.us)}</td></tr>`)}</tbody></table>
  </div>`;
}
