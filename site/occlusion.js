// Occlusion: hide one small square after the other, and see how sure the network still is.

import { cut } from "./metrics.js";
import { surroundings } from "./tiles.js";

const SQUARE = 6; // px that are hidden at a time

/**
 * Return the images that a network must predict to know which neighbours of a pixel decide.
 * The first one is not occluded. All of them show the part of the slice that the pixel depends on.
 */
export function occludedImages(grey, height, width, { row, column }, network) {
  const box = surroundings({ top: row, left: column, height: 1, width: 1 }, height, width, network);
  const plain = Float32Array.from(cut(grey, height, width, box));
  const middle = plain.reduce((sum, level) => sum + level, 0) / plain.length;
  const rows = Math.ceil(box.height / SQUARE);
  const columns = Math.ceil(box.width / SQUARE);
  const images = new Float32Array((rows * columns + 1) * plain.length);
  images.set(plain);
  for (let square = 0; square < rows * columns; square++) {
    const start = (square + 1) * plain.length;
    images.set(plain, start);
    const top = Math.floor(square / columns) * SQUARE;
    const left = (square % columns) * SQUARE;
    for (let y = top; y < Math.min(top + SQUARE, box.height); y++) {
      for (let x = left; x < Math.min(left + SQUARE, box.width); x++) {
        images[start + y * box.width + x] = middle;
      }
    }
  }
  return { images, box, rows, columns };
}

/**
 * Return by how much each square, when hidden, lowers the probability of the predicted phase.
 * @param {Float32Array} probabilities of all images
 * @param {number} classes
 * @param {object} occluded what occludedImages returned
 * @param {{row: number, column: number}} pixel
 */
export function influence(probabilities, classes, { box, rows, columns }, { row, column }) {
  const pixels = box.height * box.width;
  const at = (row - box.top) * box.width + column - box.left;
  const of = (image, one) => probabilities[(image * classes + one) * pixels + at];
  const plain = Array.from({ length: classes }, (_, one) => of(0, one));
  const predicted = plain.indexOf(Math.max(...plain));
  return {
    predicted,
    probabilities: plain,
    drops: Array.from(
      { length: rows * columns },
      (_, square) => plain[predicted] - of(square + 1, predicted),
    ),
  };
}

/** Spread the drops over the pixels of the box, divided by the largest one. */
export function influenceMap(drops, { box, columns }) {
  const most = Math.max(...drops.map(Math.abs), 0.01);
  const map = new Float32Array(box.height * box.width);
  for (let pixel = 0; pixel < map.length; pixel++) {
    const square =
      Math.floor(Math.floor(pixel / box.width) / SQUARE) * columns +
      Math.floor((pixel % box.width) / SQUARE);
    map[pixel] = drops[square] / most;
  }
  return map;
}
