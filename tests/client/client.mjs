// Run in Node and in a browser by the tests: every part of the client against a real server.

class Wrong extends Error {}

const shown = (value) => JSON.stringify(value);
const assert = {
  ok(value, said = "not so") {
    if (!value) throw new Wrong(said);
  },
  equal(found, wanted) {
    if (found !== wanted) throw new Wrong(`${shown(found)}, not ${shown(wanted)}`);
  },
  deepEqual(found, wanted) {
    if (shown(found) !== shown(wanted)) throw new Wrong(`${shown(found)}, not ${shown(wanted)}`);
  },
  async rejects(promise, check) {
    let failure;
    await promise.catch((error) => (failure = error));
    assert.ok(failure !== undefined, "no error");
    check(failure);
  },
};

export async function run({ Client, KissError }, url, key) {
  const db = new Client({ url, key });

  // Keys
  const first = await db.state.put("a/../b é?", { x: 1 });
  assert.equal((await db.state.get("a/../b é?")).value.x, 1);
  assert.equal((await db.state.patch("a/../b é?", { y: 2 })).revision, 2);
  assert.deepEqual((await db.state.get("a/../b é?", { at: first.offset })).value, { x: 1 });
  await assert.rejects(db.state.put("a/../b é?", 1, { ifRevision: 1 }), (error) => {
    assert.ok(error instanceof KissError);
    assert.deepEqual([error.code, error.status], ["revision_mismatch", 409]);
  });
  if (!key) assert.equal((await new Client(url).state.get("a/../b é?")).value.x, 1);
  await assert.rejects(db.state.put("big", 10n), (error) => assert.ok(error instanceof TypeError));
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
  assert.equal((await db.vector.create("places", { dim: 3, metric: "cosine", existOk: true })).count, 0);
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
  const other = new Client({ url, key, fetch: breaking });
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
  for await (const event of db.subscribe({ since: "now", signal: stop.signal })) assert.ok(false, event.type);
  for await (const event of db.subscribe({ since: 1, epoch: "00000000deadbeef" })) {
    assert.deepEqual([event.type, event.data.reason], ["gap", "epoch"]);
    break;
  }

  // An answer that is lost: the write is sent again under its id, and done once
  let lost = 0;
  const losing = async (target, options) => {
    const response = await fetch(target, options);
    if (options.method === "GET" || lost === 2) return response;
    lost += 1;
    throw new TypeError("the answer is lost");
  };
  const careful = new Client({ url, key, fetch: losing });
  assert.equal((await careful.state.put("lost", 1)).repeated, true);
  assert.equal((await db.state.get("lost")).revision, 1);
  lost = 0;
  const careless = new Client({ url, key, fetch: losing, opIds: false });
  await assert.rejects(careless.state.put("lost", 2), (error) => assert.equal(error.code, "outcome_unknown"));
  lost = 2;

  // A load: what is refused stops nothing, and again under its name does nothing twice
  const operations = Array.from({ length: 3000 }, (_, n) => ({ op: "put", key: n === 2500 ? "" : `l${n}`, value: n }));
  const loaded = await db.bulk(operations, { loadId: "js-load" });
  assert.deepEqual([loaded.done, loaded.refused, loaded.refusals[0].number], [2999, 1, 2500]);
  assert.equal((await db.bulk(operations, { loadId: "js-load" })).done, 2999);
  assert.equal((await db.state.get("l2999")).revision, 1);

  // No server
  const nobody = new Client({ url: "http://127.0.0.1:9", retries: 0 });
  await assert.rejects(nobody.state.get("x"), (error) => assert.equal(error.code, "unreachable"));
  return "ok";
}
