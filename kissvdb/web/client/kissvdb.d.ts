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

export class KissError extends Error {
  code: string;
  status: number;
  operation?: number;
  precondition?: number;
}

export class Client {
  constructor(settings?: Settings);
  readonly lastOffset: number;
  readonly state: {
    get<T = unknown>(key: string, options?: { at?: number }): Promise<Item<T> | null>;
    put(key: string, value: unknown, options?: { ttlMs?: number; ifRevision?: number; ifOffset?: number; opId?: string }): Promise<Written>;
    patch(key: string, patch: unknown, options?: { ttlMs?: number; ifRevision?: number; create?: boolean; opId?: string }): Promise<Written>;
    delete(key: string, options?: { ifRevision?: number; ifOffset?: number; opId?: string }): Promise<Deleted>;
    list(prefix?: string, options?: { limit?: number; cursor?: string; at?: number }): Promise<{ items: Item[]; cursor: string | null; offset: number }>;
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
    upsertBatch(collection: string, items: VectorItem[]): Promise<Record<string, unknown>[]>;
    get(collection: string, id: string): Promise<{ id: string; vector: number[]; meta: unknown } | null>;
    delete(collection: string, id: string, options?: { opId?: string }): Promise<boolean>;
    search(collection: string, wanted: { vector?: Numbers; text?: string; id?: string; k?: number; filters?: object; [more: string]: unknown }): Promise<{ hits: Hit[] }>;
  };
  readonly doc: {
    get<T = unknown>(collection: string, id: string, options?: { at?: number }): Promise<Document<T> | null>;
    put(collection: string, id: string, doc: unknown, options?: { ttlMs?: number; ifRevision?: number; opId?: string }): Promise<Written>;
    patch(collection: string, id: string, patch: unknown, options?: { ttlMs?: number; ifRevision?: number; create?: boolean; opId?: string }): Promise<Written>;
    delete(collection: string, id: string, options?: { ifRevision?: number; opId?: string }): Promise<Deleted>;
    find(collection: string, wanted?: Record<string, unknown>): Promise<{ documents: Document[]; cursor: string | null }>;
    search(collection: string, text: string, wanted?: Record<string, unknown>): Promise<{ hits: Hit[] }>;
  };
  readonly sql: {
    query(sql: string, params?: unknown[] | Record<string, unknown>, more?: Record<string, unknown>): Promise<{ rows: Record<string, unknown>[] }>;
    exec(sql: string, params?: unknown[] | Record<string, unknown>, options?: { opId?: string }): Promise<{ rows_affected: number; offset: number }>;
  };
  batch(operations: Record<string, unknown>[], options?: { preconditions?: Record<string, unknown>[]; opId?: string }): Promise<Record<string, unknown>>;
  search(text: string, more?: Record<string, unknown>): Promise<{ score: number; document: Record<string, unknown> }[]>;
  ready(): Promise<{ ready: boolean; offset: number; epoch: string }>;
  subscribe(wanted?: Wanted): AsyncIterableIterator<StreamEvent>;
}
