// Bundles the page: build/site/ is a static folder, build/site/xray.html the same page in one file.
//
//     node build.mjs ASSETS OUT     (ASSETS is the folder that make_assets.py wrote)

import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const [assets, out] = process.argv.slice(2);
const RUNTIME = join(HERE, "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded");
const packages = new Set(["onnxruntime-web"]); // that are part of the page
const WORKERS = ["inference_worker", "tiff_worker"];

/** Decoders that no X-ray slice needs are left out: they weigh more than this page. */
const withoutLerc = {
  name: "without-lerc",
  setup: (building) => {
    building.onResolve({ filter: /\/lerc\.js$/ }, () => ({ path: "lerc", namespace: "nothing" }));
    building.onLoad({ filter: /.*/, namespace: "nothing" }, () => ({
      contents: "export default null;",
    }));
  },
};

/** Return a module and all that it imports as one script. */
async function bundle(name) {
  const { outputFiles, warnings, metafile } = await build({
    entryPoints: [join(HERE, `${name}.js`)],
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: "iife",
    target: "es2022",
    legalComments: "none",
    plugins: [withoutLerc],
    define: { "import.meta.url": "self.location.href" },
  });
  if (warnings.length) process.exit(1); // esbuild has printed them
  for (const input of Object.keys(metafile.inputs)) {
    const [, part] = input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/) ?? [];
    if (part) packages.add(part);
  }
  return outputFiles[0].text;
}

/** Return the licence of a package that is part of the page, for its last lines. */
function licenceOf(name) {
  const folder = join(HERE, "node_modules", name);
  const { version, license, author } = JSON.parse(readFileSync(join(folder, "package.json")));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  const text = file ? readFileSync(join(folder, file), "utf8") : "";
  return `${name} ${version}, ${license}, ${author?.name ?? author ?? ""}\n\n${text}`.trim();
}

/** Return the runtime's glue code. It runs from a blob, from whose address that of the runtime
 * cannot be made. Nobody needs it: inference_worker.js hands over the bytes. */
function withoutAddress(path) {
  return readFileSync(path, "utf8").replaceAll("import.meta.url", '"file:///"');
}

/** Return text that cannot end the script element around it. */
const inScript = (text) => text.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");

const scripts = {};
for (const name of ["main", ...WORKERS]) scripts[name] = await bundle(name);
const style = readFileSync(join(HERE, "style.css"), "utf8");
const licences = [...packages].sort().map(licenceOf).join("\n\n---\n\n");
const page = readFileSync(join(HERE, "index.html"), "utf8").replace("LICENCES", () =>
  licences.replaceAll("&", "&amp;").replaceAll("<", "&lt;"),
);
const files = { "ort.wasm": `${RUNTIME}.wasm`, "ort.mjs": `${RUNTIME}.mjs` };
for (const name of readdirSync(assets)) files[name] = join(assets, name);
const packed = Object.fromEntries(
  Object.entries(files).map(([name, path]) => [
    name,
    gzipSync(name === "ort.mjs" ? withoutAddress(path) : readFileSync(path), {
      level: 9,
      memLevel: 9,
    }),
  ]),
);

rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, "assets"), { recursive: true });
for (const [name, text] of Object.entries(scripts)) writeFileSync(join(out, `${name}.js`), text);
for (const [name, bytes] of Object.entries(packed))
  writeFileSync(join(out, "assets", `${name}.gz`), bytes);
writeFileSync(join(out, "style.css"), style);
writeFileSync(join(out, "index.html"), page);

const embedded = [
  ...Object.entries(packed).map(
    ([name, bytes]) =>
      `<script type="text/plain" id="asset:${name}">${bytes.toString("base64")}</script>`,
  ),
  ...WORKERS.map(
    (name) => `<script type="text/plain" id="worker:${name}">${inScript(scripts[name])}</script>`,
  ),
];
const single = page
  .replace('<link rel="stylesheet" href="style.css">', () => `<style>${style}</style>`)
  .replace(
    '<script src="main.js" type="module"></script>',
    () => `${embedded.join("\n")}\n<script type="module">${inScript(scripts.main)}</script>`,
  );
writeFileSync(join(out, "xray.html"), single);

const weight =
  Object.values(packed).reduce((sum, bytes) => sum + bytes.length, 0) +
  [page, style, ...Object.values(scripts)].reduce((sum, text) => sum + gzipSync(text).length, 0);
console.log(
  `${out}: ${(weight / 1e6).toFixed(2)} MB compressed, ` +
    `xray.html: ${(single.length / 1e6).toFixed(2)} MB`,
);
