// The laboratory: facts, slices, networks and the state of the page. Sections ask it for noisy
// slices and predictions, and tell it what the reader wants to see.

import { loadAsset, loadJson } from "./assets.js";
import { Engine } from "./engine.js";
import { unpackSlice, unpackWeights } from "./formats.js";
import { assembleNetwork } from "./networks.js";
import { addNoise, drawNoise } from "./noise.js";
import { greyRange, rgb } from "./pictures.js";
import { readState, viewBox, writeState } from "./state.js";

export class Lab extends EventTarget {
  /** Load the facts; everything else follows with `loadSlice` and `loadNetworks`. */
  static async open() {
    return new Lab(await loadJson("facts.json"));
  }

  constructor(facts) {
    super();
    this.facts = facts;
    this.classes = facts.phases.names.length;
    this.colours = facts.phases.colours.map(rgb);
    this.state = readState(location.hash, facts.slices);
    this.preview = new Engine(); // what is in view, while a slider moves
    this.thorough = new Engine(); // whole slices, when it rests
    this.slices = new Map();
    this.drawn = { key: "" }; // the noise that was drawn last
  }

  /** Change the state, write it into the address, and tell the sections what has changed. */
  change(changes, moving = false) {
    Object.assign(this.state, changes);
    history.replaceState(null, "", writeState(this.state));
    this.dispatchEvent(new CustomEvent("change", { detail: { changes, moving } }));
  }

  /** Take the state from the address, which a reader or a link has changed. */
  readAddress() {
    this.change(readState(location.hash, this.facts.slices));
  }

  /** Return a slice: grey levels, labels, height, width, number and the range of its picture. */
  async loadSlice(number) {
    if (!this.slices.has(number)) {
      const { height, width } = this.facts.slices.find((each) => each.number === number);
      const { grey, labels } = unpackSlice(await loadAsset(`slice-${number}.bin`), height, width);
      this.slices.set(number, { grey, labels, height, width, number, range: greyRange(grey) });
    }
    return this.slices.get(number);
  }

  /** Return the grey levels of a slice with noise. */
  noisy(slice, noise, seed) {
    const key = `${slice.number} ${seed}`;
    if (this.drawn.key !== key) {
      this.drawn = { key, noise: drawNoise(slice.grey.length, seed, slice.number) };
    }
    return addNoise(slice.grey, this.drawn.noise, noise);
  }

  /** Return the network that a graph ("clean", "repaired", "noisy") is made of. */
  network(name) {
    return this.facts.networks[this.facts.graphs[name].network];
  }

  /** Return the part of a slice that is in view. */
  box(slice) {
    return viewBox(this.state.view, slice.height, slice.width, this.network("clean").stride);
  }

  /** Return the part of a slice that is predicted first if the whole slice is in view. */
  centre(slice) {
    return viewBox("centre", slice.height, slice.width, this.network("clean").stride);
  }

  /** Load the runtime and the networks into an engine, the first network first. */
  loadNetworks(engine) {
    this.files ??= this.loadFiles();
    const [first, ...others] = Object.keys(this.facts.graphs);
    const part = async (names) => {
      const { graphs, ...runtime } = await this.files;
      return { ...runtime, graphs: Object.fromEntries(names.map((name) => [name, graphs[name]])) };
    };
    engine.load(part([first]));
    return engine.load(part(others));
  }

  /** Load the runtime, and put the weights into the graphs. */
  async loadFiles() {
    const { graphs, networks } = this.facts;
    const sources = [...new Set(Object.values(graphs).map(({ network }) => network))];
    const [wasm, glue, skeletons, packed] = await Promise.all([
      loadAsset("ort.wasm"),
      loadAsset("ort.mjs"),
      Promise.all(Object.keys(graphs).map((name) => loadAsset(`${name}.onnx`))),
      Promise.all(sources.map((name) => loadAsset(`${name}.bin`))),
    ]);
    const weights = packed.map(unpackWeights);
    return {
      wasm: wasm.buffer,
      glue,
      graphs: Object.fromEntries(
        Object.entries(graphs).map(([name, { network, places }], index) => [
          name,
          assembleNetwork(
            skeletons[index],
            places,
            networks[network].tensors,
            weights[sources.indexOf(network)],
          ),
        ]),
      ),
    };
  }
}
