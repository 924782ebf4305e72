"use strict";
// The figures of a steering run: what Plotly is told to draw. Every number is a row of the book.

const STEERING_MARGIN = { l: 66, r: 14, t: 30, b: 48 };
const RADAR_HUB = 0.12;
let book = null;

async function unpackBook() {
  book = JSON.parse(new TextDecoder().decode(await inflate(content.steering.book)));
}

// One number of a row, NaN where it is undefined or there is no row.
function entry(place, name = "value") {
  const found = place === null || place === undefined ? null : book[name][place];
  return found === null ? NaN : found;
}

function entryText(place) {
  if (place === null || place === undefined) return "not measured";
  const [value, lower, upper] = ["value", "lower", "upper"].map((name) => entry(place, name));
  const hasInterval = Number.isFinite(lower) && Number.isFinite(upper);
  return hasInterval ? `${significant(value)} [${significant(lower)}, ${significant(upper)}]` : significant(value);
}

function entryHover(title, place) {
  const note = place === null || place === undefined ? "" : book.note[place];
  return `${plain(title)}: ${entryText(place)}${place === null || place === undefined ? "" : `, n = ${entry(place, "n")}`}${note ? `<br>${plain(note)}` : ""}`;
}

function strengthText(alpha) {
  return String(alpha).replace("-", "\u2212");
}

function settingText([, site, alpha]) {
  return site ? `${site}, alpha ${strengthText(alpha)}` : "";
}

function isSame(one, other) {
  return Boolean(one && other) && one.every((part, place) => part === other[place]);
}

function sourceColour(source, colours) {
  return source === null ? colours.deep : content.steering.sources[source].colours[colours.name];
}

// ── dose and response ──

// Which lines are drawn together: the sites of one vector, or the checkpoints at one site.
function lineChoices(article) {
  const lines = article.dose.lines.filter((line) => line.group === "vector");
  const families = [...new Set(lines.map((line) => line.name))].map((name) => ({ key: `family:${name}`, text: `sites, ${name}`, has: (line) => line.name === name }));
  const sites = [...new Set(lines.map((line) => line.site))].map((site) => ({ key: `site:${site}`, text: `checkpoints, ${site}`, has: (line) => line.site === site }));
  return [...families, ...sites];
}

function bestLine(article, drawn) {
  const best = article.best;
  const isBest = (line) => best && line.chosen === best[2] && line.site === best[1] && line.vector === best[0];
  return drawn.find(isBest) ?? drawn.find((line) => line.chosen !== null) ?? drawn[0];
}

function doseFigure(article, choice) {
  const colours = theme();
  const layout = baseLayout(colours);
  const drawn = article.dose.lines.filter((line) => line.group === "vector" && choice.has(line));
  const focus = bestLine(article, drawn);
  const hasCost = content.steering.perplexity !== null;
  layout.margin = STEERING_MARGIN;
  layout.annotations = [];
  const panels = [{ place: 1, title: content.steering.abilities[article.aim].title, type: "linear" }];
  if (hasCost) panels.push({ place: 2, title: content.steering.abilities[content.steering.perplexity].title, type: "log" });
  const traces = panels.flatMap((panel, down) => {
    const suffix = down ? "2" : "";
    const domain = panels.length === 1 ? [0, 1] : down ? [0, 0.4] : [0.52, 1];
    layout[`yaxis${suffix}`] = { ...layout.yaxis, domain, type: panel.type, nticks: 6 };
    layout.annotations.push({ text: plain(panel.title), x: 0, xref: "paper", xanchor: "left", y: domain[1], yref: "paper", yanchor: "bottom", yshift: 6, showarrow: false, font: { color: colours.ink, size: 12 } });
    return panelTraces(article, drawn, focus, panel.place, colours).map((trace) => ({ ...trace, xaxis: "x", yaxis: `y${suffix}` }));
  });
  Object.assign(layout.xaxis, { anchor: hasCost ? "y2" : "y", title: { text: "strength (alpha)", standoff: 8 } });
  return { traces, layout, focus, drawn };
}

function panelTraces(article, drawn, focus, part, colours) {
  const title = content.steering.abilities[part === 1 ? article.aim : content.steering.perplexity].title;
  const others = drawn.filter((line) => line !== focus);
  const lines = others.map((line, place) => doseLine(article, line, part, title, lineColour(line, drawn, place, others.length, colours), 1.2));
  return [
    ...controlBand(article, focus, part, colours),
    ...plainLine(article, part, title, colours),
    ...lines,
    ...(focus ? [...doseBand(focus, part, colours), doseLine(article, focus, part, title, colours.focus, 2.4), ...chosenMark(focus, part, colours)] : []),
  ];
}

function lineColour(line, drawn, place, count, colours) {
  const ofSources = drawn.every((other) => other.site === drawn[0].site);
  if (ofSources) return sourceColour(line.source, colours);
  const { sources } = content.steering;
  if (!sources.length) return colours.deep;
  return sources[Math.round((place / Math.max(count - 1, 1)) * (sources.length - 1))].colours[colours.name];
}

function doseLine(article, line, part, title, colour, width) {
  const doses = [...line.doses, article.dose.plain].filter((dose) => Number.isFinite(entry(dose[part]))).toSorted((a, b) => a[0] - b[0]);
  return {
    x: doses.map((dose) => dose[0]),
    y: doses.map((dose) => entry(dose[part])),
    mode: "lines+markers",
    line: { color: colour, width },
    marker: { size: width > 2 ? 7 : 5, color: colour },
    text: doses.map((dose) => `<b>${plain(line.name)}</b>, ${plain(line.site)}, alpha ${strengthText(dose[0])}<br>${entryHover(title, dose[part])}`),
    hovertemplate: "%{text}<extra></extra>",
  };
}

function doseBand(line, part, colours) {
  const known = line.doses.filter((dose) => Number.isFinite(entry(dose[part], "lower")) && Number.isFinite(entry(dose[part], "upper")));
  if (known.length < 2) return [];
  const x = [...known, ...known.toReversed()].map((dose) => dose[0]);
  const y = [...known.map((dose) => entry(dose[part], "upper")), ...known.toReversed().map((dose) => entry(dose[part], "lower"))];
  return [{ x, y, fill: "toself", fillcolor: `${colours.focus}2e`, mode: "none", hoverinfo: "skip" }];
}

function chosenMark(line, part, colours) {
  const dose = line.doses.find((one) => one[0] === line.chosen);
  if (!dose || !Number.isFinite(entry(dose[part]))) return [];
  return [{ x: [dose[0]], y: [entry(dose[part])], mode: "markers", marker: { size: 14, symbol: "circle-open", color: colours.focus, line: { width: 2 } }, hoverinfo: "skip" }];
}

// Lowest and highest of the controls at the site in focus, strength by strength.
function controlBand(article, focus, part, colours) {
  if (!focus) return [];
  const doses = article.dose.lines.filter((line) => line.group === "control" && line.site === focus.site).flatMap((line) => line.doses);
  const alphas = [...new Set(doses.map((dose) => dose[0]))].toSorted((a, b) => a - b);
  const ranges = alphas
    .map((alpha) => [alpha, doses.filter((dose) => dose[0] === alpha).map((dose) => entry(dose[part])).filter(Number.isFinite)])
    .filter(([, values]) => values.length);
  if (!ranges.length) return [];
  const back = ranges.toReversed();
  const x = [...ranges, ...back].map(([alpha]) => alpha);
  const y = [...ranges.map(([, values]) => Math.max(...values)), ...back.map(([, values]) => Math.min(...values))];
  if (ranges.length === 1) return [{ x: [x[0], x[0]], y, mode: "lines", line: { color: colours.ghost, width: 6 }, hoverinfo: "skip" }];
  return [{ x, y, fill: "toself", fillcolor: colours.ghost, opacity: 0.8, mode: "none", hoverinfo: "skip" }];
}

function plainLine(article, part, title, colours) {
  const place = article.dose.plain[part];
  if (!Number.isFinite(entry(place))) return [];
  const alphas = [0, ...article.dose.lines.flatMap((line) => line.doses.map((dose) => dose[0]))];
  const ends = [Math.min(...alphas), Math.max(...alphas)];
  return [{ x: ends, y: ends.map(() => entry(place)), mode: "lines", line: { color: colours.ink, width: 1.2, dash: "4px,3px" }, text: ends.map(() => `<b>unsteered</b><br>${entryHover(title, place)}`), hovertemplate: "%{text}<extra></extra>" }];
}

// ── fronts ──

function frontFigure(article, cost) {
  const colours = theme();
  const layout = baseLayout(colours);
  layout.margin = { ...STEERING_MARGIN, t: 12 };
  const points = article.front.filter((point) => Number.isFinite(entry(point.numbers[cost])) && Number.isFinite(entry(point.numbers[article.aim])));
  Object.assign(layout.xaxis, { title: { text: plain(content.steering.abilities[cost].title), standoff: 8 }, showgrid: true, gridcolor: colours.grid });
  Object.assign(layout.yaxis, { title: { text: plain(content.steering.abilities[article.aim].title), standoff: 6 } });
  const traces = [...points.map((point) => frontSpread(article, point, cost, colours)), frontMarks(article, points, cost, colours), frontRings(article, points, cost, colours)];
  return { traces, layout };
}

function frontSpread(article, point, cost, colours) {
  const error = (place) => {
    const [value, lower, upper] = ["value", "lower", "upper"].map((name) => entry(place, name));
    const isKnown = Number.isFinite(lower) && Number.isFinite(upper);
    return { type: "data", symmetric: false, array: [isKnown ? Math.max(0, upper - value) : 0], arrayminus: [isKnown ? Math.max(0, value - lower) : 0], color: `${frontColour(article, point, colours)}66`, thickness: 1, width: 0 };
  };
  return { x: [entry(point.numbers[cost])], y: [entry(point.numbers[article.aim])], mode: "markers", marker: { size: 1, opacity: 0 }, error_x: error(point.numbers[cost]), error_y: error(point.numbers[article.aim]), hoverinfo: "skip" };
}

function frontColour(article, point, colours) {
  if (point.group === "control") return colours.floor;
  if (point.group !== "vector") return colours.ink;
  return isSame(point.setting, article.best) ? colours.focus : sourceColour(point.source, colours);
}

const FRONT_SYMBOLS = { plain: "diamond", instruction: "square-open", control: "x-thin", vector: "circle" };

function frontMarks(article, points, cost, colours) {
  const names = [article.aim, cost, ...content.steering.abilities.keys()].filter((ability, place, all) => all.indexOf(ability) === place);
  return {
    x: points.map((point) => entry(point.numbers[cost])),
    y: points.map((point) => entry(point.numbers[article.aim])),
    mode: "markers",
    marker: {
      opacity: 1,
      size: points.map((point) => (isSame(point.setting, article.best) ? 12 : 10)),
      symbol: points.map((point) => FRONT_SYMBOLS[point.group]),
      color: points.map((point) => frontColour(article, point, colours)),
      line: { color: points.map((point) => frontColour(article, point, colours)), width: points.map((point) => (point.group === "vector" || point.group === "plain" ? 0 : 2)) },
    },
    text: points.map((point) => `<b>${plain(point.name)}</b> ${plain(settingText(point.setting))}<br>${names.map((ability) => `${plain(content.steering.abilities[ability].title)}: ${entryText(point.numbers[ability])}`).join("<br>")}${point.is_on_front ? "<br>beaten by none" : ""}`),
    hovertemplate: "%{text}<extra></extra>",
  };
}

function frontRings(article, points, cost, colours) {
  const best = points.filter((point) => point.is_on_front);
  return { x: best.map((point) => entry(point.numbers[cost])), y: best.map((point) => entry(point.numbers[article.aim])), mode: "markers", marker: { size: 19, symbol: "circle-open", color: colours.ink, line: { width: 1.2 } }, hoverinfo: "skip" };
}

// ── readability and steering over checkpoints ──

function readingFigure(article) {
  const colours = theme();
  const layout = baseLayout(colours);
  const { axis, abilities } = content.steering;
  const aim = abilities[article.aim].title;
  layout.margin = STEERING_MARGIN;
  const top = [0.64, 1];
  layout.annotations = [];
  const baseX = layout.xaxis;
  const baseY = layout.yaxis;
  const said = article.courses.filter((course) => course.correlation !== null).map((course) => `${article.courses.length > 1 ? `${course.kind}: ` : ""}r = ${entryText(course.correlation)}, n = ${entry(course.correlation, "n")}`);
  const titles = [[[aim, ...said].join("; "), 0, top[1]], [aim, 0, 0.4]];
  titles.forEach(([text, x, y]) => layout.annotations.push({ text: plain(text), x, xref: "paper", xanchor: "left", y, yref: "paper", yanchor: "bottom", yshift: 5, showarrow: false, font: { color: colours.ink, size: 12 } }));
  layout.xaxis = { ...baseX, domain: [0, 1], anchor: "y", title: { text: "separation of held-out statements", standoff: 4 }, showgrid: true, gridcolor: colours.grid };
  layout.yaxis = { ...baseY, domain: top, anchor: "x", nticks: 5 };
  layout.xaxis2 = { ...baseX, anchor: "y2", range: axis.limits, tickvals: axis.ticks.map((tick) => tick[0]), ticktext: axis.ticks.map((tick) => plain(tick[1])), title: { text: axis.title, standoff: 6 } };
  layout.yaxis2 = { ...baseY, domain: [0, 0.4], anchor: "x2", nticks: 5 };
  const traces = article.courses.flatMap((course, place) => [...readingScatter(course, article, colours), ...readingCourse(course, article, place, colours)]);
  return { traces: [...readingControls(article, colours), ...traces], layout };
}

function readingHover(course, article, [source, separation, steered]) {
  return `<b>${plain(course.kind)}</b> of ${plain(content.steering.sources[source].label)}<br>${entryHover("Separation", separation)}<br>${entryHover(content.steering.abilities[article.aim].title, steered)}`;
}

function readingScatter(course, article, colours) {
  const points = course.points.filter((point) => Number.isFinite(entry(point[1])) && Number.isFinite(entry(point[2])));
  return [{ x: points.map((point) => entry(point[1])), y: points.map((point) => entry(point[2])), mode: "markers", marker: { size: 9, color: points.map((point) => sourceColour(point[0], colours)), line: { color: colours.edge, width: 0.6 } }, text: points.map((point) => readingHover(course, article, point)), hovertemplate: "%{text}<extra></extra>" }];
}

function readingCourse(course, article, place, colours) {
  const { positions } = content.steering.axis;
  const points = course.points.filter((point) => Number.isFinite(entry(point[2])));
  const error = (name) => points.map((point) => { const gap = Math.abs(entry(point[2], name) - entry(point[2])); return Number.isFinite(gap) ? gap : 0; });
  return [{ x: points.map((point) => positions[point[0]]), y: points.map((point) => entry(point[2])), mode: "lines+markers", line: { color: colours.deep, width: 1.6, dash: place ? "4px,2px" : "solid" }, marker: { size: 7, color: points.map((point) => sourceColour(point[0], colours)), line: { color: colours.edge, width: 0.6 } }, error_y: { type: "data", symmetric: false, array: error("upper"), arrayminus: error("lower"), color: `${colours.deep}88`, thickness: 1, width: 0 }, text: points.map((point) => readingHover(course, article, point)), hovertemplate: "%{text}<extra></extra>", xaxis: "x2", yaxis: "y2" }];
}

// The unsteered model and the range of the controls, across the checkpoints.
function readingControls(article, colours) {
  const ends = content.steering.axis.limits;
  const values = article.front.filter((point) => point.group === "control").map((point) => entry(point.numbers[article.aim])).filter(Number.isFinite);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const band = values.length ? [{ x: [...ends, ...ends.toReversed()], y: [high, high, low, low], fill: "toself", fillcolor: colours.ghost, opacity: 0.8, mode: "none", hoverinfo: "skip", xaxis: "x2", yaxis: "y2" }] : [];
  const unsteered = article.front.find((point) => point.group === "plain");
  const level = unsteered ? entry(unsteered.numbers[article.aim]) : NaN;
  return Number.isFinite(level) ? [...band, { x: ends, y: [level, level], mode: "lines", line: { color: colours.ink, width: 1.2, dash: "4px,3px" }, hoverinfo: "skip", xaxis: "x2", yaxis: "y2" }] : band;
}

// ── radar ──

function radarFigure(article) {
  const colours = theme();
  const layout = baseLayout(colours);
  const { axes, shapes, controls } = article.radar;
  const angles = axes.map((_, place) => (360 * place) / axes.length);
  layout.margin = { l: 90, r: 90, t: 56, b: 56 };
  delete layout.xaxis;
  delete layout.yaxis;
  layout.polar = {
    bgcolor: "rgba(0,0,0,0)",
    radialaxis: { range: [0, 1], tickvals: [RADAR_HUB, 1], ticktext: ["", ""], showline: false, gridcolor: colours.ghost, ticks: "", fixedrange: true },
    angularaxis: { rotation: 90, direction: "clockwise", tickvals: angles, ticktext: axes.map((axis) => `${plain(axis.title).replace(": ", ":<br>")}<br>${plain(axis.worst)} to ${plain(axis.best)}`), tickfont: { color: colours.muted, size: 11 }, gridcolor: colours.ghost, linecolor: colours.ghost, ticks: "" },
  };
  const styles = { unsteered: { color: colours.ink, width: 1.6, dash: "4px,3px" }, instruction: { color: colours.deep, width: 1.6, dash: "1px,2px" } };
  const outline = (shape, line, size) => {
    const places = [...shape.places, shape.places[0]].map((place) => (place === null ? null : RADAR_HUB + (1 - RADAR_HUB) * place));
    const texts = [...axes.keys(), 0].map((place) => `<b>${plain(shape.name)}</b><br>${entryHover(axes[place].title, shape.rows[place])}`);
    return { type: "scatterpolar", r: places, theta: [...angles, angles[0]], mode: "lines+markers", line, marker: { size, color: line.color }, text: texts, hovertemplate: "%{text}<extra></extra>" };
  };
  const traces = [...controls.map((shape) => outline(shape, { color: colours.floor, width: 1 }, 3)), ...shapes.map((shape) => outline(shape, styles[shape.name] ?? { color: colours.focus, width: 2.4 }, 6))];
  return { traces, layout };
}
