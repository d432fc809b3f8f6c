// Computes probabilities with the modules of the live page in Node, for engines.py.
//
//     node engines.mjs FOLDER NUMBER,NOISE,SEED,NETWORK ...     writes a file per case into FOLDER

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { unpackSlice, unpackWeights } from "../../site/formats.js";
import { assembleNetwork } from "../../site/networks.js";
import { addNoise, drawNoise } from "../../site/noise.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DIST = join(ROOT, "site/node_modules/onnxruntime-web/dist");
const ort = await import(pathToFileURL(join(DIST, "ort.wasm.bundle.min.mjs")));
const asset = (name) => new Uint8Array(readFileSync(join(ROOT, "build/site-assets", name)));
const facts = JSON.parse(new TextDecoder().decode(asset("facts.json")));

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = new Uint8Array(
  readFileSync(join(DIST, "ort-wasm-simd-threaded.wasm")),
).buffer;

/** Make a session of a network, as the page does. */
async function session(name) {
  const { network, places } = facts.graphs[name];
  return ort.InferenceSession.create(
    assembleNetwork(
      asset(`${name}.onnx`),
      places,
      facts.networks[network].tensors,
      unpackWeights(asset(`${network}.bin`)),
    ),
  );
}

const [folder, ...cases] = process.argv.slice(2);
const sessions = {};
for (const name of cases) {
  const [number, noise, seed, network] = name.split(",");
  const { height, width } = facts.slices.find((each) => each.number === Number(number));
  const { grey } = unpackSlice(asset(`slice-${number}.bin`), height, width);
  const noisy = addNoise(grey, drawNoise(grey.length, Number(seed), Number(number)), Number(noise));
  sessions[network] ??= await session(network);
  const input = new ort.Tensor("float32", Float32Array.from(noisy), [1, 1, height, width]);
  const { probabilities } = await sessions[network].run({ grey: input });
  writeFileSync(join(folder, name), probabilities.data);
}
