// The API call behind what is seen: as curl, Python and JavaScript, ready to be copied.
import { html, useState } from "/vendor/preact.js";
import { calls, me } from "/page/api.js";
import { Dialog, toast } from "/page/dialogs.js";
import { copyText } from "/page/format.js";
import { Icon } from "/page/icons.js";
import { highlight } from "/page/highlight.js";
import { useRoute } from "/page/router.js";
import { kept, useSignal } from "/page/store.js";
import { snippets } from "/page/snippets.js";

const NAMES = { curl: "curl", python: "Python", javascript: "JavaScript" };

/** The call as code, with a choice of language. `body`: as it is sent. */
export function Call({ method, path, body, type }) {
  const [language, setLanguage] = useState(kept.get("language", "curl"));
  const text = snippets({ method, path, body, type, protected: me.value?.protected })[language];
  const choose = (name) => {
    kept.set("language", name);
    setLanguage(name);
  };
  const copy = async () => {
    await copyText(text);
    toast("Copied");
  };
  return html`<section class="call" aria-label=${`${method} ${path}`}>
    <header>
      <span class=${`method ${method.toLowerCase()}`}>${method}</span><code class="call-path">${path}</code>
      <span class="segmented" role="group" aria-label="Language">
        ${Object.entries(NAMES).map(
          ([name, title]) => html`<button type="button" aria-pressed=${name === language ? "true" : "false"} onClick=${() => choose(name)}>${title}</button>`,
        )}
      </span>
      <button type="button" class="button quiet small square" aria-label="Copy the code" title="Copy the code" onClick=${copy}><${Icon} name="copy" /></button>
    </header>
    <pre tabindex="0" dangerouslySetInnerHTML=${{ __html: highlight(text, language) }}></pre>
  </section>`;
}

/** A button that shows the calls of this view, the newest first. */
export function Calls() {
  const { id } = useRoute();
  const [open, setOpen] = useState(false);
  const made = useSignal(calls)[id || "overview"] ?? [];
  return html`
    <button type="button" class="button quiet" title="The API calls behind this view" disabled=${!made.length} onClick=${() => setOpen(true)}>
      <${Icon} name="code" /><span class="wide-only">API</span>
    </button>
    ${open &&
    html`<${Dialog} title="The calls behind this view" wide onClose=${() => setOpen(false)}>
      <p class="muted">What this page just asked the server, the newest first. Any program can ask the same.</p>
      ${made.map((each) => html`<${Call} key=${each.method + each.path} ...${each} />`)}
    <//>`}
  `;
}
