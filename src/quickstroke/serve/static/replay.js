/** A drawing once more, stroke by stroke, as fast as it was drawn. */

const LONGEST_PAUSE_MS = 350;
const LONGEST_MS = 8000;

/**
 * How much of a drawing is there at each moment of its replay: pauses are cut, and what would take too long runs faster.
 *
 * @param {number[][][]} strokes `[[x..], [y..], [t..]]` each
 * @returns {{durationMs: number, at: (elapsedMs: number) => number[][][]}}
 */
export function timeline(strokes) {
  let shift = 0;
  let end = 0;
  const times = strokes.map(([, , ts], i) => {
    const pause = i === 0 ? 0 : ts[0] - strokes[i - 1][2].at(-1);
    shift = end + Math.min(Math.max(pause, 0), LONGEST_PAUSE_MS) - ts[0];
    end = ts.at(-1) + shift;
    return ts.map((t) => t + shift);
  });
  const speed = Math.max(end / LONGEST_MS, 1);
  return {
    durationMs: end / speed,
    at(elapsedMs) {
      const shown = [];
      strokes.forEach((stroke, i) => {
        const n = times[i].filter((t) => t <= elapsedMs * speed).length;
        if (n) shown.push(stroke.map((row) => row.slice(0, n)));
      });
      return shown;
    },
  };
}

/** Runs a timeline in the page's frames; `show` gets the strokes of each. Resolves to whether it came to its end. */
export function play(strokes, show, signal) {
  const { durationMs, at } = timeline(strokes);
  const startedAt = performance.now();
  return new Promise((resolve) => {
    const frame = () => {
      if (signal.aborted) return resolve(false);
      const elapsedMs = performance.now() - startedAt;
      show(at(elapsedMs));
      if (elapsedMs >= durationMs) return resolve(true);
      return requestAnimationFrame(frame);
    };
    frame();
  });
}
