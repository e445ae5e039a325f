// Requests. A call says what is asked for: {model, verb, query, rows | values | file, copies, part, accept}; without a verb,
// what is known of the model.

let key = "";
let askForKey = null;

// `ask` is called when the server wants a key, and gives a promise of one.
export function onKeyWanted(ask) {
  askForKey = ask;
}

async function request(path, options = {}) {
  const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401 && askForKey) {
    key = await askForKey();
    return request(path, options);
  }
  if (!answer.ok) {
    const { error } = await answer.json().catch(() => ({ error: answer.statusText }));
    throw new Error(error);
  }
  return answer;
}

export async function listModels() {
  return (await (await request("/v1/models")).json()).models;
}

export async function describe(name) {
  return (await request(`/v1/models/${encodeURIComponent(name)}`)).json();
}

export function pathOf(call) {
  const query = new URLSearchParams(call.query ?? {}).toString();
  return `/v1/models/${encodeURIComponent(call.model)}${call.verb ? `/${call.verb}` : ""}${query && "?"}${query}`;
}

// What the body of a call is, if it is no file: rows, each of them `copies` times, or values.
export function contentOf({ rows, copies, values }) {
  if (rows) return { rows: Array.from({ length: copies ?? 1 }, () => rows).flat() };
  return values ? { values } : null;
}

// The answer as it comes.
export function ask(call) {
  const headers = call.accept ? { accept: call.accept } : {};
  if (call.file) {
    const body = new FormData();
    body.append(call.part ?? "data", call.file);
    return request(pathOf(call), { method: "POST", headers, body });
  }
  const content = contentOf(call);
  if (content) headers["content-type"] = "application/json";
  return request(pathOf(call), { method: "POST", headers, body: content && JSON.stringify(content) });
}

// The answer as JSON.
export async function run(call) {
  return (await ask({ ...call, accept: "application/json" })).json();
}

export async function save(call) {
  const answer = await ask(call);
  const named = /filename="([^"]*)"/.exec(answer.headers.get("content-disposition") ?? "");
  const url = URL.createObjectURL(await answer.blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = named ? named[1] : call.verb;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
