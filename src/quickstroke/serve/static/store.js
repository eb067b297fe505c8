/** What stays on this device between visits. A browser that keeps nothing is no error: all is forgotten then. */

const PREFIX = "quickstroke:";

/** @returns {any} what was kept under a name, or `fallback` */
export function recall(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name)) ?? fallback;
  } catch {
    return fallback;
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // No room, or not allowed.
  }
}
