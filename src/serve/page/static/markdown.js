// Shows the little of Markdown that models write: code, lists, headings, emphasis, links. No images, no HTML: what a model
// writes loads nothing and runs nothing.

import { el } from "./dom.js";

const INLINE = /(`+)([\s\S]+?)\1|\*\*([^*\n]+?)\*\*|(?<![\w*])\*([^*\n]+?)\*(?![\w*])|\[([^\]\n]{1,300})\]\((https?:\/\/[^\s)]{1,2000})\)/g;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+-]*)/;
const ITEM = /^( {0,6})(?:[-*+]|(\d{1,4})[.)])\s+(.*)$/;

export function markdown(text) {
  const made = document.createDocumentFragment();
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; ) {
    const [block, next] = fenced(lines, at) ?? listed(lines, at) ?? headed(lines, at) ?? quoted(lines, at) ?? paragraph(lines, at);
    if (block) made.append(block);
    at = next;
  }
  return made;
}

function fenced(lines, start) {
  const fence = FENCE.exec(lines[start]);
  if (!fence) return null;
  let end = start + 1;
  while (end < lines.length && !(lines[end].trimStart().startsWith(fence[1]) && lines[end].trim() === fence[1])) end += 1;
  return [el("pre", {}, el("code", {}, lines.slice(start + 1, end).join("\n"))), end + 1];
}

function listed(lines, start) {
  const first = ITEM.exec(lines[start]);
  if (!first) return null;
  const list = el(first[2] ? "ol" : "ul", first[2] && first[2] !== "1" ? { start: first[2] } : {});
  let at = start;
  for (let item; at < lines.length && (item = ITEM.exec(lines[at])); at += 1) list.append(el("li", {}, ...inline(item[3])));
  return [list, at];
}

function headed(lines, start) {
  const heading = /^#{1,6}\s+(.*)$/.exec(lines[start]);
  return heading && [el(`h${Math.min(5, 2 + lines[start].indexOf(" "))}`, {}, ...inline(heading[1])), start + 1];
}

function quoted(lines, start) {
  let end = start;
  while (end < lines.length && lines[end].startsWith(">")) end += 1;
  if (end === start) return null;
  return [el("blockquote", {}, ...inline(lines.slice(start, end).map((line) => line.slice(1).trim()).join("\n"))), end];
}

function paragraph(lines, start) {
  let end = start;
  while (end < lines.length && lines[end].trim() && !(end > start && (FENCE.test(lines[end]) || ITEM.test(lines[end])))) end += 1;
  return end > start ? [el("p", {}, ...inline(lines.slice(start, end).join("\n"))), end] : [null, start + 1];
}

function inline(text) {
  const made = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    made.push(...broken(text.slice(at, found.index)));
    const [, , code, strong, emphasis, label, address] = found;
    if (code) made.push(el("code", {}, code));
    else if (strong) made.push(el("strong", {}, strong));
    else if (emphasis) made.push(el("em", {}, emphasis));
    else made.push(el("a", { href: address, rel: "noopener noreferrer nofollow", target: "_blank" }, label), ` (${new URL(address).host})`);
    at = found.index + found[0].length;
  }
  return [...made, ...broken(text.slice(at))];
}

const broken = (text) => text.split("\n").flatMap((line, place) => (place ? [el("br"), line] : [line]));
