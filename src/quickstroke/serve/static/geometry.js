/** Strokes as they are passed around: `[[x..], [y..], [t..]]` each, CSS pixels and milliseconds, y growing downwards. */

/** Coordinates as they are kept and written. */
export const rounded = (value) => Math.round(value * 100) / 100;

/** The bounding box of a drawing, or null where it has no point. */
export function boundsOf(strokes) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [xs, ys] of strokes) {
    for (let i = 0; i < xs.length; i++) {
      left = Math.min(left, xs[i]);
      right = Math.max(right, xs[i]);
      top = Math.min(top, ys[i]);
      bottom = Math.max(bottom, ys[i]);
    }
  }
  return left > right ? null : { x: left, y: top, width: right - left, height: bottom - top };
}

/** The scale and shift that show `box` in the middle of an area of `width` by `height`, as large as it fits. */
export function fit(box, width, height, maxScale = Infinity) {
  const scale = Math.min(width / Math.max(box.width, 1e-6), height / Math.max(box.height, 1e-6), maxScale);
  return {
    scale,
    dx: (width - box.width * scale) / 2 - box.x * scale,
    dy: (height - box.height * scale) / 2 - box.y * scale,
  };
}

/** The strokes moved into an area of `width` by `height`; times stay. */
export function placed(strokes, width, height) {
  const { scale, dx, dy } = fit(boundsOf(strokes), width, height);
  return strokes.map(([xs, ys, ts]) => [xs.map((x) => rounded(x * scale + dx)), ys.map((y) => rounded(y * scale + dy)), ts]);
}

/**
 * Draws a stroke as a smooth line through the middles between its points.
 *
 * @param {{moveTo, lineTo, quadraticCurveTo}} pen a canvas context, a Path2D or a `PathText`
 */
export function trace(pen, [xs, ys]) {
  const last = xs.length - 1;
  pen.moveTo(xs[0], ys[0]);
  for (let i = 1; i < last; i++) {
    pen.quadraticCurveTo(xs[i], ys[i], (xs[i] + xs[i + 1]) / 2, (ys[i] + ys[i + 1]) / 2);
  }
  // A line of no length is not drawn by every browser, so a dot gets a little.
  pen.lineTo(xs[last] + (last === 0 ? 0.01 : 0), ys[last]);
}

/** Collects the `d` attribute of an SVG path. */
class PathText {
  text = "";
  moveTo(x, y) {
    this.text += `M${rounded(x)} ${rounded(y)}`;
  }
  lineTo(x, y) {
    this.text += `L${rounded(x)} ${rounded(y)}`;
  }
  quadraticCurveTo(cx, cy, x, y) {
    this.text += `Q${rounded(cx)} ${rounded(cy)} ${rounded(x)} ${rounded(y)}`;
  }
}

/** The `d` attribute of an SVG path that shows `stroke`. */
export function pathText(stroke) {
  const pen = new PathText();
  trace(pen, stroke);
  return pen.text;
}
