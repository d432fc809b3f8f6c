// Segmentation without a network: a median filter, then thresholds.
//
// A threshold asks whether a grey level is at least t. The median of n pixels is at least t exactly
// if more than half of them are. So each threshold needs only counts in squares, and no sorting.

/**
 * Segment a slice by the median of a square and ascending thresholds.
 * @param {Uint16Array} grey grey levels, row by row
 * @param {number} height
 * @param {number} width
 * @param {number} side of the square, px, odd; 1 filters nothing
 * @param {number[]} thresholds ascending; a pixel at a threshold counts as above it
 * @param {number[]} order class indices from the darkest to the brightest
 */
export function segmentByThresholds(grey, height, width, side, thresholds, order) {
  const above = new Uint8Array(grey.length);
  for (const threshold of thresholds) {
    const bright = grey.map((level) => (level >= threshold ? 1 : 0));
    const counts = side === 1 ? bright : countInSquares(bright, height, width, side);
    const half = (side * side) / 2;
    for (let pixel = 0; pixel < above.length; pixel++) if (counts[pixel] > half) above[pixel]++;
  }
  return above.map((level) => order[level]);
}

/** Count the ones in the square around each pixel; the slice is mirrored at its borders. */
function countInSquares(ones, height, width, side) {
  const rows = slidingSums(ones, height, width, 1, width, side);
  return slidingSums(rows, width, height, width, 1, side);
}

/** Sum `side` neighbours along one axis: `lines` lines of `length` values, `step` apart. */
function slidingSums(values, lines, length, step, lineStep, side) {
  const sums = new Uint16Array(values.length);
  const reach = (side - 1) / 2;
  for (let line = 0; line < lines; line++) {
    const start = line * lineStep;
    const at = (place) => values[start + mirrored(place, length) * step];
    let sum = 0;
    for (let place = -reach; place < reach; place++) sum += at(place);
    for (let place = 0; place < length; place++) {
      sum += at(place + reach);
      sums[start + place * step] = sum;
      sum -= at(place - reach);
    }
  }
  return sums;
}

/** Return the place inside 0..length-1 that mirrors one outside: -1 is 0, -2 is 1. */
function mirrored(place, length) {
  if (place < 0) return Math.min(-1 - place, length - 1);
  return place < length ? place : Math.max(2 * length - 1 - place, 0);
}
