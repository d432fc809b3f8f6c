// Scores and measures of a segmentation: those of xraylib/metrics.py and outlook/microstructure.py.
// Masks hold a class index per pixel, row by row. Probabilities hold one map per class.

/** Return the most probable class of each pixel, and its probability. */
export function classify(probabilities, classes) {
  const pixels = probabilities.length / classes;
  const mask = new Uint8Array(pixels);
  const confidence = new Float32Array(pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    let best = 0;
    for (let one = 1; one < classes; one++) {
      if (probabilities[one * pixels + pixel] > probabilities[best * pixels + pixel]) best = one;
    }
    mask[pixel] = best;
    confidence[pixel] = probabilities[best * pixels + pixel];
  }
  return { mask, confidence };
}

/** Score a mask against the truth: Dice of each phase (null if absent), its mean, wrong pixels. */
export function score(mask, truth, classes) {
  const both = new Array(classes).fill(0);
  const sizes = new Array(classes).fill(0);
  const present = new Array(classes).fill(0);
  for (let pixel = 0; pixel < truth.length; pixel++) {
    if (mask[pixel] === truth[pixel]) both[mask[pixel]]++;
    sizes[mask[pixel]]++;
    present[truth[pixel]]++;
  }
  const dice = both.map((count, one) =>
    present[one] ? (2 * count) / (sizes[one] + present[one]) : null,
  );
  const right = both.reduce((sum, count) => sum + count, 0);
  return {
    dice,
    mean: mean(dice.filter((value) => value !== null)),
    wrong: truth.length - right,
    share: 1 - right / truth.length,
  };
}

/** Return the mean of numbers. */
export function mean(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** Return the mean entropy of the pixels, 0 to 1 (in units of log classes). */
export function meanEntropy(probabilities, classes) {
  let nats = 0;
  for (const share of probabilities) if (share > 0) nats -= share * Math.log(share);
  return nats / (probabilities.length / classes) / Math.log(classes);
}

/** Return the share of the pixels in each class. */
export function volumeFractions(mask, classes) {
  const counts = new Array(classes).fill(0);
  for (const one of mask) counts[one]++;
  return counts.map((count) => count / mask.length);
}

/** Return the interface area per volume, 1/µm: twice the interfaces per length of a line. */
export function interfaceArea(mask, height, width, side) {
  let across = 0;
  let down = 0;
  for (let row = 0, pixel = 0; row < height; row++) {
    for (let column = 0; column < width; column++, pixel++) {
      if (column + 1 < width && mask[pixel] !== mask[pixel + 1]) across++;
      if (row + 1 < height && mask[pixel] !== mask[pixel + width]) down++;
    }
  }
  return (across / (height * (width - 1)) + down / (width * (height - 1))) / side;
}

/** Return the number of triple points per area, 1/µm²: corners where three phases meet. */
export function triplePoints(mask, height, width, side) {
  let points = 0;
  for (let row = 0; row + 1 < height; row++) {
    for (let column = 0; column + 1 < width; column++) {
      const pixel = row * width + column;
      const met =
        (1 << mask[pixel]) |
        (1 << mask[pixel + 1]) |
        (1 << mask[pixel + width]) |
        (1 << mask[pixel + width + 1]);
      const others = met & (met - 1); // without the lowest class
      if (others & (others - 1)) points++;
    }
  }
  return points / ((height - 1) * (width - 1)) / (side * side);
}

/** Return how far a pixel is from another phase, px: 1 beside it, Infinity without one. */
export function interfaceDistance(truth, height, width, row, column) {
  let nearest = Infinity;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const squared = (y - row) ** 2 + (x - column) ** 2;
      if (squared < nearest && touchesAnother(truth, height, width, y, x)) nearest = squared;
    }
  }
  return Math.sqrt(nearest) + 1;
}

/** Whether one of the eight neighbours of a pixel belongs to another phase. */
function touchesAnother(truth, height, width, row, column) {
  const own = truth[row * width + column];
  for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, height - 1); y++) {
    for (let x = Math.max(column - 1, 0); x <= Math.min(column + 1, width - 1); x++) {
      if (truth[y * width + x] !== own) return true;
    }
  }
  return false;
}

/** Cut a rectangle out of an array that holds `maps` maps of a slice. */
export function cut(array, height, width, box, maps = 1) {
  const part = new array.constructor(maps * box.height * box.width);
  for (let map = 0; map < maps; map++) {
    for (let row = 0; row < box.height; row++) {
      const start = (map * height + box.top + row) * width + box.left;
      part.set(array.subarray(start, start + box.width), (map * box.height + row) * box.width);
    }
  }
  return part;
}
