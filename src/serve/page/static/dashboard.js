// What came out of a classification: tiles, charts, a table, and the export.

import { bars, histogram, stacked, tones, wideIn } from "./charts.js";
import { writeCsv } from "./csv.js";
import { byId, el, number } from "./dom.js";

const SHOWN = 25; // rows of the table at a time
const GROUPS = 16;
const UNSURE = 0.5;

// One text: its classes with their probabilities.
export function one(row) {
  const labels = Object.keys(row.probabilities);
  const shares = Object.values(row.probabilities);
  const words = shares.map((share) => `${number(100 * share, 1)} %`);
  return [el("section", { class: "card" }, el("h2", {}, `${row.label} `, el("span", { class: "faint" }, `${number(100 * row.score, 1)} %`)), bars(wideIn(byId("classify")), labels, shares, words, tones(labels)))];
}

export function dashboard(rows, { names, grouped }) {
  const good = rows.filter((row) => row.label);
  const labels = Object.keys(good[0]?.probabilities ?? {});
  const tone = tones(labels);
  const counts = labels.map((label) => good.filter((row) => row.label === label).length);
  const words = counts.map((count) => `${number(count)} · ${number((100 * count) / good.length, 1)} %`);
  const half = wideIn(byId("classify"), 2);
  const made = [tiles(rows, good, labels, counts)];
  if (good.length)
    made.push(
      el("div", { class: "columns" },
        el("section", { class: "card" }, el("h2", {}, "Classes"), bars(half, labels, counts, words, tone)),
        el("section", { class: "card" }, el("h2", {}, "How sure it was"), histogram(half, good.map((row) => row.score)))),
    );
  if (grouped && good.length) made.push(el("section", { class: "card" }, el("h2", {}, `By ${grouped}`), ...byGroup(good, labels, tone)));
  return [...made, listed(rows, labels, tone, names)];
}

function tiles(rows, good, labels, counts) {
  const tile = (value, text) => el("div", { class: "tile" }, el("b", {}, value), el("span", {}, text));
  const commonest = labels[counts.indexOf(Math.max(...counts))] ?? "–";
  const sure = good.reduce((sum, row) => sum + row.score, 0) / good.length;
  const unsure = good.filter((row) => row.score < UNSURE).length;
  const made = [tile(number(good.length), "rows classified"), tile(commonest, "commonest class"), tile(number(sure, 2), "mean probability of the class"), tile(number(unsure), `below ${UNSURE}`)];
  if (rows.length > good.length) made.push(tile(number(rows.length - good.length), "not taken"));
  return el("div", { class: "tiles" }, ...made);
}

function byGroup(rows, labels, tone) {
  const days = rows.every((row) => !row.group || /^\d{4}-\d\d-\d\d/.test(row.group));
  const found = new Map();
  for (const row of rows) {
    const name = (days ? row.group.slice(0, 10) : row.group) || "–";
    if (!found.has(name)) found.set(name, { name, counts: labels.map(() => 0), total: 0 });
    found.get(name).counts[labels.indexOf(row.label)] += 1;
    found.get(name).total += 1;
  }
  const most = [...found.values()].sort((a, b) => b.total - a.total).slice(0, GROUPS);
  const shown = days ? most.sort((a, b) => (a.name < b.name ? -1 : 1)) : most;
  const more = found.size > shown.length ? [el("p", { class: "faint" }, `The ${shown.length} with most rows of ${number(found.size)}.`)] : [];
  return [stacked(wideIn(byId("classify")), shown, labels, tone), ...more];
}

function listed(rows, labels, tone, names) {
  let chosen = "", unsure = true, shown = SHOWN;
  const body = el("tbody");
  const more = el("button", { class: "quiet", type: "button", onclick: () => draw((shown += SHOWN)) });
  const choice = el("select", { "aria-label": "Class", onchange: () => draw((chosen = choice.value), (shown = SHOWN)) },
    el("option", { value: "" }, "all classes"), ...labels.map((label) => el("option", {}, label)), ...(rows.some((row) => row.error) ? [el("option", { value: "\0" }, "not taken")] : []));
  const order = el("button", { type: "button", onclick: () => draw((unsure = !unsure)) });
  const save = el("button", { type: "button", class: "quiet", onclick: () => download(rows, labels, names) }, "Save as CSV");
  const draw = () => {
    const fitting = rows.filter((row) => !chosen || (chosen === "\0" ? row.error : row.label === chosen));
    const sorted = fitting.sort((a, b) => ((a.score ?? -1) - (b.score ?? -1)) * (unsure ? 1 : -1));
    order.textContent = `probability ${unsure ? "▲" : "▼"}`;
    body.replaceChildren(...sorted.slice(0, shown).map((row) => line(row, labels, tone)));
    more.hidden = sorted.length <= shown;
    more.textContent = `More (${number(sorted.length - shown)})`;
  };
  draw();
  const head = el("tr", {}, el("th", {}, "text"), el("th", {}, "class"), el("th", { class: "number" }, order));
  return el("section", { class: "card" },
    el("div", { class: "settings" }, el("h2", {}, "Rows"), choice, el("span", { class: "grow" }), save),
    el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), body)), more);
}

function line(row, labels, tone) {
  const named = row.error ? el("span", { class: "failed" }, row.error) : el("span", { class: "class" }, el("i", { class: `swatch tone-${tone[labels.indexOf(row.label)]}` }), row.label);
  return el("tr", {}, el("td", { class: "text" }, row.text), el("td", {}, named), el("td", { class: "number" }, row.error ? "–" : number(row.score, 3)));
}

function download(rows, labels, names) {
  const heads = [...names, "predicted", "probability", ...labels.map((label) => `p(${label})`), "error"];
  const made = rows.map((row) => [...row.cells, row.label ?? "", row.score ?? "", ...labels.map((label) => row.probabilities?.[label] ?? ""), row.error ?? ""]);
  const address = URL.createObjectURL(new Blob(["\ufeff", writeCsv(heads, made)], { type: "text/csv" }));
  el("a", { href: address, download: "classified.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
