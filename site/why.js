// Why is this pixel wrong? Its receptive field, the probabilities, which neighbours decide, the
// distance to the interface, and the first layer there.

import { $, bars, element, fillMenu, fillTable, percent } from "./dom.js";
import { firstLayer, momentsOf } from "./first_layer.js";
import { cut, interfaceDistance } from "./metrics.js";
import { influence, influenceMap, occludedImages } from "./occlusion.js";
import { paintGrey, paintMask, paintSigned, showLarge } from "./pictures.js";
import { NETWORKS } from "./state.js";

const WIDE = 3; // standard deviations: what a first layer hardly ever gives on its training set

/** Return where in a box a pixel lies. */
const inBox = ({ row, column }, box) => ({ row: row - box.top, column: column - box.left });

export class Why {
  constructor(lab, cliff) {
    Object.assign(this, { lab, cliff, asked: 0 });
    fillMenu($("network"), Object.entries(NETWORKS));
    $("network").addEventListener("change", () => lab.change({ network: $("network").value }));
    for (const name of ["row", "column"]) $(name).addEventListener("change", () => this.type());
    $("next-wrong").addEventListener("click", () => this.next());
    lab.addEventListener("change", ({ detail }) => {
      if ("pixel" in detail.changes || "network" in detail.changes) this.explained = this.explain();
    });
    lab.addEventListener("predicted", () => {
      this.explained = this.explain();
    });
  }

  /** Choose the pixel whose row and column the reader has typed. */
  type() {
    const { slice } = this.cliff;
    const inside = (value, length) => Math.min(Math.max(Math.round(value) || 1, 1), length) - 1;
    if (slice && $("row").value && $("column").value) {
      this.lab.change({
        pixel: {
          row: inside(+$("row").value, slice.height),
          column: inside(+$("column").value, slice.width),
        },
      });
    }
  }

  /** Choose the next wrong pixel in view, far enough away to be another mistake. */
  next() {
    const { lab, cliff } = this;
    const result = cliff.results[lab.state.network];
    if (!result) return;
    const { slice } = cliff;
    const box = lab.box(slice);
    const from = lab.state.pixel ?? { row: box.top, column: box.left - 1 };
    const start = (from.row - box.top) * box.width + from.column - box.left;
    const all = box.height * box.width;
    const skip = 5 * box.width + 7;
    for (let step = skip; step < all + skip; step++) {
      const place = (((start + step) % all) + all) % all;
      const pixel = {
        row: box.top + Math.floor(place / box.width),
        column: box.left + (place % box.width),
      };
      const at = pixel.row * slice.width + pixel.column;
      if (result.mask[at] !== slice.labels[at]) {
        lab.change({ pixel });
        return;
      }
    }
    $("pixel-text").textContent = "This network has no wrong pixel in view.";
  }

  async explain() {
    const { lab, cliff } = this;
    const { pixel, network: name } = lab.state;
    $("network").value = name;
    $("pixel-details").hidden = !pixel || !cliff.results[name];
    if (!pixel || !cliff.results[name]) return;
    const asked = ++this.asked;
    const { slice, grey } = cliff;
    Object.assign($("row"), { value: pixel.row + 1, max: slice.height });
    Object.assign($("column"), { value: pixel.column + 1, max: slice.width });
    this.describe(pixel, name);
    const network = lab.network(name);
    const occluded = occludedImages(grey, slice.height, slice.width, pixel, network);
    this.showField(occluded.box, pixel, network);
    this.showChannels(pixel, name);
    await this.showOcclusion(occluded, pixel, name, () => asked === this.asked);
  }

  /** Say in words and in a table what the networks predict. */
  describe(pixel, name) {
    const { lab, cliff } = this;
    const { slice, results } = cliff;
    const { names, colours } = lab.facts.phases;
    const at = pixel.row * slice.width + pixel.column;
    const result = results[name];
    const far = interfaceDistance(slice.labels, slice.height, slice.width, pixel.row, pixel.column);
    const truth = names[slice.labels[at]];
    const guess = names[result.mask[at]];
    $("pixel-text").textContent =
      `Row ${pixel.row + 1}, column ${pixel.column + 1} is ${truth}. The network ` +
      `${NETWORKS[name]} says ${guess} and is ${percent(result.confidence[at])} sure, so it is ` +
      `${truth === guess ? "right" : "wrong"}. The nearest interface is ${far.toFixed(1)} px ` +
      "away. " +
      (far <= 3
        ? "So close to an interface even good networks make mistakes."
        : truth === guess
          ? ""
          : "So far inside a grain a good network makes no mistake.");
    fillTable(
      $("pixel-table"),
      ["network", "says", "probabilities"],
      Object.keys(NETWORKS).map((each) => [
        NETWORKS[each],
        names[results[each].mask[at]],
        bars(
          names.map((phase, one) => [
            phase,
            results[each].probabilities[one * slice.labels.length + at],
            colours[one],
          ]),
          `Probabilities of the network ${NETWORKS[each]}`,
        ),
      ]),
    );
  }

  showField(box, pixel, { field, reach }) {
    const { lab, cliff } = this;
    const { slice, grey } = cliff;
    const { height, width } = slice;
    const local = inBox(pixel, box);
    showLarge(
      $("canvas-field"),
      paintGrey(cut(grey, height, width, box), cliff.range()),
      box,
      local,
    );
    showLarge(
      $("canvas-truth"),
      paintMask(cut(slice.labels, height, width, box), lab.colours),
      box,
      local,
    );
    $("canvas-field").setAttribute("aria-label", "Grey levels around the pixel, with noise.");
    $("canvas-truth").setAttribute("aria-label", "True phases around the pixel.");
    $("field-text").textContent =
      `The prediction depends on a square of ${field} x ${field} px around the ` +
      `pixel, the receptive field. Nothing farther than ${reach} px away can change it.`;
  }

  async showOcclusion(occluded, pixel, name, wanted) {
    const { lab } = this;
    const canvas = $("canvas-occlusion");
    const { box } = occluded;
    const blank = new Float32Array(box.height * box.width);
    showLarge(canvas, paintSigned(blank), box, inBox(pixel, box));
    if (name === "repaired") {
      $("occlusion-text").textContent =
        "The repaired network takes its statistics from the whole slice, so " +
        "every pixel has a little say. Choose another network to see which neighbours decide.";
      return;
    }
    $("occlusion-text").textContent = "Hiding one neighbour after the other …";
    const images = occluded.images.length / blank.length;
    const found = await lab.preview.predict(
      name,
      occluded.images,
      [images, box.height, box.width],
      wanted,
    );
    if (!found || !wanted()) return;
    const { predicted, drops, probabilities } = influence(found, lab.classes, occluded, pixel);
    this.part = probabilities; // of the pixel, from the part around it alone
    showLarge(canvas, paintSigned(influenceMap(drops, occluded)), box, inBox(pixel, box));
    const phase = lab.facts.phases.names[predicted];
    const most = Math.max(...drops);
    $("occlusion-text").textContent =
      `Each square was hidden once. Orange squares speak for ${phase}, blue ` +
      "ones against it. Hiding the strongest one lowers its probability by " +
      `${(100 * most).toFixed(0)} points.`;
    canvas.setAttribute("aria-label", $("occlusion-text").textContent);
  }

  /** Show the channels of the first layer around the pixel, and how wide they are. */
  showChannels(pixel, name) {
    const { lab, cliff } = this;
    const { height, width } = cliff.slice;
    const side = Math.min(33, height, width);
    const start = (at, length) => Math.min(Math.max(at - (side - 1) / 2, 0), length - side);
    const box = {
      top: start(pixel.row, height),
      left: start(pixel.column, width),
      height: side,
      width: side,
    };
    const channels = firstLayer(
      cliff.grey,
      height,
      width,
      box,
      lab.network(name),
      name === "repaired",
    );
    const spreads = channels.map((channel) => Math.sqrt(momentsOf(channel).variance));
    const widest = Math.max(...spreads);
    $("channels-text").textContent =
      "Batch norm scales each of these channels to a standard deviation of 1 " +
      `${name === "repaired" ? "on this slice" : "on the training set"}. Around this pixel the ` +
      `widest one has ${widest.toFixed(1)}. ` +
      (widest > WIDE
        ? "The layers that follow have never met such numbers: noise looks to them like strong " +
          "edges everywhere."
        : "That is what the layers that follow expect.");
    const here = inBox(pixel, box);
    const at = here.row * side + here.column;
    $("channels").replaceChildren(
      ...channels.map((channel, index) => {
        const canvas = element("canvas", {
          role: "img",
          "aria-label": `Channel ${index + 1}: ${channel[at].toFixed(1)} standard deviations here`,
        });
        const shades = paintSigned(channel.map((value) => value / (2 * WIDE)));
        showLarge(canvas, shades, box, inBox(pixel, box));
        const far = Math.abs(channel[at]) > WIDE;
        return element(
          "figure",
          {},
          canvas,
          element("figcaption", far ? { class: "far" } : {}, channel[at].toFixed(1)),
        );
      }),
    );
  }
}
