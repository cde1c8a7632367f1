// What the SQL console knows of SQL: its words, and what may come at a place in a text.

const KEYWORDS = new Set(
  ("select from where group by having order limit offset join left right full inner outer cross on using as and or " +
    "not in is null like glob between exists case when then else end distinct all union except intersect values with " +
    "recursive insert into update set delete create table index view trigger drop alter add column rename to primary " +
    "key unique references foreign check default strict without rowid if begin replace conflict do nothing asc desc " +
    "nulls first last over partition window filter collate cast returning unique autoincrement integer text real blob " +
    "any generated always stored virtual").split(" "),
);

const FUNCTIONS = [
  ..."count sum avg min max total group_concat json_each json_tree json_extract json_group_array json_group_object".split(" "),
  ..."json_array_length json_object length lower upper substr trim replace instr round abs coalesce ifnull iif".split(" "),
  ..."datetime date strftime unixepoch typeof hex unhex random printf row_number rank dense_rank lag lead".split(" "),
];

/** Read-only tables of the database, which no schema lists: name, arguments, columns. */
export const VIRTUAL = [
  ["state", "", ["key", "value", "revision", "offset", "expires_at_ms"], "living keys"],
  ["events", "", ["offset", "ts_ms", "type", "key", "collection", "data"], "what the log still holds"],
  ["documents", "('collection', filters?)", ["id", "doc", "revision", "offset", "expires_at_ms"], "documents"],
  ["vectors", "('collection', filters?)", ["id", "meta", "text", "vector", "expires_at_ms"], "vectors"],
  ["vector_search", "('collection', query, k?, filters?)", ["id", "score", "rank", "text", "meta"], "nearest vectors"],
  ["text_search", "('collection', query, k?, filters?, kind?)", ["id", "score", "rank", "text", "doc"], "by words"],
  ["hybrid_search", "('collection', query, k?, filters?, vector?)", ["id", "score", "rank", "text", "meta"], "by both"],
];

const TOKEN = /(--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|('(?:[^']|'')*'?)|("(?:[^"]|"")*"?|`[^`]*`?|\[[^\]]*\]?)|([:@$][A-Za-z_]\w*|\?\d*)|(\b\d[\w.]*\b)|([A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)|(\s+)|([\s\S])/g;
const KINDS = ["comment", "string", "quoted", "param", "number", "word", "space", "mark"];

/** A text as a list of {kind, text, at}; together they are the text. */
export function tokens(sql) {
  const found = [];
  for (const match of sql.matchAll(TOKEN)) {
    let kind = KINDS[match.slice(1).findIndex((each) => each !== undefined)];
    if (kind === "word" && KEYWORDS.has(match[0].toLowerCase())) kind = "keyword";
    found.push({ kind, text: match[0], at: match.index });
  }
  return found;
}

const plain = (name) => (/^[A-Za-z_]\w*$/.test(name) && !KEYWORDS.has(name.toLowerCase()) ? name : `"${name.replace(/"/g, '""')}"`);
const unquoted = (text) => text.replace(/^["`[]|["`\]]$/g, "").replace(/""/g, '"');

/** The tables of a text, by the name or the alias that their columns are called with. */
function tablesOf(list, known) {
  const found = new Map();
  const words = list.filter(({ kind }) => kind !== "space" && kind !== "comment");
  words.forEach(({ kind, text }, n) => {
    const name = unquoted(text);
    const table = kind === "word" || kind === "quoted" ? known.get(name.toLowerCase()) : undefined;
    if (!table) return;
    found.set(name.toLowerCase(), table);
    let next = n + 1;
    if (words[next]?.text === "(") {
      for (let depth = 0; next < words.length; next++) {
        if (words[next].text === "(") depth++;
        else if (words[next].text === ")" && --depth === 0) break;
      }
      next++;
    }
    if (words[next]?.text.toLowerCase() === "as") next++;
    if (words[next]?.kind === "word") found.set(words[next].text.toLowerCase(), table);
  });
  return found;
}

/** What may be written at ``caret``: {from, options: [{text, label, kind, detail}]}.
    ``tables``: [{name, columns: [names], detail}] of the user; ``collections``: {vectors, documents}. */
export function completions(sql, caret, tables, collections) {
  const before = sql.slice(0, caret);
  const literal = /\b(documents|vectors|vector_search|text_search|hybrid_search)\s*\(\s*'([^']*)$/i.exec(before);
  if (literal) return ofCollections(literal, caret, collections);
  const last = tokens(before).at(-1);
  if (last && (last.kind === "comment" || (last.kind === "string" && !/'$/.test(last.text.slice(1))))) return null;
  const [typed] = /[\w\u0080-\uffff]*$/.exec(before);
  const from = caret - typed.length;
  const known = new Map();
  for (const [name, call, columns, detail] of VIRTUAL) known.set(name, { name, columns, call, detail });
  for (const each of tables) known.set(each.name.toLowerCase(), each);
  const used = tablesOf(tokens(sql), known);
  const qualified = /([\w\u0080-\uffff]+|"[^"]+")\.$/.exec(before.slice(0, from));
  if (qualified) {
    const table = used.get(unquoted(qualified[1]).toLowerCase());
    return table ? chosen(from, typed, columnsOf(table)) : null;
  }
  const afterFrom = /\b(from|join|into|update|table)\s+$/i.test(before.slice(0, from));
  if (!typed && !afterFrom) return { from, options: [] };
  const names = [...known.values()].map((each) => ({
    text: plain(each.name) + (each.call ? "(" : ""),
    label: each.name + (each.call ?? ""),
    kind: "table",
    detail: each.detail ?? "table",
  }));
  if (afterFrom) return chosen(from, typed, names);
  const columns = [...new Set(used.values())].flatMap(columnsOf);
  const others = [
    ...FUNCTIONS.map((text) => ({ text: `${text}(`, label: `${text}()`, kind: "function", detail: "" })),
    ...[...KEYWORDS].map((text) => ({ text: text.toUpperCase(), label: text.toUpperCase(), kind: "keyword", detail: "" })),
  ];
  return chosen(from, typed, [...columns, ...names, ...others]);
}

const columnsOf = (table) =>
  table.columns.map((name) => ({ text: plain(name), label: name, kind: "column", detail: table.name }));

function ofCollections([, called, typed], caret, { vectors, documents }) {
  const lists = { documents, vectors, vector_search: vectors, hybrid_search: vectors, text_search: [...documents, ...vectors] };
  const names = lists[called.toLowerCase()].map((text) => ({ text: `${text}'`, label: text, kind: "collection", detail: "" }));
  return chosen(caret - typed.length, typed, names);
}

function chosen(from, typed, options) {
  const start = typed.toLowerCase();
  const seen = new Set();
  const fitting = options.filter(({ label, text }) => {
    const fits = label.toLowerCase().startsWith(start) && text.toLowerCase() !== start && !seen.has(label);
    if (fits) seen.add(label);
    return fits;
  });
  return { from, options: fitting.slice(0, 30) };
}

/** Whether a statement changes something: then it is for exec. Comments in front do not count. */
export function writes(sql) {
  const words = tokens(sql).filter(({ kind }) => kind !== "space" && kind !== "comment");
  const first = words[0]?.text.toLowerCase();
  if (first !== "with") return first !== undefined && !["select", "values", "explain"].includes(first);
  let depth = 0;
  for (const { text } of words) {
    if (text === "(") depth++;
    else if (text === ")") depth--;
    else if (!depth && ["select", "values"].includes(text.toLowerCase())) return false;
    else if (!depth && ["insert", "update", "delete", "replace"].includes(text.toLowerCase())) return true;
  }
  return false;
}

/** Why a statement should be confirmed, if it should. */
export function danger(sql) {
  const words = tokens(sql).filter(({ kind }) => kind !== "space" && kind !== "comment").map(({ text }) => text.toLowerCase());
  if (words[0] === "drop") return `drops the ${words[1] ?? "table"} and everything in it`;
  if ((words[0] === "delete" || words[0] === "update") && !words.includes("where")) {
    return `${words[0] === "delete" ? "deletes" : "changes"} every row, since it has no WHERE`;
  }
  return null;
}
