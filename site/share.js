// The address of what the reader sees, and the notebook that explains its wrong pixels.

import { $, element } from "./dom.js";
import { writeState } from "./state.js";

const FEW = 0.05; // share of wrong pixels that interfaces alone can explain
// Of each network with many wrong pixels, and of all with few: notebook, section, what it explains.
export const EXPLANATIONS = {
  clean: ["03_noisy_val", "Why? Look inside", "why a network that has never seen noise fails"],
  repaired: [
    "03_noisy_val",
    "The same noisy slice and three networks",
    "what the repair leaves undone",
  ],
  noisy: [
    "outlook/07_noisy_only",
    "The best network for unknown noise",
    "how to train for noise of any strength",
  ],
  few: [
    "outlook/10_trust",
    "Where the errors are, and who made them",
    "why the last wrong pixels lie at interfaces",
  ],
};

/** Return the address of a file in the repository, and of a section in it. */
export function linkTo(facts, path, section = "") {
  if (!path) return facts.repository;
  const anchor = section && `#${section.replaceAll(" ", "-")}`; // as Jupyter makes them
  return `${facts.repository}/blob/main/${path}${anchor}`;
}

/** Make a link to a section of a notebook. */
export function notebookLink(facts, notebook, section) {
  const number = notebook.match(/(\d+b?)_/)[1].replace(/^0/, "");
  return element(
    "a",
    { href: linkTo(facts, `notebooks/${notebook}.ipynb`, section) },
    `Notebook ${number}, “${section}”`,
  );
}

export function showAddress(lab, cliff) {
  const update = () => {
    $("address").value = location.href.split("#")[0] + writeState(lab.state);
    const result = cliff.results[lab.state.network];
    if (!result) return;
    const [notebook, section, what] = EXPLANATIONS[result.share > FEW ? lab.state.network : "few"];
    $("explanation").replaceChildren(
      notebookLink(lab.facts, notebook, section),
      ` explains ${what}.`,
    );
  };
  lab.addEventListener("change", update);
  lab.addEventListener("predicted", update);
  $("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText($("address").value);
    } catch {
      $("address").select(); // where a page may not write to the clipboard, the reader can copy
      document.execCommand("copy");
    }
    $("copy").textContent = "Copied";
    setTimeout(() => {
      $("copy").textContent = "Copy address";
    }, 1500);
  });
  update();
}

/** Fill in the links of the document, because only facts.json knows the repository. */
export function fillLinks(facts) {
  for (const link of document.querySelectorAll("[data-path]"))
    link.href = linkTo(facts, link.dataset.path);
  for (const link of document.querySelectorAll("[data-notebook]")) {
    link.replaceWith(
      notebookLink(facts, link.dataset.notebook, link.dataset.section),
      " goes into it.",
    );
  }
}
