"use strict";
// The information plane's figures: what Plotly is told to draw.

const CALIBRATED = " calibrated";
const MOST_POINTS = 2500;
const PLANE_MARGIN = { l: 62, r: 14, t: 64, b: 48 };
const WIDTH_DASHES = ["solid", "6px,2px", "2px,2px", "8px,2px,2px,2px", "12px,3px", "4px,2px,1px,2px,1px,2px"];

// ── the plane ──

// What is drawn of a dataset: `pair` holds I(T;X) and I(T;Y), `focus` the site in focus, `moment` the checkpoint of the slider.
function planeFigure(pair, focus, moment, size) {
  const { x, y } = pair;
  const { series } = x;
  const colours = theme();
  const layout = baseLayout(colours);
  const sites = sitesOf(x, y);
  layout.margin = PLANE_MARGIN;
  Object.assign(layout.xaxis, { title: { text: plain(pair.xTitle), standoff: 8 }, showgrid: true, gridcolor: colours.grid, range: planeRange(x, sites, pair.isCalibrated) });
  Object.assign(layout.yaxis, { title: { text: plain(pair.yTitle), standoff: 6 }, range: planeRange(y, sites, pair.isCalibrated) });
  const traces = [...sites.map((site) => planeLine(x, y, site, focus, colours)), planePoints(pair, sites, focus, colours, series), momentTrace(pair, sites, focus, moment, size, colours)];
  return { traces, layout, stride: pointStride(series, sites) };
}

function sitesOf(...grids) {
  const { series } = grids[0];
  return series.sites.map((_, site) => site).filter((site) => grids.every((grid) => grid.column("value", site).some((value) => value !== null)));
}

function planeRange(grid, sites, isCalibrated) {
  const values = sites.flatMap((site) => grid.column("value", site)).filter((value) => value !== null);
  return rangeOf(isCalibrated ? [...values, 0] : values, 0.06);
}

function planeLine(x, y, site, focus, colours) {
  const isFocus = site === focus;
  const colour = isFocus ? colours.focus : x.series.colours[colours.name][site];
  return { x: x.column("value", site), y: y.column("value", site), mode: "lines", line: { color: colour, width: isFocus ? 2.2 : 1 }, opacity: isFocus ? 1 : 0.75, hoverinfo: "skip" };
}

function pointStride(series, sites) {
  return Math.max(1, Math.ceil((sites.length * series.n_checkpoints) / MOST_POINTS));
}

function planePoints(pair, sites, focus, colours, series) {
  const stride = pointStride(series, sites);
  const places = sites.flatMap((site) => series.labels.map((_, column) => [column, site]).filter(([column]) => site === focus || column % stride === 0));
  const ordered = [...places.filter((place) => place[1] !== focus), ...places.filter((place) => place[1] === focus)];
  return {
    x: ordered.map(([column, site]) => finite(pair.x.at("value", column, site))),
    y: ordered.map(([column, site]) => finite(pair.y.at("value", column, site))),
    mode: "markers",
    marker: {
      size: ordered.map(([, site]) => (site === focus ? 8 : 5)),
      color: ordered.map(([column]) => series.positions[column]),
      colorscale: "Cividis",
      cmin: series.positions[0],
      cmax: series.positions.at(-1) > series.positions[0] ? series.positions.at(-1) : series.positions[0] + 1,
      line: { color: ordered.map(([, site]) => (site === focus ? colours.focus : colours.edge)), width: ordered.map(([, site]) => (site === focus ? 1.2 : 0.5)) },
      colorbar: { orientation: "h", thickness: 8, len: 1, x: 0.5, y: 1.02, yanchor: "bottom", outlinewidth: 0, ticks: "", tickvals: series.ticks.map((tick) => tick[0]), ticktext: series.ticks.map((tick) => plain(tick[1])), tickfont: { color: colours.muted, size: 10.5 }, title: { text: series.title, side: "top", font: { color: colours.muted, size: 11 } } },
    },
    text: ordered.map(([column, site]) => planeHover(pair, column, site)),
    hovertemplate: "%{text}<extra></extra>",
  };
}

function planeHover(pair, column, site) {
  const { x, y } = pair;
  const note = x.note(column, site) || y.note(column, site);
  return `<b>${plain(x.series.sites[site])}</b> after ${plain(x.series.labels[column])}<br>I(T;X) ${x.text(column, site)}<br>I(T;Y) ${y.text(column, site)}${note ? `<br>${plain(note)}` : ""}`;
}

// The state at one checkpoint: a line through the sites in order of depth, and their names.
function momentTrace(pair, sites, focus, moment, size, colours) {
  const marker = { size: sites.map((site) => (site === focus ? 12 : 9)), color: sites.map((site) => (site === focus ? colours.focus : colours.page)), line: { color: colours.ink, width: 1.6 } };
  return { ...momentShape(pair, sites, focus, moment, size), mode: "lines+markers+text", line: { color: colours.ink, width: 1.2, dash: "3px,2px" }, marker, textfont: { color: colours.ink, size: 11 }, hovertemplate: "%{customdata}<extra></extra>", cliponaxis: false };
}

function momentShape(pair, sites, focus, moment, size) {
  const x = sites.map((site) => finite(pair.x.at("value", moment, site)));
  const y = sites.map((site) => finite(pair.y.at("value", moment, site)));
  const named = namedPlaces(pair, sites, focus, x, y, size);
  const [left, right] = planeRange(pair.x, sites, pair.isCalibrated);
  return {
    x,
    y,
    text: sites.map((site, place) => (named.has(place) ? `\u2002${plain(pair.x.series.sites[site])}\u2002` : "")),
    textposition: x.map((value) => (value - left > 0.75 * (right - left) ? "middle left" : "middle right")),
    customdata: sites.map((site) => planeHover(pair, moment, site)),
  };
}

// Which sites are named: the one in focus, the ends, and every other whose name would not stand on another.
function namedPlaces(pair, sites, focus, x, y, size) {
  const xRange = planeRange(pair.x, sites, pair.isCalibrated);
  const yRange = planeRange(pair.y, sites, pair.isCalibrated);
  const across = (value) => ((value - xRange[0]) / (xRange[1] - xRange[0])) * (size.width - PLANE_MARGIN.l - PLANE_MARGIN.r);
  const up = (value) => ((value - yRange[0]) / (yRange[1] - yRange[0])) * (size.height - PLANE_MARGIN.t - PLANE_MARGIN.b);
  const named = new Set();
  const order = [sites.indexOf(focus), 0, sites.length - 1, ...sites.keys()];
  order.forEach((place) => {
    if (place < 0 || x[place] === null || y[place] === null) return;
    const isFree = [...named].every((other) => Math.abs(across(x[other]) - across(x[place])) > 64 || Math.abs(up(y[other]) - up(y[place])) > 14);
    if (isFree) named.add(place);
  });
  return named;
}

// ── curves over training, one above the other ──

// `panels` are objects of: title, grid, null, control, ceiling, peak (places on the axis), zeroIsNull.
function courseFigure(panels, focus, moment) {
  const { series } = panels[0].grid;
  const colours = theme();
  const layout = baseLayout(colours);
  const gap = 0.085;
  const height = (1 - gap * (panels.length - 1)) / panels.length;
  layout.margin = { l: 62, r: 14, t: 26, b: 48 };
  layout.annotations = [];
  layout.shapes = momentShapes(series, moment, colours);
  const traces = panels.flatMap((panel, place) => {
    const suffix = place ? String(place + 1) : "";
    const top = 1 - place * (height + gap);
    const range = courseRange(panel, focus);
    layout[`yaxis${suffix}`] = { ...layout.yaxis, domain: [Math.max(0, top - height), top], range, nticks: 5 };
    layout.annotations.push({ text: plain(panel.title), x: 0, xref: "paper", xanchor: "left", y: top, yref: "paper", yanchor: "bottom", yshift: 7, showarrow: false, font: { color: colours.ink, size: 12 } });
    layout.annotations.push(...ceilingNote(panel, range, top, colours));
    return courseTraces(panel, focus, range, colours).map((trace) => ({ ...trace, xaxis: "x", yaxis: `y${suffix}` }));
  });
  const last = panels.length > 1 ? `y${panels.length}` : "y";
  Object.assign(layout.xaxis, { anchor: last, title: { text: series.title, standoff: 10 }, range: series.limits, tickvals: series.ticks.map((tick) => tick[0]), ticktext: series.ticks.map((tick) => plain(tick[1])) });
  return { traces, layout };
}

function momentShapes(series, moment, colours) {
  const line = (x, colour, dash) => ({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, layer: "below", line: { color: colour, width: 1, dash } });
  const zero = series.zero_break === null ? [] : [line(series.zero_break, colours.ghost, "solid")];
  return [...zero, line(series.positions[moment], colours.ink, "3px,2px")];
}

function courseRange(panel, focus) {
  const { grid } = panel;
  const own = sitesOf(grid).flatMap((site) => grid.column("value", site));
  const ends = focus < 0 ? [] : ["lower", "upper"].flatMap((plane) => [...grid.column(plane, focus), ...(panel.null ? panel.null.column(plane, focus) : [])]);
  const control = panel.control && focus >= 0 ? panel.control.column("value", focus) : [];
  const zero = panel.zeroIsNull ? [0] : [];
  const values = [...own, ...ends, ...control, ...zero].filter((value) => value !== null);
  const range = rangeOf(values, 0.1);
  const isNear = Number.isFinite(panel.ceiling) && panel.ceiling <= range[0] + 2.2 * (range[1] - range[0]);
  return isNear ? rangeOf([...values, panel.ceiling], 0.1) : range;
}

function ceilingNote(panel, range, top, colours) {
  if (!Number.isFinite(panel.ceiling) || panel.ceiling <= range[1]) return [];
  return [{ text: `ceiling ${significant(panel.ceiling)}, above this panel`, x: 1, xref: "paper", xanchor: "right", y: top, yref: "paper", yanchor: "bottom", yshift: 7, showarrow: false, font: { color: colours.muted, size: 11 } }];
}

function courseTraces(panel, focus, range, colours) {
  const { grid } = panel;
  const others = sitesOf(grid).filter((site) => site !== focus);
  const lines = others.map((site) => ({ x: grid.series.positions, y: grid.column("value", site), mode: mode(grid.series), line: { color: grid.series.colours[colours.name][site], width: 1.1 }, marker: { size: 6, color: grid.series.colours[colours.name][site] }, ...courseHover(grid, site) }));
  return [...nullBand(panel, focus, colours), ...levels(panel, range, colours), ...untrained(panel, focus, colours), ...lines, ...noise(panel, focus, colours), ...band(grid, focus, colours), ...focusCourse(grid, focus, colours), ...peakMark(panel, range, colours)];
}

function courseHover(grid, site) {
  const text = grid.series.labels.map((label, column) => {
    const n = grid.at("n", column, site);
    const note = grid.note(column, site);
    return `<b>${plain(grid.series.sites[site])}</b> after ${plain(label)}<br>${grid.text(column, site)}${Number.isFinite(n) && n > 0 ? `, n = ${n}` : ""}${note ? `<br>${plain(note)}` : ""}`;
  });
  return { text, hovertemplate: "%{text}<extra></extra>" };
}

function focusCourse(grid, focus, colours) {
  if (focus < 0) return [];
  return [{ x: grid.series.positions, y: grid.column("value", focus), mode: mode(grid.series), line: { color: colours.focus, width: 2.4 }, marker: { size: 8, color: colours.focus }, ...courseHover(grid, focus) }];
}

function nullBand(panel, focus, colours) {
  if (!panel.null || focus < 0) return [];
  const shaded = band(panel.null, focus, colours).map((trace) => (trace.fill ? { ...trace, fillcolor: colours.ghost, opacity: 0.8 } : { ...trace, line: { color: colours.ghost, width: 5 } }));
  const { series } = panel.null;
  const text = series.labels.map((label, column) => `null after ${plain(label)}<br>${panel.null.text(column, focus)}`);
  return [...shaded, { x: series.positions, y: panel.null.column("value", focus), mode: mode(series), line: { color: colours.floor, width: 1 }, marker: { size: 5, color: colours.floor }, text, hovertemplate: "%{text}<extra></extra>" }];
}

// Lines across the panel: the ceiling where it is in sight, and the zero that is the null of calibrated values.
function levels(panel, range, colours) {
  const [left, right] = panel.grid.series.limits;
  const across = (y, dash, name) => ({ x: [left, right], y: [y, y], mode: "lines", line: { color: colours.floor, width: 1.2, dash }, text: [name, name], hovertemplate: "%{text}<extra></extra>" });
  const zero = panel.zeroIsNull ? [across(0, "solid", "0: what unrelated data give")] : [];
  const isSeen = Number.isFinite(panel.ceiling) && panel.ceiling <= range[1];
  return isSeen ? [...zero, across(panel.ceiling, dashesOf("length_and_case", 1.2), `ceiling ${significant(panel.ceiling)}`)] : zero;
}

function dashesOf(name, width) {
  return (content.dashes[name] ?? [1, 1]).map((part) => `${part * width}px`).join(",");
}

function untrained(panel, focus, colours) {
  const { grid } = panel;
  const [left, right] = grid.series.limits;
  const twins = grid.series.columns.map((_, column) => column).slice(grid.series.n_checkpoints);
  return twins
    .map((column) => (focus < 0 ? NaN : grid.at("value", column, focus)))
    .filter(Number.isFinite)
    .map((value) => ({ x: [left, right], y: [value, value], mode: "lines", line: { color: colours.floor, width: 1.2, dash: dashesOf("random_initialisation", 1.2) }, text: Array(2).fill(`random initialisation ${significant(value)}`), hovertemplate: "%{text}<extra></extra>" }));
}

function noise(panel, focus, colours) {
  if (!panel.control || focus < 0) return [];
  const { series } = panel.control;
  const text = series.labels.map((_, column) => `Gaussian noise in place of T<br>${panel.control.text(column, focus)}`);
  return [{ x: series.positions, y: panel.control.column("value", focus), mode: mode(series), line: { color: colours.deep, width: 1.2, dash: "1px,2.5px" }, marker: { size: 5, color: colours.deep }, text, hovertemplate: "%{text}<extra></extra>" }];
}

function peakMark(panel, range, colours) {
  if (!panel.peak?.length) return [];
  const [value, lower, upper] = panel.peak;
  const y = range[1];
  const shown = { text: Array(2).fill(`Peak: ${plain(panel.peakText)}`), hovertemplate: "%{text}<extra></extra>", cliponaxis: false };
  const bar = lower === null || upper === null ? [] : [{ x: [lower, upper], y: [y, y], mode: "lines", line: { color: colours.ink, width: 2.4 }, ...shown }];
  return [...bar, { x: [value], y: [y], mode: "markers", marker: { symbol: "triangle-down", size: 10, color: colours.ink }, ...shown }];
}

// ── what hangs on the estimator ──

// `columns` are objects of: title, rows (one per quantity: title, and lines of: name, grid, isMain, scale); every line is of one site.
function estimatorFigure(columns, focus, isWide) {
  const colours = theme();
  const { series } = columns[0].rows[0].lines[0].grid;
  const layout = baseLayout(colours);
  const cells = isWide
    ? columns.flatMap((column, across) => column.rows.map((row, down) => ({ row, title: column.title, across, down, of: columns.length, deep: column.rows.length })))
    : columns.flatMap((column, part) => column.rows.map((row, down) => ({ row, title: column.title, across: 0, down: part * column.rows.length + down, of: 1, deep: columns.length * column.rows.length })));
  layout.margin = { l: 62, r: 110, t: 46, b: 48 };
  layout.annotations = [];
  layout.height = 90 + 190 * Math.max(...cells.map((cell) => cell.deep));
  const baseX = layout.xaxis;
  const baseY = layout.yaxis;
  delete layout.xaxis;
  delete layout.yaxis;
  const traces = cells.flatMap((cell, place) => estimatorCell(cell, place, { layout, baseX, baseY, series, focus, colours, isWide }));
  return { traces, layout };
}

function estimatorCell(cell, place, frame) {
  const { layout, baseX, baseY, series, focus, colours } = frame;
  const suffix = place ? String(place + 1) : "";
  const across = 1 / cell.of;
  const left = cell.across * across + (cell.across ? 0.11 : 0);
  const right = (cell.across + 1) * across - (cell.across < cell.of - 1 ? 0.05 : 0);
  const down = 1 / cell.deep;
  const top = 1 - cell.down * down;
  const bottom = top - down + 0.16 * down + (cell.down < cell.deep - 1 ? 0 : -0.16 * down);
  const isLowest = cell.down === cell.deep - 1;
  const drawn = cell.row.lines.map((line) => ({ ...line, y: line.grid.column("value", focus).map((value) => (value === null ? null : value * line.scale)) }));
  const values = drawn.flatMap((line) => line.y).filter((value) => value !== null);
  const range = rangeOf([...values, 0], 0.08);
  layout[`xaxis${suffix}`] = { ...baseX, domain: [left, right], anchor: `y${suffix}`, range: series.limits, tickvals: series.ticks.map((tick) => tick[0]), ticktext: series.ticks.map((tick) => plain(tick[1])), showticklabels: isLowest, title: isLowest ? { text: series.title, standoff: 8 } : undefined };
  layout[`yaxis${suffix}`] = { ...baseY, domain: [Math.max(0, bottom), top - 0.05 * down], anchor: `x${suffix}`, range, nticks: 5 };
  layout.annotations.push({ text: plain(`${cell.row.title}, ${cell.title}`), x: left, xref: "paper", xanchor: "left", y: top - 0.05 * down, yref: "paper", yanchor: "bottom", yshift: 2, showarrow: false, font: { color: colours.ink, size: 12 } });
  layout.annotations.push(...lineNames(drawn, right, range, { bottom: Math.max(0, bottom), top: top - 0.05 * down, height: layout.height }, colours));
  return drawn.map((line, index) => ({
    x: series.positions,
    y: line.y,
    mode: mode(series),
    line: { color: line.isMain ? colours.focus : colours.deep, width: line.isMain ? 2.4 : 1.2, dash: line.isMain ? "solid" : WIDTH_DASHES[index % WIDTH_DASHES.length] },
    marker: { size: 6, color: line.isMain ? colours.focus : colours.deep },
    text: series.labels.map((label, column) => `<b>${plain(line.name)}</b> after ${plain(label)}<br>${line.grid.text(column, focus)}`),
    hovertemplate: "%{text}<extra></extra>",
    xaxis: `x${suffix}`,
    yaxis: `y${suffix}`,
  }));
}

// The name of each line right of where it ends, moved apart where they would overlap.
function lineNames(drawn, right, range, place, colours) {
  const share = (place.top - place.bottom) * (place.height - 94);
  const gap = (14 / Math.max(share, 1)) * (range[1] - range[0]);
  const ends = drawn.map((line) => ({ name: line.name, isMain: line.isMain, y: line.y.findLast((value) => value !== null) })).filter((end) => end.y !== undefined);
  ends.sort((a, b) => a.y - b.y);
  let below = -Infinity;
  const at = ends.map((end) => (below = Math.max(end.y, below + gap)));
  const excess = Math.max(0, (at.at(-1) ?? 0) - range[1]);
  const placed = at.map((y) => place.bottom + ((y - excess - range[0]) / (range[1] - range[0])) * (place.top - place.bottom));
  return ends.map((end, index) => ({ text: plain(end.name), x: right, xref: "paper", xanchor: "left", xshift: 4, y: placed[index], yref: "paper", yanchor: "middle", showarrow: false, font: { color: end.isMain ? colours.focus : colours.muted, size: 11 } }));
}
