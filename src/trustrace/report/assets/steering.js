"use strict";
// The page of a steering run: what is drawn when, captions, tables and downloads. Text from the run is set as text, never as markup.

const steeringArticles = [...document.querySelectorAll("article.steering")];
const waiting = new Set(steeringArticles);
const PARTS_DRAWN = {
  doses: { draw: drawDoses, rows: doseRows },
  fronts: { draw: drawFront, rows: frontRows },
  readings: { draw: drawReadings, rows: readingRows },
  radar: { draw: drawRadar, rows: radarRows },
};

function dataOf(article) {
  return content.steering.articles[Number(article.dataset.place)];
}

function picked(article) {
  const data = dataOf(article);
  const [lines, cost] = ["lines", "cost"].map((name) => article.querySelector(`select[name=${name}]`).value);
  const choices = lineChoices(data);
  return { choice: choices.find((one) => one.key === lines) ?? choices[0], cost: Number(cost) };
}

function buildPick(article) {
  const data = dataOf(article);
  const [lines, cost] = ["lines", "cost"].map((name) => article.querySelector(`select[name=${name}]`));
  const best = bestLine(data, data.dose.lines.filter((line) => line.group === "vector"));
  lines.replaceChildren(...lineChoices(data).map(({ key, text }) => element("option", { value: key, textContent: text, selected: Boolean(best) && key === `family:${best.name}` })));
  const costs = content.steering.abilities.map((ability, place) => [ability, place]).filter(([, place]) => place !== data.aim);
  const first = content.steering.perplexity;
  cost.replaceChildren(...costs.map(([ability, place]) => element("option", { value: String(place), textContent: ability.title, selected: place === first })));
  [lines, cost].forEach((select) => select.addEventListener("change", () => drawSteering(article)));
  lines.closest("label").hidden = lines.childElementCount < 2;
  cost.closest("label").hidden = cost.childElementCount < 2;
  const form = article.querySelector(".pick");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = lines.childElementCount < 2 && cost.childElementCount < 2;
}

function drawSteering(article) {
  waiting.delete(article);
  Object.entries(PARTS_DRAWN).forEach(([kind, { draw }]) => {
    const figure = article.querySelector(`.of-${kind}`);
    figure.hidden = !draw(article, figure, figure.querySelector(".plot"));
  });
  article.querySelectorAll("details.twin[open]").forEach((twin) => fillSteeringTwin(twin, article));
}

function told(article, figure, plot, said, caption, entries) {
  plot.setAttribute("aria-label", `${dataOf(article).title}: ${said}. The table below holds the same numbers.`);
  figure.querySelector("figcaption").textContent = caption;
  figure.querySelector(".legend").replaceChildren(...entries.map(([name, drawn]) => element("li", {}, [drawn, name])));
}

function mark(shape, attributes) {
  return sample([[shape, attributes]]);
}

function controlEntry(data, colours) {
  return data.dose.lines.some((line) => line.group === "control") ? [[`${data.controls}, lowest to highest`, mark("rect", { x: 4, y: 2, width: 32, height: 8, fill: colours.ghost })]] : [];
}

function drawDoses(article, figure, plot) {
  const data = dataOf(article);
  const { choice } = picked(article);
  if (!choice) return false;
  figure.hidden = false;
  const colours = theme();
  const { traces, layout, focus, drawn } = doseFigure(data, choice);
  Plotly.react(plot, traces, layout, CONFIG);
  const ofSites = choice.key.startsWith("family:");
  const others = drawn.length > 1 ? [[ofSites ? "other sites, shallow to deep" : "other checkpoints, early to late", ramp(content.steering.sources.map((source) => source.colours[colours.name]))]] : [];
  const entries = [[`${focus.name}, ${focus.site}`, line(colours.focus, 3)], ...others, ["unsteered", line(colours.ink, 1.4, "4 3")], ...controlEntry(data, colours), ["chosen", mark("circle", { cx: 20, cy: 6, r: 5, fill: "none", stroke: colours.focus, "stroke-width": 2 })]];
  told(article, figure, plot, `dose and response, ${choice.text}`, "Development half: what strength does, and what it costs. The band is the 95 % interval of the line in focus. Where a line ends, perplexity passes the bound; such settings were not tried on the task.", entries);
  return true;
}

function drawFront(article, figure, plot) {
  const data = dataOf(article);
  const { cost } = picked(article);
  if (!data.front.length || !content.steering.abilities[cost]) return false;
  figure.hidden = false;
  const colours = theme();
  const { traces, layout } = frontFigure(data, cost);
  Plotly.react(plot, traces, layout, CONFIG);
  const has = (group) => data.front.some((point) => point.group === group);
  const entries = [["unsteered", mark("rect", { x: 16, y: 2, width: 8, height: 8, fill: colours.ink, transform: "rotate(45 20 6)" })]];
  if (has("instruction")) entries.push(["instruction", mark("rect", { x: 15, y: 1, width: 10, height: 10, fill: "none", stroke: colours.ink, "stroke-width": 1.6 })]);
  if (data.best) entries.push(["best vector", mark("circle", { cx: 20, cy: 6, r: 5, fill: colours.focus })]);
  if (has("vector")) entries.push(["vectors, early to late", ramp(content.steering.sources.map((source) => source.colours[colours.name]))]);
  if (has("control")) entries.push([data.controls, mark("path", { d: "M15 1L25 11M25 1L15 11", stroke: colours.floor, "stroke-width": 1.8 })]);
  entries.push(["beaten by none", mark("circle", { cx: 20, cy: 6, r: 5.5, fill: "none", stroke: colours.ink })]);
  told(article, figure, plot, "the aim's number against its cost", `Test half: what was chosen for each vector, with 95 % intervals. A ring marks a setting that no other beats in trust, perplexity and every general ability at once. ${wayText(data.aim)} ${wayText(cost)}`, entries);
  return true;
}

function wayText(ability) {
  const { title, better } = content.steering.abilities[ability];
  return better === "neither" ? "" : `${title}: ${better} is better.`;
}

function drawReadings(article, figure, plot) {
  const data = dataOf(article);
  if (!data.courses.length) return false;
  figure.hidden = false;
  const colours = theme();
  const { traces, layout } = readingFigure(data);
  Plotly.react(plot, traces, layout, CONFIG);
  const entries = [["source checkpoints, early to late", ramp(content.steering.sources.map((source) => source.colours[colours.name]))], ["unsteered", line(colours.ink, 1.4, "4 3")], ...controlEntry(data, colours)];
  told(article, figure, plot, "readability and steering over source checkpoints", `Above: how well a checkpoint's direction separates held-out statements, and what its vector reaches on the test half; r is their correlation over checkpoints of one run, which are no independent runs. Below: the latter over pre-training. ${wayText(data.aim)}`, entries);
  return true;
}

function drawRadar(article, figure, plot) {
  const data = dataOf(article);
  if (!data.radar.axes.length) return false;
  figure.hidden = false;
  const colours = theme();
  const { traces, layout } = radarFigure(data);
  Plotly.react(plot, traces, layout, CONFIG);
  const styles = { unsteered: line(colours.ink, 1.6, "4 3"), instruction: line(colours.deep, 1.6, "1 2") };
  const entries = data.radar.shapes.map((shape) => [shape.name, styles[shape.name] ?? line(colours.focus, 3)]);
  if (data.radar.controls.length) entries.push([data.controls, line(colours.floor, 1)]);
  told(article, figure, plot, "abilities side by side", "Test half, better outwards. Each axis runs from the worst to the best number that any setting of this model reaches, as written beside it: small differences may fill an axis, and axes do not compare.", entries);
  return true;
}

// ── tables ──

function fillSteeringTwin(twin, article) {
  const box = twin.querySelector(".scroll");
  const [headers, rows] = PARTS_DRAWN[twin.dataset.twin].rows(article);
  const caption = twin.closest("figure").querySelector("figcaption").textContent;
  box.setAttribute("aria-label", `${dataOf(article).title}: ${twin.querySelector("summary").textContent}`);
  box.replaceChildren(table(caption, headers, rows));
}

function doseRows(article) {
  const data = dataOf(article);
  const { choice } = picked(article);
  const { abilities, perplexity } = content.steering;
  const costs = perplexity === null ? [] : [perplexity];
  const shown = data.dose.lines.filter((line) => (line.group === "vector" && choice.has(line)) || line.group === "control");
  const cells = (dose) => [entryText(dose[1]), ...costs.map(() => entryText(dose[2]))];
  const rows = shown.flatMap((line) => line.doses.map((dose) => [line.name, line.site, strengthText(dose[0]), ...cells(dose), dose[0] === line.chosen ? "chosen" : ""]));
  return [["Vector", "Site", "Strength", abilities[data.aim].title, ...costs.map((cost) => abilities[cost].title), ""], [["unsteered", "", "0", ...cells(data.dose.plain), ""], ...rows]];
}

function frontRows(article) {
  const { abilities } = content.steering;
  const rows = dataOf(article).front.map((point) => [point.name, settingText(point.setting), ...abilities.map((_, place) => entryText(point.numbers[place])), point.is_on_front ? "beaten by none" : ""]);
  return [["Method", "Setting", ...abilities.map((ability) => ability.title), "Front"], rows];
}

function readingRows(article) {
  const data = dataOf(article);
  const rows = data.courses.flatMap((course) => course.points.map(([source, separation, steered]) => [content.steering.sources[source].label, course.kind, entryText(separation), entryText(steered)]));
  return [["Checkpoint", "Kind", "Separation", content.steering.abilities[data.aim].title], rows];
}

function radarRows(article) {
  const { axes, shapes, controls } = dataOf(article).radar;
  return [["Ability", ...shapes.map((shape) => shape.name), ...controls.map((shape) => shape.name)], axes.map((axis, place) => [axis.title, ...[...shapes, ...controls].map((shape) => entryText(shape.rows[place]))])];
}

// ── downloads ──

function placesOf(data) {
  const doses = [data.dose.plain, ...data.dose.lines.flatMap((line) => line.doses)].flatMap((dose) => [dose[1], dose[2]]);
  const fronts = data.front.flatMap((point) => point.numbers);
  const readings = data.courses.flatMap((course) => [...course.points.flatMap(([, ...places]) => places), course.correlation]);
  const abilities = [...data.radar.shapes, ...data.radar.controls].flatMap((shape) => shape.rows);
  return [...new Set([...doses, ...fronts, ...readings, ...abilities])].filter((place) => place !== null);
}

function steeringCsv(data) {
  const { columns } = content.steering;
  const rows = placesOf(data).map((place) => columns.map((name) => book[name][place]));
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

async function startSteering() {
  buildTheme();
  if (!steeringArticles.length) return;
  await unpackBook();
  await runPlotly();
  steeringArticles.forEach((article) => {
    buildPick(article);
    const button = article.querySelector(".csv");
    button.hidden = false;
    button.addEventListener("click", () => save(steeringCsv(dataOf(article)), `${dataOf(article).title}.csv`));
    article.querySelectorAll("details.twin").forEach((twin) => twin.addEventListener("toggle", () => twin.open && fillSteeringTwin(twin, article)));
  });
  watch(steeringArticles, waiting, drawSteering);
}

begin(startSteering);
