"use strict";
// The numbers of the page: unpacking, addressing and writing them. Nothing here computes a new number.

const content = JSON.parse(document.getElementById("content").textContent);
const PARTS = ["model", "protocol", "position", "seed"];
const PLANES = ["value", "lower", "upper", "n", "notes"];
const UNMEASURED = -1;
let numbers = new Float32Array(0);
const offsets = new Map();

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpack(text) {
  const shuffled = await inflate(text);
  const count = shuffled.length / 4;
  const bytes = new Uint8Array(shuffled.length);
  for (let rank = 0; rank < 4; rank += 1) {
    for (let place = 0; place < count; place += 1) bytes[4 * place + rank] = shuffled[rank * count + place];
  }
  return new Float32Array(bytes.buffer);
}

async function unpackNumbers() {
  numbers = await unpack(content.numbers);
  let offset = 0;
  content.grids.forEach((address) => {
    offsets.set(nameOf(address), offset);
    const series = content.series[address.model];
    offset += PLANES.length * series.columns.length * series.sites.length;
  });
}

function nameOf(address) {
  return JSON.stringify(["dataset", ...PARTS, "method", "role", "quantity"].map((part) => address[part]));
}

// The grid at an address as an object of cell readers, or null where nothing was measured.
function gridAt(address) {
  const start = offsets.get(nameOf(address));
  if (start === undefined) return null;
  const series = content.series[address.model];
  const size = series.columns.length * series.sites.length;
  return reader(series, (plane, column, site) => numbers[start + PLANES.indexOf(plane) * size + column * series.sites.length + site]);
}

function reader(series, at, write = written) {
  return {
    series,
    at,
    column: (plane, site, count = series.n_checkpoints) => Array.from({ length: count }, (_, column) => finite(at(plane, column, site))),
    note: (column, site) => content.notes[Math.max(0, at("notes", column, site))] ?? "",
    isMeasured: (column, site) => at("notes", column, site) !== UNMEASURED,
    text: (column, site) =>
      at("notes", column, site) === UNMEASURED
        ? "not measured"
        : write(at("value", column, site), at("lower", column, site), at("upper", column, site)),
  };
}

function finite(number) {
  return Number.isFinite(number) ? number : null;
}

function decimal(number, digits = 3) {
  return Number.isFinite(number) ? number.toFixed(digits).replace("-", "\u2212") : "undefined";
}

function written(value, lower, upper) {
  const hasInterval = Number.isFinite(lower) && Number.isFinite(upper);
  return hasInterval ? `${decimal(value)} [${decimal(lower)}, ${decimal(upper)}]` : decimal(value);
}

// ── the information plane: a block of its own, unpacked when it is first asked for ──

let dependences = null;
const dependenceAt = new Map();

async function unpackDependences() {
  dependences = await unpack(content.information.numbers);
  let offset = 0;
  content.information.grids.forEach((grid) => {
    dependenceAt.set(JSON.stringify([grid.view, grid.quantity, grid.method, grid.role]), { grid, offset });
    const series = content.series[content.information.views[grid.view].model];
    offset += grid.planes.length * series.columns.length * series.sites.length;
  });
}

// One measure of a view, or null where it was not measured or is not carried; a plane that is not carried reads as undefined.
function dependence(view, quantity, method, role = "measured") {
  const found = dependenceAt.get(JSON.stringify([view, quantity, method, role]));
  if (!found) return null;
  const { grid, offset } = found;
  const series = content.series[content.information.views[view].model];
  const size = series.columns.length * series.sites.length;
  const at = (plane, column, site) => {
    const place = grid.planes.indexOf(plane);
    return place < 0 ? (grid.constants[plane] ?? NaN) : dependences[offset + place * size + column * series.sites.length + site];
  };
  return reader(series, at, (value, lower, upper) => {
    const hasInterval = Number.isFinite(lower) && Number.isFinite(upper);
    return hasInterval ? `${significant(value)} [${significant(lower)}, ${significant(upper)}]` : significant(value);
  });
}

// Three decimals, more where the number is small, fewer where it is large.
function significant(number) {
  if (!Number.isFinite(number)) return "undefined";
  const size = Math.abs(number);
  const text = size && size < 0.001 ? number.toExponential(1) : number.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 3);
  return text.replaceAll("-", "\u2212");
}

// The floors under a dataset's chart: those of the text, then those that a model sets at one site.
function floorsOf(dataset, state, site) {
  const text = content.floors
    .filter((row) => row.dataset === dataset && row.protocol === state.protocol && row.seed === state.seed && row.quantity === state.quantity)
    .map((row) => ({ name: row.method, value: row.value, lower: row.lower ?? NaN, upper: row.upper ?? NaN, n: row.n }));
  const grid = gridAt({ dataset, ...state, role: "measured" });
  if (!grid || site < 0) return text;
  const twins = [];
  for (let column = grid.series.n_checkpoints; column < grid.series.columns.length; column += 1) {
    const [value, lower, upper, n] = PLANES.slice(0, 4).map((plane) => grid.at(plane, column, site));
    if (Number.isFinite(value)) twins.push({ name: "random_initialisation", value, lower, upper, n });
  }
  return [...text, ...twins].filter((floor) => floor.value !== null);
}

function choiceOf(dataset, state) {
  return content.choices.find(
    (choice) => choice.dataset === dataset && choice.method === state.method && PARTS.every((part) => choice[part] === state[part]),
  );
}

function lastChosen(choice) {
  return choice ? (choice.sites.findLast((site) => site >= 0) ?? -1) : -1;
}

// ── comma-separated values ──

// A spreadsheet runs a cell that begins with one of these as a formula; an apostrophe keeps it text.
function cell(value) {
  if (typeof value === "number") return Number.isFinite(value) ? String(Number(value.toPrecision(6))) : "";
  const text = value === null || value === undefined ? "" : String(value);
  const safe = /^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csvOf(dataset, state) {
  const head = ["dataset", "checkpoint", "step", "tokens_seen", "site", "quantity", "method", "role", "protocol", "position", "seed", "value", "lower", "upper", "n", "note"];
  const rows = [head];
  ["measured", "control"].forEach((role) => rows.push(...gridRows(dataset, state, role)));
  content.floors
    .filter((row) => row.dataset === dataset && row.protocol === state.protocol && row.seed === state.seed && row.quantity === state.quantity)
    .forEach((row) => rows.push(head.map((name) => row[name])));
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function gridRows(dataset, state, role) {
  const grid = gridAt({ dataset, ...state, role });
  if (!grid) return [];
  const rows = [];
  grid.series.columns.forEach((checkpoint, column) =>
    grid.series.sites.forEach((site, place) => {
      if (!grid.isMeasured(column, place)) return;
      const shown = column >= grid.series.n_checkpoints && role === "measured" ? "floor" : role;
      const numbersOf = ["value", "lower", "upper", "n"].map((plane) => grid.at(plane, column, place));
      rows.push([dataset, checkpoint.key, checkpoint.step, checkpoint.tokens_seen, site, state.quantity, state.method, shown,
        state.protocol, state.position, state.seed, ...numbersOf, grid.note(column, place)]);
    }),
  );
  return rows;
}
