// The reader's own slice: a TIFF that is decoded, judged and segmented here and sent nowhere.

import { startWorker } from "./assets.js";
import { chooseContrast, greyQuantiles, greyShift, toGreyLevels } from "./contrast.js";
import { $, count, element, fillMenu, fillTable, percent } from "./dom.js";
import { classify, cut, mean, meanEntropy, volumeFractions } from "./metrics.js";
import { greyRange, paintConfidence, paintGrey, paintMask, show } from "./pictures.js";
import { NETWORKS } from "./state.js";
import { writeTiff } from "./tiff.js";
import { boxesOf, surroundings } from "./tiles.js";

const PATIENCE = 20_000; // ms for decoding a file
const TILE = 480; // px per side of a part that is predicted at a time
const LARGEST_WHOLE = 2e6; // px: a larger slice cannot be predicted in one piece
// The indicators of notebook 8 that one slice has, and on which side each one is bad.
const INDICATORS = { confidence: -1, entropy: 1, rarest: -1, shift: 1 };

export class Own {
  constructor(lab) {
    this.lab = lab;
    this.turn = 0;
    fillMenu($("own-network"), Object.entries(NETWORKS));
    $("own-network").value = "noisy";
    $("file").addEventListener("change", () => this.open($("file").files[0]));
    for (const name of ["own-network", "contrast", "page"]) {
      $(name).addEventListener("change", () => this.segment());
    }
    $("download").addEventListener("click", () => this.download());
    const drop = $("drop");
    for (const kind of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", kind === "dragover");
        if (kind === "drop") this.open(event.dataTransfer.files[0]);
      });
    }
  }

  async open(file) {
    if (!file) return;
    this.file = { name: file.name, content: await file.arrayBuffer() };
    Object.assign($("page"), { value: 1, disabled: true });
    await this.segment();
  }

  /** Read the chosen page, segment it, and say how far the result can be trusted. */
  async segment() {
    if (!this.file) return;
    const turn = ++this.turn;
    const wanted = () => turn === this.turn;
    $("own-error").hidden = true;
    $("download").disabled = true;
    try {
      $("own-status").textContent = `Reading ${this.file.name} …`;
      const page = await decode(this.file.content, +$("page").value - 1);
      if (!wanted()) return;
      Object.assign($("page"), { max: page.pages, disabled: page.pages === 1 });
      const name = $("own-network").value;
      const network = this.lab.network(name);
      const contrast = chooseContrast(page, network, this.lab.facts.contrast, $("contrast").value);
      const grey = toGreyLevels(page.data, contrast);
      const result = await this.predict(grey, page, name, wanted);
      if (!result || !wanted()) return;
      this.result = { ...result, height: page.height, width: page.width };
      this.show(page, grey, contrast, network);
    } catch (error) {
      if (!wanted()) return;
      $("own-status").textContent = "";
      $("own-result").hidden = true;
      $("own-error").textContent = `${this.file.name}: ${error.message}`;
      $("own-error").hidden = false;
    }
  }

  /** Predict a slice of any size, in parts that give what the whole slice would give. */
  async predict(grey, { height, width }, name, wanted) {
    const { lab } = this;
    if (name === "repaired" && height * width > LARGEST_WHOLE) {
      throw new Error(
        `The repaired network must see the whole slice at once, and ${height} x ${width} px ` +
          "are too many for a browser. Choose another network, or cut a part out.",
      );
    }
    const boxes =
      name === "repaired" ? [{ top: 0, left: 0, height, width }] : boxesOf(height, width, TILE);
    const mask = new Uint8Array(grey.length);
    const confidence = new Float32Array(grey.length);
    let entropy = 0;
    for (const [index, box] of boxes.entries()) {
      $("own-status").textContent = `Segmenting, part ${index + 1} of ${boxes.length} …`;
      const seen = surroundings(box, height, width, lab.network(name));
      const input = Float32Array.from(cut(grey, height, width, seen));
      const found = await lab.thorough.predict(name, input, [1, seen.height, seen.width], wanted);
      if (!found) return null;
      const inner = { ...box, top: box.top - seen.top, left: box.left - seen.left };
      const part = cut(found, seen.height, seen.width, inner, lab.classes);
      const judged = classify(part, lab.classes);
      paste(judged.mask, box, mask, width);
      paste(judged.confidence, box, confidence, width);
      entropy += (meanEntropy(part, lab.classes) * box.height * box.width) / grey.length;
    }
    return { mask, confidence, entropy };
  }

  show(page, grey, contrast, network) {
    const { lab, result } = this;
    const { height, width } = page;
    const { names, colours } = lab.facts.phases;
    $("own-result").hidden = false;
    show($("own-grey"), paintGrey(grey, greyRange(grey)), page);
    show($("own-mask"), paintMask(result.mask, lab.colours), page);
    show($("own-confidence"), paintConfidence(result.confidence, lab.classes), page);
    const shares = volumeFractions(result.mask, lab.classes);
    $("own-mask").setAttribute(
      "aria-label",
      `The segmentation: ${names
        .map((name, one) => `${percent(shares[one])} ${name}`)
        .join(", ")}.`,
    );
    $("own-grey").setAttribute("aria-label", "Your slice.");
    $("own-confidence").setAttribute(
      "aria-label",
      "Where the network is sure (white) and where it guesses.",
    );
    $("own-status").textContent =
      `${this.file.name}: ${height} x ${width} px, ${page.dtype}, page ` +
      `${$("page").value} of ${page.pages}. The grey levels are ${contrast.done}.`;
    const alarms = this.alarms(
      {
        confidence: mean(result.confidence),
        entropy: result.entropy,
        rarest: Math.min(...shares),
        shift: greyShift(greyQuantiles(grey, height, width), network.reference.levels),
      },
      network.reference,
    );
    this.warn(contrast, alarms);
    fillTable(
      $("own-table"),
      ["", "this slice", "usual", "alarm"],
      [
        ...names.map((name, one) => [
          element(
            "span",
            {},
            element("span", { class: "swatch", style: `background:${colours[one]}` }),
            name,
          ),
          percent(shares[one]),
          "",
          "",
        ]),
        ...alarms.map(({ name, value, usual, rings }) => [
          name,
          value.toFixed(3),
          usual,
          rings ? "yes" : "no",
        ]),
      ],
    );
    $("download").disabled = false;
  }

  /** Compare the indicators of notebook 8 with those of slices that the network knows. */
  alarms(values, reference) {
    return Object.entries(INDICATORS).map(([name, side]) => {
      const usual = reference[name];
      const distance = (side * (values[name] - usual.mean)) / usual.deviation;
      return {
        name,
        value: values[name],
        rings: distance > this.lab.facts.alarm,
        usual: `${usual.mean.toFixed(3)} ± ${usual.deviation.toFixed(3)}`,
      };
    });
  }

  warn({ faults, differs, kind }, alarms) {
    const ringing = alarms.filter(({ rings }) => rings).map(({ name }) => name);
    const parts = [];
    if (faults.length) {
      parts.push(
        "Do not trust this segmentation. The grey levels are not those that this network knows: " +
          `${faults[0]}. Try another entry under “Grey levels”.`,
      );
    }
    if (ringing.length) {
      parts.push(
        `${faults.length ? "" : "Be careful. "}Of the indicators of notebook 8, these raise an ` +
          `alarm: ${ringing.join(", ")}. The slice looks unlike those that the network knows.`,
      );
    }
    if (!faults.length && differs) {
      parts.push(
        "The shares of grey levels differ from those of the training set. Another composition " +
          "does no harm, uneven brightness does.",
      );
    }
    if (!faults.length && !ringing.length) {
      parts.push(
        "No alarm. Another material or resolution can still be segmented wrongly, so look at " +
          "the mask." +
          (kind === "none" ? "" : " The grey levels were adapted, which hides a wrong contrast."),
      );
    }
    const bad = faults.length || ringing.length;
    $("own-warning").replaceChildren(
      ...parts.map((text) =>
        element("p", { class: bad ? "warning" : "fine", role: bad ? "alert" : "status" }, text),
      ),
    );
  }

  /** Hand the mask over as a TIFF, with the values that label files of the phases have. */
  download() {
    const { mask, height, width } = this.result;
    const values = mask.map((one) => this.lab.facts.phases.values[one]);
    const address = URL.createObjectURL(
      new Blob([writeTiff(values, height, width)], { type: "image/tiff" }),
    );
    const name = `${this.file.name.replace(/\.tiff?$/i, "")}-page${$("page").value}-mask.tif`;
    element("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }
}

/** Decode a page in a worker of its own, which ends with it or after some time. */
async function decode(content, index) {
  const worker = await startWorker("tiff_worker");
  return new Promise((resolve, reject) => {
    const limit = setTimeout(
      () =>
        reject(
          new Error(
            `Reading takes more than ${count(PATIENCE / 1000)} ` +
              "seconds. Save the slice without compression.",
          ),
        ),
      PATIENCE,
    );
    worker.onmessage = ({ data }) => {
      clearTimeout(limit);
      if (data.error) reject(new Error(data.error));
      else resolve(data.page);
    };
    worker.onerror = () => {
      clearTimeout(limit);
      reject(new Error("This file cannot be read. Copy or export it again."));
    };
    worker.postMessage({ content, index });
  }).finally(() => worker.terminate());
}

/** Copy a part into its place in a slice. */
function paste(part, box, whole, width) {
  for (let row = 0; row < box.height; row++) {
    whole.set(
      part.subarray(row * box.width, (row + 1) * box.width),
      (box.top + row) * width + box.left,
    );
  }
}
