/**
 * The forward pass of every type of the naming convention, one drawing at a time; the same as `StrokeClassifier` in
 * `quickstroke.models`. The layers that it is made of are in layers.js.
 *
 * Dimensions: T steps, C channels, H hidden units, D directions, K classes. Columns are padded as layout.js says.
 */

import { ModelError } from "./errors.js";
import { ImageReader, Lstm, Output, Pool, StepConvolution } from "./layers.js";
import { padded, spread } from "./layout.js";
import { Memory } from "./memory.js";
import { N_CHANNELS } from "./points.js";

// That of nn.BatchNorm1d.
const EPSILON = 1e-5;

export class Network {
  #config;
  #nChannels;
  #scale;
  #shift;
  #memory = new Memory();
  #input;
  #convolutions = [];
  #lstm;
  #pool = null;
  #image = null;
  #output;

  /**
   * @param {WebAssembly.Module} module
   * @param {object} card
   * @param {Map<string, {shape: number[], values: Float32Array}>} weights
   */
  constructor(module, { config, preprocessing }, weights) {
    const memory = this.#memory;
    const kernels = new WebAssembly.Instance(module, { env: { memory: memory.wasm } }).exports;
    const take = (name, ...shape) => valuesOf(weights, name, shape);
    const isPooled = config.readout === "pool";
    this.#config = config;
    let nChannels = (this.#nChannels = N_CHANNELS[preprocessing.name]);
    const [scale, shift, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map((key) =>
      take(`bn.${key}`, nChannels),
    );
    this.#scale = Float32Array.from(scale, (value, c) => value / Math.sqrt(variance[c] + EPSILON));
    this.#shift = Float32Array.from(shift, (value, c) => value - mean[c] * this.#scale[c]);

    let n = Math.max(config.max_padding, receptiveField(config), 1);
    const readers = [];
    for (const [key, norm] of [["conv1", "norm1"], ["conv2", "norm2"]]) {
      if (!config[key]) continue;
      const [nFilters, width, stride = 1] = config[key];
      const shape = { nChannels, nFilters, width, stride, steps: n, isPadded: isPooled };
      const layer = new StepConvolution(memory, kernels, take, key, isPooled ? norm : null, shape);
      readers.push(layer);
      n = layer.stepsOf(n);
      nChannels = nFilters;
    }
    this.#convolutions = readers;
    this.#input = { n: this.rowsAtMost, step: padded(this.#nChannels), at: 0 };
    this.#lstm = new Lstm(memory, kernels, take, config, nChannels, n);
    const own = this.#lstm.widths;
    const sizes = isPooled ? [...own, ...own, ...own] : [...own];
    if (isPooled) this.#pool = new Pool(memory, kernels, take, own, n);
    if (config.image) {
      this.#image = new ImageReader(memory, kernels, take, config.image, this.#nChannels, this.rowsAtMost);
      sizes.push(...this.#image.widths);
    }
    this.#output = new Output(memory, kernels, take, config.n_classes, spread(sizes));
    this.#input.at = readers.length ? readers[0].input : this.#lstm.input;
  }

  get rowsAtMost() {
    return Math.max(this.#config.max_padding, receptiveField(this.#config), 1);
  }

  /**
   * @param {Float32Array} points (T, C) of a drawing
   * @returns {{logits: Float32Array, features: Float32Array}} logits (K), and what the output layer read (R)
   */
  read(points) {
    const { reading, max_padding: maxPadding, bidirectional } = this.#config;
    const rows = points.length / this.#nChannels;
    const isPooled = this.#pool !== null;
    let steps = reading === "padded" ? maxPadding : Math.max(rows, receptiveField(this.#config), 1);
    this.#write(points, rows, steps); // (T, C)
    this.#convolutions.forEach((convolution, i) => {
      const next = this.#convolutions[i + 1] ?? this.#lstm;
      steps = convolution.run(steps, next); // (T', F)
    });
    const x = this.#lstm.run(steps); // (T', D * H)
    const read = this.#output.input;
    if (isPooled) {
      const n = this.#pool.run(x, steps, read); // (3 * D * H)
      this.#image?.run(points, rows, read + 4 * n);
    } else {
      // The last step, where the backward half has read all at the first; the padded reading takes its last, too.
      this.#lstm.copyLast(x, steps, read, bidirectional && reading !== "padded"); // (D * H)
    }
    return { logits: this.#output.run(), features: this.#output.features };
  }

  /** Normalises points into the first layer's input; by readout `pool` the rows after them are 0. */
  #write(points, rows, steps) {
    const { at, step } = this.#input;
    const n = this.#nChannels;
    const into = this.#memory.floats(at, steps * step);
    const isPooled = this.#pool !== null;
    for (let t = 0; t < steps; t++) {
      for (let c = 0; c < n; c++) {
        const value = t < rows ? points[t * n + c] : 0;
        into[t * step + c] = isPooled && t >= rows ? 0 : value * this.#scale[c] + this.#shift[c];
      }
    }
    if (isPooled) this.#convolutions[0]?.clearAfter(steps);
  }
}

/** Rows that one output step of the convolutions sees where they do not pad. */
function receptiveField({ readout, conv1, conv2 }) {
  if (readout === "pool") return 1;
  return 1 + [conv1, conv2].reduce((sum, convolution) => sum + (convolution ? convolution[1] - 1 : 0), 0);
}

/** The numbers of a weight of this shape. */
function valuesOf(weights, name, shape) {
  const found = weights.get(name);
  if (!found || found.shape.length !== shape.length || found.shape.some((size, i) => size !== shape[i])) {
    const has = found ? `(${found.shape.join(", ")})` : "missing";
    throw new ModelError(`the model file does not fit its card: ${name} is ${has}, expected (${shape.join(", ")})`);
  }
  return found.values;
}
