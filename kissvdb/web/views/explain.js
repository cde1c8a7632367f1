// How a search went, drawn: its steps as one bar, what it looked at, and what each hit's score is of.

import { Badge, count, duration, html } from "/page/parts.js";
import { Fields, shown } from "/views/filters.js";

const STEPS = {
  queue_us: ["waited for a thread", 9],
  filter_us: ["filter", 1],
  index_us: ["index", 0],
  tail_us: ["rows not in the index yet", 3],
  text_us: ["words", 2],
  fuse_us: ["both together", 4],
  order_us: ["exact scores, order", 5],
  facets_us: ["facets", 6],
};

/** The bar of a search's steps, its plan and what it looked at. */
export function Explain({ explain, tookMs }) {
  const steps = Object.entries(STEPS)
    .map(([name, [label, colour]]) => ({ name, label, colour, us: explain[name] ?? 0 }))
    .filter(({ us }) => us > 0);
  const total = steps.reduce((sum, { us }) => sum + us, 0);
  const facts = [
    [explain.mode && "by", explain.mode],
    ["plan", explain.plan],
    ["rows", explain.rows],
    ["of them pass the filter", `${count(Math.round(explain.selectivity * explain.rows))} (${percent(explain.selectivity)})`],
    [explain.ef ? "kept in view (ef)" : null, explain.ef],
    [explain.tail_rows !== undefined ? "not in the index yet" : null, explain.tail_rows],
    [explain.compared !== undefined ? "compared by value" : null, explain.compared],
    [explain.read !== undefined ? "documents read" : null, explain.read],
    [explain.ignored ? "words not looked for" : null, explain.ignored],
  ].filter(([name]) => name);
  const corrected = Object.entries(explain.corrected ?? {});
  return html`<section class="v-explain" aria-label="How the search went">
    <div class="v-explain-head">
      <strong>${duration(total / 1000)} in the server</strong>
      ${tookMs !== undefined && html`<span class="muted">${duration(tookMs)} until it was here</span>`}
    </div>
    <div class="v-steps" role="img" aria-label=${steps.map(({ label, us }) => `${label} ${duration(us / 1000)}`).join(", ")}>
      ${steps.map(
        ({ name, label, colour, us }) => html`<i
          key=${name}
          class=${`v-c${colour}`}
          title=${`${label}: ${duration(us / 1000)}`}
          style=${{ flexGrow: us }}
        ></i>`,
      )}
    </div>
    <ul class="v-legend">
      ${steps.map(
        ({ name, label, colour, us }) =>
          html`<li key=${name}><i class=${`v-c${colour}`}></i>${label} <span class="muted">${duration(us / 1000)}</span></li>`,
      )}
    </ul>
    <dl class="v-facts">
      ${facts.map(
        ([name, value]) =>
          html`<div key=${name}><dt>${name}</dt><dd>${typeof value === "number" ? count(value) : value}</dd></div>`,
      )}
    </dl>
    ${corrected.map(
      ([word, others]) => html`<p key=${word}>No text has <q>${word}</q>: looked for ${others.join(", ")}.</p>`,
    )}
    ${(explain.notes ?? []).map((note) => html`<p class="v-note" key=${note}>${note}</p>`)}
  </section>`;
}

const percent = (part) => `${(part * 100).toLocaleString("en", { maximumSignificantDigits: 3 })}%`;

/** A score with a bar beside that of the best hit, and its parts where there are two. */
export function Score({ hit, best, metric }) {
  // A negative distance has no bar: nought is the best there is.
  const share = best > 0 && hit.score > 0 ? Math.min(1, hit.score / best) : 0;
  return html`<div class="v-score">
    <span class="v-number" title=${metric === "l2" ? "negative distance: higher is nearer" : "score"}>${hit.score.toPrecision(4)}</span>
    ${best > 0 && html`<i class="v-bar"><i style=${{ width: `${Math.round(share * 100)}%` }}></i></i>`}
    ${hit.parts &&
    html`<span class="v-parts">
      ${["vector", "text"].map((name) => {
        const { rank, score } = hit.parts[name];
        return html`<span key=${name} title=${rank === null ? `not among those found by ${name}` : `place ${rank} by ${name}`}>
          ${name} <b>${rank === null ? "–" : `#${rank}`}</b> ${score.toPrecision(3)}
        </span>`;
      })}
    </span>`}
  </div>`;
}

/** Marks that no text has, so that passages come as text and never as HTML. */
export const MARKS = { pre: "\u0001", post: "\u0002", escape: false, length: 240, count: 2 };

/** A passage with the words marked. */
export function Marked({ text }) {
  return text.split(/(\u0001[^\u0002]*\u0002)/).map((part) =>
    part.startsWith("\u0001") ? html`<mark>${part.slice(1, -1)}</mark>` : part,
  );
}

/** A hit of either model: its score, its passages, its fields to click, and what can be done. */
export function Hit({ hit, rank, best, metric, onPick, children }) {
  const fields = hit.doc ?? hit.meta;
  return html`<li class="v-hit">
    <div class="v-hit-side"><${Badge}>${rank}<//><${Score} hit=${hit} best=${best} metric=${metric} /></div>
    <div class="v-hit-main">
      <div class="v-hit-head"><code class="v-id">${hit.id}</code><span class="v-hit-acts">${children}</span></div>
      ${(hit.highlight ?? []).slice(0, 4).map(
        (each, n) => html`<p class="v-passage" key=${n}>
          ${each.field && each.field !== "text" && html`<span class="muted">${each.field}: </span>`}<${Marked} text=${each.text} />
        </p>`,
      )}
      ${!hit.highlight?.length && hit.text && html`<p class="v-passage">${shown(hit.text, 260)}</p>`}
      <${Fields} value=${fields} onPick=${onPick} most=${8} />
    </div>
  </li>`;
}

/** Facets with their values to click. */
export function Facets({ facets, onPick }) {
  const names = Object.entries(facets ?? {});
  if (!names.length) return null;
  return html`<div class="v-facets">
    ${names.map(
      ([name, { values, distinct }]) => html`<section key=${name} aria-label=${`values of ${name}`}>
        <h2>${name} <span class="muted">${count(distinct)}</span></h2>
        <ul>
          ${values.map(
            (each) => html`<li key=${`${typeof each.value} ${each.value}`}>
              <button type="button" class="v-facet" disabled=${typeof each.value === "bigint"} onClick=${() => onPick(name, each.value)}>
                <span>${shown(each.value)}</span><b>${count(each.count)}</b>
                <i style=${{ width: `${Math.round((100 * each.count) / values[0].count)}%` }}></i>
              </button>
            </li>`,
          )}
          ${!values.length && html`<li class="muted">no values</li>`}
        </ul>
      </section>`,
    )}
  </div>`;
}
