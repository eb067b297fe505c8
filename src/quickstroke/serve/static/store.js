/**
 * What stays on this device between visits, or in `sessionStorage` in this tab alone. A browser that keeps nothing is no
 * error: all is forgotten then.
 */

const PREFIX = "quickstroke:";

/** @returns {any} what was kept under a name, or `fallback` */
export function recall(name, fallback, area = "localStorage") {
  try {
    return JSON.parse(globalThis[area].getItem(PREFIX + name)) ?? fallback;
  } catch {
    return fallback;
  }
}

/** @returns {boolean} whether it is kept: there may be no room, or it is not allowed */
export function keep(name, value, area = "localStorage") {
  try {
    globalThis[area].setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** Calls whenever another tab keeps something under a name. */
export function onKept(name, listener) {
  addEventListener("storage", ({ key }) => key === PREFIX + name && listener());
}
