// What may come next, as a list at the caret: Tab takes the first, the arrows and Enter another. It is
// asked for with Ctrl-Space, and gone with Escape.

import { html, useEffect, useRef, useState } from "/page/parts.js";
import { completions } from "/views/sql_words.js";

/** Where the caret is in the text of an element; null where it is not in it. */
function caretIn(element) {
  const selection = getSelection();
  if (!selection.rangeCount || !selection.isCollapsed || !element.contains(selection.anchorNode)) return null;
  const range = document.createRange();
  range.selectNodeContents(element);
  range.setEnd(selection.anchorNode, selection.anchorOffset);
  return range.toString().length;
}

function placeOf(element) {
  const range = getSelection().getRangeAt(0).cloneRange();
  const box = element.parentElement.getBoundingClientRect();
  const rects = range.getClientRects();
  const at = rects.length ? rects[0] : element.getBoundingClientRect();
  return { left: Math.max(0, Math.min(at.left - box.left, box.width - 250)), top: (rects.length ? at.bottom : at.top + 26) - box.top + 3 };
}

/** `{onKey, onChange, popup}` for an editor. ``tables`` and ``collections``: see `completions`. */
export function useCompletion(tables, collections) {
  const [list, setList] = useState(null);
  const element = useRef();
  const typing = useRef(false);
  const known = useRef();
  known.current = { tables, collections };

  const found = () => {
    const editor = element.current;
    const caret = editor && caretIn(editor);
    if (caret === null || caret === undefined) return null;
    const now = completions(editor.textContent, caret, known.current.tables, known.current.collections);
    return now?.options.length ? { ...now, at: 0, caret, typed: caret - now.from } : null;
  };
  const look = (asked) => {
    const now = found();
    if (!now || (!asked && !typing.current)) return setList(null);
    return setList({ ...now, place: placeOf(element.current) });
  };
  useEffect(() => {
    const ended = (event) => !element.current?.contains(event.target) && setList(null);
    document.addEventListener("pointerdown", ended);
    return () => document.removeEventListener("pointerdown", ended);
  }, []);

  const choose = (option, handle, typed) => {
    setList(null);
    typing.current = false;
    for (let n = 0; n < typed; n++) getSelection().modify("extend", "backward", "character");
    handle.insert(option.text);
  };
  const held = useRef();

  function onKey(event, editor, handle) {
    element.current = editor;
    held.current = handle;
    const swallow = () => (event.preventDefault(), event.stopImmediatePropagation());
    if (event.key === " " && event.ctrlKey) {
      swallow();
      return look(true);
    }
    typing.current = event.key.length === 1 && !event.ctrlKey && !event.metaKey ? true : event.key === "Backspace" && Boolean(list);
    if (!list) return undefined;
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) {
      swallow();
      const size = list.options.length;
      return setList({ ...list, at: (list.at + move + size) % size, moved: true });
    }
    // Enter means a new line unless one went to a word: an alias may begin as a table does.
    if (event.key === "Tab" || (event.key === "Enter" && !event.ctrlKey && list.moved)) {
      swallow();
      // Whoever types fast is ahead of the list.
      const now = caretIn(editor) === list.caret ? list : found();
      return now ? choose(now.options[now.at], handle, now.typed) : setList(null);
    }
    if (event.key === "Escape") {
      swallow();
      return setList(null);
    }
    if (event.key === "Enter" || event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End") setList(null);
    return undefined;
  }

  // The text is coloured anew after the key: the caret is where it belongs only then.
  const onChange = () => typing.current && requestAnimationFrame(() => look(false));
  const popup = list && html`<ul class="v-completion" role="listbox" aria-label="What may come here" style=${{ left: `${list.place.left}px`, top: `${list.place.top}px` }}>
    ${list.options.map(
      (option, n) => html`<li key=${option.label} role="option" aria-selected=${n === list.at ? "true" : "false"}
        ref=${n === list.at ? (each) => each?.scrollIntoView({ block: "nearest" }) : undefined}
        onPointerDown=${(event) => (event.preventDefault(), choose(option, held.current, list.typed))}>
        <code>${option.label}</code><span>${option.detail || option.kind}</span></li>`,
    )}
  </ul>`;
  return { onKey, onChange, popup };
}
