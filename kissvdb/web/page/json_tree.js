// A JSON value as a tree that opens and closes; long lists open in parts.
import { html, useState } from "/vendor/preact.js";

const PART = 100;
const TEXT_MAX = 2000;

/** `open`: so many levels to begin with. `onValue(path, value)`: a leaf was clicked. */
export function Json({ value, open = 2, onValue }) {
  return html`<div class="json"><${Node} value=${value} open=${open} path=${[]} onValue=${onValue} /></div>`;
}

function Node({ name, value, open, path, onValue, last = true }) {
  const [shown, setShown] = useState(open > 0);
  const [most, setMost] = useState(PART);
  const label = name !== undefined && html`<span class="t-name">${typeof name === "number" ? name : JSON.stringify(name)}</span>${": "}`;
  const comma = last ? "" : ",";
  if (value === null || typeof value !== "object") {
    return html`<div class="json-line">${label}<${Leaf} value=${value} onClick=${onValue && (() => onValue(path, value))} />${comma}</div>`;
  }
  const list = Array.isArray(value);
  const entries = list ? value.map((each, at) => [at, each]) : Object.entries(value);
  const [begin, end] = list ? "[]" : "{}";
  if (!entries.length) return html`<div class="json-line">${label}${begin}${end}${comma}</div>`;
  const size = html`<span class="json-size">${entries.length} ${list ? (entries.length === 1 ? "item" : "items") : entries.length === 1 ? "field" : "fields"}</span>`;
  return html`<div class="json-node">
    <div class="json-line">
      <button type="button" class="json-fold" aria-expanded=${shown ? "true" : "false"} onClick=${() => setShown(!shown)}>
        <span class="json-mark">${shown ? "▾" : "▸"}</span>${label}${begin}${!shown && html`…${end}${comma} ${size}`}
      </button>
    </div>
    ${shown &&
    html`<div class="json-children">
      ${entries.slice(0, most).map(
        ([key, each], at) => html`<${Node} key=${key} name=${key} value=${each} open=${open - 1} path=${[...path, key]} onValue=${onValue} last=${at === entries.length - 1} />`,
      )}
      ${entries.length > most &&
      html`<button type="button" class="button quiet small" onClick=${() => setMost(most + 10 * PART)}>${entries.length - most} more</button>`}
    </div>`}
    ${shown && html`<div class="json-line">${end}${comma}</div>`}
  </div>`;
}

function Leaf({ value, onClick }) {
  const kind = value === null ? "word" : typeof value === "string" ? "string" : typeof value === "number" || typeof value === "bigint" ? "number" : "word";
  const full = typeof value === "bigint" ? String(value) : JSON.stringify(value);
  const text = full.length > TEXT_MAX ? `${full.slice(0, TEXT_MAX)}…` : full;
  if (onClick) return html`<button type="button" class=${`json-leaf t-${kind}`} onClick=${onClick}>${text}</button>`;
  return html`<span class=${`t-${kind}`}>${text}</span>`;
}
