// Asks for an API key. It stays in this tab (sessionStorage) and goes out in a header only.
import { html, useState } from "/vendor/preact.js";
import { setKey } from "/page/api.js";
import { Dialog, toast } from "/page/dialogs.js";

/** `reason`: what the server said, where it refused; null: somebody wants another key. */
export function KeyDialog({ reason, hadKey, onDone, onClose }) {
  const [text, setText] = useState("");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const use = async () => {
    setBusy(true);
    try {
      await setKey(text.trim());
      toast("The key is in use", "good");
      onDone();
    } catch (problem) {
      setError(problem.status === 401 || problem.status === 403 ? `The server does not take this key: ${problem.message}` : problem.message);
    }
    setBusy(false);
  };
  const actions = html`
    <button type="button" class="button" onClick=${onClose}>Cancel</button>
    <button type="submit" class="button primary" disabled=${busy || !text.trim()}>Use this key</button>
  `;
  return html`<${Dialog} title="API key" onClose=${onClose} onSubmit=${use} actions=${actions}>
    <p class="muted">${reason !== null ? (hadKey ? "The server no longer takes the key that was used." : "This server needs an API key.") : "From now on this tab asks with the key that you enter."}
    ${" "}It is kept in this tab only, and sent in a header.</p>
    <div class="field">
      <label for="api-key">API key</label>
      <input id="api-key" data-first type="password" value=${text} autocomplete="off" spellcheck=${false} aria-invalid=${error ? "true" : undefined} aria-describedby="api-key-hint" onInput=${(event) => setText(event.target.value)} />
      <small id="api-key-hint" class=${error ? "bad" : ""} role=${error ? "alert" : undefined}>${error ?? "The server's own key (API_KEY), or one of kissvdb keys create"}</small>
    </div>
  <//>`;
}
