// Reads a page of a TIFF file, and writes a mask as one. Errors say what is wrong and what to do.

import { fromArrayBuffer } from "geotiff";

const MIN_SIDE = 16; // px
const MAX_PIXELS = 64e6; // of a page: beyond it, a browser runs out of memory
const MAX_PER_BYTE = 1000; // unpacked bytes per byte of the file: more is damage or malice
const AGAIN = "Copy or export it again.";
const TYPES = {
  "1:8": "uint8",
  "1:16": "uint16",
  "1:32": "uint32",
  "2:8": "int8",
  "2:16": "int16",
  "2:32": "int32",
  "3:16": "float16",
  "3:32": "float32",
  "3:64": "float64",
};

/**
 * Read one page of a TIFF file.
 * @param {ArrayBuffer} content of the file
 * @param {number} index of the page, from 0
 * @returns {Promise<{data: ArrayLike<number>, dtype: string, height: number, width: number,
 *   pages: number}>}
 */
export async function readPage(content, index) {
  const mark = [...new Uint8Array(content.slice(0, 4))].join(" ");
  if (!/^(73 73 4[23] 0|77 77 0 4[23])$/.test(mark)) {
    throw new Error("This file is no TIFF, whatever its name says. Export the slice as a TIFF.");
  }
  const [file, pages] = await attempt(async () => {
    const opened = await fromArrayBuffer(content);
    return [opened, await opened.getImageCount()];
  });
  if (!(index >= 0 && index < pages)) throw new Error(`This file holds the pages 1 to ${pages}.`);
  const image = await attempt(() => file.getImage(index));
  const page = await attempt(() => describe(image));
  check(page, content.byteLength, file.littleEndian);
  const data = await attempt(() => image.readRasters({ interleave: true }));
  if (data.length !== page.height * page.width) throw new Error(`Pixels are missing. ${AGAIN}`);
  if (page.photometric === 0) invert(data);
  return { data, dtype: page.dtype, height: page.height, width: page.width, pages };
}

/** Run a step of reading; whatever fails in it is a damaged file. */
async function attempt(step) {
  try {
    return await step();
  } catch (error) {
    throw new Error(`This file is damaged or cut short (${error.message}). ${AGAIN}`);
  }
}

/** Return what the tags of a page say. */
async function describe(image) {
  const tag = async (name, otherwise) => {
    const { fileDirectory } = image;
    return fileDirectory.hasTag(name) ? fileDirectory.loadValue(name) : otherwise;
  };
  const first = (value) => (typeof value === "object" ? value[0] : value);
  const bits = first(await tag("BitsPerSample", 1));
  const format = first(await tag("SampleFormat", 1));
  const piece = image.isTiled ? "Tile" : "Strip";
  return {
    height: image.getHeight(),
    width: image.getWidth(),
    bits,
    dtype: TYPES[`${format}:${bits}`],
    samples: image.getSamplesPerPixel(),
    photometric: first(await tag("PhotometricInterpretation", 1)),
    predictor: first(await tag("Predictor", 1)),
    orientation: first(await tag("Orientation", 1)),
    starts: numbers(await tag(`${piece}Offsets`, [])),
    lengths: numbers(await tag(`${piece}ByteCounts`, [])),
  };
}

/** Return the numbers of a tag, which may be one number or an array of some type. */
function numbers(value) {
  return Array.from(typeof value === "object" ? value : [value], Number);
}

/** Throw unless a page is a grey slice, upright and complete, that can be read correctly. */
function check(page, held, littleEndian) {
  const { height, width, bits, dtype, samples } = page;
  if (samples !== 1 || page.photometric > 1) {
    throw new Error("This page is in colour or holds several channels. Save one channel in grey.");
  }
  if (!dtype) {
    throw new Error(`This page has ${bits} bits per pixel. Save it with 8, 16, 32 or 64 bits.`);
  }
  if (!(Math.min(height, width) >= MIN_SIDE)) {
    throw new Error(
      `This page is ${height} x ${width} px. A slice must have at least ${MIN_SIDE} px ` +
        "per side.",
    );
  }
  const unpacked = (height * width * bits) / 8;
  if (unpacked > MAX_PER_BYTE * held) {
    throw new Error(
      `This page promises ${unpacked.toLocaleString("en")} bytes of pixels, and the ` +
        `file holds ${held.toLocaleString("en")}. ${AGAIN}`,
    );
  }
  if (height * width > MAX_PIXELS) {
    throw new Error(
      `This page is ${height} x ${width} px, too large for a browser. Cut a part out, ` +
        "or use python -m xraylib predict.",
    );
  }
  if (page.photometric === 0 && !["uint8", "uint16", "uint32"].includes(dtype)) {
    throw new Error(
      "This page counts from white. Save it so that brighter pixels have larger values.",
    );
  }
  if (page.orientation !== 1) {
    throw new Error(
      "This page is to be shown turned or mirrored, which not all programs do. Save it " +
        "upright.",
    );
  }
  if (page.predictor === 2 && !littleEndian && bits > 8) {
    throw new Error(
      "This file is packed in a way that is read wrongly here (big-endian with a " +
        "predictor). Save it without compression, or in the little-endian byte order.",
    );
  }
  if (page.starts.some((start, piece) => !(start + page.lengths[piece] <= held))) {
    throw new Error(`This file is cut short: it ends before its pixels do. ${AGAIN}`);
  }
}

/** Turn levels that count from white into levels that count from black. */
function invert(data) {
  const white = 2 ** (8 * data.BYTES_PER_ELEMENT) - 1;
  for (let pixel = 0; pixel < data.length; pixel++) data[pixel] = white - data[pixel];
}

/** Write an 8-bit grey image as a TIFF file without compression. Returns its bytes. */
export function writeTiff(values, height, width) {
  const tags = [
    [256, 4, width],
    [257, 4, height],
    [258, 3, 8],
    [259, 3, 1],
    [262, 3, 1],
    [273, 4, 0],
    [277, 3, 1],
    [278, 4, height],
    [279, 4, values.length],
  ];
  const start = 8 + 2 + 12 * tags.length + 4;
  const bytes = new Uint8Array(start + values.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x002a4949, true);
  view.setUint32(4, 8, true);
  view.setUint16(8, tags.length, true);
  tags.forEach(([tag, type, value], index) => {
    const at = 10 + 12 * index;
    view.setUint16(at, tag, true);
    view.setUint16(at + 2, type, true);
    view.setUint32(at + 4, 1, true);
    view.setUint32(at + 8, tag === 273 ? start : value, true);
  });
  bytes.set(values, start);
  return bytes;
}
