// Draws a claim's figures when the claim is opened, in the colours the page has at that moment, and looks claims up.
// Figures are data (plotly's traces and layouts) in #drawings; a colour in them is the name of a variable of the style
// sheet. plotly itself is packed in #plotly, and unpacked when the first figure is to be drawn.
"use strict";

const at = (id) => document.getElementById(id);
const drawings = JSON.parse(at("drawings")?.textContent ?? "[]");
const NARROW = 600; // pixels, in which the numbers in a map's cells would overlap: pointing at a cell tells them
let unpacked;

async function unpack() {
  const bytes = Uint8Array.from(atob(at("plotly").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

function coloured(value, style) {
  if (Array.isArray(value)) return value.map((each) => coloured(each, style));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, coloured(each, style)]));
  const name = typeof value === "string" && value.match(/^var\((--[a-z0-9]+)\)$/);
  return name ? style.getPropertyValue(name[1]).trim() : value;
}

function draw(place) {
  const style = getComputedStyle(document.documentElement);
  const { data, layout } = coloured(drawings[place.dataset.drawing], style);
  layout.font.family = getComputedStyle(place).fontFamily;
  if (place.clientWidth < NARROW) data.forEach((trace) => delete trace.texttemplate);
  Plotly.react(place, data, layout, { displayModeBar: false, responsive: true });
}

async function drawAll(places) {
  if (!places.length) return;
  await (unpacked ??= unpack());
  places.forEach(draw);
}

function drawLog() {
  const [waiting, script] = [at("log-script"), document.createElement("script")];
  script.textContent = waiting?.textContent;
  waiting?.replaceWith(script);
}

// "toggle" does not bubble, but it is captured.
document.addEventListener("toggle", (event) => {
  if (event.target.open && event.target.id === "log") drawLog();
  if (event.target.open) drawAll(event.target.querySelectorAll("[data-drawing]"));
}, true);

const opened = () => document.querySelectorAll("details[open] [data-drawing]");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(opened()));
for (const [moment, printing] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(moment, () => {
    document.documentElement.classList.toggle("printing", printing);
    if (window.Plotly) opened().forEach(draw); // at once: the page is printed when this returns
  });
}

function followed() {
  const there = at(decodeURIComponent(location.hash.slice(1)));
  if (!there) return;
  if (there.hidden) clear();
  const around = there.closest("details");
  if (around) around.open = true;
  there.scrollIntoView();
}
addEventListener("hashchange", followed);

const fields = ["text", "family", "state", "kind"].map(at);

function look() {
  const [text, family, state, kind] = fields.map((field) => field.value.toLowerCase().trim());
  const words = text.split(/\s+/);
  let found = 0;
  const claims = document.querySelectorAll(".claim");
  for (const claim of claims) {
    const said = `${claim.id} ${claim.firstElementChild.textContent}`.toLowerCase();
    const isControl = claim.classList.contains("control");
    claim.hidden = !(
      words.every((word) => said.includes(word)) &&
      (!family || claim.parentElement.id === family) &&
      (!state || claim.classList.contains(state)) &&
      (!kind || isControl === (kind === "control"))
    );
    found += !claim.hidden;
  }
  for (const family of document.querySelectorAll(".family"))
    family.hidden = !family.querySelector(".claim:not([hidden])");
  at("found").textContent = found === claims.length ? "" : `${found} of ${claims.length}`;
}

function clear() {
  at("search").reset();
  look();
}

if (at("search")) {
  at("search").hidden = false;
  at("search").addEventListener("input", look);
  at("search").addEventListener("submit", (event) => event.preventDefault());
}
for (const link of document.querySelectorAll("[data-show=bad]"))
  link.addEventListener("click", () => { at("only-bad").checked = true; });

followed();
drawAll(opened()); // a claim may have been opened before this script was read
