// JSON as it was sent. `JSON.parse` makes doubles of numbers: 0.10 becomes 0.1 and integers beyond
// 2^53 others. What is only passed on, or edited, keeps its text.

const BLANK = /[\s]/;

function endOfString(text, at) {
  for (at += 1; text[at] !== '"'; at++) if (text[at] === "\\") at++;
  return at + 1;
}

function endOf(text, at) {
  if (text[at] === '"') return endOfString(text, at);
  if (text[at] !== "{" && text[at] !== "[") {
    while (at < text.length && !",]}".includes(text[at]) && !BLANK.test(text[at])) at++;
    return at;
  }
  for (let depth = 0; at < text.length; at++) {
    if (text[at] === '"') at = endOfString(text, at) - 1;
    else if (text[at] === "{" || text[at] === "[") depth++;
    else if ((text[at] === "}" || text[at] === "]") && --depth === 0) return at + 1;
  }
  return at;
}

/** The text of a member of the object that ``text`` is (valid JSON); undefined without it. */
export function member(text, name) {
  let at = text.indexOf("{") + 1;
  for (;;) {
    while (BLANK.test(text[at]) || text[at] === ",") at++;
    if (text[at] !== '"') return undefined;
    const end = endOfString(text, at);
    const found = JSON.parse(text.slice(at, end));
    at = end;
    while (BLANK.test(text[at]) || text[at] === ":") at++;
    const last = endOf(text, at);
    if (found === name) return text.slice(at, last);
    at = last;
  }
}

/** Valid JSON with line breaks, its scalars as they are. */
export function pretty(text, indent = "  ") {
  let made = "";
  let depth = 0;
  const line = () => `\n${indent.repeat(depth)}`;
  for (let at = 0; at < text.length; at++) {
    const each = text[at];
    if (each === '"') {
      const end = endOfString(text, at);
      made += text.slice(at, end);
      at = end - 1;
    } else if (each === "{" || each === "[") {
      let next = at + 1;
      while (BLANK.test(text[next])) next++;
      if (text[next] === "}" || text[next] === "]") {
        made += each + text[next];
        at = next;
      } else {
        depth++;
        made += each + line();
      }
    } else if (each === "}" || each === "]") {
      depth--;
      made += line() + each;
    } else if (each === ",") made += `,${line()}`;
    else if (each === ":") made += ": ";
    else if (!BLANK.test(each)) made += each;
  }
  return made;
}

/** A value of JSON whose integers beyond 2^53 are ``big(digits)``, and not others than were sent. */
export function exact(text, big = (digits) => digits) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "") ? big(context.source) : value,
  );
}
