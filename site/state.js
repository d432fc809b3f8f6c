// What the page shows, as it stands in its address: #slice=1001&noise=5000 ...

export const PICTURES = ["errors", "mask", "confidence", "truth"];
export const NETWORKS = {
  clean: "trained on clean slices",
  repaired: "repaired without labels",
  noisy: "trained with noise",
};
export const VIEWS = {
  centre: "the centre",
  "upper-left": "upper left",
  "upper-right": "upper right",
  "lower-left": "lower left",
  "lower-right": "lower right",
  whole: "the whole slice",
};
const SIDE = 256; // px of the part that is shown
const MOST_NOISE = 15000;

/** Return the state that an address asks for. What it leaves out, or gets wrong, is as at first. */
export function readState(hash, slices) {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const number = (name, otherwise, most) => {
    const value = Math.round(Number(asked.get(name) ?? NaN));
    return value >= 0 && value <= most ? value : otherwise;
  };
  const one = (name, known, otherwise) =>
    known.includes(asked.get(name)) ? asked.get(name) : otherwise;
  const slice = slices.find((each) => String(each.number) === asked.get("slice")) ?? slices[0];
  const [row, column] = (asked.get("pixel") ?? "").split(",").map(Number);
  const inside = row >= 1 && row <= slice.height && column >= 1 && column <= slice.width;
  return {
    slice: slice.number,
    seed: number("seed", 0, 999),
    noise: number("noise", 5000, MOST_NOISE),
    network: one("network", Object.keys(NETWORKS), "clean"),
    picture: one("picture", PICTURES, "errors"),
    view: one("view", Object.keys(VIEWS), "centre"),
    pixel: inside ? { row: Math.round(row) - 1, column: Math.round(column) - 1 } : null,
  };
}

/** Return the part of an address that describes a state. */
export function writeState({ pixel, ...others }) {
  const said = new URLSearchParams(others);
  if (pixel) said.set("pixel", `${pixel.row + 1},${pixel.column + 1}`);
  return `#${said}`.replace("%2C", ",");
}

/** Return the part of a slice that is in view; it begins where the network's poolings do. */
export function viewBox(view, height, width, stride) {
  if (view === "whole") return { top: 0, left: 0, height, width };
  const start = (length, first, last) => {
    const room = Math.max(0, length - SIDE);
    const at = view.includes(first) ? 0 : view.includes(last) ? room : room / 2;
    return Math.floor(at / stride) * stride;
  };
  return {
    top: start(height, "upper", "lower"),
    left: start(width, "left", "right"),
    height: Math.min(SIDE, height),
    width: Math.min(SIDE, width),
  };
}
