// What Dice hides: quantities of the material, as notebook 10 measures them, beside Dice.

import { $, element, fillTable, percent } from "./dom.js";
import { interfaceArea, triplePoints, volumeFractions } from "./metrics.js";
import { NETWORKS } from "./state.js";

const FAR = 0.1; // a quantity that is off by more is marked

export function showMaterial(lab, cliff) {
  lab.addEventListener("predicted", () => {
    const { slice, results } = cliff;
    const truth = measure(slice.labels, slice, lab);
    const masks = Object.keys(NETWORKS).map((name) => measure(results[name].mask, slice, lab));
    const rows = truth.map(([name, right, digits], row) => [
      name,
      right.toFixed(digits),
      ...masks.map((mask) => compared(mask[row][1], right, digits)),
    ]);
    const scores = Object.keys(NETWORKS).map((name) => percent(results[name].mean));
    const dice = ["Dice", "–", ...scores];
    const [, points] = truth.at(-1);
    const ratio = masks.at(-1).at(-1)[1] / points;
    $("units-text").textContent =
      `Now the network that was trained with noise has a Dice of ${percent(results.noisy.mean)}, ` +
      `and ${ratio.toFixed(2)} times as many triple points as there are.`;
    fillTable($("units"), ["", "truth", ...Object.values(NETWORKS)], [dice, ...rows]);
  });
}

/** Return the quantities of a mask: name with unit, value, digits. */
function measure(mask, { height, width }, { classes, facts }) {
  const side = facts.voxel_um;
  return [
    ...volumeFractions(mask, classes).map((share, one) => [
      `${facts.phases.names[one]}, % of the volume`,
      100 * share,
      1,
    ]),
    ["interface area per volume, 1/µm", interfaceArea(mask, height, width, side), 2],
    ["triple points per area, 1/µm²", triplePoints(mask, height, width, side), 2],
  ];
}

/** Write a value, and in brackets how many times the true value it is. */
function compared(value, right, digits) {
  const ratio = value / right;
  const style = Math.abs(ratio - 1) > FAR ? "off" : "ratio";
  return element(
    "span",
    {},
    `${value.toFixed(digits)} `,
    element("span", { class: style }, `(${ratio.toFixed(2)})`),
  );
}
