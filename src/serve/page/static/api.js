// Talks to the server this page came from: adds the key, and makes one kind of error of all that goes wrong.

const ROOT = new URL("../", document.baseURI);
const KEY = "mlx-key";
let key = sessionStorage.getItem(KEY) || "";

export class ApiError extends Error {
  constructor(status, message, { code = null, param = null, headers = null, told = {} } = {}) {
    super(message);
    Object.assign(this, { status, code, param, headers, told });
  }
}

export const hasKey = () => key !== "";

export function useKey(text) {
  key = text.trim();
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export async function request(path, { body, signal, method = body === undefined ? "GET" : "POST" } = {}) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(new URL(path, ROOT), { method, headers, signal, cache: "no-store", body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "the server cannot be reached");
  }
  if (response.ok) return response;
  const found = await response.json().catch(() => ({}));
  const error = found.error ?? {};
  if (response.status === 401) document.dispatchEvent(new CustomEvent("mlx-key-wanted"));
  throw new ApiError(response.status, error.message ?? `status ${response.status}`, { ...error, headers: response.headers, told: found });
}

export const json = async (path, settings) => (await request(path, settings)).json();

// What there may be or not: null where this key may not see it, or the server has no such thing. A server that is not ready
// says so with a 503 that tells the rest all the same.
const absent = new Set();

export async function perhaps(path, read = "json") {
  if (absent.has(path)) return null;
  try {
    return await (await request(path))[read]();
  } catch (error) {
    if (error.status === 0 || !(error instanceof ApiError)) throw error;
    if (error.status === 404) absent.add(path);
    return error.status === 503 && error.told.models ? error.told : null;
  }
}

// The events of a stream, as objects. It is read to its end, past [DONE]: a server takes one that hangs up before for gone.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      rest = (rest + (value ?? "")).replaceAll("\r\n", "\n");
      const parts = rest.split("\n\n");
      rest = done ? "" : parts.pop();
      for (const part of parts) {
        const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
        if (data && data !== "[DONE]") yield JSON.parse(data);
      }
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
