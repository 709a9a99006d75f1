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
  residency(health?.residency ?? [], health?.room ?? {});
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
  const held = Object.fromEntries((health?.residency ?? []).map((slot) => [slot.model, slot.state]));
  const copies = (name) => ["answered", "failed", "left_out"].map((result) => number(metrics.sum("mlx_shadow_copies_total", { model: name, result }))).join(" / ");
  const counted = metrics.values("mlx_tokens_total", "model").length > 0; // of callers with a key alone
  const copied = metrics.values("mlx_shadow_copies_total", "model");
  const rows = states.map(([name, state, why]) => {
    const inside = metrics.empty ? "–" : number(metrics.sum("mlx_model_inflight", { model: name }));
    const shown = el("span", {}, chip(state === "ready" ? held[name] ?? state : state), why ? ` its server ${why}` : null);
    const made = [el("span", {}, name), shown, inside, count(name, "answered"), count(name, "failed")];
    if (counted) made.push(number(metrics.sum("mlx_tokens_total", { model: name })));
    if (copied.length) made.push(copied.includes(name) ? copies(name) : "–");
    return made;
  });
  const heads = ["model", "state", "under way", "answered", "failed", ...(counted ? ["tokens"] : []), ...(copied.length ? ["shadow: answered / failed / left out"] : [])];
  table("upstreams", heads, rows, "The server does not tell its models to this key.");
}

function paths(metrics) {
  const rows = metrics.values("mlx_requests_total", "path").map((path) => {
    const of = (share, name) => seconds(metrics.quantile(name, share, { path }));
    return [el("code", {}, path), number(metrics.sum("mlx_requests_total", { path })), of(0.5, "mlx_first_byte_seconds"), of(0.99, "mlx_first_byte_seconds"), of(0.5, "mlx_request_seconds")];
  });
  table("paths", ["path", "requests", "first byte, median", "99 of 100", "whole, median"], rows, "This key may not read /metrics.");
}

const gb = (value) => number(value, Number.isInteger(value) ? 0 : 1);
const KINDS = [["vram_gb", "GPU"], ["ram_gb", "RAM"]];

function residency(slots, room) {
  if (!slots.length) return byId("residency").replaceChildren(faint("No budget of memory is set (serve.residency)."));
  const sums = KINDS.filter(([kind]) => room[kind]).map(([kind, name]) => {
    const taken = slots.filter((slot) => slot.state !== "unloaded").reduce((sum, slot) => sum + slot[kind], 0);
    return meter(`${name} in use`, `${gb(taken)} of ${gb(room[kind])} GB`, taken, room[kind]);
  });
  const rows = slots.map((slot) => {
    const takes = KINDS.filter(([kind]) => slot[kind]).map(([kind, name]) => `${gb(slot[kind])} GB ${name}`);
    const waits = [slot.requests && `${slot.requests} under way`, slot.waiting && `${slot.waiting} waiting`].filter(Boolean);
    return el("div", { class: "meter" }, el("span", {}, slot.model), el("span", {}, chip(slot.state), ` ${[...takes, ...waits].join(" · ")}`));
  });
  return byId("residency").replaceChildren(...sums, ...rows);
}

const meter = (name, words, value, most) =>
  el("div", { class: "meter" }, el("span", {}, name), el("span", {}, words), most === null ? null : el("progress", { max: most, value: Math.min(value, most), "aria-label": name }));

function budgets(budget) {
  const limits = Object.entries(budget?.limits ?? {});
  if (!budget) return byId("budget").replaceChildren(faint("This server counts nobody's requests, or wants a key."));
  const rows = limits.map(([name, { used, limit }]) =>
    meter(name.replaceAll("_", " "), limit === null ? `${number(used)}, no limit` : `${number(used)} of ${number(limit)}`, used, limit));
  return byId("budget").replaceChildren(faint(`Role ${budget.role}.`), ...rows);
}
