// The keys as a tree: complete, live, to edit, to delete, to take away.
import { call, me, query, refusal } from "/page/api.js";
import { follow } from "/page/feed.js";
import { problem } from "/page/json_text.js";
import { KeyPanel, writeKey } from "/page/key_panel.js";
import { useCommands } from "/page/menu.js";
import { go } from "/page/router.js";
import { keysBelow, Tree } from "/page/tree.js";
import { Badge, Button, bytes, Code, confirm, count, Dialog, duration, Empty, Field, Head, html, Icon, kept, Problem, saveFile, settled, useSignal, Save, Table, toast, toCsv, useEffect, useMemo, useRef, useState } from "/page/parts.js";

const DELETES_AT_ONCE = 1000;
const TYPED_FROM = 100;
const FLUSH_MS = 200;

const CSV = [
  { title: "key", value: (row) => row.key ?? row.prefix },
  { title: "keys", value: (row) => row.keys },
  { title: "bytes", value: (row) => row.bytes },
  { title: "revision", value: (row) => row.revision },
  { title: "expires_at_ms", value: (row) => row.expires_at_ms },
];

/** The tree of a root, kept true by the stream; `seen`: the newest event of the key `watched`. */
function useTree(root, separator, watched) {
  const [, draw] = useState(0);
  const tree = useRef(null);
  const granted = useSignal(me)?.scopes?.keys;
  const [seen, setSeen] = useState(null);
  const [problem, setProblem] = useState(null);
  const name = useRef(watched);
  name.current = watched;
  useEffect(() => setSeen(null), [watched]);
  useEffect(() => {
    let timer = 0;
    let waiting = [];
    const made = (tree.current = new Tree(root, separator, root ? null : granted, () => draw((n) => n + 1)));
    draw((n) => n + 1);
    const flush = () => {
      timer = 0;
      const events = waiting;
      waiting = [];
      made.apply(events);
    };
    const close = follow(
      { since: "now", types: "state_updated,state_deleted", key_prefix: root || undefined },
      {
        onEvents: (events) => {
          for (const each of events) {
            if (each.type === "gap") {
              made.stale = true;
              continue;
            }
            const event = JSON.parse(each.text);
            if (event.data?.key === undefined) continue;
            waiting.push(event);
            if (event.data.key === name.current) setSeen(event);
          }
          timer ||= setTimeout(flush, FLUSH_MS);
        },
        onState: ({ state, lostMs, error }) => {
          if (state === "live" && lostMs) made.reload();
          setProblem(error ?? null);
        },
      },
    );
    return () => {
      close();
      made.close();
      clearTimeout(timer);
    };
  }, [root, separator]);
  return { tree: tree.current, seen, problem };
}

function Crumbs({ root, separator, onGo }) {
  const parts = [];
  for (let at = root.indexOf(separator); at >= 0; at = root.indexOf(separator, at + separator.length)) parts.push(root.slice(0, at + separator.length));
  if (root && parts.at(-1) !== root) parts.push(root);
  return html`<nav class="crumbs" aria-label="Branch">
    <button type="button" onClick=${() => onGo("")}>All keys</button>
    ${parts.map((prefix, at) => html`<span aria-hidden="true">/</span><button type="button" class="mono" key=${prefix} onClick=${() => onGo(prefix)}>${prefix.slice(parts[at - 1]?.length ?? 0)}</button>`)}
  </nav>`;
}

function NewKey({ prefix, onClose, onMade }) {
  const [key, setKey] = useState(prefix);
  const [text, setText] = useState("{}");
  const [secs, setSecs] = useState("");
  const [error, setError] = useState(null);
  const wrong = problem(text);
  const save = async () => {
    if (wrong || !key) return;
    try {
      await writeKey(key, text, { revision: 0, ttlMs: secs ? 1000 * Number(secs) : undefined });
      toast("Created", "good");
      settled();
      onMade(key);
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<${Dialog} title="New key" wide dirty=${key !== prefix || text !== "{}"} onClose=${onClose} onSubmit=${save} actions=${html`<${Button} onClick=${onClose}>Cancel<//><${Button} type="submit" kind="primary" need="write" disabled=${Boolean(wrong) || !key} onClick=${undefined}>Create<//>`}>
    <${Problem} error=${error} />
    <${Field} label="Key"><input data-first class="mono" value=${key} autocomplete="off" spellcheck=${false} onInput=${(event) => setKey(event.target.value)} /><//>
    <div class="field"><label>Value</label><${Code} value=${text} onChange=${setText} label="Value as JSON" rows=${8} invalid=${Boolean(wrong)} />${wrong && html`<small class="bad">Not JSON yet: ${wrong}</small>`}</div>
    <${Field} label="Expires after seconds" hint="Empty: never"><input type="number" min="1" value=${secs} onInput=${(event) => setSecs(event.target.value)} /><//>
  <//>`;
}

/** Keys of a selection of keys and branches, counted as they are found. `leaves`: which of them are keys. */
async function chosenKeys(picked, leaves, onCount, signal) {
  const keys = new Set();
  for (const name of picked) {
    if (leaves.has(name)) keys.add(name);
    else for (const key of await keysBelow(name, (n) => onCount(keys.size + n), signal)) keys.add(key);
    onCount(keys.size);
  }
  return [...keys];
}

async function deleteAll(keys, onDone) {
  let refused = 0;
  let first = "";
  for (let at = 0; at < keys.length; at += DELETES_AT_ONCE) {
    const lines = keys.slice(at, at + DELETES_AT_ONCE).map((key) => JSON.stringify({ op: "delete", key }));
    const answer = await call("POST", "/v1/bulk?answers=errors", `${lines.join("\n")}\n`, { type: "application/x-ndjson", quiet: at > 0 });
    for (const line of answer.text.trim().split("\n")) {
      const found = JSON.parse(line);
      if (found.status === "error") {
        refused += 1;
        first ||= found.error.message;
      }
    }
    onDone(Math.min(keys.length, at + DELETES_AT_ONCE));
  }
  return { refused, first };
}

const howMany = ({ keys, more }) => (more ? (keys ? `${count(keys)}+ keys` : "keys") : keys === 1 ? "1 key" : `${count(keys)} keys`);

/** A name of nothing that is seen, or with blanks around it, is quoted. */
const readable = (label) => (label && label.trim() === label ? label : JSON.stringify(label));

const NAME_COLUMN = { id: "name", title: "Name", value: (row) => row.name, width: "auto" };

const columns = (tree) => [
  {
    ...NAME_COLUMN,
    copy: false,
    render: (row) => {
      const pad = { paddingLeft: `${row.depth * 18}px` };
      if (row.error) return html`<span class="leaf bad" style=${pad}>${row.error.message}</span>`;
      if (row.note) return html`<${Note} row=${row} tree=${tree} pad=${pad} />`;
      if (row.key === undefined) {
        return html`<span class="leaf" style=${pad}><span class="branch mono"><${Icon} name=${row.open ? "down" : "right"} /><${Icon} name="folder" /><span class="leaf-name">${row.label}</span></span></span>`;
      }
      return html`<span class="leaf mono" style=${pad}><span class="leaf-mark"></span><span class="leaf-name">${readable(row.label)}</span></span>`;
    },
  },
  { id: "size", title: "Size", width: "116px", align: "right", copy: false, value: (row) => row.bytes ?? row.keys, render: (row) => (row.keys !== undefined ? html`<span class="muted">${howMany(row)}</span>` : row.bytes === undefined ? "" : bytes(row.bytes)) },
  { id: "revision", title: "Revision", width: "90px", wide: true, align: "right", copy: false, value: (row) => row.revision },
  { id: "expires", title: "Expires", width: "110px", wide: true, align: "right", copy: false, value: (row) => row.expires_at_ms, render: (row) => (row.expires_at_ms ? duration(Math.max(0, row.expires_at_ms - Date.now())) : "") },
];

/** The end of a level that is not all there: it goes on as soon as it is seen. */
function Note({ row, tree, pad }) {
  useEffect(() => {
    if (row.more) tree.load(row.more);
  }, [row.more]);
  return html`<span class="leaf muted" style=${pad}>${row.note}</span>`;
}

function State({ route }) {
  const root = route.query.prefix ?? "";
  const [separator, setSeparator] = useState(route.query.separator || kept.get("separator", ":"));
  const name = route.rest.join("/") || null;
  const [wanted, setWanted] = useState("");
  const [sort, setSort] = useState(null);
  const [picked, setPicked] = useState(new Set());
  // Of what is chosen the keys, told when it is: later a filter may hide the row, and as the
  // beginning of others a key would take them with it.
  const leaves = useRef(new Set());
  const [making, setMaking] = useState(false);
  const [work, setWork] = useState(null);
  const { tree, seen, problem: lost } = useTree(root, separator, name);
  const rows = tree ? tree.rows(sort, wanted.trim().toLowerCase()) : [];
  const entries = rows.filter((row) => !row.note && !row.error);
  const shownColumns = useMemo(() => columns(tree), [tree]);
  const show = (key) => go("state", key === null ? [] : [key], { prefix: root });
  const zoom = (prefix) => (leaves.current.clear(), setPicked(new Set()), go("state", [], { prefix }));
  const pick = (names) => {
    for (const row of rows) if (row.key !== undefined && names.has(row.name)) leaves.current.add(row.name);
    setPicked(new Set([...names].filter((each) => !each.includes("\0"))));
  };
  const choose = (row) => {
    if (row.key !== undefined) show(row.key);
    else if (row.prefix !== undefined && !row.error) tree.toggle(row.prefix);
  };
  useCommands(
    [
      { id: "new-key", title: "New key", icon: "plus", keys: "n", run: () => refusal("write") === null && setMaking(true) },
      { id: "reload", title: "Read the tree anew", icon: "refresh", keys: "r", run: () => tree?.reload() },
    ],
    [tree],
  );
  const remove = async (names) => {
    const abort = new AbortController();
    const say = (n) => setWork({ text: `Counting: ${count(n)} keys`, stop: () => abort.abort() });
    try {
      say(0);
      const keys = await chosenKeys(names, leaves.current, say, abort.signal);
      setWork(null);
      const few = keys.slice(0, 8).join("\n") + (keys.length > 8 ? `\nand ${count(keys.length - 8)} more` : "");
      const typed = keys.length >= TYPED_FROM ? String(keys.length) : undefined;
      if (!keys.length || !(await confirm({ title: `Delete ${count(keys.length)} ${keys.length === 1 ? "key" : "keys"}?`, text: few, action: "Delete", danger: true, typed }))) return;
      const { refused, first } = await deleteAll(keys, (n) => setWork({ text: `Deleted ${count(n)} of ${count(keys.length)}` }));
      if (refused) toast(`${count(refused)} were refused: ${first}`, "bad");
      else toast(`${count(keys.length)} deleted`, "good");
      setPicked(new Set());
      if (keys.includes(name)) show(null);
      tree.reload();
    } catch (error) {
      if (!abort.signal.aborted) toast(error, "bad");
    } finally {
      setWork(null);
    }
  };
  const take = async (type) => {
    const items = [];
    let cursor;
    try {
      do {
        const page = await call("GET", `/v1/state${query({ prefix: root, limit: 1000, cursor })}`, undefined, { quiet: Boolean(cursor) });
        items.push(...page.data);
        cursor = page.headers.get("kissvdb-cursor");
        setWork({ text: `${count(items.length)} keys read` });
      } while (cursor);
      const file = (root || "state").replace(/[^\w.-]+/g, "_");
      const all = [...CSV.filter((each) => !["keys", "bytes"].includes(each.title)), { title: "value", value: (row) => JSON.stringify(row.value) }];
      if (type === "json") saveFile(`${file}.json`, JSON.stringify(items, null, 2));
      else saveFile(`${file}.csv`, toCsv(items, all), "text/csv");
    } catch (error) {
      toast(error, "bad");
    }
    setWork(null);
  };
  const first = tree?.levels.get(root);
  return html`<div class="fill">
    <${Head} title="State" sub=${html`<${Crumbs} root=${root} separator=${separator} onGo=${zoom} />`}>
      <${Button} kind="primary" icon="plus" need="write" title="New key (n)" onClick=${() => setMaking(true)}>New key<//>
    <//>
    <div class="bar">
      <input class="grow" type="search" data-filter value=${wanted} placeholder="Filter, or a beginning and Enter" aria-label="Filter the keys" spellcheck=${false}
        onInput=${(event) => setWanted(event.target.value)}
        onKeyDown=${(event) => event.key === "Enter" && wanted && (zoom(root && !wanted.startsWith(root) ? root + wanted : wanted), setWanted(""))} />
      <label class="check">Separator <input class="mono narrow" value=${separator} maxlength="16" onInput=${(event) => event.target.value && (kept.set("separator", event.target.value), setSeparator(event.target.value))} /></label>
      <span class="row push">
        ${picked.size > 0 && html`<${Button} kind="danger" small icon="trash" need="write" onClick=${() => remove([...picked])}>Delete ${count(picked.size)} chosen<//>`}
        ${picked.size === 0 && root && html`<${Button} kind="danger" small icon="trash" need="write" onClick=${() => remove([root])}>Delete this branch<//>`}
        <${Button} kind="quiet" small icon="refresh" label="Read the tree anew" title="Read the tree anew (r)" onClick=${() => tree.reload()} />
        <span class="segmented" role="group" aria-label="Save with values"><button type="button" title="Save all keys of this branch, with their values" onClick=${() => take("json")}>JSON</button><button type="button" title="Save all keys of this branch, with their values" onClick=${() => take("csv")}>CSV</button></span>
      </span>
    </div>
    ${tree?.stale && html`<p class="notice slim" role="status">Much has changed at once. <button type="button" class="link" onClick=${() => tree.reload()}>Read the tree anew</button></p>`}
    <${Problem} error=${lost} />
    <div class=${name ? "split open" : "split"}>
      <div class="split-main">
        ${first?.begun && !first.entries.length
          ? html`<${Empty} title=${root ? "No keys begin so" : "No keys yet"} icon="state"><span>${root ? html`<button type="button" class="link" onClick=${() => zoom("")}>Show all keys</button>` : "What is written appears here at once."}</span><//>`
          : html`<${Table} label="Keys" columns=${shownColumns} rows=${rows} rowKey=${(row) => row.name} sort=${sort ?? { id: "name" }} onSort=${(next) => setSort(next?.id === "name" && !next.down ? null : next)} onRow=${choose} selected=${name}
              picked=${picked} onPick=${pick}
              menu=${(row) => row.prefix !== undefined && !row.error && html`<${Button} kind="quiet" small icon="search" label=${`Only ${row.prefix}`} onClick=${() => zoom(row.prefix)} />`} />`}
        <div class="foot row"><span>${count(entries.length)} shown</span>${work && html`<${Badge} kind="accent">${work.text}<//>${work.stop && html`<${Button} small kind="quiet" onClick=${work.stop}>Stop<//>`}`}<span class="push"><${Save} name="keys" columns=${CSV} rows=${() => entries} json=${({ depth, label, open, name: _, ...row }) => row} /></span></div>
      </div>
      ${name && html`<${KeyPanel} key=${name} name=${name} seen=${seen} onClose=${() => show(null)} onGone=${() => show(null)} />`}
    </div>
    ${making && html`<${NewKey} prefix=${root} onClose=${() => setMaking(false)} onMade=${(key) => (setMaking(false), show(key))} />`}
  </div>`;
}

export const view = { id: "state", title: "State", icon: "state", path: "#/state", component: State };
