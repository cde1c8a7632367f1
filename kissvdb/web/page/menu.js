// The command menu (Ctrl/Cmd-K), the shortcuts and their overview (?).
import { html, useEffect, useMemo, useRef, useState } from "/vendor/preact.js";
import { Dialog } from "/page/dialogs.js";
import { Icon } from "/page/icons.js";
import { go } from "/page/router.js";
import { signal, useSignal } from "/page/store.js";

/** What views add: `{id, title, icon?, keys?, run}`, as long as they are shown. */
const added = signal([]);
export const menuOpen = signal(false);
export const helpOpen = signal(false);

const mac = /Mac|iP(hone|ad)/.test(navigator.platform);
export const MOD = mac ? "⌘" : "Ctrl";

/** Commands of the view that is shown. `keys`: one letter, outside of fields. */
export function useCommands(commands, inputs) {
  useEffect(() => {
    added.value = [...added.value, ...commands];
    return () => (added.value = added.value.filter((each) => !commands.includes(each)));
  }, inputs);
}

const inField = (target) => target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

/** Once, by the frame: `views` `[{id, title, icon, letter}]`, `commands` that are always there. */
export function useShortcuts(views, commands) {
  const first = useRef("");
  useEffect(() => {
    const pressed = (event) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        menuOpen.value = !menuOpen.value;
        return;
      }
      if (event.metaKey || event.ctrlKey || event.altKey || inField(event.target) || document.querySelector("dialog[open]")) return;
      if (first.current === "g") {
        first.current = "";
        const view = views.find((each) => each.letter === event.key);
        if (view) go(view.id);
        return;
      }
      if (event.key === "g") {
        first.current = "g";
        setTimeout(() => (first.current = ""), 1200);
      } else if (event.key === "?") helpOpen.value = true;
      else if (event.key === "/") {
        const field = document.querySelector("main [data-filter]");
        if (!field) return;
        event.preventDefault();
        field.focus();
      } else {
        const command = [...added.value, ...commands].find((each) => each.keys === event.key);
        if (!command) return;
        event.preventDefault();
        command.run();
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [views, commands]);
}

/** The letters of `wanted` in their order, the closer together the better; -1: not all are there. */
function distance(wanted, title) {
  const at = title.indexOf(wanted);
  if (at >= 0) return at;
  let place = -1;
  let far = 100;
  for (const letter of wanted) {
    const next = title.indexOf(letter, place + 1);
    if (next < 0) return -1;
    far += next - place;
    place = next;
  }
  return far;
}

export function CommandMenu({ views, commands }) {
  const open = useSignal(menuOpen);
  return open && html`<${Menu} views=${views} commands=${commands} />`;
}

function Menu({ views, commands }) {
  const more = useSignal(added);
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const list = useRef();
  const close = () => (menuOpen.value = false);
  const found = useMemo(() => {
    const all = [
      ...views.map((each) => ({ ...each, title: `Go to ${each.title}`, hint: `g ${each.letter}`, run: () => go(each.id) })),
      ...more.map((each) => ({ ...each, hint: each.keys })),
      ...commands.map((each) => ({ ...each, hint: each.keys })),
    ];
    const wanted = text.trim().toLowerCase();
    const ranked = all.map((each) => [wanted ? distance(wanted, each.title.toLowerCase()) : 0, each]).filter(([far]) => far >= 0);
    const sorted = ranked.sort((a, b) => a[0] - b[0]).map(([, each]) => each);
    if (text.trim()) sorted.push({ id: "key", title: `Open the key ${text.trim()}`, icon: "state", run: () => go("state", [text.trim()], { key: 1 }) });
    return sorted;
  }, [text, more, views, commands]);
  const run = (command) => {
    close();
    command.run();
  };
  const keys = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) {
      event.preventDefault();
      const next = (at + by + found.length) % found.length;
      setAt(next);
      list.current.children[next]?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && found[at]) {
      event.preventDefault();
      run(found[at]);
    }
  };
  return html`<${Dialog} title="Commands" onClose=${close}>
    <div class="menu-box">
      <input
        data-first role="combobox" aria-expanded="true" aria-controls="menu-list" aria-label="A command, a view or a key"
        aria-activedescendant=${found[at] ? `menu-${at}` : undefined} placeholder="A command, a view or a key"
        autocomplete="off" spellcheck=${false} value=${text}
        onInput=${(event) => (setText(event.target.value), setAt(0))} onKeyDown=${keys}
      />
      <ul id="menu-list" role="listbox" aria-label="Commands" ref=${list}>
        ${found.map(
          (each, n) => html`<li id=${`menu-${n}`} role="option" aria-selected=${n === at ? "true" : "false"} onMouseMove=${() => setAt(n)} onClick=${() => run(each)}>
            <${Icon} name=${each.icon ?? "right"} /><span>${each.title}</span>${each.hint && html`<kbd>${each.hint}</kbd>`}
          </li>`,
        )}
      </ul>
    </div>
  <//>`;
}

export function Help({ views, commands }) {
  const open = useSignal(helpOpen);
  const more = useSignal(added).filter((each) => each.keys);
  if (!open) return null;
  const lines = [
    [`${MOD} K`, "Commands"],
    ["/", "Filter of this view"],
    ["?", "This overview"],
    ...commands.filter((each) => each.keys).map((each) => [each.keys, each.title]),
  ];
  const part = (title, rows) => rows.length > 0 && html`<section><h3>${title}</h3><dl class="keys">${rows.map(([keys, what]) => html`<div><dt><kbd>${keys}</kbd></dt><dd>${what}</dd></div>`)}</dl></section>`;
  return html`<${Dialog} title="Shortcuts" wide onClose=${() => (helpOpen.value = false)}>
    <div class="help">
      ${part("Everywhere", lines)} ${part("This view", more.map((each) => [each.keys, each.title]))}
      ${part("Go to", views.map((each) => [`g ${each.letter}`, each.title]))}
    </div>
  <//>`;
}
