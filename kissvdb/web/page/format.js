// Numbers, times and texts as they are shown; tables as CSV; copying and saving.
const COUNT = new Intl.NumberFormat("en-US");
const UNITS = ["B", "kB", "MB", "GB", "TB"];

export const count = (n) => (n === null || n === undefined ? "–" : COUNT.format(n));

/** 12,345 as "12.3k": for axes and narrow places. */
export function short(n) {
  if (n === null || n === undefined || Number.isNaN(n)) return "–";
  const size = Math.abs(n);
  if (size >= 1e9) return `${trim(n / 1e9)}G`;
  if (size >= 1e6) return `${trim(n / 1e6)}M`;
  if (size >= 1e3) return `${trim(n / 1e3)}k`;
  return trim(n);
}

const trim = (n) => String(Number(n.toPrecision(3)));

export function bytes(n) {
  if (n === null || n === undefined || Number.isNaN(n)) return "–";
  let at = 0;
  while (Math.abs(n) >= 1000 && at < UNITS.length - 1) {
    n /= 1000;
    at += 1;
  }
  return `${at ? trim(n) : Math.round(n)} ${UNITS[at]}`;
}

/** A length of time in milliseconds. */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  if (ms < 1) return `${trim(ms * 1000)} µs`;
  if (ms < 1000) return `${trim(ms)} ms`;
  const secs = ms / 1000;
  if (secs < 60) return `${trim(secs)} s`;
  const parts = [
    [Math.floor(secs / 86_400), "d"],
    [Math.floor((secs % 86_400) / 3600), "h"],
    [Math.floor((secs % 3600) / 60), "min"],
    [Math.floor(secs % 60), "s"],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, unit]) => `${n} ${unit}`).join(" ");
}

const two = (n, width = 2) => String(n).padStart(width, "0");

/** The time of day of Unix milliseconds, to the millisecond. */
export function clock(ms) {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${two(at.getMilliseconds(), 3)}`;
}

/** Date and time in the zone of whoever looks. */
export const moment = (ms) => (ms === null || ms === undefined ? "–" : new Date(ms).toLocaleString("sv-SE"));

/** One line of a JSON value, cut where it is long. */
export function brief(value, most = 160) {
  const text = typeof value === "string" ? JSON.stringify(value) : JSON.stringify(value) ?? "";
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

const cell = (value) => {
  if (value === null || value === undefined) return "";
  let text = typeof value === "object" ? JSON.stringify(value) : String(value);
  // A spreadsheet would run it as a formula.
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** RFC 4180, with a header line. `columns`: `[{title, value(row)}]`. */
export const toCsv = (rows, columns) =>
  [columns.map((each) => cell(each.title)), ...rows.map((row) => columns.map((each) => cell(each.value(row))))]
    .map((cells) => cells.join(","))
    .join("\r\n");

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https only loopback has a clipboard.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "offscreen";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** Have the browser save a text, or a Blob, as a file. */
export function saveFile(name, content, type = "application/json") {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
