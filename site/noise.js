// The noise of this page: the same integers as in page_noise.py, which explains how it is drawn.

const WORDS = 6; // 32-bit words per pixel; each gives two uniform numbers of 16 bits
const MEAN_OF_SUM = (12 * 65535) / 2; // of twelve numbers 0..65535
const UNIT = 65536; // their standard deviation

/** Hash a 32-bit word: the finaliser of MurmurHash3, which is in the public domain. */
function scramble(word) {
  word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
  return word ^ (word >>> 16);
}

/** Draw noise with a standard deviation of UNIT for the pixels of a slice, row by row. */
export function drawNoise(pixels, seed, number) {
  const key = scramble(scramble(seed) + number);
  const noise = new Int32Array(pixels);
  for (let pixel = 0, counter = 0; pixel < pixels; pixel++) {
    let sum = -MEAN_OF_SUM;
    for (let end = counter + WORDS; counter < end; counter++) {
      const word = scramble(scramble(counter) + key);
      sum += (word >>> 16) + (word & 0xffff);
    }
    noise[pixel] = sum;
  }
  return noise;
}

/** Add noise from drawNoise to grey levels. Returns new grey levels 0..65535. */
export function addNoise(grey, noise, std) {
  const noisy = new Uint16Array(grey.length);
  for (let pixel = 0; pixel < grey.length; pixel++) {
    const level = Math.floor(grey[pixel] + (std * noise[pixel]) / UNIT + 0.5);
    noisy[pixel] = Math.min(Math.max(level, 0), 65535);
  }
  return noisy;
}
