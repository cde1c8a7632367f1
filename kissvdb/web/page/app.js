// The frame: the list of views at the left, the view that the address names, and what lies over it.
import { Component, html, render, useEffect, useState } from "/vendor/preact.js";
import { connection, forgetKey, generation, getKey, keyWanted, me, whoAmI } from "/page/api.js";
import { Overlays, toast } from "/page/dialogs.js";
import { Icon } from "/page/icons.js";
import { KeyDialog } from "/page/key_dialog.js";
import { CommandMenu, Help, helpOpen, menuOpen, MOD, useShortcuts } from "/page/menu.js";
import { link, useRoute } from "/page/router.js";
import { signal, useEvery, useSignal } from "/page/store.js";
import { VIEWS } from "/page/views.js";

const THEMES = { system: "screen", light: "sun", dark: "moon" };
const LOST_EVERY_MS = 1000;

const theme = signal(document.documentElement.dataset.theme ?? "system");
const keyAsked = signal(false);

function setTheme(name) {
  theme.value = name;
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  try {
    localStorage.setItem("kissvdb.theme", name);
  } catch {
    // Until the page is closed, then.
  }
}

const nextTheme = () => {
  const names = Object.keys(THEMES);
  setTheme(names[(names.indexOf(theme.value) + 1) % names.length]);
  toast(`Colours: ${theme.value}`);
};

const COMMANDS = [
  { id: "theme", title: "Colours: light, dark, system", icon: "sun", keys: "t", run: nextTheme },
  { id: "use-key", title: "Use another API key", icon: "keys", run: () => (keyAsked.value = true) },
  { id: "forget-key", title: "Forget the API key", icon: "keys", run: forgetKey },
  { id: "docs", title: "Open the API description", icon: "external", run: () => open("/docs", "_blank", "noopener") },
  { id: "help", title: "Shortcuts", icon: "help", run: () => (helpOpen.value = true) },
];

/** A view that fails does not take the others with it. */
class Guard extends Component {
  constructor() {
    super();
    this.state = { error: null };
  }
  static getDerivedStateFromError(error) {
    return { error };
  }
  componentDidCatch(error) {
    // Seen by whoever develops, and by the tests.
    console.error(error);
  }
  render({ children }, { error }) {
    if (!error) return children;
    return html`<div class="problem" role="alert"><${Icon} name="warning" /><div><strong>This view failed.</strong> ${String(error.message ?? error)}</div>
      <button type="button" class="button small" onClick=${() => this.setState({ error: null })}>Draw it again</button></div>`;
  }
}

function View() {
  const route = useRoute();
  const round = useSignal(generation);
  const entry = VIEWS.find((each) => each.id === (route.id || "overview"));
  const [loaded, setLoaded] = useState({});
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    document.title = `${entry?.title ?? "kissvdb"} · kissvdb`;
    setProblem(null);
    if (!entry || loaded[entry.id]) return;
    entry.load().then(
      (module) => setLoaded((before) => ({ ...before, [entry.id]: module.view.component })),
      (error) => setProblem(error),
    );
  }, [entry?.id]);
  if (!entry) return html`<div class="problem" role="alert"><div>There is no view <code>${route.id}</code>: choose one at the left.</div></div>`;
  if (problem) return html`<div class="problem" role="alert"><div>The view could not be loaded: ${problem.message}. Is the server running?</div></div>`;
  const Found = loaded[entry.id];
  return Found ? html`<${Guard} key=${`${entry.id}-${round}`}><${Found} route=${route} /><//>` : null;
}

function Who() {
  const who = useSignal(me);
  if (!who) return null;
  const name = who.protected ? who.name : "no key needed";
  const scoped = who.scopes ? ", some names only" : "";
  return html`<button type="button" class="who" title="Use another API key" onClick=${() => (keyAsked.value = true)}>
    <${Icon} name="keys" /><span><b>${name}</b><small>${who.role}${scoped}</small></span>
  </button>`;
}

function Side({ open, onChoose }) {
  const { id } = useRoute();
  const colours = useSignal(theme);
  return html`<aside class=${open ? "side open" : "side"} id="side">
    <a class="brand" href="#/" onClick=${onChoose}><img src="/page/icon.svg" alt="" width="20" height="20" /><span>kissvdb</span></a>
    <button type="button" class="find" onClick=${() => (menuOpen.value = true)}>
      <${Icon} name="search" /><span>Commands</span><kbd>${MOD} K</kbd>
    </button>
    <nav aria-label="Views">
      ${VIEWS.map(
        (each) => html`<a href=${link(each.id)} key=${each.id} aria-current=${each.id === (id || "overview") ? "page" : undefined} onClick=${onChoose}>
          <${Icon} name=${each.icon} /><span>${each.title}</span>
        </a>`,
      )}
    </nav>
    <div class="side-end">
      <${Who} />
      <div class="side-row">
        <a class="button quiet small" href="/docs" target="_blank" rel="noopener"><${Icon} name="external" />API</a>
        <button type="button" class="button quiet small square" aria-label="Shortcuts" title="Shortcuts (?)" onClick=${() => (helpOpen.value = true)}><${Icon} name="help" /></button>
        <button type="button" class="button quiet small square" aria-label=${`Colours: ${colours}`} title=${`Colours: ${colours} (t)`} onClick=${nextTheme}><${Icon} name=${THEMES[colours]} /></button>
      </div>
    </div>
  </aside>`;
}

function Lost() {
  const state = useSignal(connection);
  const [since] = useState(Date.now());
  useEvery(LOST_EVERY_MS, () => whoAmI().catch(() => {}));
  const text =
    state === "starting" ? "The server is starting and recovers its data" : `No answer from ${location.host}: it is asked again every second`;
  return html`<div class="banner" role="alert" data-since=${since}><i class="pulse"></i>${text}</div>`;
}

function App() {
  const state = useSignal(connection);
  const wanted = useSignal(keyWanted);
  const asked = useSignal(keyAsked);
  const who = useSignal(me);
  const [open, setOpen] = useState(false);
  // Who does not want to enter one now is not asked again by each answer without it.
  const [dismissed, setDismissed] = useState(false);
  useEffect(() => setDismissed(false), [wanted]);
  useShortcuts(VIEWS, COMMANDS);
  useEffect(() => {
    whoAmI().catch(() => {});
  }, []);
  // Without an answer to who one is, views would only fail one by one.
  const ready = who !== null || state !== "ok";
  return html`
    <a class="skip" href="#main" onClick=${(event) => (event.preventDefault(), document.getElementById("main").focus())}>To the content</a>
    <div class="top" role="banner">
      <button type="button" class="button quiet square" aria-label="Views" aria-expanded=${open ? "true" : "false"} aria-controls="side" onClick=${() => setOpen(!open)}><${Icon} name=${open ? "close" : "menu"} /></button>
      <a class="brand" href="#/"><img src="/page/icon.svg" alt="" width="20" height="20" /><span>kissvdb</span></a>
      <button type="button" class="button quiet square" aria-label="Commands" onClick=${() => (menuOpen.value = true)}><${Icon} name="search" /></button>
    </div>
    <${Side} open=${open} onChoose=${() => setOpen(false)} />
    ${open && html`<div class="shade" onClick=${() => setOpen(false)}></div>`}
    <main id="main" tabindex="-1">
      ${state !== "ok" && html`<${Lost} key=${state} />`}
      ${who !== null && html`<${View} />`}
      ${!ready && wanted === null && html`<div class="loading" role="status">Loading…</div>`}
      ${who === null && wanted !== null && html`<div class="empty"><${Icon} name="keys" /><strong>This server needs an API key</strong><div><button type="button" class="button primary" onClick=${() => (keyAsked.value = true)}>Enter a key</button></div></div>`}
    </main>
    ${((wanted !== null && !dismissed) || asked) && html`<${KeyDialog} reason=${wanted} hadKey=${Boolean(getKey())} onDone=${() => (keyAsked.value = false)} onClose=${() => ((keyAsked.value = false), setDismissed(true))} />`}
    <${CommandMenu} views=${VIEWS} commands=${COMMANDS} />
    <${Help} views=${VIEWS} commands=${COMMANDS} />
    <${Overlays} />
  `;
}

render(html`<${App} />`, document.getElementById("app"));
