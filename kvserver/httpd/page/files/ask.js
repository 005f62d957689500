// Requests to the node that serves the page, and to no other one. The token is kept here,
// in a variable: no storage, no cookie and no address ever holds it.

let token = "";

export const hasToken = () => token !== "";

export function useToken(text) {
  token = text;
}

/** Refusal is an answer that says no; its message is for people. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || `the node answers with status ${status}`);
    this.status = status;
    this.code = problem.code || "";
    this.outcome = problem.outcome || "";
  }
}

/** Gone says that there was no answer. */
export class Gone extends Error {}

async function send(path, { method = "GET", headers = {}, body, signal } = {}) {
  const all = { Accept: "application/json", ...headers };
  if (token) all.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(path, { method, headers: all, body, cache: "no-store", credentials: "omit", redirect: "error", signal });
  } catch {
    throw new Gone("the node does not answer");
  }
  if (answer.ok) return answer;
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // What answers is no node, or the answer was cut off: the status says enough.
  }
  throw new Refusal(answer.status, problem);
}

/** ask sends a request and returns the answer, whose header is there. */
export const ask = (path, { timeout = 8000, ...more } = {}) => send(path, { signal: AbortSignal.timeout(timeout), ...more });

/** askJSON asks for JSON. */
export async function askJSON(path, more) {
  const answer = await ask(path, more);
  try {
    return await answer.json();
  } catch {
    throw new Gone("the answer was cut off");
  }
}

/**
 * events reads a stream of Server-Sent Events as it comes, by fetch, because an EventSource
 * sends no token. It calls take with the name, the id and the data of each.
 */
export async function events(path, id, signal, take) {
  const answer = await send(path, { headers: { Accept: "text/event-stream", ...(id ? { "Last-Event-ID": id } : {}) }, signal });
  let event = { name: "", id: "", data: "" };
  await each(answer, (line) => {
    const at = line.indexOf(": "), field = line.slice(0, at), value = line.slice(at + 2);
    if (field === "event") event.name = value;
    else if (field === "id") event.id = value;
    else if (field === "data") event.data = value;
    else if (!line && event.name) {
      take(event.name, event.id, JSON.parse(event.data));
      event = { name: "", id: "", data: "" };
    }
  });
}

/** lines reads an answer of lines of JSON as they come, and calls take for each. */
export async function lines(path, signal, take) {
  const answer = await send(path, { headers: { Accept: "application/x-ndjson" }, signal });
  await each(answer, (line) => { if (line) take(JSON.parse(line)); });
}

/** each calls take for each line of an answer. */
async function each(answer, take) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      parts.forEach(take);
    }
  } catch (error) {
    if (error instanceof SyntaxError) throw error;
    throw new Gone("the stream was cut off");
  } finally {
    reader.cancel().catch(() => {});
  }
}
