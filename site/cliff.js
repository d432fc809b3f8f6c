// The noise cliff: one noisy slice and three networks. What is in view is predicted while the noise
// slider moves, and whole slices when it rests.

import { fillControls, showControls } from "./controls.js";
import { $, bars, count, element, percent } from "./dom.js";
import { classify, cut, mean, score } from "./metrics.js";
import { frame, paintConfidence, paintErrors, paintGrey, paintMask, show } from "./pictures.js";
import { NETWORKS } from "./state.js";

const REST = 200; // ms without a move, before whole slices are predicted
const STEP_FAST = 10; // px per arrow key with Shift

export class Cliff {
  constructor(lab) {
    this.lab = lab;
    this.turn = 0; // of the last move; what belongs to an earlier one is thrown away
    this.results = {}; // of the whole slice, by network, as they arrive
    this.panels = this.makePanels();
    this.cursor = null;
    fillControls(lab);
    lab.addEventListener("change", ({ detail }) => this.react(detail));
  }

  makePanels() {
    const panels = { input: { canvas: $("canvas-input") } };
    for (const name of Object.keys(NETWORKS)) {
      const figure = document.querySelector(`[data-network="${name}"]`);
      const canvas = element("canvas", { id: `canvas-${name}`, tabindex: 0, role: "img" });
      const text = element("figcaption");
      figure.append(canvas, text);
      panels[name] = { canvas, text };
    }
    for (const { canvas } of Object.values(panels)) this.makeClickable(canvas);
    return panels;
  }

  /** Let a click, or arrow keys and Enter, choose a pixel. */
  makeClickable(canvas) {
    canvas.addEventListener("click", (event) => {
      const place = canvas.getBoundingClientRect();
      this.choose(
        ((event.clientY - place.top) / place.height) * canvas.height,
        ((event.clientX - place.left) / place.width) * canvas.width,
        canvas,
      );
    });
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      this.cursor ??= [canvas.height / 2, canvas.width / 2].map(Math.floor);
      if (moves[event.key]) {
        const limits = [canvas.height, canvas.width];
        const step = event.shiftKey ? STEP_FAST : 1;
        this.cursor = this.cursor.map((at, axis) =>
          Math.min(Math.max(at + step * moves[event.key][axis], 0), limits[axis] - 1),
        );
        this.paint();
      } else if (event.key === "Enter" || event.key === " ") {
        this.choose(...this.cursor, canvas);
      } else {
        return;
      }
      event.preventDefault();
    });
    canvas.addEventListener("blur", () => {
      this.cursor = null;
      this.paint();
    });
  }

  choose(row, column, canvas) {
    const box = this.lab.box(this.slice);
    const pixel = {
      row: box.top + Math.min(Math.floor(row), box.height - 1),
      column: box.left + Math.min(Math.floor(column), box.width - 1),
    };
    const name = canvas.id.replace("canvas-", "");
    this.lab.change(name in NETWORKS ? { pixel, network: name } : { pixel });
  }

  react({ changes, moving }) {
    showControls(this.lab);
    if (["slice", "seed", "noise"].some((name) => name in changes)) this.update(moving);
    else if ("view" in changes || "picture" in changes || "pixel" in changes) this.paint();
  }

  /** Predict what is in view and then, if nothing has changed, the whole slice. */
  async update(moving = false) {
    const turn = ++this.turn;
    delete $("status").dataset.done;
    const wanted = () => turn === this.turn;
    const { lab } = this;
    const { slice: number, noise, seed } = lab.state;
    const slice = await lab.loadSlice(number);
    if (!wanted()) return;
    Object.assign(this, { slice, grey: lab.noisy(slice, noise, seed), results: {}, parts: {} });
    this.show("input");
    $("status").textContent = "Predicting what is in view …";
    const box = lab.state.view === "whole" ? lab.centre(slice) : lab.box(slice);
    const input = Float32Array.from(cut(this.grey, slice.height, slice.width, box));
    const truth = cut(slice.labels, slice.height, slice.width, box);
    for (const name of Object.keys(NETWORKS)) {
      const found = await lab.preview.predict(name, input, [1, box.height, box.width], wanted);
      if (!found || !wanted()) return;
      this.parts[name] = { box, ...this.judge(found, truth) };
      this.show(name);
    }
    lab.dispatchEvent(new Event("preview"));
    if (moving) await new Promise((resolve) => setTimeout(resolve, REST));
    if (wanted()) await this.predictWhole(wanted);
  }

  async predictWhole(wanted) {
    const { slice, grey, lab } = this;
    $("status").textContent = "Predicting the whole slice …";
    const whole = { top: 0, left: 0, height: slice.height, width: slice.width };
    const input = Float32Array.from(grey);
    for (const name of Object.keys(NETWORKS)) {
      const found = await lab.thorough.predict(name, input, [1, slice.height, slice.width], wanted);
      if (!found || !wanted()) return;
      this.results[name] = { box: whole, probabilities: found, ...this.judge(found, slice.labels) };
      this.show(name);
    }
    $("status").textContent = "The numbers are those of the whole slice.";
    $("status").dataset.done = `${slice.number} ${lab.state.seed} ${lab.state.noise}`;
    this.sayVerdict();
    lab.dispatchEvent(new Event("predicted"));
  }

  judge(probabilities, truth) {
    const { mask, confidence } = classify(probabilities, this.lab.classes);
    return { mask, confidence, sure: mean(confidence), ...score(mask, truth, this.lab.classes) };
  }

  paint() {
    for (const name of Object.keys(this.panels)) this.show(name);
  }

  /** Show one panel: its picture, the chosen pixel and the scores. */
  show(name) {
    const { lab, slice, panels } = this;
    if (!slice) return;
    const { canvas, text } = panels[name];
    const box = lab.box(slice);
    const result = this.results[name] ?? this.parts?.[name];
    if (name === "input") {
      show(canvas, paintGrey(cut(this.grey, slice.height, slice.width, box), this.range()), box);
      canvas.setAttribute(
        "aria-label",
        `The slice with noise of ${count(lab.state.noise)} grey ` +
          "levels. Use the arrow keys and Enter to choose a pixel.",
      );
    } else if (result) {
      this.showResult(canvas, result, box);
      const { mean: dice, share, sure } = result;
      text.replaceChildren(
        element(
          "p",
          { class: "sure" },
          element("b", {}, percent(sure, 0)),
          " sure, ",
          element("b", {}, percent(1 - share, 0)),
          " right",
        ),
        element(
          "p",
          {},
          `Dice ${percent(dice)}, ${count(result.wrong)} pixels wrong`,
          this.results[name] ? "" : " in view",
        ),
        bars(
          lab.facts.phases.names.map((phase, one) => [
            phase,
            result.dice[one],
            lab.facts.phases.colours[one],
          ]),
          "Dice of each phase",
        ),
      );
      canvas.setAttribute(
        "aria-label",
        `The network ${NETWORKS[name]}: ${percent(share)} of the ` +
          "pixels are wrong. Use the arrow keys and Enter to choose a pixel.",
      );
    }
    this.markPixels(canvas, box);
  }

  /** Show as much of a result as lies in view. */
  showResult(canvas, result, box) {
    const { slice, lab } = this;
    const inside = {
      top: Math.max(box.top, result.box.top),
      left: Math.max(box.left, result.box.left),
    };
    inside.height = Math.min(box.top + box.height, result.box.top + result.box.height) - inside.top;
    inside.width = Math.min(box.left + box.width, result.box.left + result.box.width) - inside.left;
    if (inside.height <= 0 || inside.width <= 0) return;
    const local = {
      ...inside,
      top: inside.top - result.box.top,
      left: inside.left - result.box.left,
    };
    const part = (array) => cut(array, result.box.height, result.box.width, local);
    const truth = cut(slice.labels, slice.height, slice.width, inside);
    const pixels = {
      errors: () => paintErrors(part(result.mask), truth, lab.colours),
      mask: () => paintMask(part(result.mask), lab.colours),
      confidence: () => paintConfidence(part(result.confidence), lab.classes),
      truth: () => paintMask(truth, lab.colours),
    }[lab.state.picture]();
    show(canvas, pixels, box, {
      ...inside,
      top: inside.top - box.top,
      left: inside.left - box.left,
    });
    if (inside.height < box.height) frame(canvas, inside);
  }

  markPixels(canvas, box) {
    const { pixel } = this.lab.state;
    if (pixel) {
      frame(canvas, {
        top: pixel.row - box.top - 2,
        left: pixel.column - box.left - 2,
        height: 5,
        width: 5,
      });
    }
    if (this.cursor && document.activeElement === canvas) {
      frame(canvas, { top: this.cursor[0] - 4, left: this.cursor[1] - 4, height: 9, width: 9 });
    }
  }

  /** The grey levels that are black and white: wider with noise, as a screen would be adjusted. */
  range() {
    const [low, high] = this.slice.range;
    return [low - 1.5 * this.lab.state.noise, high + 1.5 * this.lab.state.noise];
  }

  sayVerdict() {
    const [clean, repaired, noisy] = Object.keys(NETWORKS).map((name) => this.results[name]);
    const { noise } = this.lab.state;
    $("verdict").textContent =
      noise < 500
        ? "Almost without noise, all networks are good: the clean-trained one has a Dice of " +
          `${percent(clean.mean)}. Drag the noise up.`
        : `With noise of ${count(noise)}, the clean-trained network is ` +
          `${percent(clean.sure, 0)} sure and ${percent(1 - clean.share, 0)} right. New ` +
          `batch-norm statistics bring its Dice from ${percent(clean.mean, 0)} to ` +
          `${percent(repaired.mean, 0)}. The network that was trained with noise has ` +
          `${percent(noisy.mean, 0)}.`;
  }
}
