// How the grey levels of a reader's slice become those that a network knows, and whether to warn:
// what xraylib/contrast.py does to a volume of one slice. (Shading needs four slices to be seen.)

const PIXELS = 65536; // about so many pixels are looked at

/**
 * Decide how grey levels become those of a network.
 * @param {{data: ArrayLike<number>, dtype: string, height: number, width: number}} page
 * @param {object} network what make_assets.py says of the network
 * @param {object} limits what make_assets.py says of contrast
 * @param {"" | "none" | "match" | "percentiles"} kind "": "none" for the type of the training set,
 *   else "percentiles"
 * @returns {{gain: number, offset: number, kind: string, done: string, faults: string[],
 *   differs: boolean}}
 */
export function chooseContrast(page, network, limits, kind = "") {
  const levels = sampleLevels(page);
  if (!levels.length || levels[0] === levels[levels.length - 1]) {
    throw new Error(
      "This page holds one grey level only, or no number, so there is nothing to " +
        "segment. Export it again.",
    );
  }
  const clip = [quantile(levels, 0.001), quantile(levels, 0.999)];
  const clipped = levels.map((level) => Math.min(Math.max(level, clip[0]), clip[1]));
  const { mean, deviation } = statistics(clipped);
  kind ||= page.dtype === network.dtype ? "none" : "percentiles";
  let [gain, offset, done] = [1, 0, "used unchanged"];
  if (kind === "match") {
    const [there, spread] = network.grey;
    gain = deviation ? spread / deviation : 0;
    offset = there - gain * mean;
    done = "brought to the mean and standard deviation of the training set";
  } else if (kind === "percentiles") {
    ({ gain, offset } = byPercentiles(levels, network, limits));
    done = "stretched until their histogram fits that of the training set best";
  }
  if (!(gain > 0 && Number.isFinite(gain) && Number.isFinite(offset))) {
    throw new Error("The grey levels of this page cannot be scaled. Try another contrast.");
  }
  const scaled = levels.map((level) => level * gain + offset);
  const found = histogram(scaled, limits.bins);
  const moved = found.reduce(
    (sum, share, bin) => sum + Math.max(0, share - network.expected[bin]),
    0,
  );
  return {
    gain,
    offset,
    kind,
    done,
    faults: faultsOf(found, network.expected, limits),
    differs: moved > limits.different,
    mean,
    deviation,
  };
}

/** Bring grey levels of a file to those of the library, 0..65535; NaN becomes the mean. */
export function toGreyLevels(data, { gain, offset }) {
  let sum = 0;
  let count = 0;
  for (const value of data)
    if (Number.isFinite(value)) {
      sum += value;
      count++;
    }
  const middle = sum / count;
  return Uint16Array.from(data, (value) => {
    const level = (Number.isFinite(value) ? value : middle) * gain + offset;
    return Math.round(Math.min(Math.max(level, 0), 65535));
  });
}

/** Return 1,001 quantiles of every second row and column, as notebook 8 compares them. */
export function greyQuantiles(grey, height, width) {
  const levels = [];
  for (let row = 0; row < height; row += 2) {
    for (let column = 0; column < width; column += 2) levels.push(grey[row * width + column]);
  }
  const sorted = Float64Array.from(levels).sort();
  return Array.from({ length: 1001 }, (_, index) => quantile(sorted, index / 1000));
}

/** Return how far grey levels are from usual ones, in standard deviations of the usual ones. */
export function greyShift(quantiles, usual) {
  const moved = quantiles.reduce((sum, level, index) => sum + Math.abs(level - usual[index]), 0);
  return moved / usual.length / statistics(usual).deviation;
}

/** Return some finite grey levels in ascending order, without a constant border. */
function sampleLevels({ data, height, width }) {
  const step = Math.ceil(Math.sqrt((height * width) / PIXELS));
  const rows = Math.ceil(height / step);
  const columns = Math.ceil(width / step);
  const sample = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const value = Number(data[row * step * width + column * step]);
      sample[row * columns + column] = Number.isFinite(value) ? value : NaN;
    }
  }
  for (const [top, left] of [
    [0, 0],
    [0, columns - 4],
    [rows - 4, 0],
    [rows - 4, columns - 4],
  ]) {
    removeBorder(sample, rows, columns, Math.max(top, 0), Math.max(left, 0));
  }
  return sample.filter((value) => !Number.isNaN(value)).sort();
}

/** Replace a value that fills a corner and is rare in the middle by NaN. */
function removeBorder(sample, rows, columns, top, left) {
  const value = sample[top * columns + left];
  for (let row = top; row < Math.min(top + 4, rows); row++) {
    for (let column = left; column < Math.min(left + 4, columns); column++) {
      if (sample[row * columns + column] !== value) return;
    }
  }
  const [firstRow, lastRow] = middleThird(rows);
  const [firstColumn, lastColumn] = middleThird(columns);
  let found = 0;
  for (let row = firstRow; row < lastRow; row++) {
    for (let column = firstColumn; column < lastColumn; column++) {
      if (sample[row * columns + column] === value) found++;
    }
  }
  if (found >= 0.01 * (lastRow - firstRow) * (lastColumn - firstColumn)) return;
  for (let pixel = 0; pixel < sample.length; pixel++)
    if (sample[pixel] === value) sample[pixel] = NaN;
}

/** Return begin and end of the second of three nearly equal parts, as numpy.array_split does. */
function middleThird(length) {
  const short = Math.floor(length / 3);
  const first = short + (length % 3 > 0 ? 1 : 0);
  return [first, first + short + (length % 3 > 1 ? 1 : 0)];
}

/** Map the 1 % and 99 % quantiles to the p % and 100 - p % of the training set, with the best p. */
function byPercentiles(levels, { quantiles, expected }, { bins }) {
  let [low, high] = [quantile(levels, 0.01), quantile(levels, 0.99)];
  if (low === high) [low, high] = [levels[0], levels[levels.length - 1]];
  const some = Float64Array.from({ length: 1000 }, (_, index) =>
    quantile(levels, 0.001 + (index * 0.998) / 999),
  );
  let best = { overlap: -1 };
  for (let p = 1; p <= 20; p++) {
    const gain = (quantiles[100 - p] - quantiles[p]) / (high - low);
    const offset = quantiles[p] - gain * low;
    const found = histogram(
      some.map((level) => level * gain + offset),
      bins,
    );
    const overlap = found.reduce((sum, share, bin) => sum + Math.sqrt(share * expected[bin]), 0);
    if (overlap > best.overlap) best = { overlap, gain, offset };
  }
  return best;
}

/** Say what about the grey levels no other composition of the material can explain. */
function faultsOf(found, expected, { crowded, unknown }) {
  let [tooMany, rare] = [0, 0];
  found.forEach((share, bin) => {
    if (expected[bin] < 0.3 / expected.length) rare += Math.max(0, share - 3 * expected[bin]);
    else tooMany += Math.max(0, share - 6 * expected[bin]);
  });
  if (tooMany <= crowded && rare <= unknown) return [];
  return [
    `${Math.round(100 * (tooMany + rare))} % of the pixels have grey levels that are rare in ` +
      "the training set, as after a change of brightness, contrast or noise, or in another " +
      "material",
  ];
}

/** Return the share of the levels in each bin; what lies beyond the bins counts in the last. */
function histogram(levels, bins) {
  const counts = new Array(bins.length - 1).fill(0);
  const width = bins[1] - bins[0];
  for (const level of levels) {
    counts[Math.min(Math.max(Math.floor((level - bins[0]) / width), 0), counts.length - 1)]++;
  }
  return counts.map((count) => count / levels.length);
}

/** Return a quantile of ascending levels. */
function quantile(levels, share) {
  const place = share * (levels.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, levels.length - 1);
  return levels[below] + (place - below) * (levels[above] - levels[below]);
}

function statistics(levels) {
  const mean = levels.reduce((sum, level) => sum + level, 0) / levels.length;
  const squares = levels.reduce((sum, level) => sum + (level - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / levels.length) };
}
