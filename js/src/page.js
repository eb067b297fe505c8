/** The package as the page has it: with what is no part of its interface, and what the page takes from other packages. */

export * from "./index.js";
export { fetchBytes } from "./fetch.js";
export { KeyPen } from "./keys.js";
export { percent } from "./percent.js";
export { normal } from "./vocabulary.js";
// Its sources: of the package as it is built nothing can be left out.
export { applyPalette, GIFEncoder } from "gifenc/src/index.js";
