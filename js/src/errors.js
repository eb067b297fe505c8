/**
 * What can go wrong with what a caller gives; each message says what came and what was expected.
 * Their names are stated, as the bundle's own are short.
 */

/** A model file that is missing, damaged, newer than this program, or larger than it can hold. */
export class ModelError extends Error {
  static name = "ModelError";
  name = "ModelError";
}

/** A drawing that cannot be read. */
export class StrokesError extends RangeError {
  static name = "StrokesError";
  name = "StrokesError";
}

/** Another argument that cannot be used: an option, or a word that the model does not know. */
export class OptionError extends RangeError {
  static name = "OptionError";
  name = "OptionError";
}

/** Options by name; one that there is not is refused, since by a slip of the pen it would have no effect. */
export function checkOptions(options, ...names) {
  if (!options || typeof options !== "object") throw new OptionError(`options should be an object, got ${shown(options)}`);
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw new OptionError(`there is no option ${shown(name)}; expected ${names.join(", ")}`);
  }
  return options;
}

/** Throws an error about what came from `source`, with its address where it has one. */
export function throwAbout(source, error) {
  if (typeof source === "string" || source.href) error.message = `${source}: ${error.message}`;
  throw error;
}

/** A value as messages show it, short and on one line. */
export function shown(value) {
  let text;
  try {
    text = typeof value === "number" || value === undefined ? String(value) : JSON.stringify(value);
  } catch {
    text = undefined;
  }
  text ??= typeof value;
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** `1 row`, `2 rows`. */
export function counted(n, what) {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
