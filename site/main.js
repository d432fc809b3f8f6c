// Starts the page: first the slice and one network, then all else.

import { loadWorker } from "./assets.js";
import { Beat } from "./beat.js";
import { Cliff } from "./cliff.js";
import { drawCurve } from "./curve.js";
import { $ } from "./dom.js";
import { Lab } from "./lab.js";
import { showMaterial } from "./material.js";
import { Own } from "./own.js";
import { EXPLANATIONS, fillLinks, showAddress } from "./share.js";
import { Why } from "./why.js";

function tell(error) {
  $("problem").textContent =
    `The page has stopped: ${error.message ?? error} Reload it, or try another browser.`;
  $("problem").hidden = false;
}

async function start() {
  const lab = await Lab.open();
  fillLinks(lab.facts);
  const cliff = new Cliff(lab);
  drawCurve(lab, cliff);
  showMaterial(lab, cliff);
  showAddress(lab, cliff);
  const why = new Why(lab, cliff);
  new Beat(lab);
  new Own(lab);
  window.addEventListener("hashchange", () => lab.readAddress());
  // Whatever the reader may need later is loaded now, so that the page works without a network.
  lab.addEventListener(
    "predicted",
    () => {
      for (const { number } of lab.facts.slices) lab.loadSlice(number).catch(tell);
      loadWorker("tiff_worker").catch(tell);
    },
    { once: true },
  );
  Object.assign(window, { lab, cliff, why, EXPLANATIONS }); // for tests and the curious
  const preview = lab.loadNetworks(lab.preview);
  lab.addEventListener("preview", () => lab.loadNetworks(lab.thorough).catch(tell), { once: true });
  await Promise.all([preview, cliff.update()]);
}

window.addEventListener("unhandledrejection", (event) => tell(event.reason));
start().catch(tell);
