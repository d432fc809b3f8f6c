// A worker that predicts one image after the other and leaves out what nobody waits for any more.

import { startWorker } from "./assets.js";

export class Engine {
  constructor() {
    this.waiting = new Map();
    this.sent = 0;
    this.worker = this.start();
    this.last = Promise.resolve();
  }

  async start() {
    const worker = await startWorker("inference_worker");
    worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.waiting.get(data.number);
      this.waiting.delete(data.number);
      if (data.error) reject(new Error(data.error));
      else resolve(data);
    };
    worker.onerror = (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message));
      this.waiting.clear();
    };
    return worker;
  }

  /** Load the runtime and networks (bytes of ONNX files by name), before any later prediction. */
  load(files) {
    return this.inTurn(async () => this.send({ kind: "load", ...(await files) }));
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

  async send(request) {
    const worker = await this.worker;
    const number = ++this.sent;
    return new Promise((resolve, reject) => {
      this.waiting.set(number, { resolve, reject });
      worker.postMessage({ number, ...request });
    });
  }
}
