// Loads the files that make_assets.py wrote: from the folder assets/, or from this page itself if
// it is the self-contained one. All of them are compressed with gzip.

const workers = {};

/** Return the bytes of an asset. */
export async function loadAsset(name) {
  const embedded = document.getElementById(`asset:${name}`);
  const packed = embedded
    ? new Blob([bytesOfBase64(embedded.textContent)])
    : await fetchFile(`assets/${name}.gz`);
  const stream = packed.stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Return an asset that holds JSON. */
export async function loadJson(name) {
  return JSON.parse(new TextDecoder().decode(await loadAsset(name)));
}

/** Return the code of one of this page's workers, which is loaded once. */
export function loadWorker(name) {
  const embedded = document.getElementById(`worker:${name}`);
  workers[name] ??= embedded
    ? Promise.resolve(embedded.textContent)
    : fetchFile(`${name}.js`).then((file) => file.text());
  return workers[name];
}

/** Start one of this page's workers. */
export async function startWorker(name) {
  const code = new Blob([await loadWorker(name)], { type: "text/javascript" });
  const address = URL.createObjectURL(code);
  const worker = new Worker(address);
  URL.revokeObjectURL(address);
  return worker;
}

async function fetchFile(address) {
  const answer = await fetch(address);
  if (!answer.ok)
    throw new Error(`${address} cannot be loaded (${answer.status}). Reload the page.`);
  return answer.blob();
}

function bytesOfBase64(text) {
  return Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
}
