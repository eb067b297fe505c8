// Norms with ReLU. Where a number of columns is padded, what is there is 0 before and after.

import { total } from "./steps";

const EPSILON: f32 = 1e-5;

/**
 * A norm over all of (rows, padded), of which `n` columns count, and ReLU. Each row is scaled and shifted by `scale` and
 * `shift` (padded); `perLine` rows follow each other in `out`, then the next begins `lineStep` floats after the first.
 */
export function normalize(
  x: usize, rows: i32, n: i32, padded: i32, scale: usize, shift: usize, out: usize, perLine: i32, lineStep: i32,
): void {
  const size = <usize>padded << 2;
  const end = x + <usize>rows * size;
  const count = <f32>(rows * n);
  let s0 = f32x4.splat(0), s1 = s0;
  for (let at = x; at < end; at += 32) {
    s0 = f32x4.add(s0, v128.load(at));
    s1 = f32x4.add(s1, v128.load(at, 16));
  }
  const mean = total(f32x4.add(s0, s1)) / count;
  const middle = f32x4.splat(mean);
  s0 = f32x4.splat(0);
  s1 = s0;
  for (let at = x; at < end; at += 32) {
    const d0 = f32x4.sub(v128.load(at), middle), d1 = f32x4.sub(v128.load(at, 16), middle);
    s0 = f32x4.add(s0, f32x4.mul(d0, d0));
    s1 = f32x4.add(s1, f32x4.mul(d1, d1));
  }
  const squares = total(f32x4.add(s0, s1)) - <f32>(rows * (padded - n)) * mean * mean;
  const inverse = f32x4.splat(<f32>1 / sqrt<f32>(max<f32>(squares, 0) / count + EPSILON));
  const zero = f32x4.splat(0);
  for (let begin = 0; begin < rows; begin += perLine) {
    let to = out;
    for (let row = 0; row < perLine; row++) {
      for (let j: usize = 0; j < size; j += 16) {
        const value = f32x4.mul(f32x4.mul(f32x4.sub(v128.load(x + j), middle), inverse), v128.load(scale + j));
        v128.store(to + j, f32x4.max(f32x4.add(value, v128.load(shift + j)), zero));
      }
      x += size;
      to += size;
    }
    out += <usize>lineStep << 2;
  }
}

/** The same over each row alone. */
export function normalizeRows(
  x: usize, rows: i32, n: i32, padded: i32, scale: usize, shift: usize, out: usize,
): void {
  const size = <usize>padded << 2;
  for (let row = 0; row < rows; row++) {
    normalize(x, 1, n, padded, scale, shift, out, 1, 0);
    x += size;
    out += size;
  }
}
