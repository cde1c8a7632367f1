// Code as HTML with classes: JSON, SQL, shell, Python and JavaScript, told apart by a few tokens.
const SQL_WORDS =
  "select from where and or not in is null like between order group by having limit offset as on join left inner cross insert into values update set delete create table index view drop alter add column primary key unique default check references with recursive union all distinct case when then else end exists begin commit pragma explain query plan asc desc replace returning conflict do nothing if integer text real blob";
const PYTHON_WORDS = "import from with as for in print None True False def return await async lambda not and or if else";
const JAVASCRIPT_WORDS = "import from const let new await for of in return null true false async function";

const words = (text) => new Set(text.split(" "));
/** A token is a comment (`(?!)`: there is none), a text, a number, a word, or another letter. */
const tokenOf = (comment) =>
  new RegExp(`(${comment})|("(?:[^"\\\\]|\\\\.)*"?|'(?:[^'\\\\]|\\\\.|'')*'?)|(-?\\b\\d+(?:\\.\\d+)?(?:[eE][+-]?\\d+)?\\b)|([A-Za-z_][A-Za-z_0-9]*)|([\\s\\S])`, "g");
const KINDS = {
  json: { words: words("true false null"), token: tokenOf("(?!)") },
  sql: { words: words(SQL_WORDS), token: tokenOf("--[^\\n]*"), folded: true },
  python: { words: words(PYTHON_WORDS), token: tokenOf("#[^\\n]*") },
  javascript: { words: words(JAVASCRIPT_WORDS), token: tokenOf("//[^\\n]*") },
  curl: { words: words("curl"), token: tokenOf("(?!)") },
};
/** A longer text has no colours. */
const COLOURED_MAX = 200_000;

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
export const escape = (text) => text.replace(/[&<>"]/g, (each) => ESCAPES[each]);

/** Of any text the same text, escaped, with `<span class="t-...">` around tokens. */
export function highlight(text, language) {
  const kind = KINDS[language] ?? KINDS.json;
  if (text.length > COLOURED_MAX) return escape(text);
  let made = "";
  for (const token of text.matchAll(kind.token)) {
    const [all, comment, quoted, number, word] = token;
    if (comment !== undefined) made += `<span class="t-comment">${escape(all)}</span>`;
    else if (quoted !== undefined) {
      const end = token.index + all.length;
      const name = kind === KINDS.json && /^\s*:/.test(text.slice(end, end + 4));
      made += `<span class="${name ? "t-name" : "t-string"}">${escape(all)}</span>`;
    } else if (number !== undefined) made += `<span class="t-number">${all}</span>`;
    else if (word !== undefined && kind.words.has(kind.folded ? word.toLowerCase() : word)) made += `<span class="t-word">${all}</span>`;
    else made += escape(all);
  }
  return made;
}
