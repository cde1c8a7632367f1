// What there is to back up, a backup to download, checkpoints and vacuums, and what the log still holds.

import { api, headers, me, refusal, refused, segment } from "/page/api.js";
import { Badge, bytes, Button, Call, confirm, count, Head, html, moment, Problem, saveFile, Spinner, Table, toast, useLoad, useSignal, useState } from "/page/parts.js";
import { link } from "/page/router.js";

/** Sizes of everything that the key may see; metrics only for keys without scopes. */
async function loadAll(signal) {
  const quiet = { signal, quiet: true };
  const none = (error) => {
    if (error.code === "unreachable" || signal.aborted) throw error;
    return null;
  };
  const [vectors, documents, schema, metrics, ready] = await Promise.all([
    api("GET", "/v1/vector", undefined, quiet).catch(none),
    api("GET", "/v1/doc", undefined, quiet).catch(none),
    api("GET", "/v1/sql/schema", undefined, quiet).catch(none),
    api("GET", "/v1/metrics", undefined, quiet).catch(none),
    api("GET", "/v1/ready", undefined, quiet),
  ]);
  const oldest = await firstEvent(signal).catch(none);
  return { vectors: vectors?.collections ?? [], documents: documents?.collections ?? [], tables: schema?.tables, metrics: gauges(metrics ?? ""), ready, oldest };
}

/** The oldest event that the log holds: from there on a stream misses nothing. */
async function firstEvent(signal) {
  const sql = 'SELECT "offset", ts_ms FROM events ORDER BY "offset" LIMIT 1';
  const { rows } = await api("POST", "/v1/sql/query", { sql }, { signal, quiet: true });
  return rows[0] ?? null;
}

/** Prometheus text as {name: {labels: value}}. */
export function gauges(text) {
  const found = {};
  for (const line of text.split("\n")) {
    const match = /^(\w+)(\{[^}]*\})? (\S+)/.exec(line);
    if (match) (found[match[1]] ??= {})[match[2] ?? ""] = Number(match[3]);
  }
  return found;
}

const COLUMNS = [
  { id: "what", title: "what", width: "110px", value: (row) => row.what, copy: false },
  { id: "name", title: "name", width: "240px", value: (row) => row.name, render: (row) => html`<a href=${row.href}>${row.name}</a>` },
  { id: "count", title: "rows", width: "110px", align: "right", value: (row) => row.count, render: (row) => count(row.count), copy: false },
  { id: "dead", title: "dead rows", width: "110px", align: "right", value: (row) => row.dead, render: (row) => count(row.dead), copy: false },
  { id: "bytes", title: "size", width: "100px", align: "right", value: (row) => row.bytes, render: (row) => bytes(row.bytes), copy: false },
  { id: "changed", title: "changed", width: "160px", value: (row) => row.changed, render: (row) => moment(row.changed), copy: false },
];

const rowsOf = ({ vectors, documents, metrics }) => [
  ...vectors.map((each) => ({
    what: "vectors", name: each.collection, href: link("vectors", [each.collection]), path: `/v1/vector/${segment(each.collection)}`,
    count: each.count, dead: each.deleted, bytes: each.bytes, changed: each.updated_at_ms,
  })),
  ...documents.map((each) => ({
    what: "documents", name: each.collection, href: link("documents", [each.collection]), path: `/v1/doc/${segment(each.collection)}`,
    count: each.count, dead: metrics.kissvdb_documents_dead_rows?.[`{collection="${each.collection}"}`] ?? null, bytes: each.bytes, changed: each.updated_at_ms,
  })),
];

function Backup() {
  const { data, error, reload } = useLoad(loadAll, []);
  const [busy, setBusy] = useState(null);
  useSignal(me);
  const doing = async (name, work) => {
    setBusy(name);
    try {
      await work();
      reload();
    } catch (problem) {
      if (problem.name !== "AbortError") toast(problem, "bad");
    }
    setBusy(null);
  };
  const checkpoint = () => doing("checkpoint", async () => {
    const { offset } = await api("POST", "/v1/snapshot");
    toast(`Every file holds everything up to offset ${count(offset)}`, "good");
  });
  const vacuum = (row) => doing(row.path, async () => {
    const { removed } = await api("POST", `${row.path}/vacuum`);
    toast(`${count(removed)} dead rows of ${row.name} are gone`, "good");
  });
  const vacuumAll = async (rows) => {
    const wanted = rows.filter((row) => row.dead);
    if (!(await confirm({ title: "Vacuum all", text: `${wanted.length} collections have dead rows. They are written anew one after another, beside reads and writes.`, action: "Vacuum" }))) return;
    for (const row of wanted) await vacuum(row);
  };
  const menu = (row) => html`<${Button} small kind="quiet" icon="refresh" need="admin" disabled=${busy !== null} label=${`Vacuum ${row.name}`} onClick=${() => vacuum(row)} />`;
  if (!data) return html`<${Head} title="Backup" /><${Problem} error=${error} onRetry=${reload} />${!error && html`<${Spinner} />`}`;
  const rows = rowsOf(data);
  return html`
    <${Head} title="Backup" sub=${`offset ${count(data.ready.offset)}`}>
      <${Button} icon="check" need="admin" whole disabled=${busy !== null} title="Write everything that only the log has into the files" onClick=${checkpoint}>${busy === "checkpoint" ? "Writing…" : "Checkpoint"}<//>
      <${Download} />
    <//>
    <${Problem} error=${error} onRetry=${reload} />
    <div class="body v-body">
      <${Facts} data=${data} rows=${rows} />
      <div class="v-side-head"><h2>Collections</h2>
        <${Button} small need="admin" disabled=${busy !== null || !rows.some((row) => row.dead)} title=${rows.some((row) => row.dead) ? undefined : "No dead rows anywhere"} onClick=${() => vacuumAll(rows)}>Vacuum all<//></div>
      <${Table} label="Collections" columns=${COLUMNS} rows=${rows} rowKey=${(row) => row.path} menu=${menu} height=${`${32 * Math.min(14, Math.max(3, rows.length + 1)) + 8}px`} empty="No collections" />
      <details><summary>The calls behind the buttons</summary>
        <${Call} method="GET" path="/v1/backup" /><${Call} method="POST" path="/v1/snapshot" /></details>
      <p class="muted">To restore: <code>kissvdb restore backup.tar --data-dir DIR</code> makes a data directory of the tar, at the offset of its moment. Keys that were revoked since are to be revoked again.</p>
    </div>`;
}

export const view = { id: "backup", title: "Backup", icon: "backup", path: "#/backup", component: Backup };

function Facts({ data, rows }) {
  const { metrics, oldest, tables, ready } = data;
  const log = metrics.kissvdb_log_bytes?.[""];
  const applied = Object.entries(metrics.kissvdb_view_applied_offset ?? {});
  const facts = [
    ["newest offset", count(ready.offset)], ["epoch", ready.epoch],
    ["log", log === undefined ? "–" : bytes(log)],
    ["oldest event kept", oldest ? `${count(oldest.offset)}, ${moment(oldest.ts_ms)}` : "–"],
    ["vectors", count(sum(rows, "vectors"))], ["documents", count(sum(rows, "documents"))], ["SQL tables", tables ? count(tables.length) : "–"],
  ];
  return html`<dl class="v-facts">
      ${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>
    ${applied.length > 0 && html`<p class="muted v-applied">Files and views hold: ${applied.map(([labels, offset]) => html`<${Badge} key=${labels} kind=${offset >= ready.offset ? "good" : ""}>${labels.replace(/[{}"]|view=/g, "")} ${count(offset)}<//> `)}</p>`}`;
}

const sum = (rows, what) => rows.filter((row) => row.what === what).reduce((all, row) => all + row.count, 0);

/** The backup as a file. The key goes into a header, so the browser is handed the bytes: into a file
    as they come where it can do that, else by way of its memory. */
function Download() {
  const [progress, setProgress] = useState(null);
  const who = useSignal(me);
  const name = `kissvdb-${new Date().toISOString().slice(0, 19).replace(/[T:]/g, "-")}.tar`;
  if (who && !who.protected && !refusal("admin", true)) {
    return html`<a class="button primary" href="/v1/backup" download=${name}>Download a backup</a>`;
  }
  const download = async () => {
    setProgress(0);
    try {
      const file = await (window.showSaveFilePicker?.({ suggestedName: name }) ?? null);
      const response = await fetch("/v1/backup", { headers: headers(), cache: "no-store" });
      if (!response.ok) throw refused(response, await response.text());
      let had = 0;
      const counted = response.body.pipeThrough(new TransformStream({
        transform(chunk, controller) {
          had += chunk.byteLength;
          setProgress(had);
          controller.enqueue(chunk);
        },
      }));
      if (file) await counted.pipeTo(await file.createWritable());
      else saveFile(name, await new Response(counted).blob(), "application/x-tar");
      toast(`Saved ${bytes(had)}`, "good");
    } catch (error) {
      if (error.name !== "AbortError") toast(error, "bad");
    }
    setProgress(null);
  };
  return html`<${Button} kind="primary" icon="backup" need="admin" whole disabled=${progress !== null} onClick=${download}>
    ${progress === null ? "Download a backup" : `${bytes(progress)}…`}<//>`;
}
