// The newest events, bounded in number and in length; what is counted of all that came.
export const ROWS_MAX = 10_000;
const CHARS_MAX = 24_000_000;
const TYPES_MAX = 200;
const RATE_OVER_MS = 3000;

export class Ring {
  constructor() {
    this.clear();
  }

  clear() {
    this.rows = [];
    this.chars = 0;
    this.count = 0;
    this.types = new Map();
    this.arrivals = [];
  }

  /** Events of the stream as they came. Each row gets `n`, its number from 1 on. */
  add(events) {
    for (const each of events) {
      this.count += 1;
      each.n = this.count;
      this.chars += each.text.length;
      this.rows.push(each);
      if (each.type && (this.types.has(each.type) || this.types.size < TYPES_MAX)) this.types.set(each.type, (this.types.get(each.type) ?? 0) + 1);
    }
    this.arrivals.push([Date.now(), events.length]);
    let drop = Math.max(0, this.rows.length - ROWS_MAX);
    for (let at = 0; at < drop; at += 1) this.chars -= this.rows[at].text.length;
    while (this.chars > CHARS_MAX && drop < this.rows.length - 1) {
      this.chars -= this.rows[drop].text.length;
      drop += 1;
    }
    if (drop) this.rows.splice(0, drop);
  }

  /** Something that is no event: `{kind: "mark", text, tone}`. */
  mark(text, tone = "") {
    this.add([{ kind: "mark", text, tone, at: Date.now() }]);
    this.arrivals.pop();
  }

  /** Events a second, of the last seconds. */
  get rate() {
    const from = Date.now() - RATE_OVER_MS;
    while (this.arrivals.length && this.arrivals[0][0] < from) this.arrivals.shift();
    return (1000 * this.arrivals.reduce((sum, [, n]) => sum + n, 0)) / RATE_OVER_MS;
  }
}

/** The event of a row; parsed only for rows that somebody looks at. */
export function parsed(row) {
  const found = JSON.parse(row.text);
  return found.type === undefined ? { type: row.type, data: found, offset: row.id === undefined ? null : Number(row.id) } : found;
}

/** What an event is about, in a word. */
export function subject(event) {
  const data = event.data ?? {};
  if (event.key) return event.key;
  if (typeof data !== "object" || data === null) return "";
  if (data.key !== undefined && typeof data.key === "string") return data.key;
  if (data.collection) return data.id === undefined ? data.collection : `${data.collection} / ${data.id}`;
  if (data.table) return data.table;
  return data.name ?? "";
}

/** A gap, in a sentence. */
export function gapText({ data }) {
  const range = `offsets ${data.from_offset} to ${data.to_offset}`;
  if (data.reason === "trimmed") return `Gap: ${range} are no longer kept`;
  if (data.reason === "ahead") return `Gap: the place was past the end of this log (${range})`;
  if (data.reason === "epoch") return `Gap: another history began; what is known from offset ${data.from_offset} on is no more. Read the state anew`;
  return `Gap: ${range} will not come (${data.reason})`;
}
