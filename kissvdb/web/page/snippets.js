// A request as a program would make it: curl, the Python client, the JavaScript client.
const JSON_TYPE = "application/json";

const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** A JSON value as a Python literal. */
export function python(value, indent = "") {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const more = `${indent}    `;
  const list = Array.isArray(value);
  const parts = list ? value.map((each) => python(each, more)) : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${python(each, more)}`);
  const [open, close] = list ? "[]" : "{}";
  const line = `${open}${parts.join(", ")}${close}`;
  return line.length + indent.length <= 76 && !line.includes("\n") ? line : `${open}\n${more}${parts.join(`,\n${more}`)},\n${indent}${close}`;
}

/** `{curl, python, javascript}` of `{method, path, body, type, protected}`. */
export function snippets(request) {
  const url = new URL(request.path, location.origin);
  const json = (request.type ?? JSON_TYPE) === JSON_TYPE;
  const body = json && typeof request.body === "string" ? parsed(request.body) : request.body;
  const made = known(request.method, url, body);
  return {
    curl: curl(request, url),
    python: inPython(request, url, body, made?.python),
    javascript: inJavaScript(request, url, body, made?.javascript),
  };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function curl({ method, body, type = JSON_TYPE, protected: locked, path }, url) {
  const quick = method === "GET" || (method === "POST" && body !== undefined);
  const stream = path.startsWith("/v1/stream") ? " -N" : "";
  const lines = [`curl${stream}${quick ? "" : ` -X ${method}`} ${shell(url.href)}`];
  if (locked) lines.push('-H "authorization: Bearer $KISSVDB_KEY"');
  if (body !== undefined) {
    lines.push(`-H ${shell(`content-type: ${type}`)}`);
    lines.push(`-d ${shell(typeof body === "string" ? body : JSON.stringify(body))}`);
  }
  return lines.join(" \\\n  ");
}

function inPython({ method, protected: locked, type = JSON_TYPE }, url, body, made) {
  const open = `Client("${url.origin}"${locked ? ', key=os.environ["KISSVDB_KEY"]' : ""})`;
  const first = locked ? "import os\n\n" : "";
  if (made) return `${first}from kissvdb.client import Client\n\nwith ${open} as client:\n    ${made}`;
  const lines = [`${locked ? "import os\n" : ""}import json\nfrom urllib.request import Request, urlopen\n`];
  if (body !== undefined) lines.push(`body = ${python(body)}`);
  const headers = body === undefined ? {} : { "content-type": type };
  const given = python(headers).replace(/}$/, locked ? `${body === undefined ? "" : ", "}"authorization": f"Bearer {os.environ['KISSVDB_KEY']}"}` : "}");
  const data = body === undefined ? "" : type === JSON_TYPE ? ", json.dumps(body).encode()" : ", body.encode()";
  lines.push(`request = Request("${url.href}"${data}, ${given}, method="${method}")`);
  lines.push("print(urlopen(request).read().decode())");
  return lines.join("\n");
}

function inJavaScript({ method, protected: locked, type = JSON_TYPE }, url, body, made) {
  if (made) {
    const key = locked ? ', key: "..."' : "";
    return `import { Client } from "${url.origin}/kissvdb.js";\n\nconst db = new Client({ url: "${url.origin}"${key} });\n${made}`;
  }
  const headers = {
    ...(locked ? { authorization: "Bearer ..." } : {}),
    ...(body === undefined ? {} : { "content-type": type }),
  };
  const options = [
    method === "GET" ? "" : `method: "${method}"`,
    Object.keys(headers).length ? `headers: ${JSON.stringify(headers)}` : "",
    body === undefined ? "" : type === JSON_TYPE ? `body: JSON.stringify(${JSON.stringify(body, null, 2)})` : `body: ${JSON.stringify(body)}`,
  ].filter(Boolean);
  const more = options.length ? `, {\n  ${options.join(",\n  ")},\n}` : "";
  return `const answer = await fetch("${url.href}"${more});\nconsole.log(await answer.text());`;
}

const q = JSON.stringify;

/** What the clients have a method for; null for the rest. */
function known(method, url, body) {
  const path = url.pathname;
  const given = Object.fromEntries(url.searchParams);
  const state = /^\/v1\/state\/(?!batch_put$)(.+)$/.exec(path);
  if (path === "/v1/stream") {
    const pick = ["since", "types", "key", "key_prefix", "collection", "table", "job_id", "tag"].filter((name) => given[name]);
    const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
    const number = (name) => (name === "since" && /^\d+$/.test(given[name]) ? given[name] : q(given[name]));
    const types = (name) => (name === "types" ? `[${given.types.split(",").map(q).join(", ")}]` : number(name));
    return {
      python: `for event in client.stream.events(${pick.map((name) => `${name}=${types(name)}`).join(", ")}):\n        print(event)`,
      javascript: `for await (const event of db.subscribe({ ${pick.map((name) => `${camel(name)}: ${types(name)}`).join(", ")} })) console.log(event);`,
    };
  }
  if (state) return ofKey(method, decodeURIComponent(state[1]), given, body);
  if (method === "POST" && path === "/v1/sql/query") {
    const params = body.params === undefined ? "" : `, ${python(body.params)}`;
    return {
      python: `for row in client.sql.query(${q(body.sql)}${params}):\n        print(row)`,
      javascript: `console.log(await db.sql.query(${q(body.sql)}${body.params === undefined ? "" : `, ${q(body.params)}`}));`,
    };
  }
  return null;
}

function ofKey(method, key, given, body) {
  if (method === "GET") return { python: `print(client.state.get(${q(key)}))`, javascript: `console.log(await db.state.get(${q(key)}));` };
  if (method === "DELETE") {
    const only = given.if_revision;
    return {
      python: `client.state.delete(${q(key)}${only ? `, if_revision=${only}` : ""})`,
      javascript: `await db.state.delete(${q(key)}${only ? `, { ifRevision: ${only} }` : ""});`,
    };
  }
  if (method !== "PUT" || !body || typeof body !== "object") return null;
  const names = ["ttl_ms", "if_revision"].filter((name) => body[name] !== undefined);
  const camel = { ttl_ms: "ttlMs", if_revision: "ifRevision" };
  const more = names.length ? `, { ${names.map((name) => `${camel[name]}: ${body[name]}`).join(", ")} }` : "";
  return {
    python: `client.state.put(${q(key)}, ${python(body.value, "    ")}${names.map((name) => `, ${name}=${body[name]}`).join("")})`,
    javascript: `await db.state.put(${q(key)}, ${JSON.stringify(body.value, null, 2)}${more});`,
  };
}
