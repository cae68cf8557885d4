// Draws a claim's figures when the claim is opened, in the colours the page has at that moment. Figures are data
// (plotly's traces and layouts) in #drawings; a colour in them is the name of a variable of the style sheet.
"use strict";

const drawings = JSON.parse(document.getElementById("drawings").textContent);

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
  Plotly.react(place, data, layout, { displayModeBar: false, responsive: true });
}

function reveal(claim) {
  if (claim && claim.tagName === "DETAILS") claim.open = true;
}

// "toggle" does not bubble, but it is captured.
document.addEventListener("toggle", (event) => {
  if (event.target.open) event.target.querySelectorAll("[data-drawing]").forEach(draw);
}, true);

const redraw = () => document.querySelectorAll("details[open] [data-drawing]").forEach(draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
for (const [moment, printing] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(moment, () => {
    document.documentElement.classList.toggle("printing", printing);
    redraw();
  });
}

const followed = () => reveal(document.getElementById(decodeURIComponent(location.hash.slice(1))));
addEventListener("hashchange", followed);
followed();
redraw(); // a claim may have been opened before this script was read
