/**
 * Weights in the order in which the compiled code reads them.
 *
 * Columns are padded to a multiple of 8 with zeros, which stay zeros in everything that is computed of them. A list of
 * positions says for each place which number of a row of weights is there, -1 for none.
 */

export const WIDTH = 8;

/** `n` to the next multiple of 8. */
export const padded = (n) => Math.ceil(n / WIDTH) * WIDTH;

/** Positions of blocks of sizes, one after the other, each padded by itself. */
export function spread(sizes) {
  const positions = [];
  let at = 0;
  for (const size of sizes) {
    for (let i = 0; i < padded(size); i++) positions.push(i < size ? at + i : -1);
    at += size;
  }
  return positions;
}

/** Positions in a filter (C, taps..) of windows of `nTaps` rows of channels, `step` places each. */
export function windows(nChannels, nTaps, step) {
  const positions = [];
  for (let tap = 0; tap < nTaps; tap++) {
    for (let c = 0; c < step; c++) positions.push(c < nChannels ? c * nTaps + tap : -1);
  }
  return positions;
}

/**
 * Weights (N, R) as panels (columns / width, rows, width).
 *
 * @param {Float32Array} weights row by row
 * @param {number} nRow numbers R of a row
 * @param {number[]} rows positions in a row
 * @param {number[]} columns which rows, positions too
 */
export function panels(weights, nRow, rows, columns, width = WIDTH) {
  const out = new Float32Array(rows.length * columns.length);
  for (let j = 0; j < columns.length; j++) {
    if (columns[j] < 0) continue;
    const begin = columns[j] * nRow;
    let at = (j - (j % width)) * rows.length + (j % width);
    for (let k = 0; k < rows.length; k++, at += width) {
      if (rows[k] >= 0) out[at] = weights[begin + rows[k]];
    }
  }
  return out;
}

/** Numbers at positions. */
export function placed(values, positions) {
  return Float32Array.from(positions, (position) => (position < 0 ? 0 : values[position]));
}
