import { Empty, Head, html } from "/page/parts.js";

function Overview() {
  return html`<${Head} title="Overview" /><${Empty} title="Soon" />`;
}

export const view = { id: "overview", title: "Overview", icon: "overview", path: "#/overview", component: Overview };
