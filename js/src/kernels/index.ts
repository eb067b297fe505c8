// Compiled to WebAssembly by build.mjs. Memory belongs to JavaScript, which says where everything lies.

export { multiply } from "./products";
export { lstm, pool } from "./steps";
export { normalize, normalizeRows } from "./norms";
export { draw, halve, readImage } from "./image";
