// Filters that are made by clicking: each chip is one condition; all of them must hold, and so must
// what is written as JSON beside them.

import { html, useState } from "/vendor/preact.js";
import { count } from "/page/format.js";

/** A condition on what was clicked: a scalar equals, an element of an array is contained. */
export function chip(path, value, { inArray = false, not = false } = {}) {
  return { path, value, inArray, not };
}

const same = (a, b) =>
  a.path === b.path && JSON.stringify(a.value) === JSON.stringify(b.value) && a.inArray === b.inArray;

/** The chips with this one added, or turned round where it is there the other way. */
export function withChip(chips, added) {
  return [...chips.filter((each) => !same(each, added)), added];
}

function condition({ path, value, inArray, not }) {
  if (inArray) {
    const contains = { [path]: { $contains: value } };
    return not ? { $not: contains } : contains;
  }
  const quoted = value !== null && typeof value === "object" ? { $eq: value } : value;
  return { [path]: not ? { $ne: value } : quoted };
}

/** The filter of chips and of a text of JSON; undefined for none. Throws SyntaxError. */
export function filterOf(chips, text = "") {
  const parts = chips.map(condition);
  if (text.trim()) {
    const written = JSON.parse(text);
    if (written === null || typeof written !== "object" || Array.isArray(written)) {
      throw new SyntaxError("a filter is an object, such as {\"year\": {\"$gte\": 2020}}");
    }
    if (Object.keys(written).length) parts.push(written);
  }
  if (!parts.length) return undefined;
  const keys = parts.flatMap(Object.keys);
  if (new Set(keys).size === keys.length) return Object.assign({}, ...parts);
  return { $and: parts };
}

export const shown = (value, most = 40) => {
  const whole = (_, each) => (typeof each === "bigint" ? String(each) : each);
  const text = typeof value === "string" ? value : typeof value === "bigint" ? String(value) : JSON.stringify(value, whole);
  return text.length > most ? `${text.slice(0, most)}…` : text;
};

/** The chips in a row, each to be turned round or taken away, and a box for JSON. */
export function FilterBar({ chips, setChips, text, setText, problem, label = "filter" }) {
  const [open, setOpen] = useState(Boolean(text));
  const turn = (at) => setChips(chips.map((each, n) => (n === at ? { ...each, not: !each.not } : each)));
  const drop = (at) => setChips(chips.filter((_, n) => n !== at));
  return html`<div class="v-filter">
    <div class="v-chips" role="group" aria-label=${`conditions of the ${label}`}>
      ${chips.map(
        (each, n) => html`<span class=${`v-chip${each.not ? " v-not" : ""}`} key=${n}>
          <button type="button" title="turn this condition round" onClick=${() => turn(n)}>
            ${each.path} ${each.not ? "≠" : each.inArray ? "∋" : "="} <b>${shown(each.value)}</b>
          </button>
          <button type="button" aria-label=${`remove the condition on ${each.path}`} onClick=${() => drop(n)}>×</button>
        </span>`,
      )}
      <button type="button" class="v-link" aria-expanded=${open} onClick=${() => setOpen(!open)}>
        ${open ? "hide filter JSON" : "filter as JSON"}
      </button>
    </div>
    ${open &&
    html`<textarea
      class="v-json"
      rows="2"
      spellcheck=${false}
      aria-label=${`${label} as JSON`}
      aria-invalid=${Boolean(problem)}
      placeholder=${'{"year": {"$gte": 2020}}'}
      value=${text}
      onInput=${(event) => setText(event.target.value)}
    ></textarea>`}
    ${problem && html`<p class="v-problem" role="alert">${problem}</p>`}
  </div>`;
}

const isScalar = (value) => value === null || typeof value !== "object";

/** The fields of an object as a list; each scalar is a button that adds a condition. */
export function Fields({ value, onPick, most = 12, prefix = "" }) {
  const [all, setAll] = useState(false);
  if (value === null || value === undefined) return null;
  const entries = flat(value, prefix);
  const some = all ? entries : entries.slice(0, most);
  return html`<div class="v-fields"><dl>
    ${some.map(
      ([path, each]) => html`<div key=${path}>
        <dt>${path || "value"}</dt>
        <dd>${pickable(path, each, onPick)}</dd>
      </div>`,
    )}</dl>
    ${entries.length > most &&
    html`<button type="button" class="v-link" onClick=${() => setAll(!all)}>
      ${all ? "fewer fields" : `${entries.length - most} more fields`}
    </button>`}
  </div>`;
}

function flat(value, prefix) {
  if (isScalar(value) || Array.isArray(value)) return [[prefix, value]];
  const found = [];
  for (const [name, each] of Object.entries(value)) {
    const path = prefix ? `${prefix}.${name}` : name;
    const inside = each !== null && typeof each === "object" && !Array.isArray(each);
    if (inside && Object.keys(each).length && found.length < 500) found.push(...flat(each, path));
    else found.push([path, each]);
  }
  return found;
}

function pickable(path, value, onPick) {
  if (Array.isArray(value)) {
    if (!value.length) return html`<span class="muted">none</span>`;
    if (!value.every(isScalar)) return html`<code>${shown(value, 120)}</code>`;
    return value.slice(0, 16).map((each) => button(path, each, true, onPick));
  }
  return isScalar(value) ? button(path, value, false, onPick) : html`<code>${shown(value, 120)}</code>`;
}

function button(path, value, inArray, onPick) {
  const text = shown(value, 120);
  // A long text is to be read, not to be equalled; a BigInt has no form in the JSON of a filter.
  if (!onPick || !path || text.length > 80 || typeof value === "bigint") return html`<span class="v-value">${shown(value, 300)}</span>`;
  return html`<button
    type="button"
    class="v-value"
    title=${`only where ${path} ${inArray ? "contains" : "is"} this (Alt: only others)`}
    onClick=${(event) => onPick(chip(path, value, { inArray, not: event.altKey }))}
  >
    ${text}
  </button>`;
}

export const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

/** The fields of some rows, those first whose values tell rows apart and are few: to colour, to count. */
export function colourable(documents) {
  const values = new Map();
  for (const document of documents) {
    if (document === null || typeof document !== "object" || Array.isArray(document)) continue;
    for (const [name, value] of Object.entries(document)) {
      const one = Array.isArray(value) ? value[0] : value;
      if (one === null || one === undefined || typeof one === "object") continue;
      if (!values.has(name)) values.set(name, new Map());
      const counts = values.get(name);
      counts.set(one, (counts.get(one) ?? 0) + 1);
    }
  }
  // What the ten commonest values hold, times how evenly they share it (in bits).
  const worth = (counts) => {
    const top = [...counts.values()].sort((a, b) => b - a).slice(0, 10);
    const held = top.reduce((sum, n) => sum + n, 0);
    return (held / documents.length) * top.reduce((sum, n) => sum - (n / held) * Math.log2(n / held), 0);
  };
  return [...values].map(([name, counts]) => [name, worth(counts)]).sort((a, b) => b[1] - a[1]).map(([name]) => name);
}
