// Overview: is it well, how much is asked of it, and how quick is it?
import { api, connection, me } from "/page/api.js";
import { History } from "/page/measure.js";
import { Badge, bytes, Chart, count, duration, Empty, Head, html, moment, Problem, short, Spinner, Table, useEvery, useSignal, useState } from "/page/parts.js";

const EVERY_MS = 1000;

// Kept while other views are looked at.
const history = new History();

const perSecond = (n) => `${short(n)}/s`;
const percent = (n) => `${short(n)} %`;

const CHARTS = [
  { title: "Requests", format: perSecond, series: [["requests", "answered"], ["errors", "errors", "--chart-2"]] },
  { title: "Time to answer", format: duration, series: [["median", "median"], ["slowest", "99 %", "--chart-2"]] },
  { title: "Written", format: perSecond, series: [["keys", "keys"], ["vectors", "vectors", "--chart-2"], ["events", "events", "--chart-3"]] },
  { title: "Log made durable", format: duration, series: [["fsyncMedian", "median"], ["fsyncSlowest", "99 %", "--chart-2"]] },
  { title: "Log writes", format: perSecond, series: [["fsyncs", "made durable, each of many records"]] },
  { title: "Event streams", format: short, max: 4, series: [["streams", "open"], ["lag", "events behind", "--chart-2"]] },
  { title: "Log on disk", format: bytes, series: [["log", "bytes"]] },
  { title: "Memory", format: bytes, series: [["memory", "resident"]] },
  { title: "Processor", format: percent, max: 20, series: [["cpu", "of one core"]] },
];

const ROUTES = [
  { id: "route", title: "Route", value: (row) => row.route, mono: true },
  { id: "count", title: "Requests", value: (row) => row.count, render: (row) => count(row.count), align: "right", width: "110px" },
  { id: "errors", title: "Errors", value: (row) => row.errors, render: (row) => (row.errors ? html`<span class="bad">${count(row.errors)}</span>` : "0"), align: "right", width: "90px" },
  { id: "mean", title: "Mean time", value: (row) => (row.seconds / row.count) * 1000, render: (row) => duration((row.seconds / row.count) * 1000), align: "right", width: "110px", copy: false },
];

const Tile = ({ label, children, hint }) => html`<div class="tile"><span>${label}</span><b>${children}</b>${hint && html`<small>${hint}</small>`}</div>`;

function Tiles({ stats }) {
  const last = history.samples.at(-1) ?? {};
  return html`<div class="grid tiles">
    <${Tile} label="Offset" hint=${`epoch ${stats.epoch.slice(0, 8) || "–"}`}>${count(stats.offset)}<//>
    <${Tile} label="Requests" hint=${`${count(stats.request_seconds.count)} since the start`}>${last.requests === undefined ? "–" : perSecond(last.requests)}<//>
    <${Tile} label="Log" hint=${`${count(stats.logged_records)} records written`}>${bytes(stats.log_bytes)}<//>
    <${Tile} label="Streams" hint=${`${count(stats.stream_lag_events)} events behind`}>${count(stats.streams)}<//>
    <${Tile} label="Memory" hint=${last.cpu === undefined ? "" : `${percent(last.cpu)} of a core`}>${bytes(stats.process.resident_bytes)}<//>
    <${Tile} label="Up for" hint=${`since ${moment(stats.started_at_ms).slice(5, 16)}`}>${duration(Math.max(1000, stats.now_ms - stats.started_at_ms))}<//>
  </div>`;
}

function RecoveryBar({ recovery }) {
  const part = recovery.total ? recovery.done / recovery.total : 0;
  return html`<div class="card">
    <h2>The server is starting</h2>
    <div class="row"><progress max="1" value=${part} aria-label="Recovery"></progress> <span>${recovery.doing || "opening files"}: ${count(recovery.done)} of ${count(recovery.total)} (${Math.round(100 * part)} %)</span></div>
  </div>`;
}

/** What a key with limits may use, and how much of it is used. */
function Quota() {
  const who = useSignal(me);
  if (!who?.limits) return null;
  const { rows_max: rows, bytes_max: size, ...rates } = who.limits;
  const line = (label, most, used, show) =>
    most !== undefined &&
    html`<div class="quota"><span>${label}</span><meter min="0" max=${most || 1} high=${most * 0.9} value=${used ?? 0} aria-label=${label}></meter><span>${used === undefined ? "being counted" : `${show(used)} of ${show(most)}`}</span></div>`;
  return html`<section class="card" aria-label="Quota">
    <h2>What this key may hold</h2>
    ${line("Rows", rows, who.used?.rows, count)} ${line("Bytes", size, who.used?.bytes, bytes)}
    ${Object.entries(rates).map(([name, most]) => html`<div class="quota"><span>${name.replaceAll("_", " ")}</span><span>${most ? count(most) : "no limit"}</span></div>`)}
  </section>`;
}

function Scoped({ error }) {
  const who = useSignal(me);
  return html`<div class="body">
    ${error && html`<${Problem} error=${error} />`}
    <${Quota} />
    <div class="card"><h2>This key</h2>
      <p>${who.name}, role ${who.role}. It may touch:</p>
      <dl class="facts">${Object.entries(who.scopes ?? {}).map(([kind, names]) => html`<div><dt>${kind}</dt><dd class="mono">${names.join("  ") || "nothing"}</dd></div>`)}</dl>
      <p class="muted">Figures of the whole server are for keys without scopes.</p>
    </div>
  </div>`;
}

function Overview() {
  const [stats, setStats] = useState(history.last);
  const [error, setError] = useState(null);
  const who = useSignal(me);
  const state = useSignal(connection);
  const scoped = Boolean(who.scopes);
  useEvery(
    EVERY_MS,
    async () => {
      if (scoped) return;
      try {
        const found = await api("GET", "/v1/stats");
        history.add(found);
        setStats(found);
        setError(null);
      } catch (problem) {
        if (problem.code !== "unreachable") setError(problem);
      }
    },
    [scoped],
  );
  const badge = state !== "ok" ? ["bad", "no answer"] : !stats || stats.ready ? ["good", "healthy"] : ["warn", "starting"];
  const head = html`<${Head} title="Overview" sub=${html`<${Badge} kind=${badge[0]}>${badge[1]}<//> version ${who.version}`} />`;
  if (scoped) return html`${head}<${Scoped} error=${error} />`;
  if (!stats) return html`${head}${error ? html`<${Problem} error=${error} />` : html`<${Spinner} />`}`;
  return html`${head}
    <div class="body">
      ${error && html`<${Problem} error=${error} />`}
      ${stats.recovery && html`<${RecoveryBar} recovery=${stats.recovery} />`}
      <${Tiles} stats=${stats} />
      <${Quota} />
      <div class="grid charts">
        ${CHARTS.map(
          (each) => html`<div class="card" key=${each.title}><${Chart}
            title=${each.title} format=${each.format} max=${each.max}
            series=${each.series.map(([, label, colour]) => ({ label, colour }))}
            data=${history.columns(...each.series.map(([name]) => name))}
          /></div>`,
        )}
      </div>
      <section class="card flush">
        <h2>Routes asked for since the start</h2>
        ${stats.requests.length
          ? html`<${Table} label="Routes" columns=${ROUTES} rows=${stats.requests} rowKey=${(row) => row.route} sort=${{ id: "count", down: true }} height="260px" />`
          : html`<${Empty} title="Nothing was asked yet" icon="overview" />`}
      </section>
    </div>`;
}

export const view = { id: "overview", title: "Overview", icon: "overview", path: "#/overview", component: Overview };
