// Puts the weights of a network into its ONNX graphs.
//
// The clean-trained network and its repaired twin share their weights. In the first, batch norm is
// part of each convolution: the kernel is multiplied by gamma / deviation, and the bias becomes
// beta - mean * gamma / deviation. In the second, batch norm takes its statistics from the image.

const EPSILON = 1e-5; // of batch norm

/**
 * Return a graph as an ONNX file.
 * @param {Uint8Array} skeleton the graph with zeros in place of its weights
 * @param {{at: number, tensor?: string, norm?: string}[]} places what belongs where
 * @param {Object<string, [number, number]>} tensors start and length of each tensor in `weights`
 * @param {Float32Array} weights all weights of the network
 */
export function assembleNetwork(skeleton, places, tensors, weights) {
  const tensor = (name) => {
    const [start, length] = tensors[name];
    return weights.subarray(start, start + length);
  };
  const graph = skeleton.slice();
  const view = new DataView(graph.buffer);
  for (const { at, tensor: name, norm } of places) {
    const values = norm
      ? fused(
          name && tensor(name),
          ...["weight", "bias", "running_mean", "running_var"].map((part) =>
            tensor(`${norm}.${part}`),
          ),
        )
      : tensor(name);
    values.forEach((value, index) => view.setFloat32(at + 4 * index, value, true));
  }
  return graph;
}

/** Return a kernel multiplied by the scale of batch norm or, without a kernel, the bias. */
function fused(kernel, gamma, beta, mean, variance) {
  const scale = gamma.map((value, channel) => value / Math.sqrt(variance[channel] + EPSILON));
  if (!kernel) return beta.map((value, channel) => value - mean[channel] * scale[channel]);
  const perChannel = kernel.length / scale.length;
  return kernel.map((value, index) => value * scale[Math.floor(index / perChannel)]);
}
