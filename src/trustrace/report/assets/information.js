"use strict";
// The section on the information plane: its controls, its slider, and what is drawn when.

const PLANE_CONTROLS = { x: "X", scale: "Scale", method: "Estimator", geometry: "Geometry beside it", protocol: "Protocol", position: "Token position", seed: "Seed", model: "Model" };
const SCALES = { raw: "as measured", calibrated: "calibrated" };
const planeState = {};
const planeFocus = {};
const planeMoment = {};
const planeArticles = [...document.querySelectorAll("article.information")];
const stalePlanes = new Set(planeArticles);
let unpacking = null;

// ── state and controls ──

function planeViews(state = planeState) {
  return content.information.views.map((view, place) => ({ ...view, place })).filter((view) => PARTS.every((part) => state[part] === undefined || view[part] === state[part]));
}

function planeViewOf(dataset) {
  return planeViews().find((view) => view.dataset === dataset) ?? null;
}

function isCarried(quantity, method) {
  const places = new Set(planeViews().map((view) => view.place));
  return content.information.grids.some((grid) => places.has(grid.view) && grid.role === "measured" && grid.quantity === quantity && grid.method === method);
}

function suffixOf(scale) {
  return scale === "calibrated" ? CALIBRATED : "";
}

function planeOptions(part) {
  const { terms } = content.information;
  if (part === "x") return [...new Set(planeViews().flatMap((view) => view.x))];
  if (part === "geometry") return terms.geometry;
  if (part === "method") {
    const known = planeViews().flatMap((view) => [view.main, ...view.methods]);
    return [...new Set(known)].filter((method) => [planeState.x, terms.y].some((quantity) => isCarried(quantity, method)));
  }
  if (part === "scale") return Object.keys(SCALES).filter((scale) => [planeState.x, terms.y].some((quantity) => isCarried(quantity + suffixOf(scale), planeState.method)));
  return [...new Set(content.information.views.map((view) => view[part]))];
}

// Every choice is brought to one that exists, the widest first: what was measured depends on the protocol, the scale on the estimator.
function settlePlane() {
  ["model", "protocol", "position", "seed", "x", "method", "scale", "geometry"].forEach((part) => {
    const options = planeOptions(part);
    if (!options.includes(planeState[part])) planeState[part] = options[0];
  });
}

function planeTitle(part, option) {
  const { terms } = content.information;
  if (part === "x") return terms.quantities[option]?.title.replace("I(T;X), ", "") ?? option;
  if (part === "geometry") return terms.quantities[option]?.title ?? option;
  if (part === "method") return terms.methods[option]?.title ?? option;
  return part === "scale" ? SCALES[option] : String(option);
}

function buildPlaneControls() {
  const form = document.getElementById("plane-controls");
  const kept = new Map([...form.querySelectorAll("select")].map((select) => [select.name, select]));
  const labels = Object.entries(PLANE_CONTROLS).flatMap(([part, name]) => {
    const options = planeOptions(part);
    if (options.length < 2) return [];
    const select = kept.get(part) ?? planeSelect(part);
    select.replaceChildren(...options.map((option) => element("option", { value: String(option), textContent: planeTitle(part, option), selected: option === planeState[part] })));
    return [select.parentElement ?? element("label", {}, [`${name} `, select])];
  });
  const isSame = labels.length === form.childElementCount && labels.every((label, place) => form.children[place] === label);
  if (!isSame) form.replaceChildren(...labels); // Moving a select would take the keyboard's focus from it.
  form.hidden = !labels.length;
}

function planeSelect(part) {
  const select = element("select", { name: part });
  select.addEventListener("change", () => {
    planeState[part] = planeOptions(part).find((option) => String(option) === select.value);
    planesChanged();
  });
  return select;
}

function planesChanged() {
  settlePlane();
  buildPlaneControls();
  describePlane();
  writeHash();
  showPhases();
  planeArticles.forEach((article) => stalePlanes.add(article));
  planeArticles.filter(isNear).forEach(drawPlanes);
}

function describePlane() {
  const { terms } = content.information;
  const method = terms.methods[planeState.method];
  const x = terms.quantities[planeState.x];
  const said = [x && `${x.title}: ${x.sentence}`, method && `${method.title}: ${method.sentence}`].filter(Boolean);
  document.getElementById("plane-meaning").textContent = said.join(" ");
}

// What is said of phases belongs to one view each.
function showPhases() {
  const shown = new Set(planeViews().map((view) => String(view.place)));
  document.querySelectorAll("#information [data-view]").forEach((block) => {
    block.hidden = !shown.has(block.dataset.view);
  });
}

// ── the address keeps what is shown ──

function planeHash() {
  if (!content.information) return [];
  const chosen = Object.keys(PLANE_CONTROLS).filter((part) => planeState[part] !== undefined && planeState[part] !== planeOptions(part)[0]);
  const sites = planeArticles.map((article, place) => [`planefocus${place}`, planeFocus[article.dataset.dataset]]).filter(([, site]) => site);
  return [...chosen.map((part) => [`plane${part}`, planeState[part]]), ...sites];
}

function readPlaneHash(wanted) {
  ["model", "protocol", "position", "seed", "x", "method", "scale", "geometry"].forEach((part) => {
    const options = planeOptions(part);
    planeState[part] = options.find((option) => String(option) === wanted.get(`plane${part}`)) ?? options[0];
  });
  planeArticles.forEach((article, place) => {
    planeFocus[article.dataset.dataset] = wanted.get(`planefocus${place}`) ?? "";
  });
}

// ── what an article shows ──

function pairOf(view) {
  const { terms } = content.information;
  const suffix = suffixOf(planeState.scale);
  const [x, y] = [planeState.x, terms.y].map((quantity) => dependence(view.place, quantity + suffix, planeState.method));
  const scale = scaleTitle();
  return { x, y, isCalibrated: Boolean(suffix), xTitle: `I(T;X), ${scale}`, yTitle: `I(T;Y), ${scale}` };
}

function scaleTitle() {
  const method = content.information.terms.methods[planeState.method];
  return planeState.scale === "calibrated" ? "calibrated" : (method?.title.startsWith("nHSIC") ? "nHSIC" : (method?.axis ?? planeState.method));
}

// The site asked for, else the deepest block that shows two phases, else the middle one of those measured.
function planeFocusOf(dataset, view, grid) {
  if (!grid) return -1;
  const asked = grid.series.sites.indexOf(planeFocus[dataset]);
  if (planeFocus[dataset] && asked >= 0) return asked;
  const sites = sitesOf(grid);
  const peaked = view.phases.filter((phase) => phase.quantity === planeState.x && phase.peak.length && sites.includes(phase.site));
  if (peaked.length) return peaked[Math.floor(peaked.length / 2)].site;
  return sites.length ? sites[Math.floor(sites.length / 2)] : -1;
}

function momentOf(dataset, series) {
  return Math.min(planeMoment[dataset] ?? series.n_checkpoints - 1, series.n_checkpoints - 1);
}

function panelsOf(view, focus) {
  const { terms } = content.information;
  const suffix = suffixOf(planeState.scale);
  const dependences = [planeState.x, terms.y].map((quantity) => dependencePanel(view, quantity, suffix, focus));
  const grid = dependence(view.place, planeState.geometry, "spectrum");
  const geometry = grid && { grid, title: terms.quantities[planeState.geometry].title };
  return [...dependences, geometry].filter(Boolean);
}

function dependencePanel(view, quantity, suffix, focus) {
  const grid = dependence(view.place, quantity + suffix, planeState.method);
  if (!grid) return null;
  const term = content.information.terms.quantities[quantity];
  const beside = (role) => (suffix ? null : dependence(view.place, quantity, planeState.method, role));
  const phase = view.phases.find((one) => one.quantity === quantity + suffix && one.site === focus && one.method === planeState.method);
  const ceiling = beside("ceiling");
  return {
    grid,
    title: `${term?.title ?? quantity}, ${scaleTitle()}`,
    null: beside("null"),
    control: beside("control"),
    ceiling: ceiling && focus >= 0 ? ceiling.column("value", focus).find((value) => value !== null) ?? NaN : NaN,
    peak: phase?.peak,
    peakText: phase?.text,
    zeroIsNull: Boolean(suffix),
  };
}

async function drawPlanes(article) {
  const { dataset } = article.dataset;
  stalePlanes.delete(article);
  unpacking ??= unpackDependences();
  await unpacking;
  const view = planeViewOf(dataset);
  const panels = view ? panelsOf(view, -1) : [];
  article.querySelector(".absent")?.remove();
  article.querySelectorAll("figure, .moment").forEach((part) => (part.hidden = !panels.length));
  article.querySelectorAll(".focus, .csv").forEach((part) => (part.hidden = !panels.length));
  if (!panels.length) {
    article.append(element("p", { className: "absent", textContent: "Not measured here with these choices." }));
    return;
  }
  const grid = panels[0].grid;
  const focus = planeFocusOf(dataset, view, grid);
  buildPlaneFocus(article, view, grid, focus);
  buildMoment(article, grid.series);
  drawPlane(article, view, focus);
  drawCourses(article, view, focus);
  drawEstimators(article, view, focus);
  article.querySelectorAll("details.twin[open]").forEach((twin) => fillPlaneTwin(twin, article));
}

function buildPlaneFocus(article, view, grid, focus) {
  const { dataset } = article.dataset;
  const select = article.querySelector(".focus select");
  const sites = sitesOf(grid);
  select.replaceChildren(...sites.map((site) => element("option", { value: grid.series.sites[site], textContent: grid.series.sites[site] || "whole model", selected: site === focus })));
  select.onchange = () => {
    planeFocus[dataset] = select.value;
    writeHash();
    drawPlanes(article);
  };
}

// ── the slider ──

function buildMoment(article, series) {
  const slider = article.querySelector(".moment input");
  const moment = momentOf(article.dataset.dataset, series);
  Object.assign(slider, { min: 0, max: series.n_checkpoints - 1, step: 1, value: moment });
  slider.disabled = series.n_checkpoints < 2;
  sayMoment(article, series, moment);
  slider.oninput = () => {
    planeMoment[article.dataset.dataset] = Number(slider.value);
    sayMoment(article, series, Number(slider.value));
    cancelAnimationFrame(article.frame);
    article.frame = requestAnimationFrame(() => moveMoment(article));
  };
}

function sayMoment(article, series, moment) {
  article.querySelector(".moment output").textContent = series.labels[moment];
  article.querySelector(".moment input").setAttribute("aria-valuetext", series.labels[moment]);
}

// Only what depends on the checkpoint is drawn anew: the line through the sites, and the mark on the curves.
function moveMoment(article) {
  const { dataset } = article.dataset;
  const view = planeViewOf(dataset);
  const pair = pairOf(view);
  const grid = pair.x ?? pair.y;
  if (!grid) return;
  const moment = momentOf(dataset, grid.series);
  const plane = article.querySelector(".plane");
  if (pair.x && pair.y && plane.data) {
    const shape = momentShape(pair, sitesOf(pair.x, pair.y), planeFocusOf(dataset, view, pair.x), moment, sizeOf(plane));
    const update = Object.fromEntries(Object.entries(shape).map(([name, values]) => [name, [values]]));
    Plotly.restyle(plane, update, [plane.data.length - 1]);
  }
  const courses = article.querySelector(".courses");
  if (courses.data) Plotly.relayout(courses, { shapes: momentShapes(grid.series, moment, theme()) });
}

// ── drawing ──

function drawPlane(article, view, focus) {
  const pair = pairOf(view);
  const figure = article.querySelector("figure.of-plane");
  figure.hidden = !(pair.x && pair.y);
  article.querySelector(".duo").classList.toggle("lone", figure.hidden);
  if (figure.hidden) return;
  const plot = figure.querySelector(".plane");
  const drawn = planeFigure(pair, focus, momentOf(article.dataset.dataset, pair.x.series), sizeOf(plot));
  Plotly.react(plot, drawn.traces, drawn.layout, CONFIG);
  plot.setAttribute("aria-label", `${heading(article)}: the information plane, I(T;Y) against I(T;X), ${focusName(pair.x, focus)} in focus. The table below holds the same numbers.`);
  const thinned = drawn.stride > 1 ? ` Of sites out of focus one point in ${drawn.stride} is drawn; lines hold all.` : "";
  figure.querySelector("figcaption").textContent = `${planeBasis()} A line per site from shallow to deep, a point per checkpoint; the dashed line runs through the sites at the checkpoint of the slider.${thinned}`;
}

function sizeOf(plot) {
  return { width: plot.clientWidth, height: plot.clientHeight };
}

function focusName(grid, focus) {
  return focus < 0 ? "no site" : grid.series.sites[focus] || "the whole model";
}

function drawCourses(article, view, focus) {
  const panels = panelsOf(view, focus);
  const plot = article.querySelector(".courses");
  const grid = panels[0].grid;
  const drawn = courseFigure(panels, focus, momentOf(article.dataset.dataset, grid.series));
  Plotly.react(plot, drawn.traces, drawn.layout, CONFIG);
  plot.setAttribute("aria-label", `${heading(article)}: ${panels.map((panel) => panel.title).join(", then ")} over checkpoints, ${focusName(grid, focus)} in focus. The table below holds the same numbers.`);
  const itself = planeState.x === "I(T;X)" && grid.series.sites[focus] === "block_0" ? " At block_0 the moving X is T itself." : "";
  const geometry = panels.at(-1).grid.series && planeState.geometry ? " Where the geometry falls together with I(T;X), the fall may be a change of the spectrum alone." : "";
  article.querySelector(".courses-caption").textContent = `In focus: ${focusName(grid, focus)}, with its 95 % interval where it has one.${itself}${geometry}`;
  courseLegend(article.querySelector(".legend"), panels, grid, focus);
}

function courseLegend(list, panels, grid, focus) {
  const colours = theme();
  const entries = focus < 0 ? [] : [[focusName(grid, focus), line(colours.focus, 3)]];
  entries.push(["other sites, shallow to deep", ramp(grid.series.colours[colours.name])]);
  if (panels.some((panel) => panel.null)) entries.push(["null: shuffled pairs, central 95 %", sample([["rect", { x: 0, y: 1, width: 40, height: 10, fill: colours.ghost }], ["line", { x1: 0, x2: 40, y1: 6, y2: 6, stroke: colours.floor }]])]);
  if (panels.some((panel) => panel.zeroIsNull)) entries.push(["0: what unrelated data give", line(colours.floor, 1.4)]);
  if (panels.some((panel) => Number.isFinite(panel.ceiling))) entries.push(["ceiling", line(colours.floor, 1.4, dashesOf("length_and_case", 1.4).replaceAll("px", ""))]);
  if (grid.series.columns.length > grid.series.n_checkpoints) entries.push(["random initialisation", line(colours.floor, 1.4, dashesOf("random_initialisation", 1.4).replaceAll("px", ""))]);
  if (panels.some((panel) => panel.control)) entries.push(["Gaussian noise in place of T", line(colours.deep, 1.4, "1 2.5")]);
  if (panels.some((panel) => panel.peak?.length)) entries.push(["peak of a rise and fall, 95 % interval", sample([["line", { x1: 4, x2: 36, y1: 3, y2: 3, stroke: colours.ink, "stroke-width": 2.4 }], ["path", { d: "M14 2 H26 L20 11 Z", fill: colours.ink }]])]);
  list.replaceChildren(...entries.map(([name, drawn]) => element("li", {}, [drawn, name])));
}

function planeBasis() {
  const method = content.information.terms.methods[planeState.method]?.title ?? planeState.method;
  return `${method}, ${SCALES[planeState.scale] ?? ""}, ${planeState.protocol} protocol, ${planeState.position ? `${planeState.position} token, ` : ""}seed ${planeState.seed}.`;
}

// ── what hangs on the estimator: every width calibrated, and every estimator as a share of its largest value ──

function estimatorColumns(view, focus) {
  const { terms } = content.information;
  const quantities = [planeState.x, terms.y].filter(Boolean);
  const columns = [
    { title: "every kernel width, calibrated", rows: quantities.map((quantity) => estimatorRow(view, quantity, CALIBRATED, focus)) },
    { title: "every estimator, its maximum = 1", rows: quantities.map((quantity) => estimatorRow(view, quantity, "", focus)) },
  ];
  return columns.map((column) => ({ ...column, rows: column.rows.filter((row) => row.lines.length) })).filter((column) => column.rows.some((row) => row.lines.length > 1));
}

function estimatorRow(view, quantity, suffix, focus) {
  const lines = view.methods.flatMap((method) => {
    const grid = dependence(view.place, quantity + suffix, method);
    const values = grid && focus >= 0 ? grid.column("value", focus).filter((value) => value !== null) : [];
    const largest = Math.max(...values.map(Math.abs));
    if (!values.length || (!suffix && !(largest > 0))) return [];
    return [{ name: content.information.terms.methods[method].title.replace("nHSIC, ", ""), grid, isMain: method === view.main, scale: suffix ? 1 : 1 / largest }];
  });
  return { title: content.information.terms.quantities[quantity]?.title ?? quantity, lines };
}

function drawEstimators(article, view, focus) {
  const figure = article.querySelector("figure.of-estimators");
  const columns = estimatorColumns(view, focus);
  figure.hidden = !columns.length;
  if (figure.hidden) return;
  const plot = figure.querySelector(".estimators");
  const drawn = estimatorFigure(columns, focus, plot.clientWidth >= 760);
  plot.style.height = `${drawn.layout.height}px`;
  Plotly.react(plot, drawn.traces, drawn.layout, CONFIG);
  const site = focusName(columns[0].rows[0].lines[0].grid, focus);
  plot.setAttribute("aria-label", `${heading(article)}: the curves of ${site} by every estimator. The table below holds the same numbers.`);
  figure.querySelector("figcaption").textContent = `${site}: how much hangs on the estimator. The main one, ${content.information.terms.methods[view.main]?.title ?? view.main}, is orange. Shapes that differ between lines are no property of the model.`;
}

// ── tables and downloads ──

function fillPlaneTwin(twin, article) {
  const { dataset } = article.dataset;
  const view = planeViewOf(dataset);
  const grid = panelsOf(view, -1)[0].grid;
  const focus = planeFocusOf(dataset, view, grid);
  const box = twin.querySelector(".scroll");
  box.setAttribute("aria-label", `${heading(article)}: ${twin.querySelector("summary").textContent}`);
  box.replaceChildren(twin.dataset.twin === "estimators" ? estimatorTable(view, focus) : courseTable(view, grid, focus));
}

function courseTable(view, grid, focus) {
  const { terms } = content.information;
  const suffix = suffixOf(planeState.scale);
  const columns = [planeState.x, terms.y].flatMap((quantity) => [
    [`${terms.quantities[quantity]?.title ?? quantity}, ${scaleTitle()}`, dependence(view.place, quantity + suffix, planeState.method)],
    ["its null", suffix ? null : dependence(view.place, quantity, planeState.method, "null")],
    ["its permutation p", dependence(view.place, `${quantity} p-value`, planeState.method)],
  ]);
  columns.push(...terms.geometry.map((name) => [terms.quantities[name].title, dependence(view.place, name, "spectrum")]));
  const shown = columns.filter(([, found]) => found);
  const rows = grid.series.labels.map((label, column) => [label, ...shown.map(([, found]) => found.text(column, focus)), counted(grid, column, focus), grid.note(column, focus)]);
  return table(`${focusName(grid, focus)}. ${planeBasis()}`, ["Checkpoint", ...shown.map(([name]) => name), "n", "note"], rows);
}

function counted(grid, column, site) {
  const n = grid.at("n", column, site);
  return Number.isFinite(n) ? String(n) : "";
}

function estimatorTable(view, focus) {
  const columns = estimatorColumns(view, focus);
  const shown = columns.flatMap((column) => column.rows.flatMap((row) => row.lines.map((line) => [`${row.title}${column.title.includes("calibrated") ? ", calibrated" : ""}, ${line.name}`, line.grid])));
  const { series } = shown[0][1];
  const rows = series.labels.map((label, column) => [label, ...shown.map(([, found]) => significant(found.at("value", column, focus)))]);
  return table(`${focusName(shown[0][1], focus)}: values by every estimator.`, ["Checkpoint", ...shown.map(([name]) => name)], rows);
}

function planeCsv(dataset) {
  const view = planeViewOf(dataset);
  const head = ["dataset", "checkpoint", "step", "tokens_seen", "site", "quantity", "method", "role", "protocol", "position", "seed", "value", "lower", "upper", "n", "note"];
  const grids = content.information.grids.filter((grid) => grid.view === view.place && [planeState.method, "spectrum"].includes(grid.method));
  const rows = grids.flatMap((address) => planeRows(view, address));
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function planeRows(view, address) {
  const grid = dependence(view.place, address.quantity, address.method, address.role);
  return grid.series.columns.flatMap((checkpoint, column) =>
    grid.series.sites.flatMap((site, place) => {
      const isUntrained = column >= grid.series.n_checkpoints && address.role === "measured";
      if (!grid.isMeasured(column, place) || (!Number.isFinite(grid.at("value", column, place)) && !grid.note(column, place))) return [];
      const numbersOf = ["value", "lower", "upper", "n"].map((plane) => grid.at(plane, column, place));
      return [[view.dataset, checkpoint.key, checkpoint.step, checkpoint.tokens_seen, site, address.quantity, address.method, isUntrained ? "floor" : address.role, view.protocol, view.position, view.seed, ...numbersOf, grid.note(column, place)]];
    }),
  );
}

function startPlanes(wanted, watch) {
  if (!content.information) return;
  readPlaneHash(wanted);
  settlePlane();
  buildPlaneControls();
  describePlane();
  showPhases();
  document.getElementById("plane-controls").addEventListener("submit", (event) => event.preventDefault());
  planeArticles.forEach((article) => {
    article.querySelector(".csv").addEventListener("click", () => save(planeCsv(article.dataset.dataset), `${article.dataset.dataset}_information_${planeState.method}_${planeState.protocol}.csv`));
    article.querySelectorAll("details.twin").forEach((twin) => twin.addEventListener("toggle", () => twin.open && fillPlaneTwin(twin, article)));
  });
  watch(planeArticles, stalePlanes, drawPlanes);
}
