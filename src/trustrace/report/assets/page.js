"use strict";
// The page: controls, what is drawn when, tables and downloads. All text from the run is set as text, never as markup.

const CONTROLS = { quantity: "Quantity", method: "Probe", protocol: "Protocol", position: "Token position", seed: "Seed", model: "Model" };
const state = {};
const focusChoice = {};
const articles = [...document.querySelectorAll("article.dataset")];
const stale = new Set(articles);

// ── state and controls ──

function optionsOf(part) {
  const present = [...new Set(content.grids.filter((grid) => grid.role === "measured").map((grid) => grid[part]))];
  const terms = { quantity: content.terms.quantities, method: content.terms.methods }[part];
  return terms ? Object.keys(terms).filter((name) => present.includes(name)) : present;
}

function hashed() {
  return new URLSearchParams(location.hash.startsWith("#view?") ? location.hash.slice(6) : "");
}

function readHash(wanted) {
  Object.keys(CONTROLS).forEach((part) => {
    const options = optionsOf(part);
    state[part] = options.find((option) => String(option) === wanted.get(part)) ?? options[0];
  });
  articles.forEach((article, place) => {
    focusChoice[article.dataset.dataset] = wanted.get(`focus${place}`) ?? "";
  });
}

function writeHash() {
  const said = new URLSearchParams(Object.keys(CONTROLS).filter((part) => state[part] !== undefined && state[part] !== optionsOf(part)[0]).map((part) => [part, state[part]]));
  articles.forEach((article, place) => {
    const site = focusChoice[article.dataset.dataset];
    if (site) said.set(`focus${place}`, site);
  });
  planeHash().forEach(([name, value]) => said.set(name, value));
  history.replaceState(null, "", said.size ? `#view?${said}` : "#figures");
}

function buildControls() {
  const form = document.getElementById("controls");
  Object.entries(CONTROLS).forEach(([part, name]) => {
    const options = optionsOf(part);
    if (options.length < 2) return;
    const terms = { quantity: content.terms.quantities, method: content.terms.methods }[part];
    const select = element("select", { name: part }, options.map((option) => element("option", { value: String(option), textContent: terms?.[option].title ?? String(option), selected: option === state[part] })));
    select.addEventListener("change", () => {
      state[part] = options.find((option) => String(option) === select.value);
      changed();
    });
    form.append(element("label", {}, [`${name} `, select]));
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = form.childElementCount === 0;
}

function buildFocus(article) {
  const dataset = article.dataset.dataset;
  const select = article.querySelector(".focus select");
  const sites = content.series[state.model].sites;
  const wanted = sites.includes(focusChoice[dataset]) ? focusChoice[dataset] : "";
  const chosen = lastChosen(choiceOf(dataset, state));
  const unasked = chosen < 0 ? "none chosen" : `${sites[chosen]} (chosen)`;
  select.replaceChildren(element("option", { value: "", textContent: unasked }), ...sites.map((site) => element("option", { value: site, textContent: site || "whole model", selected: site === wanted })));
  select.onchange = () => {
    focusChoice[dataset] = select.value;
    writeHash();
    draw(article);
  };
  article.querySelector(".focus").hidden = false;
}

function focusOf(dataset) {
  const asked = content.series[state.model].sites.indexOf(focusChoice[dataset]);
  return asked >= 0 && focusChoice[dataset] !== "" ? asked : lastChosen(choiceOf(dataset, state));
}

function changed() {
  writeHash();
  articles.forEach((article) => stale.add(article));
  describe();
  filterTables();
  articles.filter(isNear).forEach(draw);
}

function describe() {
  const quantity = content.terms.quantities[state.quantity];
  const method = content.terms.methods[state.method];
  document.getElementById("meaning").textContent = `${quantity.title}: ${quantity.sentence} ${method.title}: ${method.sentence} Protocol ${state.protocol}.`;
}

// The tables of best sites and floors hold every probe; one at a time is shown.
function filterTables() {
  document.querySelectorAll("table.chosen tbody tr[data-method]").forEach((row) => {
    row.hidden = row.dataset.method !== state.method;
  });
}

// ── ranges: one for all datasets, so that heights and colours compare ──

function valuesOf(dataset) {
  const grid = gridAt({ dataset, ...state, role: "measured" });
  return grid ? grid.series.sites.flatMap((_, site) => grid.column("value", site)) : [];
}

function endsOf(dataset) {
  const focus = focusOf(dataset);
  const grids = ["measured", "control"].map((role) => gridAt({ dataset, ...state, role })).filter(Boolean);
  const ends = focus < 0 ? [] : grids.flatMap((grid, place) => (place ? ["value"] : ["lower", "upper"]).flatMap((plane) => grid.column(plane, focus)));
  return [...ends, ...floorsOf(dataset, state, focus).map((floor) => floor.value)];
}

function ranges() {
  const datasets = articles.map((article) => article.dataset.dataset);
  const values = datasets.flatMap(valuesOf);
  return { map: rangeOf(values, 0), curves: rangeOf([...values, ...datasets.flatMap(endsOf)].filter((value) => value !== null), 0.04) };
}

// ── drawing ──

function draw(article) {
  const dataset = article.dataset.dataset;
  stale.delete(article);
  buildFocus(article);
  const grid = gridAt({ dataset, ...state, role: "measured" });
  article.querySelectorAll("figure").forEach((figure) => (figure.hidden = !grid));
  article.querySelector(".csv").hidden = !grid;
  article.querySelector(".absent")?.remove();
  if (!grid) {
    article.append(element("p", { className: "absent", textContent: `Not measured here: ${title("quantities", state.quantity)} of the ${title("methods", state.method).toLowerCase()}, protocol ${state.protocol}, of ${state.model}.` }));
    return;
  }
  const focus = focusOf(dataset);
  const range = ranges();
  drawCurves(article, dataset, focus, range.curves);
  drawMap(article, dataset, focus, range.map);
  article.querySelectorAll("details.twin[open]").forEach((twin) => fillTwin(twin, article));
}

function drawCurves(article, dataset, focus, range) {
  const plot = article.querySelector(".curves");
  const isWide = plot.clientWidth >= 640;
  const drawn = curves(dataset, state, focus, range, isWide);
  Plotly.react(plot, drawn.traces, drawn.layout, CONFIG);
  const site = focus < 0 ? "no site" : content.series[state.model].sites[focus];
  plot.setAttribute("aria-label", `${heading(article)}: ${title("quantities", state.quantity)} over checkpoints, ${site} in focus. The table below holds the same numbers.`);
  article.querySelector(".curves-caption").textContent = `${basis()} ${focus < 0 ? "No site is in focus: there is no loss inside training rows to choose one by." : `In focus: ${site}, with its 95 % interval where it has one.`}`;
  legend(article.querySelector(".legend"), drawn.floors, focus, isWide, dataset);
}

function drawMap(article, dataset, focus, range) {
  const plot = article.querySelector(".map");
  const drawn = heatMap(dataset, state, focus, range, plot.clientWidth);
  Plotly.react(plot, drawn.traces, drawn.layout, CONFIG);
  plot.removeAllListeners?.("plotly_click");
  plot.on("plotly_click", (event) => {
    focusChoice[dataset] = content.series[state.model].sites[event.points[0].y];
    writeHash();
    draw(article);
  });
  plot.setAttribute("aria-label", `${heading(article)}: ${title("quantities", state.quantity)} by site and checkpoint. The table below holds the same numbers.`);
  article.querySelector(".map-caption").textContent = `${basis()} ${choiceIsMade(dataset) ? "A dot marks the site chosen at each checkpoint by the loss inside training rows; it is white where the accuracy's interval lies above every floor. " : ""}A cross is an undefined number, an empty cell one that was not measured.`;
}

function choiceIsMade(dataset) {
  return lastChosen(choiceOf(dataset, state)) >= 0;
}

function basis() {
  const quantity = content.terms.quantities[state.quantity];
  const way = { higher: "Higher is more readable.", lower: "Lower is more readable.", neither: "" }[quantity.better];
  return `${title("methods", state.method)}, ${state.protocol} protocol, ${state.position ? `${state.position} token, ` : ""}seed ${state.seed}. ${way}`;
}

function heading(article) {
  return article.querySelector("h3").textContent;
}

function legend(list, floors, focus, isWide, dataset) {
  const colours = theme();
  const sites = content.series[state.model].sites;
  const entries = focus < 0 ? [] : [[sites[focus], line(colours.focus, 3)]];
  entries.push([focus < 0 ? "sites, shallow to deep" : "other sites, shallow to deep", ramp(content.series[state.model].colours[colours.name])]);
  if (state.quantity === "accuracy" && choiceOf(dataset, state)?.first != null) entries.push(["first best site above every floor", ring(colours)]);
  if (gridAt({ dataset, ...state, role: "control" }) && focus >= 0) entries.push(["control labels", line(colours.deep, 1.4, "1 2.5")]);
  const named = isWide ? [] : floors;
  named.forEach((floor) => entries.push([`${title("floors", floor.name)} ${decimal(floor.value, 2)}`, line(colours.floor, 1.5, (content.dashes[floor.name] ?? [1, 1]).map((part) => part * 1.5).join(" "))]));
  list.replaceChildren(...entries.map(([name, sample]) => element("li", {}, [sample, name])));
}

// ── tables and downloads ──

function fillTwin(twin, article) {
  const dataset = article.dataset.dataset;
  const box = twin.querySelector(".scroll");
  const made = twin.dataset.twin === "map" ? mapTable(dataset) : curvesTable(dataset);
  box.setAttribute("aria-label", `${heading(article)}: ${twin.querySelector("summary").textContent}`);
  box.replaceChildren(made);
}

function mapTable(dataset) {
  const grid = gridAt({ dataset, ...state, role: "measured" });
  const headers = ["Checkpoint", ...grid.series.sites];
  const rows = grid.series.labels.map((label, column) => [label, ...grid.series.sites.map((_, site) => grid.text(column, site))]);
  return table(`${content.terms.quantities[state.quantity].axis}. ${basis()}`, headers, rows);
}

function curvesTable(dataset) {
  const grid = gridAt({ dataset, ...state, role: "measured" });
  const focus = focusOf(dataset);
  const embed = grid.series.sites.indexOf("embed");
  const constant = floorsOf(dataset, state, focus);
  const shown = [...new Set([focus, embed])].filter((site) => site >= 0);
  const headers = ["Checkpoint", ...shown.map((site) => grid.series.sites[site]), "n", ...constant.map((floor) => title("floors", floor.name)), "note"];
  const rows = grid.series.labels.map((label, column) => [
    label,
    ...shown.map((site) => grid.text(column, site)),
    shown.length ? String(grid.at("n", column, shown[0])) : "",
    ...constant.map((floor) => written(floor.value, floor.lower, floor.upper)),
    shown.length ? grid.note(column, shown[0]) : "",
  ]);
  return table(`${content.terms.quantities[state.quantity].axis}. ${basis()}`, headers, rows);
}

function download(dataset) {
  save(csvOf(dataset, state), `${dataset}_${state.quantity}_${state.method}_${state.protocol}.csv`);
}

// ── start ──

async function start() {
  buildTheme();
  if (!content.grids.length && !content.information) return;
  await unpackNumbers();
  await runPlotly();
  const wanted = hashed();
  if (content.grids.length) startProbes(wanted);
  startPlanes(wanted, watch);
}

function startProbes(wanted) {
  readHash(wanted);
  buildControls();
  describe();
  filterTables();
  articles.forEach((article) => {
    article.querySelector(".csv").addEventListener("click", () => download(article.dataset.dataset));
    article.querySelectorAll("details.twin").forEach((twin) => twin.addEventListener("toggle", () => twin.open && fillTwin(twin, article)));
  });
  watch(articles, stale, draw);
}

begin(start);
