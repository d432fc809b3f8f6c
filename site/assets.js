// Loads the files that make_assets.py wrote: from the folder assets/, or from this page itself if it
// is the self-contained one. All of them are compressed with gzip.

/** Return the bytes of an asset. */
export async function loadAsset(name) {
  const embedded = document.getElementById(`asset:${name}`);
  const packed = embedded
    ? new Blob([bytesOfBase64(embedded.textContent)])
    : await fetchAsset(`assets/${name}.gz`);
  const stream = packed.stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Return an asset that holds JSON. */
export async function loadJson(name) {
  return JSON.parse(new TextDecoder().decode(await loadAsset(name)));
}

/** Start one of this page's workers. */
export function startWorker(name) {
  const embedded = document.getElementById(`worker:${name}`);
  if (!embedded) return new Worker(`${name}.js`);
  const url = URL.createObjectURL(new Blob([embedded.textContent], { type: "text/javascript" }));
  return new Worker(url);
}

async function fetchAsset(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address} cannot be loaded (${answer.status}). Reload the page.`);
  return answer.blob();
}

function bytesOfBase64(text) {
  return Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
}
