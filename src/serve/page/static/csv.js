// Reads and writes CSV. What is written can be opened in a spreadsheet: no cell of it is taken for a formula there.

const FORMULA = /^[\s\u00a0\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20|%\t\r]/;

export function readCsv(text) {
  const source = text.replace(/^\ufeff/, "");
  const rows = cells(source, delimiter(source));
  const [head = [], ...rest] = rows.filter((row) => row.length > 1 || row[0].trim() !== "");
  const names = head.map((name, place) => name.trim() || `column ${place + 1}`);
  return { names, rows: rest.map((row) => names.map((_, place) => row[place] ?? "")) };
}

// The sign that stands most often in the first line, outside quotes.
function delimiter(text) {
  const line = text.slice(0, 100_000).replace(/"(?:[^"]|"")*"/g, "").split(/\r?\n/, 1)[0];
  const counts = [",", ";", "\t"].map((sign) => [line.split(sign).length, sign]);
  return counts.sort((one, other) => other[0] - one[0])[0][1];
}

// RFC 4180: quotes hold line ends and delimiters, and are doubled inside.
function cells(text, sign) {
  const rows = [];
  let row = [], cell = "", quoted = false;
  const end = () => {
    row.push(cell);
    cell = "";
  };
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') (cell += '"'), (at += 1);
      else quoted = false;
    } else if (letter === '"' && cell === "") quoted = true;
    else if (letter === sign) end();
    else if (letter === "\n" || letter === "\r") {
      if (letter === "\r" && text[at + 1] === "\n") at += 1;
      end();
      rows.push(row);
      row = [];
    } else cell += letter;
  }
  if (cell !== "" || row.length) end(), rows.push(row);
  return rows;
}

// An apostrophe before what a spreadsheet would run (OWASP, CSV injection); numbers of ours stay numbers.
export const guarded = (value) => (typeof value === "number" ? String(value) : FORMULA.test(value) ? `'${value}` : String(value));

export const writeCsv = (names, rows) =>
  [names, ...rows].map((row) => row.map((value) => `"${guarded(value).replaceAll('"', '""')}"`).join(",")).join("\r\n") + "\r\n";
