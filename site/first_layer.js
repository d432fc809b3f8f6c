// The first convolution of a network, 3 x 3 px, as inference.first_features computes it.

/**
 * Return the channels of the first layer inside a box, each normalised as batch norm does it.
 * @param {ArrayLike<number>} grey grey levels of the whole slice
 * @param {number} height
 * @param {number} width
 * @param {{top: number, left: number, height: number, width: number}} box
 * @param {object} network what make_assets.py says of the network
 * @param {boolean} fromImage whether mean and variance are those of this slice, as in the repaired
 *   network, instead of those of the training set
 * @returns {Float32Array[]}
 */
export function firstLayer(grey, height, width, box, network, fromImage = false) {
  const { kernels, mean, variance, epsilon } = network.first;
  const slice = pad({ grey, height, width }, network.stride);
  const whole = { top: 0, left: 0, height: slice.padded[0], width: slice.padded[1] };
  return kernels.map((kernel, channel) => {
    const statistics = fromImage
      ? momentsOf(convolve(slice, whole, kernel, network.grey))
      : { mean: mean[channel], variance: variance[channel] };
    const scale = 1 / Math.sqrt(statistics.variance + epsilon);
    return convolve(slice, box, kernel, network.grey).map(
      (value) => (value - statistics.mean) * scale,
    );
  });
}

/** Say how large the network makes a slice, by repeating the last row and column. */
function pad(slice, stride) {
  const sides = [slice.height, slice.width];
  return { ...slice, padded: sides.map((side) => Math.ceil(side / stride) * stride) };
}

/** Convolve normalised grey levels inside a box; outside of the padded slice they are 0. */
function convolve({ grey, height, width, padded }, box, kernel, [mean, deviation]) {
  const result = new Float32Array(box.height * box.width);
  for (let row = 0; row < box.height; row++) {
    for (let column = 0; column < box.width; column++) {
      let sum = 0;
      for (let place = 0; place < 9; place++) {
        const y = box.top + row + Math.floor(place / 3) - 1;
        const x = box.left + column + (place % 3) - 1;
        if (y >= 0 && y < padded[0] && x >= 0 && x < padded[1]) {
          const level = grey[Math.min(y, height - 1) * width + Math.min(x, width - 1)];
          sum += (kernel[place] * (level - mean)) / deviation;
        }
      }
      result[row * box.width + column] = sum;
    }
  }
  return result;
}

/** Return mean and variance of numbers. */
export function momentsOf(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    mean,
    variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length,
  };
}
