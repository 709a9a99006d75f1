// The classification view: a text, or a CSV file whose rows are classified in batches, with a dashboard of what came out.

import { ApiError, json } from "./api.js";
import { readCsv } from "./csv.js";
import { dashboard, one } from "./dashboard.js";
import { byId, number, options } from "./dom.js";

const BATCH = 64; // texts a request
const AT_ONCE = 3; // requests at a time
const MOST_MB = 20;
const MOST_ROWS = 50_000;
const TEXT = /^(text|tweet|title|headline|content|body|message|comment|review|sentence)s?$/i;
const GROUP = /(?<![a-z])(date|day|time|created|ticker|symbol|source|author|category|topic)/i; // no part of a word, as of sen-time-nt
let table = null;
let stopping = null;

export function classifyModels(names) {
  options(byId("classifier-model"), names.map((name) => [name, name]));
  byId("no-classifier").hidden = names.length > 0;
  byId("classifier").hidden = names.length === 0;
}

export function startClassify() {
  byId("texts-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const rows = byId("texts").value.split("\n").map((line) => line.trim()).filter(Boolean).map((text) => ({ text, group: "", cells: [text] }));
    if (rows.length) run(rows, { names: ["text"], grouped: null });
  });
  byId("file").addEventListener("change", () => byId("file").files[0] && open(byId("file").files[0]));
  const drop = byId("drop");
  for (const [kind, on] of [["dragover", true], ["dragleave", false], ["drop", false]])
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", on);
      if (kind === "drop" && event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
    });
  byId("columns").addEventListener("submit", (event) => {
    event.preventDefault();
    const [text, group] = [Number(byId("column-text").value), Number(byId("column-group").value)];
    const rows = table.rows.map((cells) => ({ text: cells[text].trim(), group: group < 0 ? "" : cells[group].trim(), cells })).filter((row) => row.text);
    run(rows, { names: table.names, grouped: group < 0 ? null : table.names[group] });
  });
  byId("progress").querySelector("button").addEventListener("click", () => stopping?.abort());
}

async function open(file) {
  byId("columns").hidden = true;
  if (file.size > MOST_MB * 1e6) return told(`${file.name} has more than ${MOST_MB} MB; split it.`);
  table = readCsv(new TextDecoder("utf-8").decode(await file.arrayBuffer()));
  if (!table.rows.length) return told(`${file.name} has no rows under its line of headings.`);
  const cut = table.rows.length > MOST_ROWS;
  table.rows = table.rows.slice(0, MOST_ROWS);
  told(cut ? `The first ${number(MOST_ROWS)} rows are taken.` : "");
  const names = table.names.map((name, place) => [String(place), name]);
  const mean = (place) => table.rows.slice(0, 200).reduce((sum, row) => sum + row[place].length, 0);
  const longest = table.names.map((_, place) => place).sort((a, b) => mean(b) - mean(a))[0];
  const named = table.names.findIndex((name) => TEXT.test(name.trim()));
  const text = named >= 0 ? named : longest;
  options(byId("column-text"), names, String(text));
  const group = table.names.findIndex((name, place) => place !== text && GROUP.test(name));
  options(byId("column-group"), [["-1", "nothing"], ...names], String(group));
  byId("row-count").textContent = `${number(table.rows.length)} rows`;
  byId("columns").hidden = false;
}

async function run(rows, table) {
  stopping?.abort();
  const mine = (stopping = new AbortController());
  byId("dashboard").hidden = true;
  const results = Array(rows.length).fill(null);
  const batches = Array.from({ length: Math.ceil(rows.length / BATCH) }, (_, place) => place * BATCH);
  let done = 0;
  const worker = async () => {
    for (let start; !mine.signal.aborted && (start = batches.shift()) !== undefined; ) {
      await batch(rows, results, start, mine.signal);
      done = Math.min(rows.length, done + BATCH);
      progress(done, rows.length);
    }
  };
  progress(0, rows.length);
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    told("");
  } catch (error) {
    mine.abort();
    told(error.name === "AbortError" ? "Stopped: what follows is as far as it came." : error.message);
  }
  if (stopping !== mine) return;
  stopping = null;
  const kept = rows.map((row, place) => ({ ...row, ...results[place] })).filter((row) => row.label || row.error);
  if (!kept.length) return;
  byId("dashboard").replaceChildren(...(rows.length === 1 && kept[0].label ? one(kept[0]) : dashboard(kept, table)));
  byId("dashboard").hidden = false;
}

// A text that the server does not take is noted, and the others of its batch are asked again.
async function batch(rows, results, start, signal) {
  let places = rows.slice(start, start + BATCH).map((_, place) => start + place);
  while (places.length) {
    try {
      const found = await patient(() => json("v1/classify", { signal, body: { model: byId("classifier-model").value, input: places.map((place) => rows[place].text) } }), signal);
      for (const each of found.data) results[places[each.index]] = each;
      return;
    } catch (error) {
      const at = /^input\.(\d+)$/.exec(error.param ?? "")?.[1];
      if (!(error instanceof ApiError) || error.status !== 400 || at === undefined) throw error;
      results[places[at]] = { error: error.message.replace(/^input\.\d+: /, "") };
      places = places.filter((_, place) => place !== Number(at));
    }
  }
}

// A server that is busy says when it is not.
async function patient(ask, signal) {
  for (let left = 20; ; left -= 1) {
    try {
      return await ask();
    } catch (error) {
      if (![429, 503].includes(error.status) || !left || signal.aborted) throw error;
      const wait = Math.min(30, Number(error.headers?.get("retry-after")) || 2);
      told(`The server is busy; going on in ${wait} s.`);
      await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
    }
  }
}

function progress(done, all) {
  const shown = byId("progress");
  shown.hidden = false;
  shown.querySelector("progress").value = all ? done / all : 0;
  shown.querySelector("progress").hidden = shown.querySelector("button").hidden = done >= all;
  shown.querySelector("span").textContent = `${number(done)} of ${number(all)}`;
}

function told(text) {
  byId("progress").hidden = !text;
  byId("progress").querySelector("progress").hidden = byId("progress").querySelector("button").hidden = true;
  byId("progress").querySelector("span").textContent = text;
}
