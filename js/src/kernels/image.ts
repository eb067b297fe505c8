// The image of a drawing, and what convolutions over it need beside products.

const SIDE = 32;
// The longer side of the drawing in pixels, and half the width of the pen with its soft edge.
const LENGTH: f32 = 28, REACH: f32 = 1.25, MIDDLE: f32 = 15.5;
// A stroke shorter than the root of it is a dot.
const TINY: f32 = 1e-12;
const PEN_UP: f32 = 0.5;

/**
 * Draws points (rows, 5) of the preprocessing pos5, `pointsStep` floats apart, into pixels of two floats: how much the pen
 * covers, and the same times how late that was. Lines of pixels are `lineStep` floats apart.
 */
export function draw(points: usize, pointsStep: i32, rows: i32, out: usize, lineStep: i32): void {
  const line = <usize>lineStep << 2;
  for (let i = 0; i < SIDE; i++) memory.fill(out + <usize>i * line, 0, SIDE * 8);
  let isNew = true;
  let fromX: f32 = 0, fromY: f32 = 0;
  for (let t = 0; t < rows; t++) {
    const point = points + (<usize>(t * pointsStep) << 2);
    const x = MIDDLE + LENGTH * load<f32>(point, 8);
    const y = MIDDLE + LENGTH * load<f32>(point, 12);
    if (isNew) {
      fromX = x;
      fromY = y;
    }
    const late = <f32>(t + 1) / <f32>rows;
    const dx = x - fromX, dy = y - fromY;
    const square = max<f32>(dx * dx + dy * dy, TINY);
    const left = max<i32>(<i32>ceil<f32>(min<f32>(fromX, x) - REACH), 0);
    const right = min<i32>(<i32>floor<f32>(max<f32>(fromX, x) + REACH), SIDE - 1);
    const top = max<i32>(<i32>ceil<f32>(min<f32>(fromY, y) - REACH), 0);
    const bottom = min<i32>(<i32>floor<f32>(max<f32>(fromY, y) + REACH), SIDE - 1);
    for (let i = top; i <= bottom; i++) {
      for (let j = left; j <= right; j++) {
        let toX = <f32>j - fromX, toY = <f32>i - fromY;
        const part = min<f32>(max<f32>((toX * dx + toY * dy) / square, 0), 1);
        toX -= part * dx;
        toY -= part * dy;
        const ink = min<f32>(REACH - sqrt<f32>(toX * toX + toY * toY), 1);
        if (ink > 0) {
          const pixel = out + <usize>i * line + <usize>(j * 8);
          store<f32>(pixel, max<f32>(load<f32>(pixel), ink));
          store<f32>(pixel, max<f32>(load<f32>(pixel, 4), ink * late), 4);
        }
      }
    }
    fromX = x;
    fromY = y;
    isNew = load<f32>(point, 16) > PEN_UP;
  }
}

/** Maxima over two by two pixels: x (side, side, n) -> out (side / 2, side / 2, n). */
export function halve(x: usize, side: i32, n: i32, out: usize): void {
  const size = <usize>n << 2;
  const line = <usize>side * size;
  for (let i = 0; i < side; i += 2) {
    for (let j = 0; j < side; j += 2) {
      const at = x + <usize>i * line + <usize>j * size;
      for (let k: usize = 0; k < size; k += 16) {
        const above = f32x4.max(v128.load(at + k), v128.load(at + size + k));
        const below = f32x4.max(v128.load(at + line + k), v128.load(at + line + size + k));
        v128.store(out, f32x4.max(above, below));
        out += 16;
      }
    }
  }
}

/** Mean and maximum (2 * n) over the rows of x (rows, n). */
export function readImage(x: usize, rows: i32, n: i32, out: usize): void {
  const size = <usize>n << 2;
  const part = f32x4.splat(<f32>1 / <f32>rows);
  for (let j: usize = 0; j < size; j += 16) {
    let at = x + j;
    let sum = f32x4.splat(0), highest = v128.load(at);
    for (let i = 0; i < rows; i++) {
      const value = v128.load(at);
      sum = f32x4.add(sum, value);
      highest = f32x4.max(highest, value);
      at += size;
    }
    v128.store(out + j, f32x4.mul(sum, part));
    v128.store(out + size + j, highest);
  }
}
