"""How fair the page's game is: real drawings replayed at their speed should win, dots and scribbles should not.

    quickstroke export MODEL --to quickstroke
    python benchmarks/game.py MODEL.quickstroke RAW_FILE...

The page's own rule (game.js) and the npm package run in Chromium, with time as a number. Raw drawings are shown to the
model as they grew, their own pauses included; after their end the clock of the round runs on. For dots and scribbles
(lines to random places, drawn for the whole round) every word of the model is asked for, and the share of these
rounds that is won counts. The last line is JSON.
"""

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np

from chromium import opened_beside
from quickstroke.formats import read_drawings

STATIC = Path(__file__).resolve().parents[1] / "src" / "quickstroke" / "serve" / "static"

SCRIPT = """async ([cases, everyMs]) => {
  const [{ Game, ROUND_MS }, { load }] = await Promise.all([import("/game.js"), import("/quickstroke.js")]);
  const recognizer = await load("/model.quickstroke");
  return cases.map(({ word, strokes }) => {
    const games = (word ? [word] : recognizer.words).map((each) => {
      const game = new Game();
      game.start([each]);
      game.begin(0);
      return game;
    });
    const end = Math.min(strokes.at(-1)[2].at(-1), ROUND_MS - 1);
    for (let now = 0; now <= ROUND_MS; now += everyMs) {
      if (now < end + everyMs) {
        const shown = strokes
          .map((rows) => rows.map((row) => row.slice(0, rows[2].filter((t) => t <= now).length)))
          .filter(([xs]) => xs.length);
        if (!shown.length) continue;
        const [first] = recognizer.predict(shown.map(([xs, ys]) => [xs, ys]), { top: 1, layout: "columns" }).guesses;
        for (const game of games) game.saw(first, now);
      }
      for (const game of games) game.tick(now);
    }
    const won = games.filter(({ phase }) => phase === "won");
    return { won: won.length / games.length, tookMs: won[0]?.tookMs ?? null };
  });
}"""


def scribble(rng: random.Random, n_strokes: int) -> list[list[list[float]]]:
    """Lines to random places for twenty seconds, in strokes of one length; a dot where there are none."""
    if n_strokes == 0:
        return [[[rng.uniform(0, 500)], [rng.uniform(0, 400)], [0]]]
    strokes, now = [], 0.0
    for _ in range(n_strokes):
        x, y = rng.uniform(0, 500), rng.uniform(0, 400)
        rows: list[list[float]] = [[x], [y], [now]]
        until = now + 20_000 / n_strokes - 150
        while now < until:
            there = rng.uniform(0, 500), rng.uniform(0, 400)
            for part in np.linspace(0, 1, 9)[1:]:
                now += 30
                rows[0].append(x + part * (there[0] - x))
                rows[1].append(y + part * (there[1] - y))
                rows[2].append(now)
            x, y = there
        now += 150
        strokes.append(rows)
    return strokes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("files", nargs="+", help="raw drawings, with times")
    parser.add_argument("--n", type=int, default=200, help="drawings, every so many-th of the files")
    parser.add_argument("--every-ms", type=int, default=200, help="between two guesses")
    options = parser.parse_args()
    drawings = [each for each in read_drawings(options.files) if each.times_ms is not None]
    drawings = drawings[:: max(len(drawings) // options.n, 1)][: options.n]
    real = [
        {
            "word": d.word,
            "strokes": [[*s.T.tolist(), t.tolist()] for s, t in zip(d.strokes, d.times_ms or (), strict=True)],
        }
        for d in drawings
    ]
    rng = random.Random(0)
    kinds = {"dots": [0] * 10, "scribbles": [1, 2, 4, 8, 16, 30] * 5}
    with tempfile.TemporaryDirectory() as name:
        for file in ("game.js", "quickstroke.js"):
            shutil.copy(STATIC / file, name)
        shutil.copy(options.model, Path(name) / "model.quickstroke")
        with opened_beside(Path(name)) as page:
            rounds = page.evaluate(SCRIPT, [real, options.every_ms])
            took_s = [each["tookMs"] / 1000 for each in rounds if each["tookMs"] is not None]
            recognized = [each["won"] for each, drawing in zip(rounds, drawings, strict=True) if drawing.recognized]
            result = {"n": len(real), "won": float(np.mean([each["won"] for each in rounds]))}
            result |= {"won_of_recognised": float(np.mean(recognized)), "median_s": float(np.median(took_s))}
            for kind, counts in kinds.items():
                cases = [{"word": None, "strokes": scribble(rng, n)} for n in counts]
                result[kind] = float(
                    np.mean([each["won"] for each in page.evaluate(SCRIPT, [cases, options.every_ms])])
                )
    print(
        f"{result['n']} real drawings: {result['won']:.1%} of their rounds won, in {result['median_s']:.1f} s (median)"
    )
    print(f"dots: {result['dots']:.2%}; scribbles: {result['scribbles']:.2%}")
    print(json.dumps({key: round(value, 4) for key, value in result.items()}))


if __name__ == "__main__":
    main()
