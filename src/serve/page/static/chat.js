// The conversation: streams answers, and shows beside each which model gave it and why, from which files, at what cost.

import { ApiError, events, request } from "./api.js";
import { byId, el, number, options } from "./dom.js";
import { markdown } from "./markdown.js";

const NEAR = 120; // pixels from the end within which the page follows an answer
let said = [];
let under_way = null;

// What answers took, for the view of the status.
export const seen = [];

export function chatModels(names) {
  options(byId("model"), names.map((name) => [name, name]));
  byId("send").disabled = names.length === 0;
  empty();
}

export function startChat() {
  const text = byId("text");
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if (text.value.trim() && !under_way && byId("model").value) say(text.value.trim());
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("composer").requestSubmit();
  });
  text.addEventListener("input", grow);
  byId("stop").addEventListener("click", () => under_way?.abort());
  byId("fresh").addEventListener("click", () => {
    under_way?.abort();
    said = [];
    byId("said").replaceChildren();
    empty();
    text.focus();
  });
}

function grow() {
  const text = byId("text");
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + 2}px`;
}

function empty() {
  if (said.length || byId("said").querySelector(".turn")) return;
  const hint = byId("model").options.length ? "Ask something. Under each answer stands which model gave it, and why." : "No model that talks is served here.";
  byId("said").replaceChildren(el("p", { class: "empty" }, hint));
}

function say(text) {
  byId("said").querySelector(".empty")?.remove();
  byId("text").value = "";
  grow();
  byId("said").append(el("div", { class: "turn user" }, text));
  said.push({ role: "user", content: text });
  answer();
}

async function answer() {
  const turn = el("div", { class: "turn assistant" }, el("div", { class: "words thinking" }), el("div", { class: "told" }));
  byId("said").append(turn);
  turn.scrollIntoView({ block: "end" });
  const asked = said;
  const reply = { text: "", thoughts: "", usage: null, began: performance.now(), first: null, headers: null, finish: null };
  under_way = new AbortController();
  busy(true);
  const waiting = wait(turn, reply);
  try {
    await stream(turn, reply, under_way.signal);
    remember(asked, reply.text);
  } catch (error) {
    if (error.name !== "AbortError") failed(turn, reply, error);
    else {
      reply.finish = "stopped";
      remember(asked, reply.text);
    }
  } finally {
    waiting();
    under_way = null;
    busy(false);
    turn.firstChild.classList.remove("thinking");
    show(turn, reply);
    tell(turn, reply);
  }
}

// Tells how long there is nothing yet: a model may have to be loaded. Gives what ends it.
function wait(turn, reply) {
  const told = el("span", {});
  turn.lastChild.append(told);
  const clock = setInterval(() => {
    const seconds = (performance.now() - reply.began) / 1000;
    told.textContent = reply.first ? "" : `${number(seconds)} s${seconds > 4 ? "; a model may have to be loaded first" : ""}`;
  }, 1000);
  return () => (clearInterval(clock), told.remove());
}

// What was begun and stopped counts as said; of nothing there is nothing to go on from.
const remember = (asked, text) => text && asked.push({ role: "assistant", content: text });

async function stream(turn, reply, signal) {
  const response = await request("v1/chat/completions", { body: body(), signal });
  reply.headers = response.headers;
  let drawn = 0;
  for await (const event of events(response)) {
    if (event.error) throw new ApiError(200, event.error.message ?? "the answer broke off", event.error);
    reply.usage = event.usage ?? reply.usage;
    const choice = event.choices?.[0];
    const delta = choice?.delta ?? {};
    reply.finish = choice?.finish_reason ?? reply.finish;
    reply.text += delta.content ?? "";
    reply.thoughts += delta.reasoning_content ?? "";
    for (const call of delta.tool_calls ?? []) reply.text += call.function?.name ? `\n\`${call.function.name}\` ` : (call.function?.arguments ?? "");
    if (reply.first === null && (reply.text || reply.thoughts)) reply.first = performance.now();
    if (performance.now() - drawn > 60) {
      show(turn, reply);
      drawn = performance.now();
    }
  }
  if (reply.first) seen.push({ model: answeredBy(reply), seconds: (reply.first - reply.began) / 1000, at: Date.now() });
}

function body() {
  const system = byId("system").value.trim();
  const made = { model: byId("model").value, messages: system ? [{ role: "system", content: system }, ...said] : said, stream: true };
  made.stream_options = { include_usage: true };
  if (byId("temperature").value !== "") made.temperature = Number(byId("temperature").value);
  if (byId("longest").value !== "") made.max_tokens = Number(byId("longest").value);
  return made;
}

function show(turn, reply) {
  const follows = document.documentElement.scrollHeight - window.innerHeight - window.scrollY < NEAR;
  const thoughts = reply.thoughts && el("details", { class: "thoughts" }, el("summary", {}, "Thoughts"), el("pre", {}, reply.thoughts));
  turn.firstChild.replaceChildren(...(thoughts ? [thoughts] : []), markdown(reply.text));
  if (follows) window.scrollTo({ top: document.documentElement.scrollHeight });
}

const answeredBy = (reply) => reply.headers?.get("x-mlx-route")?.split(";")[0].trim() || byId("model").value;

function tell(turn, reply) {
  const told = turn.lastChild;
  const header = (name) => reply.headers?.get(name);
  const [model, ...why] = (header("x-mlx-route") ?? "").split(";");
  const tries = Number(header("x-mlx-tries") ?? 1);
  if (model) told.append(chip("route", [el("b", {}, model.trim()), why.join(";").trim()].filter(Boolean), "which model answered, and why"));
  if (tries > 1) told.append(chip("warn", [`${tries} tries`], "how often models were asked until one answered"));
  if (reply.usage) told.append(chip("", [`${number(reply.usage.prompt_tokens)} in · ${number(reply.usage.completion_tokens)} out`], "tokens"));
  if (reply.first) told.append(chip("", [times(reply)], "time to the first token, and tokens a second after it"));
  if (reply.finish && reply.finish !== "stop") told.append(chip("warn", [{ length: "cut at its longest" }[reply.finish] ?? reply.finish.replace("_", " ")]));
  if (reply.text) told.append(copying(reply.text));
  memory(told, header("x-mlx-memory"), header("x-mlx-sources"));
}

function times(reply) {
  const first = (reply.first - reply.began) / 1000;
  const rest = (performance.now() - reply.first) / 1000;
  const rate = reply.usage && rest > 0.05 ? ` · ${number(reply.usage.completion_tokens / rest, 0)}/s` : "";
  return `${number(first, 2)} s${rate}`;
}

function memory(told, text, listed) {
  if (!text) return;
  if (text === "unavailable") {
    told.append(chip("warn", ["memory unavailable"], "this answer was given without memory"));
    return;
  }
  const sources = parsed(listed);
  if (!sources.length) told.append(chip("", [`memory: ${text}`]));
  else told.append(el("details", { class: "sources" }, el("summary", {}, `Draws on ${text} of memory`), el("ol", {}, ...sources.map((each) => el("li", {}, each)))));
}

function parsed(text) {
  try {
    return [...new Set(JSON.parse(text ?? "[]").map(String))];
  } catch {
    return [];
  }
}

const chip = (kind, parts, title = "") => el("span", { class: `chip ${kind}`, title: title || false }, ...parts);

function copying(text) {
  const button = el("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text).then(() => (button.textContent = "Copied"), () => (button.textContent = "Not allowed"));
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}

function failed(turn, reply, error) {
  reply.headers ??= error.headers;
  const wait = error.headers?.get("retry-after");
  const again = el("button", { type: "button", class: "quiet" }, "Try again");
  again.addEventListener("click", () => {
    if (under_way) return;
    turn.remove();
    answer();
  });
  const words = `${error.message}${error.status ? ` (${error.status}${error.code ? `, ${error.code}` : ""})` : ""}${wait ? `, again in ${wait} s` : ""}`;
  turn.lastChild.append(el("span", { class: "failed", role: "alert" }, words), again);
}

function busy(on) {
  byId("send").hidden = on;
  byId("stop").hidden = !on;
}
