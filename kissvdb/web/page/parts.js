// The parts that views are made of. Those that need more room live beside this file, and are
// handed on from here: views import everything from "/page/parts.js".
import { html, useEffect, useRef, useState } from "/vendor/preact.js";
import { me, refusal } from "/page/api.js";
import { Calls } from "/page/call.js";
import { copyText } from "/page/format.js";
import { Icon } from "/page/icons.js";
import { useSignal } from "/page/store.js";
import { toast } from "/page/dialogs.js";

export { html, Icon };
export { useCallback, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "/vendor/preact.js";
export { Call, Calls } from "/page/call.js";
export { Chart } from "/page/chart.js";
export { Code } from "/page/editor.js";
export { confirm, Dialog, settled, toast, useUnsaved } from "/page/dialogs.js";
export { Json } from "/page/json_tree.js";
export { Save, Table } from "/page/table.js";
export { kept, signal, useEvery, useSignal } from "/page/store.js";
export * from "/page/format.js";

/** The head of a view: its title, what it is about, its buttons, and the calls behind it. */
export function Head({ title, sub, children }) {
  return html`<header class="head">
    <h1>${title}</h1>
    ${sub && html`<span class="sub">${sub}</span>`}
    <div class="head-actions">${children}<${Calls} /></div>
  </header>`;
}

/**
 * A button. `kind`: "primary", "danger", "quiet" or none; `need`: the role it needs ("write",
 * "admin"), `whole`: and a key without scopes: where the key may not, it is off and says why.
 */
export function Button({ kind = "", icon, need, whole, disabled, title, onClick, children, type = "button", label, small, ...rest }) {
  useSignal(me);
  const reason = need ? refusal(need, whole) : null;
  const off = Boolean(disabled || reason);
  return html`<button
    type=${type}
    class=${`button ${kind} ${small ? "small" : ""} ${children === undefined ? "square" : ""}`}
    disabled=${off}
    title=${reason ? `Not possible: ${reason}` : title ?? (children === undefined ? label : undefined)}
    aria-label=${label}
    onClick=${onClick}
    ...${rest}
  >${icon && html`<${Icon} name=${icon} />`}${children}</button>`;
}

let fields = 0;

/** A label with what it is for. The child is an input, a select or a textarea. */
export function Field({ label, hint, error, children, inline }) {
  const [id] = useState(() => `field-${(fields += 1)}`);
  const box = useRef();
  useEffect(() => {
    const input = box.current?.querySelector("input, select, textarea");
    if (!input) return;
    input.id ||= id;
    box.current.querySelector("label").htmlFor = input.id;
    input.toggleAttribute("aria-invalid", Boolean(error));
    if (error || hint) input.setAttribute("aria-describedby", `${id}-hint`);
  });
  return html`<div class=${inline ? "field inline" : "field"} ref=${box}>
    <label>${label}</label>
    ${children}
    ${(error || hint) && html`<small id=${`${id}-hint`} class=${error ? "bad" : ""}>${error || hint}</small>`}
  </div>`;
}

/** Tabs: `tabs` is `[{id, title, count?}]`. The panel is the caller's, with role="tabpanel". */
export function Tabs({ tabs, current, onChange, label }) {
  const box = useRef();
  const step = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const at = tabs.findIndex((tab) => tab.id === current);
    const next = tabs[(at + by + tabs.length) % tabs.length];
    onChange(next.id);
    box.current.querySelector(`[data-tab="${CSS.escape(next.id)}"]`)?.focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} ref=${box} onKeyDown=${step}>
    ${tabs.map(
      (tab) => html`<button
        type="button" role="tab" key=${tab.id} data-tab=${tab.id}
        aria-selected=${tab.id === current ? "true" : "false"}
        tabindex=${tab.id === current ? 0 : -1}
        onClick=${() => onChange(tab.id)}
      >${tab.title}${tab.count !== undefined && html`<span class="count">${tab.count}</span>`}</button>`,
    )}
  </div>`;
}

/** Nothing is here, and what to do about it. */
export const Empty = ({ title, icon = "folder", children }) =>
  html`<div class="empty"><${Icon} name=${icon} /><strong>${title}</strong><div>${children}</div></div>`;

export const Spinner = ({ label = "Loading" }) =>
  html`<div class="spinner" role="status"><i></i><span>${label}…</span></div>`;

/** An ApiError, as the server words it; `onRetry` offers to try again. */
export function Problem({ error, onRetry }) {
  if (!error) return null;
  return html`<div class="problem" role="alert">
    <${Icon} name="warning" />
    <div><strong>${error.code ?? error.name}</strong> <span>${error.message}</span></div>
    ${onRetry && html`<${Button} small onClick=${onRetry}>Try again<//>`}
  </div>`;
}

/** Copies its text; says so. */
export function Copy({ text, label = "Copy", small = true }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await copyText(typeof text === "function" ? text() : text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
    toast("Copied");
  };
  return html`<${Button} kind="quiet" small=${small} icon=${done ? "check" : "copy"} label=${label} title=${label} onClick=${copy} />`;
}

/** A small mark: `kind` "good", "bad", "warn", "accent" or none. */
export const Badge = ({ kind = "", children, title }) => html`<span class=${`badge ${kind}`} title=${title}>${children}</span>`;

/** `load(abortSignal)` as `{data, error, loading, reload}`; begins anew when `inputs` change. */
export function useLoad(load, inputs) {
  const [state, setState] = useState({ loading: true });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    setState((before) => ({ ...before, loading: true }));
    load(abort.signal).then(
      (data) => !abort.signal.aborted && setState({ data, loading: false }),
      (error) => !abort.signal.aborted && setState((before) => ({ data: before.data, error, loading: false })),
    );
    return () => abort.abort();
  }, [...inputs, round]);
  return { ...state, reload: () => setRound((n) => n + 1) };
}
