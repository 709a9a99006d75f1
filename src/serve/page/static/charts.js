// Draws the charts: plain SVG, coloured by classes of the style sheet, each with its numbers in words.

import { el, number, svg } from "./dom.js";

// Charts are drawn at the width that they will have, so that letters keep their size on every screen.
export const wideIn = (place, columns = 1) => {
  const room = Math.min(1100, Math.max(280, place.clientWidth - 34));
  return columns > 1 && room > 760 ? room / columns - 26 : room;
};

// Colours by what a class means: bad news warm, good news cool, and grey between; else one after the other.
export function tones(labels) {
  const feeling = (label) => {
    const name = label.toLowerCase();
    const strong = /very|strong|extreme/.test(name);
    if (/bear|negat|bad|sell/.test(name)) return strong ? 0 : 1;
    if (/bull|posit|good|buy/.test(name)) return strong ? 4 : 3;
    return /neutral|mixed|none|hold/.test(name) ? 2 : null;
  };
  const felt = labels.map(feeling);
  const apart = !felt.includes(null) && new Set(felt).size === labels.length;
  const strong = felt.some((tone) => tone === 0 || tone === 4);
  return labels.map((_, place) => (apart ? (strong ? felt[place] : { 1: 0, 3: 4 }[felt[place]] ?? 2) : [4, 1, 5, 6, 7, 0, 3, 2][place % 8]));
}

// A bar a class; `counts` are what the bars are long by, `words` what stands behind them.
export function bars(wide, labels, counts, words, tone) {
  const most = Math.max(...counts, 1e-9);
  const left = side(wide), right = 110, step = 30;
  const lines = labels.flatMap((label, place) => {
    const y = place * step;
    const width = Math.max(2, ((wide - left - right) * counts[place]) / most);
    return [
      svg("text", { x: left - 10, y: y + 18, "text-anchor": "end" }, shortened(label, left / 7.5)),
      svg("rect", { x: left, y: y + 4, width, height: step - 10, rx: 4, class: `tone-${tone[place]}` }),
      svg("text", { x: left + width + 8, y: y + 18, class: "faint" }, words[place]),
    ];
  });
  return chart(wide, labels.length * step, labels.map((label, place) => `${label} ${words[place]}`).join(", "), lines);
}

// How many rows got their class with which probability.
export function histogram(wide, values, bins = 20) {
  const counts = Array(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.floor(value * bins))] += 1;
  const most = Math.max(...counts, 1);
  const high = 150, left = 44, width = (wide - left - 10) / bins;
  const made = [0, 0.5, 1].flatMap((share) => [
    svg("line", { x1: left, x2: wide - 10, y1: high * (1 - share) + 8, y2: high * (1 - share) + 8, class: "grid" }),
    svg("text", { x: left - 8, y: high * (1 - share) + 12, "text-anchor": "end", class: "faint" }, number(Math.round(most * share))),
  ]);
  counts.forEach((count, place) => {
    const tall = (high * count) / most;
    made.push(svg("rect", { x: left + place * width + 1, y: high - tall + 8, width: width - 2, height: tall, rx: 2, class: "tone-4" }));
  });
  for (const share of [0, 0.25, 0.5, 0.75, 1])
    made.push(svg("text", { x: left + share * (wide - left - 10), y: high + 28, "text-anchor": "middle", class: "faint" }, number(share, 2)));
  return chart(wide, high + 34, `rows by the probability of their class; the fullest of ${bins} bins has ${most}`, made);
}

// Shares of the classes in each group, the groups one under the other.
export function stacked(wide, groups, labels, tone) {
  const left = side(wide), right = 60, step = 28;
  const made = groups.flatMap(({ name, counts, total }, row) => {
    const y = row * step;
    let x = left;
    const parts = counts.flatMap((count, place) => {
      const width = ((wide - left - right) * count) / total;
      const part = svg("rect", { x, y: y + 3, width, height: step - 7, class: `tone-${tone[place]}` }, svg("title", {}, `${labels[place]} ${number((100 * count) / total)} %`));
      const share = width > 34 ? svg("text", { x: x + width / 2, y: y + 18, "text-anchor": "middle", class: "on" }, `${number((100 * count) / total)}%`) : null;
      x += width;
      return [part, share];
    });
    return [svg("text", { x: left - 10, y: y + 18, "text-anchor": "end" }, shortened(name, left / 7.5)), ...parts, svg("text", { x: x + 8, y: y + 18, class: "faint" }, number(total))];
  });
  const words = groups.map(({ name, counts, total }) => `${name}: ${counts.map((count, place) => `${labels[place]} ${number((100 * count) / total)} %`).join(", ")}`);
  return el("div", {}, chart(wide, groups.length * step, words.join("; "), made), legend(labels, tone));
}

// Values one after the other.
export function trace(wide, values, unit) {
  const high = 110, left = 44;
  const most = rounded(Math.max(...values, 1e-3));
  const x = (place) => left + (values.length < 2 ? (wide - left) / 2 : (place * (wide - left - 12)) / (values.length - 1));
  const y = (value) => high - (high * value) / most + 8;
  const made = [0, 0.5, 1].flatMap((share) => [
    svg("line", { x1: left, x2: wide, y1: y(most * share), y2: y(most * share), class: "grid" }),
    svg("text", { x: left - 8, y: y(most * share) + 4, "text-anchor": "end", class: "faint" }, share ? `${number(most * share, most < 2 ? 2 : most < 10 ? 1 : 0)} ${unit}` : "0"),
  ]);
  made.push(svg("path", { d: values.map((value, place) => `${place ? "L" : "M"}${x(place)},${y(value)}`).join(""), class: "trace" }));
  made.push(...values.map((value, place) => svg("circle", { cx: x(place), cy: y(value), r: 3, class: "dot" }, svg("title", {}, `${number(value, 3)} ${unit}`))));
  return chart(wide, high + 16, `${values.length} values in ${unit}, the last ${number(values.at(-1), 3)}`, made);
}

// The next of 1, 2, 5, 10, …
const rounded = (value) => [1, 2, 5, 10].map((each) => each * 10 ** Math.floor(Math.log10(value))).find((each) => each >= value);

export const legend = (labels, tone) => el("div", { class: "legend" }, ...labels.map((label, place) => el("span", {}, el("i", { class: `tone-${tone[place]}` }), label)));

const side = (wide) => (wide < 480 ? 96 : 150);

const chart = (wide, high, words, made) => svg("svg", { class: "chart", viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, role: "img", "aria-label": words }, ...made);

export const shortened = (text, longest) => (text.length > longest ? `${text.slice(0, Math.floor(longest) - 1)}…` : text);
