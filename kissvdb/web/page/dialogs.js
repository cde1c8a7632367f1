// Dialogs, questions and short notices. `Overlays` is drawn once, by the frame.
import { html, useEffect, useRef, useState } from "/vendor/preact.js";
import { Icon } from "/page/icons.js";
import { guardLeaving } from "/page/router.js";
import { signal, useSignal } from "/page/store.js";

const TOAST_MS = 4000;
const TOASTS_MAX = 4;

const question = signal(null);
const toasts = signal([]);
let count = 0;

const edits = new Set();

/** While `dirty` nobody leaves, or closes the page, without being asked. */
export function useUnsaved(dirty) {
  useEffect(() => {
    if (!dirty) return undefined;
    const mine = {};
    edits.add(mine);
    return () => edits.delete(mine);
  }, [Boolean(dirty)]);
}

/** What was edited is saved, or is not wanted any more. */
export const settled = () => edits.clear();

/** True, or a promise of what whoever edits says. */
function mayLeave() {
  if (!edits.size) return true;
  const text = "What you have changed here is not saved yet.";
  return confirm({ title: "Leave without saving?", text, action: "Discard it", danger: true }).then((yes) => (yes && settled(), yes));
}

guardLeaving(mayLeave);
addEventListener("beforeunload", (event) => edits.size && event.preventDefault());

/** A modal dialog: keeps the focus, and Escape closes it, after a question where it is `dirty`.
 * `actions` are its buttons. */
export function Dialog({ title, onClose: close, children, actions, wide, onSubmit, dirty }) {
  useUnsaved(dirty);
  const onClose = async () => (!dirty || (await mayLeave())) && close();
  const box = useRef();
  const [id] = useState(() => `dialog-${(count += 1)}`);
  useEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    box.current.querySelector("[data-first], .dialog-body input, .dialog-body textarea, .dialog-body select")?.focus();
    return () => before instanceof HTMLElement && before.isConnected && before.focus();
  }, []);
  const submit = (event) => {
    event.preventDefault();
    onSubmit?.();
  };
  return html`<dialog
    ref=${box} class=${wide ? "wide" : ""} aria-labelledby=${id}
    onCancel=${(event) => (event.preventDefault(), onClose())}
    onMouseDown=${(event) => event.target === box.current && onClose()}
  >
    <form class="dialog-box" onSubmit=${submit}>
      <header><h2 id=${id}>${title}</h2>
        <button type="button" class="button quiet square small" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button>
      </header>
      <div class="dialog-body">${children}</div>
      ${actions && html`<footer>${actions}</footer>`}
    </form>
  </dialog>`;
}

/**
 * Ask before something is done; true where it may be. `danger`: it cannot be undone. `typed`: a
 * text that has to be typed first.
 */
export function confirm({ title, text, action = "Do it", danger = false, typed }) {
  return new Promise((resolve) => {
    question.value = { title, text, action, danger, typed, resolve };
  });
}

/** A notice that goes by itself; `kind` "good", "bad" or none. Screen readers say it. */
export function toast(text, kind = "") {
  const id = (count += 1);
  toasts.value = [...toasts.value, { id, text: text instanceof Error ? text.message : text, kind }].slice(-TOASTS_MAX);
  setTimeout(() => (toasts.value = toasts.value.filter((each) => each.id !== id)), kind === "bad" ? 2 * TOAST_MS : TOAST_MS);
}

function Question({ asked }) {
  const [text, setText] = useState("");
  const ready = asked.typed === undefined || text === asked.typed;
  const end = (answer) => {
    question.value = null;
    asked.resolve(answer);
  };
  const actions = html`
    <button type="button" class="button" data-first=${asked.typed === undefined} onClick=${() => end(false)}>Cancel</button>
    <button type="submit" class=${`button ${asked.danger ? "danger" : "primary"}`} disabled=${!ready}>${asked.action}</button>
  `;
  return html`<${Dialog} title=${asked.title} onClose=${() => end(false)} onSubmit=${() => ready && end(true)} actions=${actions}>
    <div class="question">${asked.text}</div>
    ${asked.typed !== undefined &&
    html`<div class="field">
      <label for="typed">Type <code>${asked.typed}</code> to go on</label>
      <input id="typed" value=${text} autocomplete="off" spellcheck=${false} onInput=${(event) => setText(event.target.value)} />
    </div>`}
  <//>`;
}

export function Overlays() {
  const asked = useSignal(question);
  const shown = useSignal(toasts);
  return html`
    ${asked && html`<${Question} asked=${asked} />`}
    <div class="toasts" role="status" aria-live="polite">
      ${shown.map((each) => html`<div class=${`toast ${each.kind}`} key=${each.id}>${each.text}</div>`)}
    </div>
  `;
}
