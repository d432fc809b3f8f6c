// The binary forms of slices and weights. make_assets.py writes them and explains them.

/** Unpack a slice into its grey levels and its labels, row by row. */
export function unpackSlice(bytes, height, width) {
  const pixels = height * width;
  const grey = new Uint16Array(pixels);
  for (let row = 0, pixel = 0; row < height; row++) {
    for (let column = 0; column < width; column++, pixel++) {
      const left = column ? grey[pixel - 1] : 0;
      const above = row ? grey[pixel - width] : 0;
      const corner = row && column ? grey[pixel - width - 1] : 0;
      const signed = (bytes[pixel] << 8) | bytes[pixels + pixel];
      const rest = signed & 1 ? -(signed + 1) / 2 : signed / 2;
      grey[pixel] = left + above - corner + rest;
    }
  }
  return { grey, labels: bytes.slice(2 * pixels, 3 * pixels) };
}

/** Unpack the weights of a network, float32. */
export function unpackWeights(bytes) {
  const count = bytes.length / 4;
  const ordered = new Uint8Array(bytes.length);
  for (let plane = 0; plane < 4; plane++) {
    for (let index = 0; index < count; index++) {
      ordered[4 * index + plane] = bytes[plane * count + index];
    }
  }
  return new Float32Array(ordered.buffer);
}
