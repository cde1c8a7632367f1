// Lines over time (uPlot), in the colours of the page.
import { html, useEffect, useRef } from "/vendor/preact.js";
import uPlot from "/vendor/uplot.js";
import { short } from "/page/format.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** A chart of less is not stretched: of one sample there would be no time at all. */
const LEAST_SECS = 30;

/** From when to when; of a single sample uPlot would have the day that follows. */
function period(plot, low, high) {
  const end = (plot.data[0].length > 1 ? high : low) ?? Date.now() / 1000;
  return [Math.min(low ?? end, end - LEAST_SECS), end];
}

const COLOURS = ["--chart-1", "--chart-2", "--chart-3", "--chart-4"];

function options({ series, format, width, height, area, max }) {
  const grid = { stroke: colour("--line"), width: 1 };
  const axis = { stroke: colour("--text-3"), font: "11px system-ui, sans-serif", grid, ticks: { show: false } };
  return {
    width,
    height,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, sync: { key: "page" } },
    padding: [8, 26, 0, 0],
    scales: { x: { time: true, range: period }, y: { range: (_, low, high) => [0, Math.max(max ?? 0, (high || 1) * 1.15)] } },
    axes: [
      { ...axis, size: 24, space: 80, grid: { show: false }, values: (_, ticks) => ticks.map((at) => new Date(at * 1000).toLocaleTimeString("sv-SE")) },
      { ...axis, size: 52, space: 34, values: (_, ticks) => ticks.map((each) => format(each)) },
    ],
    series: [
      {},
      ...series.map((each, at) => {
        const stroke = colour(each.colour ?? COLOURS[at % COLOURS.length]);
        return { label: each.label, stroke, width: 1.5, points: { show: false }, fill: area && !at ? `color-mix(in srgb, ${stroke} 12%, transparent)` : undefined };
      }),
    ],
  };
}

/**
 * `data`: `[seconds[], values[] per series]`; `series`: `[{label, colour?}]`; `format(value)` for axis
 * and legend. Under it stands what the newest values are, or those under the pointer.
 */
export function Chart({ title, series, data, format = short, height = 140, area = true, max }) {
  const box = useRef();
  const legend = useRef();
  const plot = useRef();
  const latest = useRef(data);
  latest.current = data;
  const say = (at) => {
    const parts = legend.current?.querySelectorAll("b") ?? [];
    parts.forEach((part, n) => {
      const values = latest.current[n + 1] ?? [];
      const value = values[at ?? values.length - 1];
      part.textContent = value === null || value === undefined ? "–" : format(value);
    });
  };
  useEffect(() => {
    const make = () => {
      plot.current?.destroy();
      const width = Math.max(120, box.current.clientWidth);
      plot.current = new uPlot(options({ series, format, width, height, area, max }), latest.current, box.current);
      plot.current.over.addEventListener("mousemove", () => say(plot.current.cursor.idx));
      plot.current.over.addEventListener("mouseleave", () => say());
    };
    make();
    const sized = new ResizeObserver(() => plot.current?.setSize({ width: Math.max(120, box.current.clientWidth), height }));
    sized.observe(box.current);
    const themed = new MutationObserver(make);
    themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", make);
    return () => {
      sized.disconnect();
      themed.disconnect();
      dark.removeEventListener("change", make);
      plot.current.destroy();
      plot.current = null;
    };
  }, []);
  useEffect(() => {
    plot.current?.setData(data);
    if (plot.current?.cursor.idx === null || plot.current?.cursor.left < 0) say();
  }, [data]);
  return html`<figure class="chart">
    <figcaption>
      <span class="chart-title">${title}</span>
      <span class="chart-legend" ref=${legend}>
        ${series.map((each, at) => html`<span><i class=${`dot c${at + 1}`}></i>${each.label} <b>–</b></span>`)}
      </span>
    </figcaption>
    <div class="chart-box" ref=${box}></div>
  </figure>`;
}
