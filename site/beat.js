// Beat the U-Net: a median filter and two thresholds, set by the reader, against the network that
// was trained on clean slices. The noise is new to both.

import { $, count, element, fillMenu, fillTable, percent } from "./dom.js";
import { classify, score } from "./metrics.js";
import { paintErrors, paintMask, show } from "./pictures.js";
import { segmentByThresholds } from "./thresholds.js";

const NOISE = 5000; // grey levels
const SIDES = [1, 3, 5, 7, 9, 11]; // of the median filter, px
const START = { median: 1, low: 24000, high: 35000 };
const BARS = 128; // of the histogram

export class Beat {
  constructor(lab) {
    this.lab = lab;
    this.revealed = false;
    fillMenu(
      $("median"),
      SIDES.map((side) => [side, side === 1 ? "none" : `${side} x ${side} px`]),
    );
    for (const [name, value] of Object.entries(START)) {
      $(name).value = value;
      $(name).addEventListener("input", () => this.update(name));
    }
    $("reveal").addEventListener("click", () => {
      this.revealed = !this.revealed;
      $("reveal").textContent = this.revealed
        ? "Back to the clean slice"
        : "Add noise of 5,000 to both";
      this.update();
    });
    lab.addEventListener("predicted", () => {
      this.isReady = true; // the networks are loaded
      this.prepare();
    });
    new IntersectionObserver(
      (entries) => {
        this.isNear = entries.at(-1).isIntersecting;
        this.prepare();
      },
      { rootMargin: "600px" },
    ).observe($("beat"));
  }

  /** Predict the network's masks of this slice, clean and with noise, once the reader is near. */
  async prepare() {
    const { lab } = this;
    if (!this.isNear || !this.isReady) return;
    const { slice: number, seed } = lab.state;
    const key = `${number} ${seed}`;
    if (this.key === key) return;
    this.key = key;
    const slice = await lab.loadSlice(number);
    const images = { clean: slice.grey, noisy: lab.noisy(slice, NOISE, seed) };
    const theirs = {};
    for (const [kind, grey] of Object.entries(images)) {
      const found = await lab.thorough.predict(
        "clean",
        Float32Array.from(grey),
        [1, slice.height, slice.width],
        () => this.key === key,
      );
      if (!found) return;
      const { mask } = classify(found, lab.classes);
      theirs[kind] = { mask, ...score(mask, slice.labels, lab.classes) };
    }
    Object.assign(this, { slice, images, theirs });
    this.update();
  }

  /** Segment by the reader's settings, and show both segmentations and scores. */
  update(moved) {
    if (!this.theirs) return;
    const { slice, lab, theirs } = this;
    if (+$("low").value > +$("high").value)
      $(moved === "low" ? "high" : "low").value = $(moved ?? "low").value;
    for (const name of ["low", "high"]) $(`${name}-value`).textContent = count(+$(name).value);
    const mine = {};
    for (const kind of this.revealed ? ["clean", "noisy"] : ["clean"]) {
      const mask = segmentByThresholds(
        this.images[kind],
        slice.height,
        slice.width,
        +$("median").value,
        [+$("low").value, +$("high").value],
        lab.facts.order,
      );
      mine[kind] = { mask, ...score(mask, slice.labels, lab.classes) };
    }
    const shown = this.revealed ? "noisy" : "clean";
    for (const [owner, result] of [
      ["yours", mine],
      ["theirs", theirs],
    ]) {
      const { mask, share } = result[shown];
      const paint = this.revealed
        ? paintErrors(mask, slice.labels, lab.colours)
        : paintMask(mask, lab.colours);
      show($(`canvas-${owner}`), paint, slice);
      $(`canvas-${owner}`).setAttribute("aria-label", `${percent(share)} of the pixels are wrong.`);
    }
    $("yours-title").textContent = this.revealed ? "Your wrong pixels" : "Your segmentation";
    $("theirs-title").textContent = this.revealed
      ? "The network's wrong pixels"
      : "The network's segmentation";
    this.drawHistogram(this.images[shown]);
    fillTable(
      $("contest"),
      ["Dice", "you", "the network"],
      [
        ["clean slice", percent(mine.clean.mean), percent(theirs.clean.mean)],
        [
          `noise of ${count(NOISE)}`,
          this.revealed ? percent(mine.noisy.mean) : "?",
          this.revealed ? percent(theirs.noisy.mean) : "?",
        ],
      ],
    );
    $("outcome").textContent = this.revealed
      ? this.outcome(mine.noisy.mean, theirs.noisy.mean)
      : "";
    if (this.revealed) $("outcome").append(" ", this.explanation());
  }

  outcome(mine, theirs) {
    const points = (100 * Math.abs(mine - theirs)).toFixed(0);
    return mine > theirs
      ? `You win by ${points} points.`
      : `The network wins by ${points} points. Try a median filter of 7 x 7 px.`;
  }

  explanation() {
    const { methods } = this.lab.facts.published;
    return element(
      "span",
      {},
      "Your median filter takes the middle of many pixels, and noise of any strength leaves the " +
        "middle nearly where it is. The network computes differences between neighbours, as it " +
        "learned on clean slices, and noise makes them larger than it has ever seen. Tuned on " +
        "clean slices by a program, a median filter with thresholds scores " +
        `${percent(methods["median + thresholds"])} on five test slices with this noise, and a ` +
        `network that learned from the same slices ${percent(methods["U-Net"])}.`,
    );
  }

  drawHistogram(grey) {
    const canvas = $("histogram");
    const context = canvas.getContext("2d");
    const [first, last] = [+$("low").min, +$("low").max];
    const { height, width } = canvas;
    const counts = new Array(BARS).fill(0);
    for (const level of grey) {
      counts[
        Math.min(Math.max(Math.floor((BARS * (level - first)) / (last - first)), 0), BARS - 1)
      ]++;
    }
    const style = getComputedStyle(document.body);
    const most = Math.max(...counts);
    context.clearRect(0, 0, width, height);
    context.fillStyle = style.getPropertyValue("--faint");
    counts.forEach((found, bar) => {
      const tall = (height - 6) * (found / most);
      context.fillRect((bar * width) / BARS, height - tall, width / BARS - 1, tall);
    });
    context.fillStyle = style.getPropertyValue("--accent");
    for (const name of ["low", "high"]) {
      context.fillRect((width * (+$(name).value - first)) / (last - first) - 1.5, 0, 3, height);
    }
    canvas.setAttribute(
      "aria-label",
      `Histogram of the grey levels, with your thresholds at ` +
        `${count(+$("low").value)} and ${count(+$("high").value)}.`,
    );
  }
}
