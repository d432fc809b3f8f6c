// Runs networks in a worker, so that the page stays alive: ONNX Runtime in WebAssembly, one thread.

import * as ort from "onnxruntime-web/wasm";

const sessions = {};

/** Load the runtime and the networks, or predict. Every request has a number; so has its answer. */
async function answer({ kind, glue, wasm, graphs, network, grey, shape }) {
  if (kind === "load") {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.wasmPaths ??= {
      mjs: URL.createObjectURL(new Blob([glue], { type: "text/javascript" })),
    };
    for (const [name, graph] of Object.entries(graphs)) {
      sessions[name] = await ort.InferenceSession.create(graph);
    }
    return {};
  }
  const input = new ort.Tensor("float32", grey, shape);
  const { probabilities } = await sessions[network].run({ grey: input });
  return { probabilities: probabilities.data.slice() };
}

self.onmessage = async ({ data }) => {
  try {
    const result = await answer(data);
    const moved = result.probabilities ? [result.probabilities.buffer] : [];
    self.postMessage({ number: data.number, ...result }, moved);
  } catch (error) {
    self.postMessage({ number: data.number, error: String(error.message ?? error) });
  }
};
