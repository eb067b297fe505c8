/**
 * Layers: weights and room in the memory of the compiled code, and the calls that compute.
 *
 * Each constructor takes the memory, the compiled functions and `take(name, ...shape)`, which gives a weight's numbers.
 */

import { padded, panels, placed, spread, windows } from "./layout.js";

/** A convolution over steps; with `norm` each step is in the middle of what it sees, normalised and activated. */
export class StepConvolution {
  constructor(memory, kernels, take, name, norm, { nChannels, nFilters, width, stride, steps, isPadded }) {
    Object.assign(this, { memory, kernels, nFilters, width, stride, isPadded });
    this.step = padded(nChannels);
    this.n = padded(nFilters);
    const columns = spread([nFilters]);
    const weights = take(`${name}.weight`, nFilters, nChannels, width);
    const rows = windows(nChannels, width, this.step);
    this.weights = memory.keep(panels(weights, nChannels * width, rows, columns));
    this.bias = memory.keep(placed(take(`${name}.bias`, nFilters), columns));
    const before = isPadded ? width >> 1 : 0;
    this.begin = memory.take((steps + 2 * width) * this.step);
    this.input = this.begin + 4 * before * this.step;
    if (norm) {
      this.scale = memory.keep(placed(take(`${norm}.weight`, nFilters), columns));
      this.shift = memory.keep(placed(take(`${norm}.bias`, nFilters), columns));
      this.made = memory.take(this.stepsOf(steps) * this.n);
    }
  }

  stepsOf(steps) {
    return this.isPadded ? Math.ceil(steps / this.stride) : steps - this.width + 1;
  }

  /** Makes 0 of what an earlier, longer drawing left behind the steps of this one. */
  clearAfter(steps) {
    this.memory.floats(this.input + 4 * steps * this.step, this.width * this.step).fill(0);
  }

  /** Writes into `next.input`, and returns how many steps. */
  run(steps, next) {
    const { kernels, n, step, width } = this;
    const nSteps = this.stepsOf(steps);
    const out = this.made ?? next.input;
    const at = this.begin;
    kernels.multiply(at, this.stride * step, 1, 0, width * step, this.weights, this.bias, out, n, nSteps, n);
    if (this.made) {
      kernels.normalizeRows(out, nSteps, this.nFilters, n, this.scale, this.shift, next.input);
      next.clearAfter?.(nSteps);
    }
    return nSteps;
  }
}

/** All layers of the LSTM. */
export class Lstm {
  constructor(memory, kernels, take, config, nChannels, steps) {
    const { hidden_size: hidden, n_layers: nLayers, bidirectional } = config;
    const suffixes = bidirectional ? ["", "_reverse"] : [""];
    Object.assign(this, { memory, kernels, hidden, n: padded(hidden), nDirections: suffixes.length });
    this.widths = suffixes.map(() => hidden);
    this.width = this.nDirections * this.n;
    const nGates = 4 * this.n;
    const columns = spread([hidden, hidden, hidden, hidden]);
    let sizes = [nChannels];
    this.layers = [];
    for (let layer = 0; layer < nLayers; layer++) {
      const nIn = sizes.reduce((sum, size) => sum + size, 0);
      const rows = spread(sizes);
      const ofInput = [];
      const bias = [];
      const recurrent = suffixes.map((suffix) => {
        const own = (kind, ...shape) => take(`lstm.${kind}_l${layer}${suffix}`, ...shape);
        ofInput.push(panels(own("weight_ih", 4 * hidden, nIn), nIn, rows, columns));
        const second = own("bias_hh", 4 * hidden);
        bias.push(placed(own("bias_ih", 4 * hidden).map((value, i) => value + second[i]), columns));
        const weights = own("weight_hh", 4 * hidden, hidden);
        const all = Array.from({ length: hidden }, (_, k) => k);
        return memory.keep(panels(weights, hidden, all, columns, 32));
      });
      const weights = memory.keep(joined(ofInput));
      this.layers.push({ nIn: rows.length, weights, bias: memory.keep(joined(bias)), recurrent });
      sizes = this.widths;
    }
    this.input = memory.take(steps * padded(nChannels));
    this.gates = memory.take(steps * this.nDirections * nGates);
    this.out = [0, 1].map(() => memory.take(steps * this.width));
    this.state = memory.take(this.n);
  }

  /** Runs over the steps in `input`; returns where the last layer's outputs (T, D * H) are. */
  run(steps) {
    const { kernels, n, width } = this;
    const nGates = this.nDirections * 4 * n;
    let x = this.input;
    this.layers.forEach(({ nIn, weights, bias, recurrent }, i) => {
      const out = this.out[i % 2];
      kernels.multiply(x, nIn, 1, 0, nIn, weights, bias, this.gates, nGates, steps, nGates);
      recurrent.forEach((own, d) => {
        const gates = this.gates + 4 * d * 4 * n;
        kernels.lstm(gates, nGates, own, this.hidden, n, this.state, out + 4 * d * n, width, steps, d);
      });
      x = out;
    });
    return x;
  }

  /** Copies the outputs of the last step of x, or of the backward half those of the first. */
  copyLast(x, steps, into, isFirstOfBackward) {
    const { n, width, nDirections } = this;
    for (let d = 0; d < nDirections; d++) {
      const t = d === 1 && isFirstOfBackward ? 0 : steps - 1;
      const own = this.memory.floats(x + 4 * (t * width + d * n), n);
      this.memory.floats(into + 4 * d * n, n).set(own);
    }
  }
}

/** Mean, maximum and attention over steps. */
export class Pool {
  constructor(memory, kernels, take, widths, steps) {
    const n = widths.reduce((sum, size) => sum + size, 0);
    const attention = placed(take("attention.weight", 1, n), spread(widths));
    Object.assign(this, { kernels, n: attention.length, attention: memory.keep(attention) });
    this.scores = memory.take(steps);
  }

  /** Writes three times as many numbers as x has columns, and returns how many. */
  run(x, steps, into) {
    this.kernels.pool(x, steps, this.n, this.attention, this.scores, into);
    return 3 * this.n;
  }
}

const SIDE = 32;
// Of each convolution: filters as a multiple of the first one's, side of a filter, and whether it halves the image.
const LAYERS = [[1, 5, true], [2, 3, false], [2, 3, true], [3, 3, false], [3, 3, true], [4, 3, false]];

/** The convolutions that look at the image of a drawing. Images lie in a frame of zeros, as wide as the filters need. */
export class ImageReader {
  constructor(memory, kernels, take, nFilters, nColumns, nRows) {
    Object.assign(this, { memory, kernels, nColumns });
    this.points = memory.take(nRows * nColumns);
    this.layers = [];
    let [side, nBefore, step] = [SIDE, 2, 2];
    LAYERS.forEach(([multiple, width, isHalved], i) => {
      const n = multiple * nFilters;
      const columns = spread([n]);
      const weights = take(`image.convs.${i}.weight`, n, nBefore, width, width);
      const rows = windows(nBefore, width * width, step);
      const after = isHalved ? side / 2 : side;
      const frame = width >> 1;
      const line = (side + 2 * frame) * step;
      const begin = memory.take((side + 2 * frame) * line);
      this.layers.push({
        side, width, step, line, begin, isHalved, after, n,
        inner: begin + 4 * frame * (line + step),
        padded: columns.length,
        weights: memory.keep(panels(weights, nBefore * width * width, rows, columns)),
        bias: memory.keep(placed(take(`image.convs.${i}.bias`, n), columns)),
        scale: memory.keep(placed(take(`image.norms.${i}.weight`, n), columns)),
        shift: memory.keep(placed(take(`image.norms.${i}.bias`, n), columns)),
        made: memory.take(side * side * columns.length),
        small: isHalved ? memory.take(after * after * columns.length) : 0,
      });
      [side, nBefore, step] = [after, n, columns.length];
    });
    this.last = memory.take(side * side * step);
    this.widths = [nBefore, nBefore];
  }

  run(points, rows, into) {
    const { kernels, layers } = this;
    this.memory.floats(this.points, points.length).set(points);
    kernels.draw(this.points, this.nColumns, rows, layers[0].inner, layers[0].line);
    layers.forEach((layer, i) => {
      const { side, width, step, line, padded: n, after } = layer;
      for (let y = 0; y < side; y++) {
        const from = layer.begin + 4 * y * line;
        const to = layer.made + 4 * y * side * n;
        kernels.multiply(from, step, width, line, width * step, layer.weights, layer.bias, to, n, side, n);
      }
      if (layer.isHalved) kernels.halve(layer.made, side, n, layer.small);
      const next = layers[i + 1] ?? { inner: this.last, line: after * n };
      const made = layer.isHalved ? layer.small : layer.made;
      kernels.normalize(made, after * after, layer.n, n, layer.scale, layer.shift, next.inner, after, next.line);
      if (!layers[i + 1]) kernels.readImage(this.last, after * after, n, into);
    });
  }
}

/** The output layer, of what was read. */
export class Output {
  constructor(memory, kernels, take, nClasses, rows) {
    const nRead = rows.filter((position) => position >= 0).length;
    const columns = spread([nClasses]);
    Object.assign(this, { memory, kernels, nClasses, n: columns.length, nRead: rows.length, rows });
    this.weights = memory.keep(panels(take("linear.weight", nClasses, nRead), nRead, rows, columns));
    this.bias = memory.keep(placed(take("linear.bias", nClasses), columns));
    this.input = memory.take(rows.length);
    this.out = memory.take(this.n);
  }

  run() {
    const { kernels, n, nRead } = this;
    kernels.multiply(this.input, 0, 1, 0, nRead, this.weights, this.bias, this.out, n, 1, n);
    return this.memory.floats(this.out, this.nClasses).slice();
  }

  /** What it read, without the gaps between its parts. */
  get features() {
    const read = this.memory.floats(this.input, this.nRead);
    return read.filter((_, k) => this.rows[k] >= 0);
  }
}

function joined(arrays) {
  const out = new Float32Array(arrays.reduce((sum, array) => sum + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    out.set(array, at);
    at += array.length;
  }
  return out;
}
