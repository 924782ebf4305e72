"use strict";
// What every report's page does: elements, tables, downloads, themes, and drawing what comes near. Text from a run is set as text, never as markup.

function element(tag, properties = {}, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function rangeOf(values, pad) {
  const finiteValues = values.filter((value) => Number.isFinite(value));
  const low = finiteValues.reduce((least, value) => Math.min(least, value), Infinity);
  const high = finiteValues.reduce((most, value) => Math.max(most, value), -Infinity);
  if (low > high) return [0, 1];
  const room = pad * (high - low) || (pad ? 0.05 : 1e-9);
  return [low - room, high + room];
}

// ── samples of lines, for legends ──

function sample(children) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 40 12");
  svg.setAttribute("aria-hidden", "true");
  children.forEach(([tag, attributes]) => {
    const child = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([name, value]) => child.setAttribute(name, value));
    svg.append(child);
  });
  return svg;
}

function line(stroke, width, dashes = "") {
  return sample([["line", { x1: 0, x2: 40, y1: 6, y2: 6, stroke, "stroke-width": width, "stroke-dasharray": dashes }]]);
}

function ring(colours) {
  return sample([["circle", { cx: 20, cy: 6, r: 4.5, fill: colours.page, stroke: colours.focus, "stroke-width": 2 }]]);
}

function ramp(colours) {
  const shades = [0, 0.25, 0.5, 0.75, 1].map((share) => colours[Math.round(share * (colours.length - 1))]);
  return sample(shades.map((fill, place) => ["rect", { x: 8 * place, y: 4, width: 8, height: 4, fill }]));
}

// ── tables and downloads ──

function table(caption, headers, rows) {
  const head = element("thead", {}, [element("tr", {}, headers.map((name) => element("th", { scope: "col", textContent: name })))]);
  const body = rows.map((row) => element("tr", {}, row.map((text, place) => element(place ? "td" : "th", place ? { textContent: text } : { scope: "row", textContent: text }))));
  return element("table", {}, [element("caption", { textContent: caption }), head, element("tbody", {}, body)]);
}

function save(text, name) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name.replace(/[^\w.-]+/g, "_") });
  link.click();
  URL.revokeObjectURL(link.href);
}

// ── start ──

function isNear(article) {
  const box = article.getBoundingClientRect();
  return box.bottom > -600 && box.top < innerHeight + 600;
}

// Articles are drawn when they come near, again when the window changes, and all of them for paper.
function watch(watched, waiting, drawOne) {
  const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => entry.isIntersecting && waiting.has(entry.target) && drawOne(entry.target)), { rootMargin: "600px" });
  watched.forEach((article) => watcher.observe(article));
  addEventListener("resize", () => watched.filter((article) => !waiting.has(article) && isNear(article)).forEach(drawOne));
  addEventListener("themechange", () => {
    watched.forEach((article) => waiting.add(article));
    watched.filter(isNear).forEach(drawOne);
  });
  [["beforeprint", true], ["afterprint", false]].forEach(([name, isPrinting]) =>
    addEventListener(name, () => {
      forPaper(isPrinting);
      watched.forEach(drawOne);
    }),
  );
  watched.filter(isNear).forEach(drawOne);
}

function buildTheme() {
  const button = document.getElementById("theme");
  const name = () => (button.textContent = theme().name === "dark" ? "Light theme" : "Dark theme");
  const shown = () => {
    name();
    dispatchEvent(new Event("themechange"));
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = theme().name === "dark" ? "light" : "dark";
    document.documentElement.style.colorScheme = document.documentElement.dataset.theme;
    shown();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", shown);
  button.hidden = false;
  name();
}

function forPaper(isPrinting) {
  if (isPrinting) document.documentElement.dataset.printing = "true";
  else delete document.documentElement.dataset.printing;
}

async function runPlotly() {
  const source = new TextDecoder().decode(await inflate(document.getElementById("plotly").textContent.trim()));
  document.head.append(element("script", { nonce: document.getElementById("content").nonce, textContent: source }));
}

function begin(begun) {
  begun()
    .catch((error) => {
      const trouble = document.getElementById("trouble");
      if (trouble) Object.assign(trouble, { hidden: false, textContent: `The figures could not be drawn (${error.message}). The same figures lie beside this page in the folder figures.` });
      console.error(error);
    })
    .finally(() => (document.documentElement.dataset.ready = "true"));
}
