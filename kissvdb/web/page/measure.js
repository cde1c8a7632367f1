// Rates and quantiles of two answers of GET /v1/stats, one after the other; and a few minutes of them.
const SAMPLES_MAX = 300;

/** The time (ms) below which a part `q` of what happened between two `Times` was; null: nothing did. */
export function quantile(before, after, q) {
  const counts = after.counts.map((n, at) => n - before.counts[at]);
  const total = counts.reduce((sum, n) => sum + n, 0);
  if (!total) return null;
  let rest = q * total;
  for (let at = 0; at < counts.length; at += 1) {
    if (rest <= counts[at] && counts[at]) {
      const low = at ? after.bounds[at - 1] : 0;
      const high = after.bounds[at] ?? low;
      return 1000 * (low + ((high - low) * rest) / counts[at]);
    }
    rest -= counts[at];
  }
  return 1000 * after.bounds.at(-1);
}

const requests = (stats, errors) => stats.requests.reduce((sum, each) => sum + (errors ? each.errors : each.count), 0);

/** What is drawn of two answers; null where the server began anew between them. */
export function sample(before, after) {
  const seconds = (after.now_ms - before.now_ms) / 1000;
  if (seconds <= 0 || before.started_at_ms !== after.started_at_ms) return null;
  const rate = (name) => (after[name] - before[name]) / seconds;
  return {
    at: after.now_ms / 1000,
    // One of them is the page's own question.
    requests: Math.max(0, (requests(after) - requests(before)) / seconds),
    errors: (requests(after, true) - requests(before, true)) / seconds,
    median: quantile(before.request_seconds, after.request_seconds, 0.5),
    slowest: quantile(before.request_seconds, after.request_seconds, 0.99),
    keys: rate("state_puts") + rate("state_deletes"),
    vectors: rate("vector_ops"),
    events: rate("events"),
    fsyncs: (after.fsync_seconds.count - before.fsync_seconds.count) / seconds,
    fsyncMedian: quantile(before.fsync_seconds, after.fsync_seconds, 0.5),
    fsyncSlowest: quantile(before.fsync_seconds, after.fsync_seconds, 0.99),
    log: after.log_bytes,
    streams: after.streams,
    lag: after.stream_lag_events,
    memory: after.process.resident_bytes,
    cpu: (100 * (after.process.cpu_seconds - before.process.cpu_seconds)) / seconds,
  };
}

/** The last minutes: `add(stats)`, then `columns("requests", ...)` for a chart. */
export class History {
  constructor() {
    this.samples = [];
    this.last = null;
  }

  add(stats) {
    const found = this.last && sample(this.last, stats);
    const began = this.last && this.last.started_at_ms !== stats.started_at_ms;
    this.last = stats;
    if (began) this.samples.push({ at: stats.now_ms / 1000 });
    if (found) this.samples.push(found);
    this.samples = this.samples.slice(-SAMPLES_MAX);
  }

  columns(...names) {
    return [this.samples.map((each) => each.at), ...names.map((name) => this.samples.map((each) => each[name] ?? null))];
  }
}
