// The curve that the reader draws with the noise slider: Dice of what is in view against noise.

import { $ } from "./dom.js";
import { NETWORKS } from "./state.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [420, 180, 40, 96, 10, 34];
const MOST = 15000; // grey levels
const LABEL = 13; // px between two labels
const DASHES = { clean: "", repaired: "6 4", noisy: "1.5 3.5" };
const SHORT = { clean: "clean", repaired: "repaired", noisy: "with noise" };

const x = (noise) => LEFT + ((WIDTH - LEFT - RIGHT) * noise) / MOST;
const y = (dice) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - dice);

export function drawCurve(lab, cliff) {
  let drawnFor = "";
  let points = {};
  lab.addEventListener("preview", () => {
    const { slice, seed, view, noise } = lab.state;
    const key = `${slice} ${seed} ${view}`;
    if (key !== drawnFor) points = Object.fromEntries(Object.keys(NETWORKS).map((n) => [n, {}]));
    drawnFor = key;
    for (const name of Object.keys(NETWORKS)) points[name][noise] = cliff.parts[name].mean;
    $("curve").replaceChildren(...axes(), ...lines(points), ...labels(points, noise));
  });
}

function axes() {
  const ticks = [0, 5000, 10000, 15000].map((noise) =>
    text(x(noise), HEIGHT - BOTTOM + 16, noise.toLocaleString("en"), "middle"),
  );
  const shares = [0, 0.5, 1].flatMap((dice) => [
    shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(dice), y2: y(dice), class: "grid" }),
    text(LEFT - 6, y(dice) + 4, `${100 * dice} %`, "end"),
  ]);
  const title = text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 3, "noise, grey levels", "middle");
  return [...shares, ...ticks, title];
}

function lines(points) {
  return Object.entries(points).flatMap(([name, found]) => {
    const places = Object.keys(found)
      .map(Number)
      .sort((one, other) => one - other)
      .map((noise) => `${x(noise).toFixed(1)},${y(found[noise]).toFixed(1)}`);
    const style = { "stroke-dasharray": DASHES[name], class: "line" };
    return [
      shape("polyline", { points: places.join(" "), ...style }),
      ...places.map((place) => {
        const [cx, cy] = place.split(",");
        return shape("circle", { cx, cy, r: 2, class: "dot" });
      }),
    ];
  });
}

/** Name the curves on the right, at the height of the current point, none on top of another. */
function labels(points, noise) {
  const wanted = Object.entries(points)
    .map(([name, found]) => ({ name, dice: found[noise], at: y(found[noise]) }))
    .sort((one, other) => one.at - other.at);
  for (let index = 1; index < wanted.length; index++) {
    wanted[index].at = Math.max(wanted[index].at, wanted[index - 1].at + LABEL);
  }
  return wanted.flatMap(({ name, dice, at }) => [
    shape("circle", { cx: x(noise), cy: y(dice), r: 4, class: "now" }),
    text(WIDTH - RIGHT + 8, at + 4, `${SHORT[name]} ${(100 * dice).toFixed(0)} %`, "start"),
  ]);
}

function text(atX, atY, content, anchor) {
  const made = shape("text", { x: atX, y: atY, "text-anchor": anchor });
  made.textContent = content;
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
