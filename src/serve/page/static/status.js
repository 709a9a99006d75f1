// The view of the status: models and how they do, what lies in memory, times, budgets; asked anew as long as it is looked at.

import { perhaps } from "./api.js";
import { trace, wideIn } from "./charts.js";
import { seen } from "./chat.js";
import { byId, el, number } from "./dom.js";
import { readMetrics } from "./metrics.js";

const EVERY = 3000; // milliseconds between two looks
const GOOD = { ready: "good", loaded: "good", degraded: "warn", loading: "warn", restarting: "warn", resting: "warn", unloaded: "" };
let timer = null;

export function startStatus() {
  document.addEventListener("visibilitychange", () => !byId("status").hidden && watchStatus(!document.hidden));
}

export function watchStatus(on) {
  clearTimeout(timer);
  timer = null;
  if (on) look();
}

async function look() {
  const mine = (timer = setTimeout(() => {}, 0));
  try {
    const [health, text, memory, budget] = await Promise.all([perhaps("health/ready"), perhaps("metrics", "text"), perhaps("v1/memory"), perhaps("v1/budget")]);
    draw(health, readMetrics(text ?? ""), memory, budget);
    byId("as-of").textContent = `As of ${new Date().toLocaleTimeString("en-GB")}.`;
  } catch (error) {
    byId("as-of").textContent = `${error.message}; what stands here is older.`;
  }
  if (timer === mine) timer = setTimeout(look, EVERY);
}

function draw(health, metrics, memory, budget) {
  tiles(health, metrics, memory);
  models(health, metrics);
  paths(metrics);
  residency(health?.residency ?? []);
  budgets(budget);
  byId("latency").replaceChildren(seen.length ? trace(wideIn(byId("status")), seen.slice(-60).map((each) => each.seconds), "s") : faint("Nothing was asked from this page yet."));
}

const faint = (text) => el("p", { class: "faint" }, text);
const chip = (state) => el("span", { class: `chip ${GOOD[state] ?? "bad"}` }, state);
const seconds = (value) => (value == null ? "–" : value < 1 ? `${number(1000 * value)} ms` : `${number(value, 1)} s`);

function tiles(health, metrics, memory) {
  const tile = (value, text) => el("div", { class: "tile" }, el("b", {}, value), el("span", {}, text));
  const all = metrics.sum("mlx_requests_total");
  const made = [tile(health?.status ?? "not told", "server")];
  if (!metrics.empty) {
    made.push(tile(number(all), "requests answered"));
    made.push(tile(number(metrics.sum("mlx_model_inflight")), "under way"));
    made.push(tile(`${number(metrics.sum("mlx_worker_memory_bytes") / 1e6)} MB`, "memory of the gateway"));
    const [used, there] = ["used", "total"].map((kind) => metrics.sum("mlx_gpu_memory_bytes", { kind }));
    if (there) made.push(tile(`${number(used / 2 ** 30, 1)} of ${number(there / 2 ** 30)} GB`, "GPU memory"));
  }
  if (memory) made.push(tile(memory.state === "ready" ? `${number(memory.files)} files` : memory.state, memory.state === "ready" ? `memory, ${number(memory.passages)} passages` : "memory"));
  byId("tiles").replaceChildren(...made);
}

function table(id, heads, rows, without) {
  const kind = (value) => (value instanceof Node ? {} : { class: "number" });
  const cell = (value) => el("td", kind(value), value);
  const head = el("tr", {}, ...heads.map((name, place) => el("th", kind(rows[0]?.[place]), name)));
  byId(id).replaceChildren(...(rows.length ? [el("thead", {}, head), el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell))))] : [el("caption", { class: "faint" }, without)]));
}

function models(health, metrics) {
  const states = Object.entries(health?.models ?? {}).map(([name, told]) => [name, typeof told === "string" ? told : told.state, told.why]);
  const count = (name, result) => (metrics.empty ? "–" : number(metrics.sum("mlx_model_tries_total", { model: name, result })));
  const rows = states.map(([name, state, why]) => {
    const inside = metrics.empty ? "–" : number(metrics.sum("mlx_model_inflight", { model: name }));
    const tokens = metrics.empty ? "–" : number(metrics.sum("mlx_tokens_total", { model: name }));
    return [el("span", {}, name), el("span", {}, chip(state), why ? ` its server ${why}` : null), inside, count(name, "answered"), count(name, "failed"), tokens];
  });
  table("upstreams", ["model", "state", "under way", "answered", "failed", "tokens"], rows, "The server does not tell its models to this key.");
}

function paths(metrics) {
  const rows = metrics.values("mlx_requests_total", "path").map((path) => {
    const of = (share, name) => seconds(metrics.quantile(name, share, { path }));
    return [el("code", {}, path), number(metrics.sum("mlx_requests_total", { path })), of(0.5, "mlx_first_byte_seconds"), of(0.99, "mlx_first_byte_seconds"), of(0.5, "mlx_request_seconds")];
  });
  table("paths", ["path", "requests", "first byte, median", "99 of 100", "whole, median"], rows, "This key may not read /metrics.");
}

function residency(slots) {
  if (!slots.length) return byId("residency").replaceChildren(faint("No budget of memory is set (serve.residency)."));
  const rows = slots.map((slot) => el("div", { class: "meter" }, el("span", {}, slot.model), el("span", {}, chip(slot.state), ` ${number(slot.vram_gb, 1)} GB GPU · ${number(slot.ram_gb, 1)} GB RAM${slot.waiting ? ` · ${slot.waiting} waiting` : ""}`)));
  return byId("residency").replaceChildren(...rows);
}

function budgets(budget) {
  const limits = Object.entries(budget?.limits ?? {});
  if (!budget) return byId("budget").replaceChildren(faint("This server counts nobody's requests, or wants a key."));
  const rows = limits.map(([name, { used, limit }]) =>
    el("div", { class: "meter" }, el("span", {}, name.replaceAll("_", " ")), el("span", {}, limit === null ? `${number(used)}, no limit` : `${number(used)} of ${number(limit)}`),
      limit === null ? null : el("progress", { max: limit, value: Math.min(used, limit), "aria-label": name })));
  return byId("budget").replaceChildren(faint(`Role ${budget.role}.`), ...rows);
}
