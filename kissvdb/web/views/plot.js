// A map on a canvas: many points, panned and zoomed by mouse, touch and keys. No framework: one
// frame is drawn when something has changed, and never two in between.

export const COLOURS = ["#4477cc", "#e07b1a", "#2f9e62", "#cc3f4e", "#8d63c4", "#9a6a4b", "#d65fa5", "#6f8f1f", "#1f9fae", "#b8942a"];
export const OTHERS = "#8a8f98";
const NEAR_PX = 14;
/** At the bottom, where the colours are told. */
const LEGEND_PX = 56;

/** How values become colours: {of(value), legend: [{label, colour, count, value}], kind}. */
export function scale(points) {
  const counts = new Map();
  let numbers = 0;
  for (const { value } of points) {
    if (value === undefined) continue;
    counts.set(value, (counts.get(value) ?? 0) + 1);
    if (typeof value === "number") numbers++;
  }
  if (!counts.size) return { of: () => COLOURS[0], legend: [], kind: "none" };
  if (numbers > points.length / 2 && counts.size > COLOURS.length) return ramp(points);
  const common = [...counts].sort((a, b) => b[1] - a[1] || (String(a[0]) < String(b[0]) ? -1 : 1));
  const top = common.slice(0, COLOURS.length);
  const colours = new Map(top.map(([value], n) => [value, COLOURS[n]]));
  const legend = top.map(([value, count]) => ({ label: String(value), colour: colours.get(value), count, value }));
  const rest = points.length - top.reduce((sum, [, count]) => sum + count, 0);
  if (rest) legend.push({ label: "others and none", colour: OTHERS, count: rest });
  return { of: (value) => colours.get(value) ?? OTHERS, legend, kind: "values" };
}

/** Five steps with as many points each, so that one huge value does not hide all others. */
function ramp(points) {
  const sorted = points.map(({ value }) => value).filter((value) => typeof value === "number").sort((a, b) => a - b);
  const steps = ["#3b4cc0", "#5f9bd1", "#57a777", "#dd9a2b", "#c7372f"];
  const ends = steps.map((_, n) => sorted[Math.min(sorted.length - 1, Math.floor(((n + 1) * sorted.length) / steps.length))]);
  const at = (value) => Math.max(0, ends.findIndex((end, n) => value < end || n === ends.length - 1));
  const counts = steps.map(() => 0);
  for (const value of sorted) counts[at(value)]++;
  const text = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4, useGrouping: false });
  const legend = steps
    .map((colour, n) => ({ label: n ? `${text(ends[n - 1])} to ${text(ends[n])}` : `up to ${text(ends[0])}`, colour, count: counts[n] }))
    .filter(({ count }) => count);
  if (sorted.length < points.length) legend.push({ label: "no number", colour: OTHERS, count: points.length - sorted.length });
  return { of: (value) => (typeof value === "number" ? steps[at(value)] : OTHERS), legend, kind: "numbers" };
}

/** Draw on a canvas. ``onHover(index or -1)``, ``onPick(index)``. Answers what can be told to it. */
export function plot(canvas, { onHover, onPick }) {
  const context = canvas.getContext("2d");
  let points = [], colours = [], hidden = null, selected = -1, marked = new Set();
  let centre = { x: 0, y: 0 }, zoom = 1, fitted = 1, frame = 0, width = 1, height = 1;

  const toX = (x) => width / 2 + (x - centre.x) * zoom;
  const toY = (y) => height / 2 - (y - centre.y) * zoom;
  const wanted = () => { frame ||= requestAnimationFrame(draw); };

  function draw() {
    frame = 0;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const size = Math.max(1.6, Math.min(5, 1.9 * Math.sqrt(zoom / fitted)));
    context.globalAlpha = points.length > 800 ? 0.72 : 0.88;
    let last = null;
    for (let n = 0; n < points.length; n++) {
      if (hidden?.has(colours[n])) continue;
      const x = toX(points[n].x), y = toY(points[n].y);
      if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
      if (colours[n] !== last) context.fillStyle = last = colours[n];
      context.beginPath();
      context.arc(x, y, size, 0, 6.2832);
      context.fill();
    }
    context.globalAlpha = 1;
    const ink = getComputedStyle(canvas).color;
    for (const n of marked) ring(n, size + 3, ink, 1.5);
    if (selected >= 0) ring(selected, size + 5, ink, 2.5);
  }

  function ring(n, radius, ink, line) {
    if (!points[n]) return;
    context.strokeStyle = ink;
    context.lineWidth = line;
    context.beginPath();
    context.arc(toX(points[n].x), toY(points[n].y), radius, 0, 6.2832);
    context.stroke();
  }

  function fit() {
    if (!points.length) return;
    const xs = points.map(({ x }) => x), ys = points.map(({ y }) => y);
    const [left, right] = [Math.min(...xs), Math.max(...xs)], [low, high] = [Math.min(...ys), Math.max(...ys)];
    centre = { x: (left + right) / 2, y: (low + high) / 2 };
    const room = Math.min((width - 40) / (right - left || 1), (height - 40 - LEGEND_PX) / (high - low || 1));
    zoom = fitted = Math.max(1e-12, room);
    centre.y -= LEGEND_PX / 2 / zoom;
    wanted();
  }

  function nearest(x, y) {
    let best = -1, least = NEAR_PX * NEAR_PX;
    for (let n = 0; n < points.length; n++) {
      if (hidden?.has(colours[n])) continue;
      const dx = toX(points[n].x) - x, dy = toY(points[n].y) - y, far = dx * dx + dy * dy;
      if (far < least) [best, least] = [n, far];
    }
    return best;
  }

  function zoomAt(x, y, factor) {
    const next = Math.max(fitted / 4, Math.min(fitted * 400, zoom * factor));
    centre.x += (x - width / 2) * (1 / zoom - 1 / next);
    centre.y -= (y - height / 2) * (1 / zoom - 1 / next);
    zoom = next;
    wanted();
  }

  const held = new Map();
  let moved = 0;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const listeners = {
    pointerdown(event) {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, place(event));
      moved = 0;
    },
    pointermove(event) {
      const now = place(event), before = held.get(event.pointerId);
      if (!before) return onHover(nearest(now.x, now.y));
      moved += Math.hypot(now.x - before.x, now.y - before.y);
      if (held.size === 2) {
        const [, other] = [...held].find(([id]) => id !== event.pointerId);
        const gap = (at) => Math.hypot(at.x - other.x, at.y - other.y) || 1;
        zoomAt((now.x + other.x) / 2, (now.y + other.y) / 2, gap(now) / gap(before));
      } else {
        centre.x -= (now.x - before.x) / zoom;
        centre.y += (now.y - before.y) / zoom;
        wanted();
      }
      held.set(event.pointerId, now);
    },
    pointerup(event) {
      const at = place(event);
      held.delete(event.pointerId);
      if (moved > 4) return;
      const n = nearest(at.x, at.y);
      if (n >= 0) onPick(n);
    },
    pointercancel: (event) => held.delete(event.pointerId),
    pointerleave: () => onHover(-1),
    dblclick: fit,
    wheel(event) {
      event.preventDefault();
      const at = place(event);
      zoomAt(at.x, at.y, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)));
    },
    keydown(event) {
      const step = 60 / zoom;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
      if (moves[event.key]) {
        centre.x += moves[event.key][0];
        centre.y += moves[event.key][1];
        wanted();
      } else if (event.key === "+" || event.key === "=") zoomAt(width / 2, height / 2, 1.4);
      else if (event.key === "-") zoomAt(width / 2, height / 2, 1 / 1.4);
      else if (event.key === "0") fit();
      else return;
      event.preventDefault();
    },
  };
  for (const [name, listener] of Object.entries(listeners)) {
    canvas.addEventListener(name, listener, { passive: false });
  }
  const watcher = new ResizeObserver(() => {
    const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    const first = width === 1;
    [width, height] = [Math.max(2, box.width), Math.max(2, box.height)];
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (first) fit();
    wanted();
  });
  watcher.observe(canvas);

  return {
    show(newPoints, newColours) {
      const others = points.length !== newPoints.length || points.some((each, n) => each.id !== newPoints[n].id);
      [points, colours] = [newPoints, newColours];
      if (others) fit();
      wanted();
    },
    hide(newHidden) { hidden = newHidden; wanted(); },
    select(n) { selected = n; wanted(); },
    mark(numbers) { marked = new Set(numbers); wanted(); },
    zoomBy: (factor) => zoomAt(width / 2, height / 2, factor),
    fit,
    end() {
      watcher.disconnect();
      cancelAnimationFrame(frame);
      for (const [name, listener] of Object.entries(listeners)) canvas.removeEventListener(name, listener);
    },
  };
}
