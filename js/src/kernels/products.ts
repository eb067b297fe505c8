// Matrix products. A panel of weights is 8 columns wide (32 for `lstm`), so that what a loop adds to stays in registers.
//
// Pointers are in bytes, all other numbers count floats or rows.

/**
 * C (m, n) = bias + A B, where row i of A is read in `segments` parts of `k` floats each: part s begins at
 * i * rowStep + s * segmentStep. So a convolution is a product over the image as it lies in memory, one part for each
 * row of the filter.
 *
 * B is (n / 8, segments * k, 8), n a multiple of 8, bias (n).
 */
export function multiply(
  a: usize, rowStep: i32, segments: i32, segmentStep: i32, k: i32,
  b: usize, bias: usize, c: usize, cStep: i32, m: i32, n: i32,
): void {
  const step = <usize>rowStep << 2;
  const outStep = <usize>cStep << 2;
  const panelBytes = <usize>(segments * k) << 5;
  for (let j = 0; j < n; j += 8) {
    const panel = b + <usize>(j >> 3) * panelBytes;
    const own = bias + (<usize>j << 2);
    let at = a;
    let out = c + (<usize>j << 2);
    let i = 0;
    for (; i + 4 <= m; i += 4) {
      fourRows(at, step, segments, segmentStep, k, panel, own, out, outStep);
      at += step << 2;
      out += outStep << 2;
    }
    for (; i < m; i++) {
      oneRow(at, segments, segmentStep, k, panel, own, out);
      at += step;
      out += outStep;
    }
  }
}

// @ts-ignore: decorator
@inline
function times(sum: v128, x: v128, y: v128): v128 {
  return f32x4.add(sum, f32x4.mul(x, y));
}

function fourRows(
  a: usize, step: usize, segments: i32, segmentStep: i32, k: i32, b: usize, bias: usize, c: usize, cStep: usize,
): void {
  let s00 = v128.load(bias), s01 = v128.load(bias, 16);
  let s10 = s00, s11 = s01, s20 = s00, s21 = s01, s30 = s00, s31 = s01;
  for (let s = 0; s < segments; s++) {
    let a0 = a + (<usize>(s * segmentStep) << 2);
    let a1 = a0 + step;
    let a2 = a1 + step;
    let a3 = a2 + step;
    const end = b + (<usize>k << 5);
    for (; b < end; b += 32) {
      const b0 = v128.load(b), b1 = v128.load(b, 16);
      const x0 = v128.load32_splat(a0);
      s00 = times(s00, x0, b0);
      s01 = times(s01, x0, b1);
      const x1 = v128.load32_splat(a1);
      s10 = times(s10, x1, b0);
      s11 = times(s11, x1, b1);
      const x2 = v128.load32_splat(a2);
      s20 = times(s20, x2, b0);
      s21 = times(s21, x2, b1);
      const x3 = v128.load32_splat(a3);
      s30 = times(s30, x3, b0);
      s31 = times(s31, x3, b1);
      a0 += 4;
      a1 += 4;
      a2 += 4;
      a3 += 4;
    }
  }
  v128.store(c, s00);
  v128.store(c, s01, 16);
  c += cStep;
  v128.store(c, s10);
  v128.store(c, s11, 16);
  c += cStep;
  v128.store(c, s20);
  v128.store(c, s21, 16);
  c += cStep;
  v128.store(c, s30);
  v128.store(c, s31, 16);
}

function oneRow(
  a: usize, segments: i32, segmentStep: i32, k: i32, b: usize, bias: usize, c: usize,
): void {
  let s0 = v128.load(bias), s1 = v128.load(bias, 16);
  for (let s = 0; s < segments; s++) {
    let own = a + (<usize>(s * segmentStep) << 2);
    const end = b + (<usize>k << 5);
    for (; b < end; b += 32) {
      const x = v128.load32_splat(own);
      s0 = times(s0, x, v128.load(b));
      s1 = times(s1, x, v128.load(b, 16));
      own += 4;
    }
  }
  v128.store(c, s0);
  v128.store(c, s1, 16);
}

/** Adds h (k) W to the row `out` (n); W is (n / 32, k, 32), n a multiple of 32. */
// @ts-ignore: decorator
@inline
export function addProduct(h: usize, k: i32, w: usize, out: usize, n: i32): void {
  const hEnd = h + (<usize>k << 2);
  for (let j = 0; j < n; j += 32) {
    let s0 = v128.load(out), s1 = v128.load(out, 16), s2 = v128.load(out, 32), s3 = v128.load(out, 48);
    let s4 = v128.load(out, 64), s5 = v128.load(out, 80), s6 = v128.load(out, 96), s7 = v128.load(out, 112);
    for (let own = h; own < hEnd; own += 4) {
      const x = v128.load32_splat(own);
      s0 = times(s0, x, v128.load(w));
      s1 = times(s1, x, v128.load(w, 16));
      s2 = times(s2, x, v128.load(w, 32));
      s3 = times(s3, x, v128.load(w, 48));
      s4 = times(s4, x, v128.load(w, 64));
      s5 = times(s5, x, v128.load(w, 80));
      s6 = times(s6, x, v128.load(w, 96));
      s7 = times(s7, x, v128.load(w, 112));
      w += 128;
    }
    v128.store(out, s0);
    v128.store(out, s1, 16);
    v128.store(out, s2, 32);
    v128.store(out, s3, 48);
    v128.store(out, s4, 64);
    v128.store(out, s5, 80);
    v128.store(out, s6, 96);
    v128.store(out, s7, 112);
    out += 128;
  }
}
