// Starts the page: first the slice and one network, then all else.

import { Beat } from "./beat.js";
import { Cliff } from "./cliff.js";
import { $ } from "./dom.js";
import { Lab } from "./lab.js";
import { showMaterial } from "./material.js";
import { Own } from "./own.js";
import { fillLinks, showAddress } from "./share.js";
import { Why } from "./why.js";

function tell(error) {
  $("problem").textContent = `The page has stopped: ${error.message ?? error} Reload it, or try another browser.`;
  $("problem").hidden = false;
}

async function start() {
  const lab = await Lab.open();
  fillLinks(lab.facts);
  const cliff = new Cliff(lab);
  showMaterial(lab, cliff);
  showAddress(lab, cliff);
  new Why(lab, cliff);
  new Beat(lab);
  new Own(lab);
  window.addEventListener("hashchange", () => lab.readAddress());
  const preview = lab.loadNetworks(lab.preview);
  lab.addEventListener("preview", () => lab.loadNetworks(lab.thorough).catch(tell), { once: true });
  await Promise.all([preview, cliff.update()]);
}

window.addEventListener("unhandledrejection", (event) => tell(event.reason));
start().catch(tell);
