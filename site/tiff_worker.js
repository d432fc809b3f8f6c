// Decodes TIFF files in a worker, which the page ends if a file takes too long.

import { readPage } from "./tiff.js";

self.onmessage = async ({ data: { content, index } }) => {
  try {
    self.postMessage({ page: await readPage(content, index) });
  } catch (error) {
    self.postMessage({ error: error.message });
  }
};
