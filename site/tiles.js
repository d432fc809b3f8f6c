// Which part of a slice a network must see, so that what it predicts in the middle of that part is
// what it predicts for the whole slice. (A network whose batch norm looks at the whole image must
// see the whole slice.) Parts begin where the network's poolings do: at multiples of its stride.

/** Return the part that a network must see to predict the pixels of a box as in the whole slice. */
export function surroundings(box, height, width, { reach, stride }) {
  const top = Math.max(0, Math.floor((box.top - reach) / stride) * stride);
  const left = Math.max(0, Math.floor((box.left - reach) / stride) * stride);
  const bottom = Math.min(height, ceilTo(box.top + box.height + reach, stride));
  const right = Math.min(width, ceilTo(box.left + box.width + reach, stride));
  return { top, left, height: bottom - top, width: right - left };
}

/** Split a slice into boxes of at most `side` pixels per side. */
export function boxesOf(height, width, side) {
  const boxes = [];
  for (let top = 0; top < height; top += side) {
    for (let left = 0; left < width; left += side) {
      boxes.push({
        top,
        left,
        height: Math.min(side, height - top),
        width: Math.min(side, width - left),
      });
    }
  }
  return boxes;
}

function ceilTo(value, stride) {
  return Math.ceil(value / stride) * stride;
}
