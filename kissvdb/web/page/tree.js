// The tree of keys as far as it was looked at: levels, loaded page by page, kept true by events.
import { api, query } from "/page/api.js";

const PAGE = 1000;
/** So many entries of a level are loaded by themselves; more when they come in sight. */
const EAGER_MAX = 50_000;
/** Of one flush of events. With more of them the tree is read anew when somebody asks. */
const CHANGES_MAX = 2000;

const nameOf = (entry) => entry.key ?? entry.prefix;
const before = (a, b) => compare(a, b) < 0;

/** Byte order of UTF-8, as the server lists; code units differ from it beyond U+FFFF only. */
function compare(a, b) {
  if (a === b) return 0;
  let at = 0;
  while (a[at] === b[at] && at < a.length) at += 1;
  return (a.codePointAt(at) ?? -1) - (b.codePointAt(at) ?? -1);
}

const ORDERS = {
  size: (entry) => (entry.key === undefined ? entry.keys + (entry.more ? 0.5 : 0) : entry.bytes),
  revision: (entry) => entry.revision ?? -1,
  expires: (entry) => entry.expires_at_ms ?? Infinity,
};

export class Tree {
  /** `granted`: the patterns of a key that may not list everything; they are the root then. */
  constructor(root, separator, granted, changed) {
    Object.assign(this, { root, separator, granted, changed, levels: new Map(), open: new Set([root]), stale: false, closed: false });
    this.load(root);
  }

  close() {
    this.closed = true;
  }

  level(prefix) {
    let level = this.levels.get(prefix);
    if (!level) this.levels.set(prefix, (level = { entries: [], cursor: null, begun: false, loading: false, error: null }));
    return level;
  }

  /** A page of a level, and then the others. */
  async load(prefix) {
    const level = this.level(prefix);
    if (level.loading || (level.begun && level.cursor === null)) return;
    if (prefix === "" && this.granted && !this.granted.includes("*")) {
      const entries = [...this.granted].sort().map((each) => (each.endsWith("*") ? { prefix: each.slice(0, -1), keys: 0, more: true } : { key: each }));
      Object.assign(level, { entries, begun: true });
      this.changed();
      return;
    }
    level.loading = true;
    level.error = null;
    try {
      do {
        const path = `/v1/tree${query({ prefix, separator: this.separator, limit: PAGE, cursor: level.cursor })}`;
        const page = await api("GET", path, undefined, { quiet: level.begun });
        if (this.closed || this.levels.get(prefix) !== level) return;
        level.entries.push(...page.entries);
        level.cursor = page.cursor;
        level.offset ??= page.offset;
        level.begun = true;
        this.changed();
      } while (level.cursor !== null && level.entries.length < EAGER_MAX);
    } catch (error) {
      level.error = error;
    }
    level.loading = false;
    this.changed();
  }

  toggle(prefix) {
    if (!this.open.delete(prefix)) {
      this.open.add(prefix);
      this.load(prefix);
    }
    this.changed();
  }

  /** Everything anew; what is open stays open. */
  reload() {
    this.levels.clear();
    this.stale = false;
    for (const prefix of this.open) this.load(prefix);
    this.changed();
  }

  /** What is shown, from top to bottom: entries with `depth`, and what a level says of itself. */
  rows(sort, wanted) {
    const rows = [];
    const order = sort && ORDERS[sort.id];
    const walk = (prefix, depth) => {
      const level = this.level(prefix);
      let entries = level.entries;
      if (order) entries = [...entries].sort((a, b) => (sort.down ? order(b) - order(a) : order(a) - order(b)));
      else if (sort?.down) entries = [...entries].reverse();
      for (const entry of entries) {
        const name = nameOf(entry);
        const open = entry.key === undefined && this.open.has(name);
        if (open || !wanted || name.slice(this.root.length).toLowerCase().includes(wanted)) {
          rows.push({ ...entry, name, depth, label: name.slice(prefix.length), open });
        }
        if (open) walk(name, depth + 1);
      }
      if (level.error) rows.push({ name: `${prefix}\0error`, depth, error: level.error, prefix });
      else if (level.loading) rows.push({ name: `${prefix}\0loading`, depth, note: `${level.entries.length ? `${level.entries.length} so far, ` : ""}loading…` });
      else if (level.cursor !== null) rows.push({ name: `${prefix}\0more`, depth, more: prefix, note: "more…" });
    };
    walk(this.root, 0);
    return rows;
  }

  /** Events of the stream, as `{type, offset, data}`. */
  apply(events) {
    if (events.length > CHANGES_MAX) {
      this.stale = true;
      this.changed();
      return;
    }
    for (const { type, offset, data } of events) this.#applyOne(type === "state_deleted", offset, data);
    this.changed();
  }

  #applyOne(gone, offset, data) {
    const { key } = data;
    if (!key.startsWith(this.root)) return;
    let prefix = this.root;
    for (;;) {
      const level = this.levels.get(prefix);
      if (!level?.begun) return;
      const at = key.indexOf(this.separator, prefix.length);
      const name = at < 0 ? key : key.slice(0, at + this.separator.length);
      // Behind what is loaded: it comes with its page.
      if (level.cursor !== null && (!level.entries.length || before(nameOf(level.entries.at(-1)), name))) return;
      const place = this.#place(level.entries, name);
      const found = level.entries[place] && nameOf(level.entries[place]) === name ? level.entries[place] : null;
      // What the level was read with already.
      if (offset <= level.offset) {
        if (at < 0) return;
        prefix = name;
        continue;
      }
      if (at < 0) {
        const leaf = { key, revision: data.revision, expires_at_ms: data.expires_at_ms ?? null, bytes: new Blob([JSON.stringify(data.value) ?? ""]).size, changed: Date.now() };
        if (gone) level.entries.splice(place, found ? 1 : 0);
        else level.entries.splice(place, found ? 1 : 0, leaf);
        return;
      }
      const fresh = !gone && data.revision === 1;
      if (!found) {
        if (!gone) level.entries.splice(place, 0, { prefix: name, keys: 1, more: false });
      } else if (!found.more) {
        found.keys += fresh ? 1 : gone ? -1 : 0;
        if (found.keys <= 0) level.entries.splice(place, 1);
      }
      prefix = name;
    }
  }

  #place(entries, name) {
    let [low, high] = [0, entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (before(nameOf(entries[middle]), name)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** All keys that begin so, without their values: a level that nothing separates. `onCount(n)`. */
export async function keysBelow(prefix, onCount, signal) {
  const keys = [];
  let cursor;
  do {
    // No key has all of this.
    const path = `/v1/tree${query({ prefix, separator: "\u0001\u0002\u0003\u0001", limit: PAGE, cursor })}`;
    const page = await api("GET", path, undefined, { quiet: true, signal });
    for (const each of page.entries) if (each.key !== undefined) keys.push(each.key);
    cursor = page.cursor;
    onCount(keys.length);
  } while (cursor);
  return keys;
}
