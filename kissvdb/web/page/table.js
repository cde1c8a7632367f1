// A table of any length: only the rows in sight are drawn. Sorted by its heads, copied, saved.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "/vendor/preact.js";
import { brief, copyText, saveFile, toCsv } from "/page/format.js";
import { toast } from "/page/dialogs.js";
import { Icon } from "/page/icons.js";

const ROW_PX = 32;
const SPARE_ROWS = 12;
const NAME_PX_MIN = 150;

/** Narrower than this it is moved sideways, rather than that a column is no longer seen. */
const leastPx = (columns) => columns.filter((each) => !each.wide).reduce((sum, each) => sum + (/^\d+px$/.test(each.width ?? "") ? parseInt(each.width, 10) : NAME_PX_MIN), 0);

const order = (a, b) => {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1;
  if (b === null || b === undefined) return -1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  const [x, y] = [typeof a === "object" ? JSON.stringify(a) : String(a), typeof b === "object" ? JSON.stringify(b) : String(b)];
  return x < y ? -1 : x > y ? 1 : 0;
};

const text = (value) => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

/**
 * `columns`: `[{id, title, value(row), render?(row), width?, align?, mono?, sort?: false}]`, `width` in
 * CSS; `wide: true`: left out on narrow screens; `rows` in any order; `rowKey(row)` names one. `sort`: `{id, down}` to begin with; `sorted: false`
 * leaves the order to the caller. `onRow(row)`: a row was chosen; `selected`: its name. `picked`: a
 * Set of names, with `onPick(set)`, shows boxes. `height`: CSS, else it fills its place. `menu(row)`:
 * what stands at the end of a row. `more()`: called near the end of the rows.
 */
export function Table({ columns, rows, rowKey, sort: first, sorted = true, onRow, selected, picked, onPick, height, label, empty, menu, more, onSort }) {
  const [sort, setSort] = useState(first ?? null);
  const box = useRef();
  const [view, setView] = useState({ top: 0, rows: 40 });
  const active = onSort ? first : sort;
  const shown = useMemo(() => {
    const column = sorted && !onSort && sort && columns.find((each) => each.id === sort.id);
    if (!column) return rows;
    const values = rows.map((row) => [column.value(row), row]);
    values.sort((a, b) => (sort.down ? order(b[0], a[0]) : order(a[0], b[0])));
    return values.map(([, row]) => row);
  }, [rows, sort, sorted, columns, onSort]);
  const measure = () => {
    const element = box.current;
    if (!element) return;
    const top = Math.max(0, Math.floor(element.scrollTop / ROW_PX) - SPARE_ROWS);
    const count = Math.ceil(element.clientHeight / ROW_PX) + 2 * SPARE_ROWS;
    setView((before) => (before.top === top && before.rows === count ? before : { top, rows: count }));
    if (more && top + count >= shown.length) more();
  };
  useLayoutEffect(measure, [shown, height]);
  useEffect(() => {
    const watch = new ResizeObserver(measure);
    watch.observe(box.current);
    return () => watch.disconnect();
  }, [shown]);
  const change = (column) => {
    const next = !active || active.id !== column.id ? { id: column.id, down: false } : active.down ? null : { id: column.id, down: true };
    if (onSort) onSort(next);
    else setSort(next);
  };
  const keys = (event, row, place) => {
    if (event.target !== event.currentTarget) return;
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15 }[event.key];
    if (event.key === "Enter" && onRow) onRow(row);
    if (!by) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(shown.length - 1, place + by));
    const element = box.current;
    const at = next * ROW_PX;
    if (at < element.scrollTop) element.scrollTop = at;
    else if (at + 3 * ROW_PX > element.scrollTop + element.clientHeight) element.scrollTop = at - element.clientHeight + 3 * ROW_PX;
    requestAnimationFrame(() => element.querySelector(`[data-place="${next}"]`)?.focus());
  };
  const start = Math.min(view.top, Math.max(0, shown.length - 1));
  const visible = shown.slice(start, start + view.rows);
  const after = Math.max(0, shown.length - start - visible.length);
  const span = columns.length + (picked ? 1 : 0) + (menu ? 1 : 0);
  const pick = (name) => {
    const next = new Set(picked);
    if (!next.delete(name)) next.add(name);
    onPick(next);
  };
  const all = picked && rows.length > 0 && picked.size >= rows.length;
  return html`<div class="table-box" ref=${box} onScroll=${measure} style=${height ? { height } : undefined} tabindex="0" role="region" aria-label=${label}>
    <table class="table" style=${{ minWidth: `${leastPx(columns)}px` }} aria-rowcount=${shown.length + 1} aria-label=${label}>
      <colgroup>
        ${picked && html`<col class="col-pick" />`}
        ${columns.map((each) => html`<col class=${each.wide ? "wide-only" : ""} style=${each.width ? { width: each.width } : undefined} />`)}
        ${menu && html`<col class="col-menu" />`}
      </colgroup>
      <thead><tr>
        ${picked &&
        html`<th class="pick"><input type="checkbox" aria-label="All rows" checked=${all} onChange=${() => onPick(all ? new Set() : new Set(rows.map(rowKey)))} /></th>`}
        ${columns.map(
          (each) => html`<th scope="col" class=${`${each.align ?? ""} ${each.wide ? "wide-only" : ""}`} aria-sort=${active?.id === each.id ? (active.down ? "descending" : "ascending") : undefined}>
            ${each.sort === false || (!sorted && !onSort)
              ? each.title
              : html`<button type="button" onClick=${() => change(each)}>${each.title}${active?.id === each.id && html`<${Icon} name=${active.down ? "down" : "up"} />`}</button>`}
          </th>`,
        )}
        ${menu && html`<th><span class="offscreen">Actions</span></th>`}
      </tr></thead>
      <tbody>
        ${start > 0 && html`<tr class="space" aria-hidden="true"><td colspan=${span} style=${{ height: `${start * ROW_PX}px` }}></td></tr>`}
        ${visible.map((row, at) => {
          const name = rowKey(row);
          const place = start + at;
          return html`<tr
            key=${name} data-place=${place} aria-rowindex=${place + 2}
            class=${`${onRow ? "choose" : ""} ${selected === name ? "selected" : ""}`}
            aria-selected=${onRow ? (selected === name ? "true" : "false") : undefined}
            tabindex=${onRow ? 0 : undefined}
            onClick=${onRow && (() => onRow(row))}
            onKeyDown=${(event) => keys(event, row, place)}
          >
            ${picked &&
            html`<td class="pick" onClick=${(event) => event.stopPropagation()}><input type="checkbox" aria-label=${`Choose ${name}`} checked=${picked.has(name)} onChange=${() => pick(name)} /></td>`}
            ${columns.map((each) => html`<${Cell} column=${each} row=${row} />`)}
            ${menu && html`<td class="menu" onClick=${(event) => event.stopPropagation()}>${menu(row)}</td>`}
          </tr>`;
        })}
        ${after > 0 && html`<tr class="space" aria-hidden="true"><td colspan=${span} style=${{ height: `${after * ROW_PX}px` }}></td></tr>`}
      </tbody>
    </table>
    ${!shown.length && html`<div class="table-empty">${empty ?? "No rows"}</div>`}
  </div>`;
}

function Cell({ column, row }) {
  const value = column.value(row);
  const copy = async (event) => {
    event.stopPropagation();
    await copyText(text(value));
    toast("Copied");
  };
  return html`<td class=${`${column.align ?? ""} ${column.mono ? "mono" : ""} ${column.wide ? "wide-only" : ""}`} title=${typeof value === "object" ? brief(value, 400) : text(value).slice(0, 400)}>
    <span class="cell">${column.render ? column.render(row) : value !== null && typeof value === "object" ? brief(value) : text(value)}</span>
    ${column.copy !== false && value !== null && value !== undefined && value !== "" &&
    html`<button type="button" class="cell-copy" tabindex="-1" aria-hidden="true" title="Copy this cell" onClick=${copy}><${Icon} name="copy" /></button>`}
  </td>`;
}

/** Save or copy rows: `name` of the file, `rows` (or a function), `columns` for CSV, `json(row)`. */
export function Save({ name, rows, columns, json = (row) => row }) {
  const found = () => (typeof rows === "function" ? rows() : rows);
  const asJson = () => JSON.stringify(found().map(json), null, 2);
  const copy = async () => {
    await copyText(asJson());
    toast(`Copied ${found().length} rows`);
  };
  return html`<span class="segmented" role="group" aria-label="Save">
    <button type="button" title="Copy all rows as JSON" onClick=${copy}>Copy</button>
    <button type="button" title="Save as JSON" onClick=${() => saveFile(`${name}.json`, asJson())}>JSON</button>
    <button type="button" title="Save as CSV" onClick=${() => saveFile(`${name}.csv`, toCsv(found(), columns), "text/csv")}>CSV</button>
  </span>`;
}
