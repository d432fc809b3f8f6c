// The controls of the noise cliff: noise, slice, part, picture and seed.

import { $, count, element, fillMenu, fillTable, percent } from "./dom.js";
import { VIEWS } from "./state.js";

/** Fill the menus, the legend and the table of published scores, and follow the controls. */
export function fillControls(lab) {
  const { facts } = lab;
  fillMenu(
    $("slice"),
    facts.slices.map(({ number }, index) => [number, `${index + 1} (no. ${number})`]),
  );
  fillMenu($("view"), Object.entries(VIEWS));
  $("legend").replaceChildren(
    ...facts.phases.names.map((name, one) =>
      element(
        "li",
        {},
        element("span", { class: "swatch", style: `background:${facts.phases.colours[one]}` }),
        name,
      ),
    ),
  );
  $("noise").addEventListener("input", () => lab.change({ noise: +$("noise").value }, true));
  for (const name of ["slice", "seed"]) {
    $(name).addEventListener("change", () => {
      lab.change({
        [name]: Math.min(Math.max(Math.round(+$(name).value), 0), +$(name).max || Infinity),
      });
    });
  }
  for (const name of ["view", "picture"]) {
    $(name).addEventListener("change", () => lab.change({ [name]: $(name).value }));
  }
  showControls(lab);
  const { networks, repaired } = facts.published;
  fillTable(
    $("published"),
    ["Published Dice of the test set", "no noise", "noise of 5,000"],
    [
      ["trained on clean slices", percent(networks.clean.clean), percent(networks.clean.noisy)],
      ["repaired without labels", "–", percent(repaired)],
      ["trained with noise", percent(networks.noisy.clean), percent(networks.noisy.noisy)],
    ],
  );
}

/** Show in the controls what the state says. */
export function showControls({ state }) {
  for (const name of ["noise", "slice", "seed", "view", "picture"]) $(name).value = state[name];
  $("noise-value").textContent = count(state.noise);
  $("noise").setAttribute("aria-valuetext", `${count(state.noise)} grey levels`);
  $("legend-text").textContent = {
    errors: "Wrong pixels have the colour of their true phase. Right ones are grey.",
    mask: "Each pixel has the colour of the phase that the network predicts.",
    confidence: "White: the network is sure. Dark: it guesses.",
    truth: "The labels that all networks are scored against.",
  }[state.picture];
}
