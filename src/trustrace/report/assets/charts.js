"use strict";
// The figures: what Plotly is told to draw. Colours and dashes come from the page's palette.

const CONFIG = { displayModeBar: false, displaylogo: false, showSendToCloud: false, responsive: true, scrollZoom: false, doubleClick: "reset" };

// The left margin of both figures: their axes stand in one line.
const LEFT = 78;

function theme() {
  const chosen = document.documentElement.dataset.theme;
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = dark && !document.documentElement.dataset.printing ? "dark" : "light";
  return { name, ...content.palettes[name] };
}

function baseLayout(colours) {
  const line = { showgrid: false, zeroline: false, linecolor: colours.muted, tickcolor: colours.muted, ticks: "outside", ticklen: 4, tickfont: { color: colours.muted }, fixedrange: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colours.ink },
    hoverlabel: { bgcolor: colours.page, bordercolor: colours.muted, font: { color: colours.ink }, align: "left" },
    showlegend: false,
    hovermode: "closest",
    xaxis: { ...line },
    yaxis: { ...line, showgrid: true, gridcolor: colours.grid },
  };
}

function title(kind, name) {
  return content.terms[kind][name]?.title ?? name;
}

// Text that Plotly would read as markup or, between dollar signs, as mathematics is shown as it is.
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("$", "&#36;");
}

// ── accuracy over checkpoints ──

function curves(dataset, state, focus, range, isWide) {
  const grid = gridAt({ dataset, ...state, role: "measured" });
  const colours = theme();
  const series = grid.series;
  const layout = baseLayout(colours);
  const floors = curveFloors(dataset, state, focus, grid, colours);
  layout.margin = { l: LEFT, r: isWide ? 168 : 12, t: 12, b: 48 };
  Object.assign(layout.xaxis, { title: { text: series.title, standoff: 10 }, range: series.limits, tickvals: series.ticks.map((tick) => tick[0]), ticktext: series.ticks.map((tick) => plain(tick[1])) });
  Object.assign(layout.yaxis, { title: { text: content.terms.quantities[state.quantity].axis, standoff: 8 }, range });
  layout.shapes = series.zero_break === null ? [] : [{ type: "line", x0: series.zero_break, x1: series.zero_break, yref: "paper", y0: 0, y1: 1, line: { color: colours.ghost, width: 1 } }];
  layout.annotations = isWide ? floorLabels(floors, range, layout, colours) : [];
  const traces = [...siteLines(grid, focus, colours), ...band(grid, focus, colours), ...floors.map((floor) => floor.trace), ...control(dataset, state, focus, colours), ...focusLine(grid, focus, colours), ...firstMark(dataset, state, grid, colours)];
  return { traces, layout, floors };
}

function hover(grid, site, name) {
  const texts = grid.series.labels.map((label, column) => `<b>${plain(name)}</b> after ${plain(label)}<br>${grid.text(column, site)}, n = ${grid.at("n", column, site)}${grid.note(column, site) ? `<br>${plain(grid.note(column, site))}` : ""}`);
  return { text: texts, hovertemplate: "%{text}<extra></extra>" };
}

function mode(series) {
  return series.n_checkpoints === 1 ? "markers" : "lines";
}

function siteLines(grid, focus, colours) {
  return grid.series.sites.flatMap((name, site) =>
    site === focus || name === "embed"
      ? []
      : [{ x: grid.series.positions, y: grid.column("value", site), mode: mode(grid.series), line: { color: grid.series.colours[colours.name][site], width: 1.3 }, marker: { size: 6, color: grid.series.colours[colours.name][site] }, ...hover(grid, site, name) }],
  );
}

function focusLine(grid, focus, colours) {
  if (focus < 0) return [];
  return [{ x: grid.series.positions, y: grid.column("value", focus), mode: mode(grid.series), line: { color: colours.focus, width: 2.6 }, marker: { size: 8, color: colours.focus }, ...hover(grid, focus, grid.series.sites[focus]) }];
}

function band(grid, focus, colours) {
  if (focus < 0) return [];
  const [lower, upper] = ["lower", "upper"].map((plane) => grid.column(plane, focus));
  const known = grid.series.positions.map((_, column) => column).filter((column) => lower[column] !== null && upper[column] !== null);
  if (!known.length) return [];
  const back = known.toReversed();
  const x = [...known, ...back].map((column) => grid.series.positions[column]);
  const y = [...known.map((column) => upper[column]), ...back.map((column) => lower[column])];
  if (known.length === 1) return [{ x: [x[0], x[0]], y, mode: "lines", line: { color: colours.focus, width: 1.2 }, hoverinfo: "skip" }];
  return [{ x, y, fill: "toself", fillcolor: `${colours.focus}2e`, mode: "none", hoverinfo: "skip" }];
}

function firstMark(dataset, state, grid, colours) {
  const choice = choiceOf(dataset, state);
  if (state.quantity !== "accuracy" || !choice || choice.first === null) return [];
  const site = choice.sites[choice.first];
  return [{ x: [grid.series.positions[choice.first]], y: [grid.at("value", choice.first, site)], mode: "markers", marker: { size: 9, color: colours.page, line: { color: colours.focus, width: 2 } }, text: [`First best site above every floor:<br><b>${plain(grid.series.sites[site])}</b>, ${plain(grid.series.labels[choice.first])}<br>${grid.text(choice.first, site)}`], hovertemplate: "%{text}<extra></extra>" }];
}

function control(dataset, state, focus, colours) {
  const grid = gridAt({ dataset, ...state, role: "control" });
  if (!grid || focus < 0) return [];
  return [{ x: grid.series.positions, y: grid.column("value", focus), mode: mode(grid.series), line: { color: colours.deep, width: 1.2, dash: "1px,2.5px" }, marker: { size: 5, color: colours.deep }, ...hover(grid, focus, "control labels") }];
}

// Floors as lines with a name each: constant ones across the chart, the input embedding as the curve it is.
function curveFloors(dataset, state, focus, grid, colours) {
  const [left, right] = grid.series.limits;
  const styled = (name) => ({ color: colours.floor, width: 1.3, dash: (content.dashes[name] ?? [1, 1]).map((part) => `${part * 1.3}px`).join(",") });
  const constant = floorsOf(dataset, state, focus).map((floor) => ({
    name: floor.name,
    value: floor.value,
    text: written(floor.value, floor.lower, floor.upper),
    trace: { x: [left, right], y: [floor.value, floor.value], mode: "lines", line: styled(floor.name), text: Array(2).fill(`${plain(title("floors", floor.name))}<br>${written(floor.value, floor.lower, floor.upper)}, n = ${floor.n}`), hovertemplate: "%{text}<extra></extra>" },
  }));
  const embed = grid.series.sites.indexOf("embed");
  if (embed < 0 || embed === focus) return constant;
  const values = grid.column("value", embed);
  const last = values.findLast((value) => value !== null);
  const trace = { x: grid.series.positions, y: values, mode: mode(grid.series), line: styled("input_embedding"), marker: { size: 5, color: colours.floor }, ...hover(grid, embed, "input embedding") };
  return last === undefined ? constant : [...constant, { name: "input_embedding", value: last, text: decimal(last), trace }];
}

// Names at the right end of the lines, moved apart where they would overlap.
function floorLabels(floors, range, layout, colours) {
  const gap = (15 / (384 - layout.margin.t - layout.margin.b)) * (range[1] - range[0]);
  const sorted = floors.filter((floor) => floor.value >= range[0] && floor.value <= range[1]).sort((a, b) => a.value - b.value);
  let below = -Infinity;
  const places = sorted.map((floor) => (below = Math.max(floor.value, below + gap)));
  const excess = Math.max(0, (places.at(-1) ?? 0) - range[1]);
  return sorted.map((floor, index) => ({ x: 1.01, xref: "paper", xanchor: "left", y: places[index] - excess, yanchor: "middle", showarrow: false, align: "left", font: { size: 11.5, color: colours.muted }, text: `${plain(title("floors", floor.name))} ${decimal(floor.value, 2)}` }));
}

// ── layer x checkpoint ──

function heatMap(dataset, state, focus, range, width) {
  const grid = gridAt({ dataset, ...state, role: "measured" });
  const colours = theme();
  const { sites, labels, n_checkpoints: count } = grid.series;
  const layout = baseLayout(colours);
  const stride = Math.ceil(sites.length / 18);
  const step = Math.ceil((count * 64) / Math.max(width - 180, 64));
  const ticks = labels.map((_, column) => column).filter((column) => column % step === 0);
  const shown = sites.map((_, site) => site).filter((site) => site % stride === 0 || site === sites.length - 1);
  layout.margin = { l: LEFT, r: 12, t: 8, b: 48 };
  layout.height = Math.min(620, 84 + Math.max(24, Math.min(30, 620 / sites.length)) * sites.length);
  layout.plot_bgcolor = colours.missing;
  Object.assign(layout.xaxis, { title: { text: `${grid.series.title} (one column per checkpoint)`, standoff: 10 }, tickvals: ticks, ticktext: ticks.map((column) => plain(labels[column].replace(/ tokens$/, ""))), ticks: "", tickangle: 0, showline: false, range: [-0.5, count - 0.5] });
  Object.assign(layout.yaxis, { showgrid: false, ticks: "", showline: false, tickvals: shown, ticktext: shown.map((site) => plain(sites[site])), range: [-0.5, sites.length - 0.5] });
  layout.shapes = focus < 0 ? [] : [{ type: "rect", x0: -0.5, x1: count - 0.5, y0: focus - 0.5, y1: focus + 0.5, line: { color: colours.focus, width: 2 } }];
  return { traces: [cells(grid, state, range, colours), undefinedCells(grid, colours), chosenDots(dataset, state, count)], layout };
}

function cells(grid, state, range, colours) {
  const { sites, labels, n_checkpoints: count } = grid.series;
  const lowerIsBetter = content.terms.quantities[state.quantity].better === "lower";
  const text = sites.map((name, site) => labels.map((label, column) => `<b>${plain(name)}</b> after ${plain(label)}<br>${grid.text(column, site)}${grid.note(column, site) ? `<br>${plain(grid.note(column, site))}` : ""}`));
  return {
    type: "heatmap",
    z: sites.map((_, site) => grid.column("value", site, count)),
    x: labels.map((_, column) => column),
    y: sites.map((_, site) => site),
    zmin: range[0],
    zmax: range[1],
    colorscale: "Cividis",
    reversescale: lowerIsBetter,
    xgap: count <= 60 ? 1 : 0,
    ygap: 1,
    text,
    hovertemplate: "%{text}<extra></extra>",
    colorbar: { thickness: 10, outlinewidth: 0, len: 1, tickfont: { color: colours.muted }, ticks: "", title: { text: title("quantities", state.quantity), side: "right", font: { color: colours.muted, size: 11.5 } } },
  };
}

function undefinedCells(grid, colours) {
  const places = [];
  grid.series.sites.forEach((_, site) => grid.series.labels.forEach((_, column) => {
    if (grid.isMeasured(column, site) && !Number.isFinite(grid.at("value", column, site))) places.push([column, site]);
  }));
  return { x: places.map((place) => place[0]), y: places.map((place) => place[1]), mode: "markers", marker: { symbol: "x-thin", size: 8, line: { color: colours.muted, width: 1.2 } }, hoverinfo: "skip" };
}

function chosenDots(dataset, state, count) {
  const choice = choiceOf(dataset, state);
  const columns = choice ? choice.sites.map((_, column) => column).filter((column) => choice.sites[column] >= 0) : [];
  const fill = columns.map((column) => (choice.above.includes(column) ? "#ffffff" : "rgba(0,0,0,0.55)"));
  return { x: columns, y: columns.map((column) => choice.sites[column]), mode: "markers", marker: { size: count <= 60 ? 7 : 4, color: fill, line: { color: "#ffffff", width: 1.2 } }, hoverinfo: "skip" };
}
