/** What the page takes from other packages, and of this one what is no part of its interface; bundled for the page alone. */

export { fetchBytes } from "./fetch.js";
// Its sources: of the package as it is built nothing can be left out.
export { applyPalette, GIFEncoder } from "gifenc/src/index.js";
