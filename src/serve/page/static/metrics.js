// Reads Prometheus' text form, as far as this page shows it.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export function readMetrics(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = LINE.exec(line) ?? [];
    if (!name || line.startsWith("#")) continue;
    if (!found.has(name)) found.set(name, []);
    const pairs = [...labels.matchAll(LABEL)].map(([, key, text]) => [key, text.replace(/\\(.)/g, "$1")]);
    found.get(name).push({ labels: Object.fromEntries(pairs), value: Number(value) });
  }
  return {
    empty: found.size === 0,
    sum: (name, where = {}) => rows(found, name, where).reduce((sum, row) => sum + row.value, 0),
    values: (name, label) => [...new Set(rows(found, name, {}).map((row) => row.labels[label]))].filter((value) => value !== undefined),
    quantile: (name, share, where = {}) => quantile(rows(found, `${name}_bucket`, where), share),
  };
}

const rows = (found, name, where) => (found.get(name) ?? []).filter((row) => Object.entries(where).every(([key, value]) => row.labels[key] === value));

// The upper end of the bucket that holds this share, drawn in from its lower end as Prometheus does; null where nothing is in it.
function quantile(buckets, share) {
  const sums = new Map();
  for (const { labels, value } of buckets) {
    const end = labels.le === "+Inf" ? Infinity : Number(labels.le);
    sums.set(end, (sums.get(end) ?? 0) + value);
  }
  const ends = [...sums].sort((a, b) => a[0] - b[0]);
  const all = ends.at(-1)?.[1] ?? 0;
  if (!all) return null;
  let [before, under] = [0, 0];
  for (const [end, count] of ends) {
    if (count >= share * all) return end === Infinity ? before : before + ((end - before) * (share * all - under)) / Math.max(1, count - under);
    [before, under] = [end, count];
  }
  return before;
}
