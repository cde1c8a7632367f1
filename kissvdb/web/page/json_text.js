// JSON as text: what a value is in bytes, without a detour through JavaScript's numbers (a large
// integer, or 0.10, comes back as it was).
const SPACE = new Set([" ", "\n", "\r", "\t"]);

/** Where the value that begins at `at` ends. `text` is JSON. */
function end(text, at) {
  let depth = 0;
  for (let place = at; place < text.length; place += 1) {
    const letter = text[place];
    if (letter === '"') {
      for (place += 1; text[place] !== '"'; place += 1) if (text[place] === "\\") place += 1;
      if (!depth) return place + 1;
    } else if (letter === "{" || letter === "[") depth += 1;
    else if (letter === "}" || letter === "]") {
      if (!depth) return place;
      depth -= 1;
      if (!depth) return place + 1;
    } else if (letter === "," && !depth) return place;
  }
  return text.length;
}

/** The text of a member of an object, as it stands there; undefined where there is none. */
export function member(text, name) {
  for (let at = text.indexOf("{") + 1; at > 0 && at < text.length; ) {
    while (SPACE.has(text[at]) || text[at] === ",") at += 1;
    if (text[at] !== '"') return undefined;
    const nameEnd = end(text, at);
    const found = JSON.parse(text.slice(at, nameEnd));
    let start = text.indexOf(":", nameEnd) + 1;
    while (SPACE.has(text[start])) start += 1;
    const stop = end(text, start);
    if (found === name) return text.slice(start, stop).trim();
    at = stop;
  }
  return undefined;
}

/** A value of JSON whose integers beyond 2^53 are BigInt, so that no other number is shown. */
export const exactly = (text) =>
  JSON.parse(text, (_, value, context) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "") ? BigInt(context.source) : value,
  );

/** JSON with two spaces for each level; its tokens stay as they are. */
export function pretty(text) {
  let made = "";
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (SPACE.has(letter)) continue;
    if (letter === '"') {
      const stop = end(text, at);
      made += text.slice(at, stop);
      at = stop - 1;
    } else if (letter === "{" || letter === "[") {
      let next = at + 1;
      while (SPACE.has(text[next])) next += 1;
      if (text[next] === "}" || text[next] === "]") {
        made += letter + text[next];
        at = next;
      } else {
        depth += 1;
        made += letter + line();
      }
    } else if (letter === "}" || letter === "]") {
      depth -= 1;
      made += line() + letter;
    } else if (letter === ",") made += letter + line();
    else made += letter === ":" ? ": " : letter;
  }
  return made;
}

/** What is wrong with a text that should be JSON; null: nothing. */
export function problem(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return error.message.replace(/^JSON\.parse: /, "");
  }
}

const LINES_MAX = 2000;

/** Two texts by lines: `[{kind: "same" | "mine" | "theirs", text}]`, by their longest common part. */
export function diff(mine, theirs) {
  const [a, b] = [mine.split("\n"), theirs.split("\n")];
  if (a.length > LINES_MAX || b.length > LINES_MAX) {
    return [...a.map((text) => ({ kind: "mine", text })), ...b.map((text) => ({ kind: "theirs", text }))];
  }
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i * width + j] = a[i] === b[j] ? common[(i + 1) * width + j + 1] + 1 : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push({ kind: "same", text: a[i] });
      [i, j] = [i + 1, j + 1];
    } else if (j >= b.length || (i < a.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) {
      lines.push({ kind: "mine", text: a[i] });
      i += 1;
    } else {
      lines.push({ kind: "theirs", text: b[j] });
      j += 1;
    }
  }
  return lines;
}
