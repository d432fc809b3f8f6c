// Pictures of slices: grey levels, phases, wrong pixels, confidence. A phase has one colour in all.

const LARGE = 8; // canvas pixels per pixel of a small picture
// Greys of right pixels, from the first phase to the last: so dark that colour-blind readers tell
// them from the phases.
const RIGHT = [16, 88];

/** Return the red, green and blue of "#rrggbb". */
export function rgb(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

/** Return the grey levels that become black and white: 0.1 % and 99.9 % of some pixels. */
export function greyRange(grey) {
  const some = grey.filter((_, pixel) => pixel % 7 === 0).sort();
  return [some[Math.floor(0.001 * some.length)], some[Math.floor(0.999 * (some.length - 1))]];
}

/** Paint grey levels between two limits. */
export function paintGrey(grey, [low, high]) {
  return paint(grey.length, (pixel) => {
    const level = (255 * (grey[pixel] - low)) / Math.max(high - low, 1);
    return [level, level, level];
  });
}

/** Paint each pixel in the colour of its phase. */
export function paintMask(mask, colours) {
  return paint(mask.length, (pixel) => colours[mask[pixel]]);
}

/** Paint wrong pixels in the colour of their true phase, and right ones grey. */
export function paintErrors(mask, truth, colours) {
  const greys = colours.map((_, one) => {
    const level = RIGHT[0] + ((RIGHT[1] - RIGHT[0]) * one) / Math.max(colours.length - 1, 1);
    return [level, level, level];
  });
  return paint(
    mask.length,
    (pixel) => (mask[pixel] === truth[pixel] ? greys : colours)[truth[pixel]],
  );
}

/** Paint confidence: white where the network is sure, dark where it guesses. */
export function paintConfidence(confidence, classes) {
  return paint(confidence.length, (pixel) => {
    const sure = (confidence[pixel] - 1 / classes) / (1 - 1 / classes);
    return [40 + 215 * sure, 20 + 235 * sure ** 1.3, 90 + 165 * sure ** 2];
  });
}

/** Paint numbers from -1 (blue) over 0 (white) to 1 (orange). */
export function paintSigned(values) {
  return paint(values.length, (pixel) => {
    const value = Math.min(Math.max(values[pixel], -1), 1);
    const [red, green, blue] = value < 0 ? [0, 114, 178] : [213, 94, 0];
    const strength = Math.abs(value);
    return [red, green, blue].map((part) => 255 + (part - 255) * strength);
  });
}

/** Put a picture on a canvas at a place, making the canvas as large as the slice in view. */
export function show(
  canvas,
  pixels,
  { height, width },
  place = { top: 0, left: 0, height, width },
) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const picture = new ImageData(pixels, place.width, place.height);
  canvas.getContext("2d").putImageData(picture, place.left, place.top);
}

/** Draw a frame on a canvas: white within black, so that it is seen on any picture. */
export function frame(canvas, { top, left, height, width }, thick = 1) {
  const context = canvas.getContext("2d");
  context.lineWidth = thick;
  for (const [colour, away] of [
    ["black", 1.5],
    ["white", 0.5],
  ]) {
    const grow = away * thick;
    context.strokeStyle = colour;
    context.strokeRect(left - grow, top - grow, width + 2 * grow, height + 2 * grow);
  }
}

/** Show a small picture with large pixels, and a frame around one of them. */
export function showLarge(canvas, pixels, { height, width }, { row, column }) {
  const small = document.createElement("canvas");
  show(small, pixels, { height, width });
  Object.assign(canvas, { height: LARGE * height, width: LARGE * width });
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  frame(canvas, { top: LARGE * row, left: LARGE * column, height: LARGE, width: LARGE }, 2);
}

function paint(length, colourOf) {
  const pixels = new Uint8ClampedArray(4 * length);
  for (let pixel = 0; pixel < length; pixel++) {
    const [red, green, blue] = colourOf(pixel);
    pixels[4 * pixel] = red;
    pixels[4 * pixel + 1] = green;
    pixels[4 * pixel + 2] = blue;
    pixels[4 * pixel + 3] = 255;
  }
  return pixels;
}
