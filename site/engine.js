// A worker that predicts one image after the other and leaves out what nobody waits for any more.

import { startWorker } from "./assets.js";

export class Engine {
  constructor() {
    this.worker = startWorker("inference_worker");
    this.waiting = new Map();
    this.sent = 0;
    this.last = Promise.resolve();
    this.worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.waiting.get(data.number);
      this.waiting.delete(data.number);
      if (data.error) reject(new Error(data.error));
      else resolve(data);
    };
    this.worker.onerror = (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message));
      this.waiting.clear();
    };
  }

  /** Load the runtime and networks (bytes of ONNX files by name), before any later prediction. */
  load(files) {
    return this.inTurn(async () => this.send({ kind: "load", ...await files }));
  }

  /**
   * Return the probabilities of some images of one size, or null if they are no longer wanted.
   * @param {string} network name of the network
   * @param {Float32Array} grey grey levels of all images
   * @param {number[]} size number of images, height, width
   * @param {() => boolean} isWanted asked when the images before these are done
   */
  predict(network, grey, [images, height, width], isWanted = () => true) {
    const shape = [images, 1, height, width];
    return this.inTurn(async () => {
      if (!isWanted()) return null;
      return (await this.send({ kind: "predict", network, grey, shape })).probabilities;
    });
  }

  /** Do something when everything before it is done. */
  inTurn(action) {
    const result = this.last.then(action);
    this.last = result.catch(() => null);
    return result;
  }

  send(request) {
    const number = ++this.sent;
    return new Promise((resolve, reject) => {
      this.waiting.set(number, { resolve, reject });
      this.worker.postMessage({ number, ...request });
    });
  }
}
