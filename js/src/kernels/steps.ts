// The recurrent layer, and what reads its steps.

import { addProduct } from "./products";

/** e to the power of each lane, to 1e-7 of it (Cody and Waite's reduction, a polynomial of degree 6). */
// @ts-ignore: decorator
@inline
function exp(x: v128): v128 {
  x = f32x4.max(f32x4.min(x, f32x4.splat(88)), f32x4.splat(-87));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504)));
  x = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)));
  x = f32x4.add(x, f32x4.mul(n, f32x4.splat(2.12194440e-4)));
  let y = f32x4.splat(1.0 / 720);
  y = f32x4.add(f32x4.mul(y, x), f32x4.splat(1.0 / 120));
  y = f32x4.add(f32x4.mul(y, x), f32x4.splat(1.0 / 24));
  y = f32x4.add(f32x4.mul(y, x), f32x4.splat(1.0 / 6));
  y = f32x4.add(f32x4.mul(y, x), f32x4.splat(0.5));
  y = f32x4.add(f32x4.mul(y, x), f32x4.splat(1));
  y = f32x4.add(f32x4.mul(y, x), f32x4.splat(1));
  const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23);
  return f32x4.mul(y, power);
}

// @ts-ignore: decorator
@inline
function sigmoid(x: v128): v128 {
  const one = f32x4.splat(1);
  return f32x4.div(one, f32x4.add(one, exp(f32x4.neg(x))));
}

// @ts-ignore: decorator
@inline
function tanh(x: v128): v128 {
  const two = f32x4.splat(2);
  return f32x4.sub(f32x4.mul(two, sigmoid(f32x4.mul(two, x))), f32x4.splat(1));
}

/**
 * One direction of an LSTM: hidden states into `out`, rows `outStep` apart.
 *
 * `gates` has for each step the product of its inputs and the bias: i, f, g and o, `padded` each, rows `gatesStep`
 * apart; they are overwritten. `w` are the recurrent weights (4 * padded / 32, hidden, 32), `c` room for a state.
 */
export function lstm(
  gates: usize, gatesStep: i32, w: usize, hidden: i32, padded: i32, c: usize,
  out: usize, outStep: i32, steps: i32, isReversed: i32,
): void {
  const size = <usize>padded << 2;
  const gatesMove = <usize>gatesStep << 2, outMove = <usize>outStep << 2;
  let a = gates, h = out, before: usize = 0;
  if (isReversed) {
    a += <usize>(steps - 1) * gatesMove;
    h += <usize>(steps - 1) * outMove;
  }
  memory.fill(c, 0, size);
  for (let step = 0; step < steps; step++) {
    if (step > 0) addProduct(before, hidden, w, a, 4 * padded);
    for (let j: usize = 0; j < size; j += 16) {
      const i = sigmoid(v128.load(a + j));
      const f = sigmoid(v128.load(a + size + j));
      const g = tanh(v128.load(a + 2 * size + j));
      const o = sigmoid(v128.load(a + 3 * size + j));
      const state = f32x4.add(f32x4.mul(f, v128.load(c + j)), f32x4.mul(i, g));
      v128.store(c + j, state);
      v128.store(h + j, f32x4.mul(o, tanh(state)));
    }
    before = h;
    a = isReversed ? a - gatesMove : a + gatesMove;
    h = isReversed ? h - outMove : h + outMove;
  }
}

/** Mean, maximum and attention, one after the other, of the rows of x (steps, n); `scores` is room for (steps). */
export function pool(x: usize, steps: i32, n: i32, attention: usize, scores: usize, out: usize): void {
  const size = <usize>n << 2;
  const highest = out + size, attended = highest + size;
  memory.fill(out, 0, 3 * size);
  memory.copy(highest, x, size);
  let top: f32 = -Infinity;
  for (let t = 0; t < steps; t++) {
    const row = x + <usize>t * size;
    let sum = f32x4.splat(0);
    for (let j: usize = 0; j < size; j += 16) {
      const value = v128.load(row + j);
      sum = f32x4.add(sum, f32x4.mul(value, v128.load(attention + j)));
      v128.store(out + j, f32x4.add(v128.load(out + j), value));
      v128.store(highest + j, f32x4.max(v128.load(highest + j), value));
    }
    const score = total(sum);
    store<f32>(scores + (<usize>t << 2), score);
    top = max(top, score);
  }
  let all: f32 = 0;
  for (let t = 0; t < steps; t++) {
    const at = scores + (<usize>t << 2);
    const weight = f32x4.extract_lane(exp(f32x4.splat(load<f32>(at) - top)), 0);
    store<f32>(at, weight);
    all += weight;
  }
  for (let t = 0; t < steps; t++) {
    const row = x + <usize>t * size;
    const weight = f32x4.splat(load<f32>(scores + (<usize>t << 2)) / all);
    for (let j: usize = 0; j < size; j += 16) {
      v128.store(attended + j, f32x4.add(v128.load(attended + j), f32x4.mul(weight, v128.load(row + j))));
    }
  }
  const part = f32x4.splat(<f32>1 / <f32>steps);
  for (let j: usize = 0; j < size; j += 16) v128.store(out + j, f32x4.mul(v128.load(out + j), part));
}

// @ts-ignore: decorator
@inline
export function total(sums: v128): f32 {
  return (
    f32x4.extract_lane(sums, 0) + f32x4.extract_lane(sums, 1) +
    (f32x4.extract_lane(sums, 2) + f32x4.extract_lane(sums, 3))
  );
}
