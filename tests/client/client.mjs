// Run by test_javascript.py: node client.mjs MODULE URL
import assert from "node:assert/strict";

const [, , module, url] = process.argv;
const { Client, KissError } = await import(module);
const db = new Client({ url });

// Keys
const first = await db.state.put("a/../b é?", { x: 1 });
assert.equal((await db.state.get("a/../b é?")).value.x, 1);
assert.equal((await db.state.patch("a/../b é?", { y: 2 })).revision, 2);
assert.deepEqual((await db.state.get("a/../b é?", { at: first.offset })).value, { x: 1 });
await assert.rejects(db.state.put("a/../b é?", 1, { ifRevision: 1 }), (error) => {
  assert.ok(error instanceof KissError);
  assert.deepEqual([error.code, error.status], ["revision_mismatch", 409]);
  return true;
});
assert.equal((await db.state.put("once", 1, { opId: "js-1" })).repeated, undefined);
assert.equal((await db.state.put("once", 1, { opId: "js-1" })).repeated, true);
assert.equal((await db.state.delete("a/../b é?")).deleted, true);
assert.equal(await db.state.get("a/../b é?"), null);
for (let n = 0; n < 3; n += 1) await db.state.put(`page:${n}`, n);
const values = [];
for await (const item of db.state.items("page:")) values.push(item.value);
assert.deepEqual(values, [0, 1, 2]);

// Vectors, as numbers and as typed arrays
await db.vector.create("places", { dim: 3, metric: "cosine" });
await db.vector.upsert("places", { id: "a", vector: [1, 0, 0.5], meta: { lang: "en" } });
await db.vector.upsertBatch("places", [{ id: "b", vector: new Float32Array([0, 1, 0]) }]);
const { hits } = await db.vector.search("places", { vector: new Float32Array([1, 0, 0.5]), k: 2 });
assert.deepEqual(hits.map((hit) => hit.id), ["a", "b"]);
assert.deepEqual((await db.vector.get("places", "a")).vector, [1, 0, 0.5]);
assert.equal(await db.vector.delete("places", "a"), true);
assert.equal(await db.vector.delete("places", "a"), false);

// Documents, batches
await db.doc.put("notes", "1", { title: "Tide tables" });
assert.equal((await db.doc.search("notes", "tide")).hits[0].id, "1");
assert.equal((await db.doc.find("notes", { filter: { title: "Tide tables" } })).documents.length, 1);
const batch = await db.batch([{ op: "put", key: "m", value: 1 }, { op: "doc_delete", collection: "notes", id: "1" }]);
assert.equal(batch.last_offset, db.lastOffset);

// The stream: every type without naming it, from a place, through a connection that breaks
const since = db.lastOffset;
let broken = 0;
const breaking = async (target, options) => {
  const response = await fetch(target, options);
  if (!String(target).includes("/v1/stream") || broken === 3) return response;
  broken += 1;
  // Ends in the middle of what arrives first.
  const cut = new TransformStream({
    transform(chunk, out) {
      out.enqueue(chunk.slice(0, chunk.length - 20));
      out.terminate();
    },
  });
  return new Response(response.body.pipeThrough(cut), response);
};
const other = new Client({ url, fetch: breaking });
for (let n = 0; n < 5; n += 1) await db.events.publish(`type-${n}`, n, { key: "k", tags: ["t"] });
const seen = [];
for await (const event of other.subscribe({ since })) {
  seen.push(event.data);
  if (seen.length === 5) break;
}
assert.deepEqual(seen, [0, 1, 2, 3, 4]);
assert.ok(broken > 0);
const stop = new AbortController();
setTimeout(() => stop.abort(), 50);
for await (const event of db.subscribe({ since: "now", signal: stop.signal })) assert.fail(event.type);
for await (const event of db.subscribe({ since: 1, epoch: "00000000deadbeef" })) {
  assert.deepEqual([event.type, event.data.reason], ["gap", "epoch"]);
  break;
}

// No server
const nobody = new Client({ url: "http://127.0.0.1:9", retries: 0 });
await assert.rejects(nobody.state.get("x"), { code: "unreachable" });
console.log("ok");
process.exit(0);
