// A small editor of code (codejar): colours, indents, undo. Of JSON and SQL.
import { html, useEffect, useRef } from "/vendor/preact.js";
import { CodeJar } from "/vendor/codejar.js";
import { highlight } from "/page/highlight.js";

/** So long a text is edited without colours: they are made anew at every key. */
const COLOURED_MAX = 50_000;

/**
 * `value` is taken over when it is another than what is there; `onChange(text)` at every key.
 * `onKey(event, element)` sees keys first; `handle` is given `{insert(text), element, focus()}`.
 */
export function Code({ value, onChange, language = "json", label, readOnly = false, rows = 8, onKey, handle, invalid }) {
  const box = useRef();
  const jar = useRef();
  const latest = useRef({});
  latest.current = { onChange, onKey };
  useEffect(() => {
    const element = box.current;
    const paint = (editor) => {
      const text = editor.textContent;
      if (text.length <= COLOURED_MAX) editor.innerHTML = highlight(text, language);
    };
    const keys = (event) => latest.current.onKey?.(event, element);
    element.addEventListener("keydown", keys, true);
    const made = CodeJar(element, paint, { tab: "  ", addClosing: false, catchTab: false, spellcheck: false });
    jar.current = made;
    made.updateCode(value ?? "", false);
    made.onUpdate((text) => latest.current.onChange?.(text));
    if (readOnly) element.setAttribute("contenteditable", "false");
    if (handle) handle.current = { element, focus: () => element.focus(), insert: (text) => document.execCommand("insertText", false, text) };
    return () => {
      element.removeEventListener("keydown", keys, true);
      made.destroy();
    };
  }, [language, readOnly]);
  useEffect(() => {
    if (jar.current && jar.current.toString() !== (value ?? "")) jar.current.updateCode(value ?? "", false);
  }, [value]);
  return html`<div
    class=${`code ${readOnly ? "read-only" : ""}`} ref=${box} role="textbox" aria-multiline="true" aria-label=${label}
    aria-readonly=${readOnly ? "true" : undefined} aria-invalid=${invalid ? "true" : undefined} tabindex="0"
    style=${{ minHeight: `${rows * 1.5 + 1.2}em` }}
  ></div>`;
}
