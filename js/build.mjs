/**
 * Builds the package: dist/quickstroke.js, dist/worker.js, dist/element.js; for the page of `quickstroke serve`
 * quickstroke.js with what the page takes from other packages; for notebooks widget.js, the element in one file.
 *
 * The first line of each has a hash of everything that it is built from, so that a test can tell without Node whether the
 * page's copy is that of these sources.
 */

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import asc from "assemblyscript/asc";
import { build } from "esbuild";

const here = fileURLToPath(new URL("./", import.meta.url));
// Where it goes; other folders for a test that compares.
const python = `${here}../src/quickstroke`;
const [page = `${python}/serve/static`, dist = `${here}dist`] = process.argv.slice(2);
const notebook = process.argv[2] ?? `${python}/notebook`;

const GIFENC = "LICENSE-gifenc.txt";

async function sourcesHash() {
  const hash = createHash("sha256");
  const files = (await readdir(`${here}src`, { recursive: true })).filter((name) => /\.(js|ts)$/.test(name));
  const names = [...files.map((name) => `src/${name.replaceAll("\\", "/")}`), "build.mjs", "package-lock.json"].sort();
  for (const name of names) hash.update(`${name}\0`).update(await readFile(here + name)).update("\0");
  return hash.digest("hex").slice(0, 16);
}

async function compile() {
  const options = ["--runtime", "stub", "--enable", "simd", "-O3", "--noAssert", "--importMemory", "--noExportMemory"];
  // Put in place as a whole: another build may be reading it.
  const made = `build/kernels-${process.pid}.wasm`;
  const { error, stderr } = await asc.main(["src/kernels/index.ts", "-o", made, "--baseDir", here, ...options]);
  if (error) throw new Error(`the kernels cannot be compiled:\n${stderr}`);
  await rename(here + made, `${here}build/kernels.wasm`);
}

async function bundled(entry, options) {
  const { outputFiles } = await build({
    absWorkingDir: here,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    loader: { ".wasm": "binary", ".txt": "text" },
    ...options,
  });
  return outputFiles[0].contents;
}

await compile();
const { version } = JSON.parse(await readFile(`${here}package.json`, "utf8"));
const banner = {
  js:
    `/* sources sha256 ${await sourcesHash()} */\n` +
    `/* quickstroke ${version}, MIT License. Built by js/build.mjs from js/src; do not edit. */`,
};
await mkdir(dist, { recursive: true });
await mkdir(page, { recursive: true });
await writeFile(`${here}build/worker.txt`, await bundled("src/worker.js", { format: "iife" }));

// In lines, as Node shows the one with an error that nobody caught.
const main = await bundled("src/index.js", { banner, lineLimit: 500 });
const worker = await bundled("src/in-worker.js", { banner });
const licence = await readFile(`${here}node_modules/gifenc/LICENSE.md`, "utf8");
const ofPage = await bundled("src/page.js", { banner: { js: `${banner.js}\n/* In it gifenc, whose licence is ${GIFENC} */` } });
// The element's module takes the recogniser from the file beside it, as a page may, too.
const beside = {
  name: "beside",
  setup: ({ onResolve }) => onResolve({ filter: /\/index\.js$/ }, () => ({ path: "./quickstroke.js", external: true })),
};
const widget = await bundled("src/widget.js", { banner });
const element = await bundled("src/element.js", { banner, plugins: [beside] });
for (const [path, contents] of [
  [`${dist}/quickstroke.js`, main],
  [`${page}/quickstroke.js`, ofPage],
  [`${page}/${GIFENC}`, licence],
  [`${notebook}/widget.js`, widget],
  [`${dist}/worker.js`, worker],
  [`${dist}/element.js`, element],
]) {
  await writeFile(path, contents);
  console.log(`${path}: ${contents.length} bytes`);
}
