// The client of a kissvdb server, for browsers and Node 20 or newer. One module, no dependencies.
//
//   import { Client } from "http://127.0.0.1:9917/kissvdb.js";
//   const db = new Client();
//   await db.state.put("job:1", { done: 3 });
//   for await (const event of db.subscribe({ key: "job:1" })) console.log(event.data);

const SILENCE_MAX_MS = 45_000; // The server says something every 15 seconds.
const FIRST_PAUSE_MS = 50;
const PAUSE_MAX_MS = 5_000;
// The server has refused and done nothing; and what may be better the next time.
const NOTHING_DONE = new Set(["starting", "overloaded", "rate_limited"]);
const PASSES = new Set([
  ...NOTHING_DONE, "stopping", "unavailable", "unreachable", "persistence_error", "timeout",
  "offset_not_reached",
]);

/** What the server refused, or why it could not be asked. `code` as in docs/errors.md. */
export class KissError extends Error {
  constructor(code, message, { status = 0, operation, precondition, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "KissError";
    this.code = code;
    this.status = status;
    this.operation = operation;
    this.precondition = precondition;
  }
}

const sleep = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });

const given = (members) =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined && value !== null));

const segment = encodeURIComponent;

const query = (members) => {
  const found = given(members);
  for (const name of Object.keys(found)) if (Array.isArray(found[name])) found[name] = found[name].join(",");
  const text = new URLSearchParams(found).toString();
  return text ? `?${text}` : "";
};

/** Numbers as the server reads them: typed arrays as base64 of float32, arrays as they are. */
const numbers = (vector) => {
  if (vector === undefined || Array.isArray(vector)) return vector;
  const bytes = new Uint8Array(Float32Array.from(vector).buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
};

const withNumbers = (item) => given({ ...item, vector: numbers(item.vector) });

class Http {
  constructor({ url, key, timeoutMs = 30_000, retries = 8, opIds = true, fetch: own } = {}) {
    const here = import.meta.url.startsWith("http") ? new URL(import.meta.url).origin : "http://127.0.0.1:9917";
    this.url = (url ?? here).replace(/\/+$/, "");
    this.key = key;
    this.timeoutMs = timeoutMs;
    this.retries = retries;
    this.opIds = opIds;
    this.fetch = own ?? globalThis.fetch.bind(globalThis);
    this.offset = 0;
    this.epoch = "";
    this.prefix = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.count = 0;
  }

  opId(opId) {
    return opId ?? (this.opIds ? `${this.prefix}-${++this.count}` : undefined);
  }

  /** Writes with an id each, and whether all have one. */
  named(items) {
    const found = items.map(({ opId, ...item }) => ({ ...item, op_id: item.op_id ?? this.opId(opId) }));
    return [found, found.every((item) => item.op_id !== undefined)];
  }

  headers(more) {
    return given({ authorization: this.key && `Bearer ${this.key}`, ...more });
  }

  note(offset) {
    if (offset > this.offset) this.offset = offset;
  }

  noteEpoch(response) {
    const epoch = response.headers.get("kissvdb-epoch");
    // Offsets of another history say nothing about this one.
    if (epoch && epoch !== this.epoch) [this.epoch, this.offset] = [epoch, 0];
  }

  /** The answer to a request, repeated where that does no harm. */
  async call(method, path, { body, type = "application/json", safe = method === "GET", none } = {}) {
    const end = Date.now() + this.timeoutMs;
    // Not below: what JSON cannot hold is no failure of the server, to be tried again.
    const sent = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    for (let count = 0; ; count += 1) {
      let error, asked;
      try {
        const response = await this.fetch(this.url + path, {
          method,
          headers: this.headers(body === undefined ? {} : { "content-type": type }),
          body: sent,
          signal: AbortSignal.timeout(Math.max(1, end - Date.now())),
        });
        this.noteEpoch(response);
        const text = await response.text();
        if (response.ok) return { text, response };
        if (response.status === none) return null;
        error = refusal(response.status, text);
        asked = Number(response.headers.get("retry-after")) * 1000 || undefined;
      } catch (failure) {
        const late = failure?.name === "TimeoutError";
        error = new KissError(
          late ? "timeout" : safe ? "unreachable" : "outcome_unknown",
          late
            ? `${method} ${path}: no answer in time; a write may or may not have happened`
            : `no answer from ${this.url}: ${failure?.cause?.message ?? failure?.message ?? failure}`,
          { cause: failure },
        );
      }
      const pause = pauseMs(count, asked);
      const again = (safe ? PASSES : NOTHING_DONE).has(error.code) && count < this.retries;
      if (!again || Date.now() + pause >= end) throw error;
      await sleep(pause);
    }
  }

  async json(method, path, options) {
    const answer = await this.call(method, path, options);
    if (answer === null) return null;
    const found = answer.text ? JSON.parse(answer.text) : {};
    if (!Array.isArray(found)) this.note(found.last_offset ?? found.offset ?? 0);
    return found;
  }

  /** What became of several writes. */
  async results(path, body, safe = false) {
    const { results } = await this.json("POST", path, { body, safe });
    for (const each of results) this.note(each.offset ?? 0);
    return results;
  }
}

const pauseMs = (count, asked) => {
  const longest = Math.min(PAUSE_MAX_MS, FIRST_PAUSE_MS * 2 ** count);
  // Not the same for all clients, or all would come back at once.
  return (asked ?? 0) + (longest / 2) * (1 + Math.random());
};

const refusal = (status, text) => {
  try {
    const { error, message, operation, precondition } = JSON.parse(text);
    return new KissError(error, message, { status, operation, precondition });
  } catch {
    return new KissError(status >= 500 ? "unavailable" : "refused", `status ${status}: ${text.slice(0, 200)}`, { status });
  }
};

class State {
  #http;
  constructor(http) {
    this.#http = http;
  }

  /** The key, or null where there is none. */
  get(key, { at } = {}) {
    return this.#http.json("GET", `/v1/state/${segment(key)}${query({ at })}`, { none: 404 });
  }

  put(key, value, { ttlMs, ifRevision, ifOffset, opId } = {}) {
    const op_id = this.#http.opId(opId);
    const body = { value, ...given({ ttl_ms: ttlMs, if_revision: ifRevision, if_offset: ifOffset, op_id }) };
    return this.#http.json("PUT", `/v1/state/${segment(key)}`, { body, safe: op_id !== undefined });
  }

  /** Several keys, each for itself: `[{key, value, ttl_ms, if_revision}]`. */
  putBatch(items) {
    const [operations, safe] = this.#http.named(items);
    return this.#http.results("/v1/state/batch_put", { operations }, safe);
  }

  /** Merge a patch (RFC 7396). */
  patch(key, patch, { ttlMs, ifRevision, create, opId } = {}) {
    const op_id = this.#http.opId(opId);
    const path = `/v1/state/${segment(key)}${query({ ttl_ms: ttlMs, if_revision: ifRevision, create, op_id })}`;
    return this.#http.json("PATCH", path, { body: patch, type: "application/merge-patch+json", safe: op_id !== undefined });
  }

  delete(key, { ifRevision, ifOffset, opId } = {}) {
    const op_id = this.#http.opId(opId);
    const path = `/v1/state/${segment(key)}${query({ if_revision: ifRevision, if_offset: ifOffset, op_id })}`;
    return this.#http.json("DELETE", path, { safe: op_id !== undefined });
  }

  /** A page of keys in order; `cursor` is of the next one, `offset` where the list is true. */
  async list(prefix = "", { limit = 100, cursor, at } = {}) {
    const { text, response } = await this.#http.call("GET", `/v1/state${query({ prefix, limit, cursor, at })}`);
    return {
      items: JSON.parse(text),
      cursor: response.headers.get("kissvdb-cursor"),
      offset: Number(response.headers.get("kissvdb-offset")),
    };
  }

  /** One level of keys as a tree: branches and keys below a prefix that ends with the separator. */
  tree(prefix = "", { separator, limit, cursor } = {}) {
    return this.#http.json("GET", `/v1/tree${query({ prefix, separator, limit, cursor })}`);
  }

  /** All keys with this prefix, in order. */
  async *items(prefix = "", { at } = {}) {
    let cursor;
    do {
      const page = await this.list(prefix, { limit: 1000, cursor, at });
      yield* page.items;
      cursor = page.cursor;
    } while (cursor);
  }
}

class Events {
  #http;
  constructor(http) {
    this.#http = http;
  }

  /** Append an event; its offset (null for a transient one). */
  async publish(type, data, { key, tags, transient, opId } = {}) {
    const op_id = transient ? undefined : this.#http.opId(opId);
    const body = { type, data, ...given({ key, tags, transient, op_id }) };
    return (await this.#http.json("POST", "/v1/events", { body, safe: op_id !== undefined })).offset;
  }
}

class Vectors {
  #http;
  constructor(http) {
    this.#http = http;
  }

  #path(collection, rest) {
    return `/v1/vector/${segment(collection)}${rest ? `/${rest}` : ""}`;
  }

  /** `existOk`: what is there already is answered as `info` does. */
  async create(collection, { existOk = false, ...settings }) {
    try {
      return await this.#http.json("POST", this.#path(collection), { body: settings });
    } catch (error) {
      if (!existOk || error.code !== "already_exists") throw error;
      return this.info(collection);
    }
  }

  drop(collection) {
    return this.#http.json("DELETE", this.#path(collection));
  }

  async collections() {
    return (await this.#http.json("GET", "/v1/vector")).collections;
  }

  info(collection) {
    return this.#http.json("GET", this.#path(collection));
  }

  upsert(collection, item) {
    return this.#write("upsert", collection, item);
  }

  add(collection, item) {
    return this.#write("add", collection, item);
  }

  update(collection, item) {
    return this.#write("update", collection, item);
  }

  upsertBatch(collection, wanted) {
    const [items, safe] = this.#http.named(wanted.map(withNumbers));
    return this.#http.results(this.#path(collection, "upsert_batch"), { items }, safe);
  }

  deleteBatch(collection, ids) {
    return this.#http.results(this.#path(collection, "delete_batch"), { ids });
  }

  /** Remove all that pass; how many. */
  async deleteByFilter(collection, filters, more = {}) {
    const body = { filters, ...more };
    return (await this.#http.json("POST", this.#path(collection, "delete_by_filter"), { body })).deleted;
  }

  async count(collection, filters, more = {}) {
    const body = given({ filters, ...more });
    return (await this.#http.json("POST", this.#path(collection, "count"), { body, safe: true })).count;
  }

  /** A page in the order of writing: `{limit, cursor, filters, include_meta, include_vector}`. */
  scroll(collection, wanted = {}) {
    return this.#http.json("POST", this.#path(collection, "scroll"), { body: given(wanted), safe: true });
  }

  /** Every vector, a page at a time. */
  async *all(collection, wanted = {}) {
    let cursor;
    do {
      const page = await this.scroll(collection, { ...wanted, cursor });
      yield* page.items;
      cursor = page.cursor;
    } while (cursor);
  }

  async vacuum(collection) {
    return (await this.#http.json("POST", this.#path(collection, "vacuum"), { safe: true })).removed;
  }

  /** Another `{ index, quantization, embedder }`; an embedder makes all vectors anew of their texts. */
  reindex(collection, wanted) {
    const body = typeof wanted === "string" ? { embedder: wanted } : wanted;
    return this.#http.json("POST", this.#path(collection, "reindex"), { body });
  }

  /** Measure how hard searches have to try, and have them do so: `{ recall, k, queries }`. */
  tune(collection, wanted = { recall: 0.95 }) {
    return this.#http.json("POST", this.#path(collection, "tune"), { body: wanted });
  }

  async endReindex(collection) {
    return (await this.#http.json("DELETE", this.#path(collection, "reindex"))).ended;
  }

  /** A graph on disk, of `{ max_degree, build_threads, search_list_size }`. */
  diskannBuild(collection, wanted = {}) {
    return this.#http.json("POST", this.#path(collection, "diskann/build"), { body: wanted });
  }

  diskannTune(collection, wanted) {
    return this.#http.json("POST", this.#path(collection, "diskann/tune"), { body: wanted, safe: true });
  }

  diskannStatus(collection) {
    return this.#http.json("GET", this.#path(collection, "diskann/status"));
  }

  get(collection, id) {
    return this.#http.json("GET", this.#path(collection, `get${query({ id })}`), { none: 404 });
  }

  async delete(collection, id, { opId } = {}) {
    const op_id = this.#http.opId(opId);
    const body = given({ id, op_id });
    const path = this.#path(collection, "delete");
    return (await this.#http.json("POST", path, { body, safe: op_id !== undefined, none: 404 })) !== null;
  }

  /** `{vector | text | id, k, filters, include_meta, ...}`: as POST /v1/vector/{collection}/search. */
  search(collection, wanted) {
    const body = { include_meta: true, ...withNumbers(wanted) };
    return this.#http.json("POST", this.#path(collection, "search"), { body, safe: true });
  }

  /** A search for each of the vectors, with the same wishes. */
  async searchBatch(collection, vectors, wanted = {}) {
    const body = { include_meta: true, ...wanted, vectors: vectors.map(numbers) };
    return (await this.#http.json("POST", this.#path(collection, "search_batch"), { body, safe: true })).results;
  }

  #write(kind, collection, { opId, ...item }) {
    const op_id = this.#http.opId(opId);
    const body = { ...withNumbers(item), ...given({ op_id }) };
    return this.#http.json("POST", this.#path(collection, kind), { body, safe: op_id !== undefined });
  }
}

class Documents {
  #http;
  constructor(http) {
    this.#http = http;
  }

  #path(collection, id) {
    return `/v1/doc/${segment(collection)}${id === undefined ? "" : `/${segment(id)}`}`;
  }

  /** The document, or null. */
  get(collection, id, { at } = {}) {
    return this.#http.json("GET", this.#path(collection, id) + query({ at }), { none: 404 });
  }

  put(collection, id, doc, { ttlMs, ifRevision, opId } = {}) {
    const op_id = this.#http.opId(opId);
    const path = this.#path(collection, id) + query({ ttl_ms: ttlMs, if_revision: ifRevision, op_id });
    return this.#http.json("PUT", path, { body: doc, safe: op_id !== undefined });
  }

  patch(collection, id, patch, { ttlMs, ifRevision, create, opId } = {}) {
    const op_id = this.#http.opId(opId);
    const path = this.#path(collection, id) + query({ ttl_ms: ttlMs, if_revision: ifRevision, create, op_id });
    return this.#http.json("PATCH", path, { body: patch, type: "application/merge-patch+json", safe: op_id !== undefined });
  }

  delete(collection, id, { ifRevision, opId } = {}) {
    const op_id = this.#http.opId(opId);
    const path = this.#path(collection, id) + query({ if_revision: ifRevision, op_id });
    return this.#http.json("DELETE", path, { safe: op_id !== undefined });
  }

  /** Several, each for itself: `[{id, doc, ttl_ms, if_revision}]`. */
  putBatch(collection, wanted) {
    const [documents, safe] = this.#http.named(wanted);
    return this.#http.results(`${this.#path(collection)}/put_batch`, { documents }, safe);
  }

  deleteBatch(collection, ids) {
    return this.#http.results(`${this.#path(collection)}/delete_batch`, { ids });
  }

  /** Remove all that pass; how many. */
  async deleteByFilter(collection, filter) {
    return (await this.#http.json("POST", `${this.#path(collection)}/delete_by_filter`, { body: { filter } })).deleted;
  }

  async collections() {
    return (await this.#http.json("GET", "/v1/doc")).collections;
  }

  info(collection) {
    return this.#http.json("GET", this.#path(collection));
  }

  /** How its words are read: `{ text: { default: { language: "german" } } }`. */
  configure(collection, settings) {
    return this.#http.json("PUT", this.#path(collection), { body: settings, safe: true });
  }

  async vacuum(collection) {
    return (await this.#http.json("POST", `${this.#path(collection)}/vacuum`, { safe: true })).removed;
  }

  drop(collection) {
    return this.#http.json("DELETE", this.#path(collection));
  }

  /** Every document that passes, a page at a time. */
  async *all(collection, wanted = {}) {
    let cursor;
    do {
      const page = await this.find(collection, given({ limit: 100, ...wanted, cursor }));
      yield* page.documents;
      cursor = page.cursor;
    } while (cursor);
  }

  /** `{filter, limit, sort, fields, cursor, count, facets}`: as POST /v1/doc/{collection}/find. */
  find(collection, wanted = {}) {
    return this.#http.json("POST", `${this.#path(collection)}/find`, { body: wanted, safe: true });
  }

  /** By words; `{k, filters, match, typos, highlight, facets}`. */
  search(collection, text, wanted = {}) {
    return this.#http.json("POST", `${this.#path(collection)}/search`, { body: { text, ...wanted }, safe: true });
  }
}

class Sql {
  #http;
  constructor(http) {
    this.#http = http;
  }

  query(sql, params, more = {}) {
    return this.#http.json("POST", "/v1/sql/query", { body: { sql, ...given({ params }), ...more }, safe: true });
  }

  exec(sql, params, { opId } = {}) {
    const op_id = this.#http.opId(opId);
    const body = { sql, ...given({ params, op_id }) };
    return this.#http.json("POST", "/v1/sql/exec", { body, safe: op_id !== undefined });
  }

  /** Several in one transaction: `[{sql, params}]`. */
  batch(statements, { opId } = {}) {
    const op_id = this.#http.opId(opId);
    const body = { statements, ...given({ op_id }) };
    return this.#http.json("POST", "/v1/sql/batch", { body, safe: op_id !== undefined });
  }

  schema() {
    return this.#http.json("GET", "/v1/sql/schema");
  }
}

/** API keys; needs one of the role admin. */
class Keys {
  #http;
  constructor(http) {
    this.#http = http;
  }

  /** Who this client is, and what it may do. Needs no admin. */
  me() {
    return this.#http.json("GET", "/v1/auth/me");
  }

  list() {
    return this.#http.json("GET", "/v1/auth/keys");
  }

  /** `{role, scopes, limits, ttlMs, expiresAtMs}`; the answer's `key` is its secret, told this once. */
  issue(name, { role, scopes, limits, ttlMs, expiresAtMs, permissions } = {}) {
    const body = given({ name, role, scopes, limits, permissions, ttl_ms: ttlMs, expires_at_ms: expiresAtMs });
    return this.#http.json("POST", "/v1/auth/keys", { body });
  }

  /** Another secret; for `graceMs` the former one works, too. */
  rotate(id, { graceMs, ttlMs, expiresAtMs } = {}) {
    const body = given({ grace_ms: graceMs, ttl_ms: ttlMs, expires_at_ms: expiresAtMs });
    return this.#http.json("POST", `/v1/auth/keys/${segment(id)}/rotate`, { body });
  }

  /** False if there was none. */
  async revoke(id) {
    return (await this.#http.call("DELETE", `/v1/auth/keys/${segment(id)}`, { safe: true, none: 404 })) !== null;
  }
}

class Admin {
  #http;
  constructor(http) {
    this.#http = http;
  }

  /** A checkpoint now; up to which offset every file holds all. */
  async snapshot() {
    return (await this.#http.json("POST", "/v1/snapshot", { safe: true })).offset;
  }

  /** A consistent copy: the body of a response, a tar. It is one only if it is read to its end. */
  async backup({ signal } = {}) {
    const response = await this.#http.fetch(`${this.#http.url}/v1/backup`, { headers: this.#http.headers(), signal });
    if (!response.ok) throw refusal(response.status, await response.text());
    return response.body;
  }

  async metrics() {
    return (await this.#http.call("GET", "/v1/metrics")).text;
  }

  /** Counts and sizes. */
  stats() {
    return this.#http.json("GET", "/v1/stats");
  }

  async embedders() {
    return (await this.#http.json("GET", "/v1/embedders")).embedders;
  }
}

const BULK_CHARACTERS_MAX = 256 * 1024;
const BULK_OPERATIONS_MAX = 2000;
const REFUSALS_MAX = 1000;

/** Talks to one server: the one that this module came from, unless `url` says another. */
export class Client {
  #http;

  constructor(settings = {}) {
    const http = (this.#http = new Http(typeof settings === "string" ? { url: settings } : settings));
    this.state = new State(http);
    this.events = new Events(http);
    this.vector = new Vectors(http);
    this.doc = new Documents(http);
    this.sql = new Sql(http);
    this.keys = new Keys(http);
    this.admin = new Admin(http);
  }

  /** The newest offset that this client has written or seen. */
  get lastOffset() {
    return this.#http.offset;
  }

  /** All of the operations or none; see docs/batch.md. */
  batch(operations, { preconditions, opId } = {}) {
    const op_id = this.#http.opId(opId);
    const body = { operations, ...given({ preconditions, op_id }) };
    return this.#http.json("POST", "/v1/batch", { body, safe: op_id !== undefined });
  }

  /**
   * Many operations, each for itself, of any iterable. `loadId` names the load: one that was broken off
   * is done again under its name with the same operations, and nothing is done twice.
   */
  async bulk(operations, { loadId = `${this.#http.prefix}-load-${++this.#http.count}` } = {}) {
    const loaded = { done: 0, refused: 0, offset: null, refusals: [] };
    let lines = [];
    let size = 0;
    let sent = 0;
    const send = async () => {
      if (lines.length) await this.#load(lines.join("\n"), sent - lines.length, loaded);
      [lines, size] = [[], 0];
    };
    for await (const operation of operations) {
      const op_id = operation.op_id ?? `${loadId}-${sent}`;
      const vector = numbers(operation.vector);
      const line = JSON.stringify({ ...operation, op_id, ...given({ vector }) });
      if (size + line.length > BULK_CHARACTERS_MAX || lines.length === BULK_OPERATIONS_MAX) await send();
      lines.push(line);
      size += line.length;
      sent += 1;
    }
    await send();
    return loaded;
  }

  async #load(body, first, loaded) {
    const { text } = await this.#http.call("POST", "/v1/bulk?answers=errors", { body, type: "application/x-ndjson", safe: true });
    let last = {};
    for (const line of text.split("\n").filter(Boolean)) {
      last = JSON.parse(line);
      if (last.status === "done") {
        loaded.done += last.operations - last.errors;
        loaded.offset = last.offset ?? loaded.offset;
        this.#http.note(last.offset ?? 0);
      } else if (last.status === "error") {
        loaded.refused += 1;
        const { error: code, message } = last.error;
        if (loaded.refusals.length < REFUSALS_MAX) loaded.refusals.push({ number: first + last.line - 1, code, message });
      }
    }
    if (last.status === "done") return;
    // It ends with how it went, unless it broke off, as when the key works no more.
    const { error = "outcome_unknown", message = "the load broke off; do it again under its loadId" } = last.error ?? {};
    throw new KissError(error, message);
  }

  /** Make a document findable by `search`: `{id, content, metadata}`. */
  async ingest(document, more = {}) {
    await this.#http.call("POST", "/search/ingest", { body: { document, ...more }, safe: true });
  }

  async search(text, more = {}) {
    return (await this.#http.json("POST", "/search", { body: { query: text, ...more }, safe: true })).results;
  }

  /** Whether the server is alive. */
  async health() {
    return (await this.#http.call("GET", "/v1/health")) !== null;
  }

  ready() {
    return this.#http.json("GET", "/v1/ready");
  }

  /**
   * Follow the log: an async iterator of events of every type, `{type, offset, ts_ms, key, tags, data}`.
   * What the log no longer holds is one event of type "gap". Reconnects from its last place; throws
   * what the server ends the stream with. `signal` ends it.
   */
  async *subscribe({ since, epoch, types, key, keyPrefix, collection, table, jobId, tag, vectors, signal } = {}) {
    const wanted = { types, key, key_prefix: keyPrefix, collection, table, job_id: jobId, tag, vectors };
    let place;
    let known = epoch;
    for (let failures = 0; ; ) {
      const start = place === undefined ? { since, epoch: known } : {};
      const more = place === undefined ? {} : { "last-event-id": place, "kissvdb-epoch": known };
      const silence = new AbortController();
      let timer;
      const alive = () => {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MAX_MS);
      };
      try {
        alive();
        const response = await this.#http.fetch(`${this.#http.url}/v1/stream${query({ ...wanted, ...start })}`, {
          headers: this.#http.headers(more),
          signal: signal ? AbortSignal.any([signal, silence.signal]) : silence.signal,
        });
        if (!response.ok) throw refusal(response.status, await response.text());
        this.#http.noteEpoch(response);
        known = response.headers.get("kissvdb-epoch") ?? known;
        for await (const [id, event] of events(response.body, alive)) {
          failures = 0;
          if (id !== undefined) place = id;
          if (event === undefined) continue;
          if (event.type === "error" || event.type === "ended") throw new KissError(event.data.error ?? "ended", event.data.message ?? event.data.reason);
          this.#http.note(event.offset ?? 0);
          yield event;
        }
      } catch (error) {
        if (signal?.aborted) return;
        const lasting = error instanceof KissError && !PASSES.has(error.code);
        if (lasting || failures >= this.#http.retries) throw error;
      } finally {
        clearTimeout(timer);
        silence.abort();
      }
      failures += 1;
      try {
        await sleep(pauseMs(failures - 1), signal);
      } catch {
        return;
      }
    }
  }
}

/** Server-sent events (WHATWG HTML, section 9.2) of a body: `[id, event]`, either of them undefined. */
async function* events(body, alive) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        let id, type, data;
        for (const line of block.split("\n")) {
          if (line.startsWith("data: ")) data = line.slice(6);
          else if (line.startsWith("id: ")) id = line.slice(4);
          else if (line.startsWith("event: ")) type = line.slice(7);
        }
        if (data === undefined) yield [id, undefined];
        else {
          const found = JSON.parse(data);
          yield [id, found.type === undefined ? { type, data: found } : found];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
