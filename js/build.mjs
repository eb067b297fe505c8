/**
 * Builds the package into one module, dist/quickstroke.js, and the same for the page of `quickstroke serve`.
 *
 * Its first line has a hash of everything that it is built from, so that a test can tell without Node whether the page's
 * copy is that of these sources.
 */

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import asc from "assemblyscript/asc";
import { build } from "esbuild";

const here = fileURLToPath(new URL("./", import.meta.url));
// Where it goes; another folder for a test that compares.
const page = process.argv[2] ?? `${here}../src/quickstroke/serve/static`;

async function sourcesHash() {
  const hash = createHash("sha256");
  const files = (await readdir(`${here}src`, { recursive: true })).filter((name) => /\.(js|ts)$/.test(name));
  const names = [...files.map((name) => `src/${name.replaceAll("\\", "/")}`), "build.mjs", "package-lock.json"].sort();
  for (const name of names) hash.update(`${name}\0`).update(await readFile(here + name)).update("\0");
  return hash.digest("hex");
}

await mkdir(`${here}build`, { recursive: true });
const options = ["--runtime", "stub", "--enable", "simd", "-O3", "--noAssert", "--importMemory", "--noExportMemory"];
const { error, stderr } = await asc.main(["src/kernels/index.ts", "-o", "build/kernels.wasm", ...options, "--baseDir", here]);
if (error) throw new Error(`the kernels cannot be compiled:\n${stderr}`);

const { version } = JSON.parse(await readFile(`${here}package.json`, "utf8"));
const { outputFiles } = await build({
  absWorkingDir: here,
  entryPoints: ["src/index.js"],
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  loader: { ".wasm": "binary" },
  banner: {
    js:
      `/* sources sha256 ${await sourcesHash()} */\n` +
      `/* quickstroke ${version}, MIT License. Built by js/build.mjs from js/src; do not edit. */`,
  },
});
await mkdir(`${here}dist`, { recursive: true });
await mkdir(page, { recursive: true });
for (const path of [`${here}dist/quickstroke.js`, `${page}/quickstroke.js`]) await writeFile(path, outputFiles[0].contents);
console.log(`${page}/quickstroke.js: ${outputFiles[0].contents.length} bytes`);
