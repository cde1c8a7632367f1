// A small editor of code (codejar): colours, indents, undo. Of JSON and SQL.
import { html, useEffect, useRef } from "/vendor/preact.js";
import { CodeJar } from "/vendor/codejar.js";
import { highlight } from "/page/highlight.js";

/** So long a text is edited without colours: they are made anew at every key. */
const COLOURED_MAX = 50_000;
const TOLD_MAX = 100;

/**
 * `value` is taken over when it is another than what is there; `onChange(text)` at every key.
 * `onKey(event, element)` sees keys first; `handle` is given `{insert(text), element, focus()}`.
 */
export function Code({ value, onChange, language = "json", label, readOnly = false, rows = 8, onKey, handle, invalid }) {
  const box = useRef();
  const jar = useRef();
  const latest = useRef({});
  // What the caller was told and has not given back as `value` yet: that lags behind quick fingers.
  const told = useRef([]);
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
    const tell = (text) => {
      told.current = [...told.current.slice(-TOLD_MAX), text];
      latest.current.onChange?.(text);
    };
    made.onUpdate(tell);
    // What comes without a key: an input method, a drop, dictation.
    const given = () => {
      if (element.querySelector("br, div, p")) {
        // Lines that the browser made: in its text they would be lost.
        const text = element.innerText;
        made.updateCode(text, false);
        // Behind what came: the places in a text without its line breaks are others.
        made.restore({ start: text.length, end: text.length });
      }
      tell(made.toString());
    };
    element.addEventListener("input", given);
    if (readOnly) element.setAttribute("contenteditable", "false");
    if (handle) handle.current = { element, focus: () => element.focus(), insert: (text) => document.execCommand("insertText", false, text) };
    return () => {
      element.removeEventListener("keydown", keys, true);
      element.removeEventListener("input", given);
      made.destroy();
    };
  }, [language, readOnly]);
  useEffect(() => {
    const known = told.current.lastIndexOf(value);
    told.current = told.current.slice(known + 1);
    if (known < 0 && jar.current && jar.current.toString() !== (value ?? "")) jar.current.updateCode(value ?? "", false);
  }, [value]);
  return html`<div
    class=${`code ${readOnly ? "read-only" : ""}`} ref=${box} role="textbox" aria-multiline="true" aria-label=${label}
    aria-readonly=${readOnly ? "true" : undefined} aria-invalid=${invalid ? "true" : undefined} tabindex="0"
    style=${{ minHeight: `${rows * 1.5 + 1.2}em` }}
  ></div>`;
}
