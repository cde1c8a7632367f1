export interface Settings {
  /** Where the server is; by default where the module came from, else http://127.0.0.1:9917. */
  url?: string;
  key?: string;
  timeoutMs?: number;
  retries?: number;
  /** Give every write an id, so that it can be sent again without harm (default true). */
  opIds?: boolean;
  fetch?: typeof fetch;
}

export interface Item<T = unknown> {
  key: string;
  value: T;
  revision: number;
  offset: number;
  expires_at_ms: number | null;
}

export interface Written {
  offset: number;
  revision?: number;
  expires_at_ms?: number | null;
  repeated?: true;
}

export interface Deleted {
  deleted: boolean;
  offset: number | null;
  repeated?: true;
}

export interface Document<T = unknown> {
  id: string;
  doc: T;
  revision: number;
  offset: number;
  expires_at_ms?: number | null;
}

export interface Hit {
  id: string;
  score: number;
  meta?: unknown;
  doc?: unknown;
  text?: string;
  vector?: number[];
  highlight?: unknown[];
}

export interface StreamEvent<T = any> {
  /** Any; "gap" for offsets that will not come, with data {from_offset, to_offset, dropped, reason, epoch}. */
  type: string;
  data: T;
  offset?: number | null;
  ts_ms?: number;
  key?: string;
  tags?: string[];
}

export interface Wanted {
  since?: number | "now";
  epoch?: string;
  types?: string[];
  key?: string;
  keyPrefix?: string;
  collection?: string;
  table?: string;
  jobId?: string | number;
  tag?: string;
  vectors?: boolean;
  signal?: AbortSignal;
}

export type Numbers = number[] | Float32Array | Float64Array;

export interface VectorItem {
  id: string;
  vector?: Numbers;
  text?: string;
  meta?: unknown;
  namespace?: string;
  ttl_ms?: number;
  opId?: string;
}

/** What became of one of several writes. */
export interface Result {
  status: "ok" | "upserted" | "deleted" | "error";
  key?: string;
  id?: string;
  offset?: number | null;
  revision?: number;
  deleted?: boolean;
  error?: { error: string; message: string };
}

export interface ApiKey {
  id: string;
  name: string;
  role: "read" | "write" | "admin";
  scopes: Record<string, string[]> | null;
  limits: Record<string, number> | null;
  permissions: Record<string, unknown>;
  created_at_ms: number;
  expires_at_ms: number | null;
  rotated_at_ms: number | null;
  former_until_ms: number | null;
  last_used_ms: number | null;
}

/** `key` is the secret, told this once. */
export interface NewApiKey {
  id: string;
  key: string;
  name: string;
  role: "read" | "write" | "admin";
  scopes: Record<string, string[]> | null;
  limits: Record<string, number> | null;
  expires_at_ms: number | null;
  former_until_ms: number | null;
  offset: number;
}

export interface Me {
  name: string;
  role: "read" | "write" | "admin";
  id: string | null;
  scopes: Record<string, string[]> | null;
  limits: Record<string, number> | null;
  used: Record<string, number> | null;
  expires_at_ms: number | null;
  /** The server wants a key. */
  protected: boolean;
  version: string;
  started_at_ms: number;
}

export interface KeyEnd {
  ttlMs?: number;
  expiresAtMs?: number;
}

export interface Loaded {
  done: number;
  refused: number;
  offset: number | null;
  /** The first 1,000; `number` counts from 0. */
  refusals: { number: number; code: string; message: string }[];
}

export interface ScrollWanted {
  limit?: number;
  cursor?: string;
  filters?: object;
  namespace?: string;
  include_meta?: boolean;
  include_vector?: boolean;
  include_text?: boolean;
}

export interface StoredVector {
  id: string;
  vector?: number[];
  meta: unknown;
  text?: string;
}

export class KissError extends Error {
  code: string;
  status: number;
  operation?: number;
  precondition?: number;
}

export class Client {
  /** A text is the `url`. */
  constructor(settings?: Settings | string);
  readonly lastOffset: number;
  readonly state: {
    get<T = unknown>(key: string, options?: { at?: number }): Promise<Item<T> | null>;
    put(key: string, value: unknown, options?: { ttlMs?: number; ifRevision?: number; ifOffset?: number; opId?: string }): Promise<Written>;
    putBatch(items: { key: string; value: unknown; ttl_ms?: number; if_revision?: number; opId?: string }[]): Promise<Result[]>;
    patch(key: string, patch: unknown, options?: { ttlMs?: number; ifRevision?: number; create?: boolean; opId?: string }): Promise<Written>;
    delete(key: string, options?: { ifRevision?: number; ifOffset?: number; opId?: string }): Promise<Deleted>;
    list(prefix?: string, options?: { limit?: number; cursor?: string; at?: number }): Promise<{ items: Item[]; cursor: string | null; offset: number }>;
    tree(prefix?: string, options?: { separator?: string; limit?: number; cursor?: string }): Promise<Record<string, unknown>>;
    items(prefix?: string, options?: { at?: number }): AsyncIterable<Item>;
  };
  readonly events: {
    publish(type: string, data: unknown, options?: { key?: string; tags?: string[]; transient?: boolean; opId?: string }): Promise<number | null>;
  };
  readonly vector: {
    create(collection: string, settings: Record<string, unknown>): Promise<Record<string, unknown>>;
    drop(collection: string): Promise<Record<string, unknown>>;
    collections(): Promise<Record<string, unknown>[]>;
    info(collection: string): Promise<Record<string, unknown>>;
    upsert(collection: string, item: VectorItem): Promise<Written>;
    add(collection: string, item: VectorItem): Promise<Written>;
    update(collection: string, item: VectorItem): Promise<Written>;
    upsertBatch(collection: string, items: VectorItem[]): Promise<Result[]>;
    deleteBatch(collection: string, ids: string[]): Promise<Result[]>;
    deleteByFilter(collection: string, filters: object, more?: { namespace?: string; all?: boolean }): Promise<number>;
    count(collection: string, filters?: object, more?: { namespace?: string }): Promise<number>;
    scroll(collection: string, wanted?: ScrollWanted): Promise<{ items: StoredVector[]; cursor: string | null }>;
    all(collection: string, wanted?: ScrollWanted): AsyncIterable<StoredVector>;
    vacuum(collection: string): Promise<number>;
    diskannBuild(collection: string, wanted?: { max_degree?: number; build_threads?: number; search_list_size?: number }): Promise<Record<string, unknown>>;
    diskannTune(collection: string, wanted: { search_list_size: number }): Promise<Record<string, unknown>>;
    diskannStatus(collection: string): Promise<Record<string, unknown>>;
    reindex(collection: string, wanted: string | { index?: object; quantization?: string; embedder?: string }): Promise<Record<string, unknown>>;
    tune(collection: string, wanted?: { recall: number; k?: number; queries?: number }): Promise<Record<string, unknown>>;
    endReindex(collection: string): Promise<boolean>;
    get(collection: string, id: string): Promise<{ id: string; vector: number[]; meta: unknown } | null>;
    delete(collection: string, id: string, options?: { opId?: string }): Promise<boolean>;
    search(collection: string, wanted: { vector?: Numbers; text?: string; id?: string; k?: number; filters?: object; [more: string]: unknown }): Promise<{ hits: Hit[] }>;
    searchBatch(collection: string, vectors: Numbers[], wanted?: Record<string, unknown>): Promise<{ hits: Hit[] }[]>;
  };
  readonly doc: {
    get<T = unknown>(collection: string, id: string, options?: { at?: number }): Promise<Document<T> | null>;
    put(collection: string, id: string, doc: unknown, options?: { ttlMs?: number; ifRevision?: number; opId?: string }): Promise<Written>;
    patch(collection: string, id: string, patch: unknown, options?: { ttlMs?: number; ifRevision?: number; create?: boolean; opId?: string }): Promise<Written>;
    delete(collection: string, id: string, options?: { ifRevision?: number; opId?: string }): Promise<Deleted>;
    putBatch(collection: string, documents: { id: string; doc: unknown; ttl_ms?: number; if_revision?: number; opId?: string }[]): Promise<Result[]>;
    deleteBatch(collection: string, ids: string[]): Promise<Result[]>;
    deleteByFilter(collection: string, filter: object): Promise<number>;
    collections(): Promise<Record<string, unknown>[]>;
    info(collection: string): Promise<Record<string, unknown>>;
    configure(collection: string, settings: Record<string, unknown>): Promise<Record<string, unknown>>;
    vacuum(collection: string): Promise<number>;
    drop(collection: string): Promise<Record<string, unknown>>;
    all(collection: string, wanted?: Record<string, unknown>): AsyncIterable<Document>;
    find(collection: string, wanted?: Record<string, unknown>): Promise<{ documents: Document[]; cursor: string | null }>;
    search(collection: string, text: string, wanted?: Record<string, unknown>): Promise<{ hits: Hit[] }>;
  };
  readonly sql: {
    query(sql: string, params?: unknown[] | Record<string, unknown>, more?: Record<string, unknown>): Promise<{ rows: Record<string, unknown>[] }>;
    exec(sql: string, params?: unknown[] | Record<string, unknown>, options?: { opId?: string }): Promise<{ rows_affected: number; offset: number }>;
    batch(statements: { sql: string; params?: unknown[] | Record<string, unknown> }[], options?: { opId?: string }): Promise<Record<string, unknown>>;
    schema(): Promise<Record<string, unknown>>;
  };
  readonly keys: {
    me(): Promise<Me>;
    list(): Promise<ApiKey[]>;
    issue(name: string, options?: KeyEnd & { role?: "read" | "write" | "admin"; scopes?: Record<string, string[]>; limits?: Record<string, number>; permissions?: object }): Promise<NewApiKey>;
    rotate(id: string, options?: KeyEnd & { graceMs?: number }): Promise<NewApiKey>;
    revoke(id: string): Promise<boolean>;
  };
  readonly admin: {
    snapshot(): Promise<number>;
    backup(options?: { signal?: AbortSignal }): Promise<ReadableStream<Uint8Array>>;
    metrics(): Promise<string>;
    stats(): Promise<Record<string, unknown>>;
    embedders(): Promise<Record<string, unknown>[]>;
  };
  batch(operations: Record<string, unknown>[], options?: { preconditions?: Record<string, unknown>[]; opId?: string }): Promise<Record<string, unknown>>;
  bulk(operations: Iterable<Record<string, unknown>> | AsyncIterable<Record<string, unknown>>, options?: { loadId?: string }): Promise<Loaded>;
  ingest(document: { id: number; content: string; vector?: number[]; metadata?: object }, more?: Record<string, unknown>): Promise<void>;
  search(text: string, more?: Record<string, unknown>): Promise<{ score: number; document: Record<string, unknown> }[]>;
  health(): Promise<boolean>;
  ready(): Promise<{ ready: boolean; offset: number; epoch: string }>;
  subscribe(wanted?: Wanted): AsyncIterableIterator<StreamEvent>;
}
