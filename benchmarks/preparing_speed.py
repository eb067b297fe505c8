"""How much processor time does `prepare` take for a drawing of a text format, against the loop one would write?

    python benchmarks/preparing_speed.py simplified|raw|csv|npz FOLDER

FOLDER has official ndjson files, simplified or, for `raw`, raw. Their drawings are repeated with other key_ids in one
file of the format. `quickstroke.prepare` makes a dataset of it, in turns with a loop that makes the same arrays in
memory: `json.loads` and numpy; for `raw` a Ramer-Douglas-Peucker in numpy besides; for `csv` the module csv; for `npz`
(sketch-rnn) `np.load`. Processor time of all threads, files in memory, code compiled; the median over the turns. What
`prepare` takes for a file of a tenth of the drawings is subtracted: its start does not depend on their number.
"""

import argparse
import csv
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from quickstroke.drawings.simplification import simplified_strokes
from quickstroke.formats import find_sources, read_file
from quickstroke.preparation import convert
from quickstroke.preparation.prepare import prepare

ENDINGS = {"simplified": ".ndjson", "raw": ".ndjson", "csv": ".csv", "npz": ".npz"}
COLUMNS = ("countrycode", "drawing", "key_id", "recognized", "timestamp", "word")


def write(name: str, folder: Path, n: int, path: Path) -> None:
    """A file of a format with `n` drawings of one word, those of the folder again and again."""
    files = find_sources(folder).files
    if name == "npz":
        rows = [deltas(simplified_strokes(drawing)) for file in files for drawing in read_file(file)]
        drawings = np.empty(n, dtype=object)
        drawings[:] = [rows[i % len(rows)].copy() for i in range(n)]  # the same array would be pickled once
        np.savez_compressed(path, train=drawings, valid=drawings[:0], test=drawings[:0])
        return
    records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    several = ({**records[i % len(records)], "word": "cat", "key_id": str(10**15 + i)} for i in range(n))
    with path.open("w", newline="") as file:
        if name != "csv":
            file.writelines(json.dumps(record, separators=(",", ":")) + "\n" for record in several)
            return
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for record in several:
            values = {**record, "drawing": json.dumps(record["drawing"])}
            writer.writerow([values[column] for column in COLUMNS])


def deltas(strokes: list[Any]) -> Any:
    """Strokes as sketch-rnn has them, int16 (n, 3)."""
    points = np.concatenate(strokes).astype(np.int16)
    ends = np.zeros(len(points), np.int16)
    ends[np.cumsum([len(stroke) for stroke in strokes]) - 1] = 1
    return np.column_stack([np.diff(points, axis=0, prepend=points[:1]), ends]).astype(np.int16)


def simplified(strokes: list[list[list[float]]]) -> list[Any]:
    """Google's recipe in numpy: aligned, scaled, resampled, Ramer-Douglas-Peucker."""
    arrays = [np.array(stroke[:2]).T for stroke in strokes]
    low = np.min([array.min(0) for array in arrays], 0)
    side = max(np.max([array.max(0) for array in arrays], 0) - low) or 1.0
    return [np.rint(kept(resampled((array - low) * 255 / side))).astype(np.uint8) for array in arrays]


def resampled(points: Any) -> Any:
    """Points at a spacing of 1, and the last one."""
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.arange(int(arc[-1]) + 1)
    return np.concatenate([np.column_stack([np.interp(at, arc, column) for column in points.T]), points[-1:]])


def kept(points: Any) -> Any:
    """Ramer-Douglas-Peucker with an epsilon of 2."""
    first, last = points[0], points[-1]
    dx, dy = last - first
    base = np.hypot(dx, dy)
    offsets = points - first
    far = np.abs(offsets[:, 0] * dy - offsets[:, 1] * dx) / base if base else np.hypot(*offsets.T)
    k = int(far.argmax())
    if far[k] <= 2.0:
        return points[[0, -1]]
    return np.concatenate([kept(points[: k + 1])[:-1], kept(points[k:])])


def records_of(name: str, path: Path) -> Iterable[tuple[list[Any], int, bool]]:
    """Strokes uint8 (n, 2), key_id and whether it was recognised of each drawing of a file, by a plain loop."""
    if name == "npz":
        with np.load(path, allow_pickle=True, encoding="latin1") as parts:
            for key_id, rows in enumerate(parts["train"]):
                points = np.concatenate([np.zeros((1, 2)), np.cumsum(rows[:, :2], axis=0, dtype=float)])
                points -= points.min(0)
                points *= min(255 / max(points.max(), 1), 1)
                yield np.split(np.rint(points).astype(np.uint8), np.flatnonzero(rows[:-1, 2]) + 2), key_id, True
        return
    with path.open(newline="") as file:
        if name == "csv":
            for row in csv.DictReader(file):
                strokes = [np.array(stroke, np.uint8).T for stroke in json.loads(row["drawing"])]
                yield strokes, int(row["key_id"]), row["recognized"] == "True"
            return
        for line in file:
            record = json.loads(line)
            strokes = record["drawing"]
            arrays = simplified(strokes) if name == "raw" else [np.array(stroke, np.uint8).T for stroke in strokes]
            yield arrays, int(record["key_id"]), record["recognized"]


def plain(name: str, path: Path, n: int) -> dict[str, Any]:
    """The arrays of the first `n` drawings of a file, by a plain loop."""
    points, ends, counts, keys, recognized = [], [], [], [], []
    for strokes, key_id, is_recognized in itertools.islice(records_of(name, path), n):
        points += strokes
        lengths = [len(stroke) for stroke in strokes]
        ends += lengths
        counts.append(sum(lengths))
        keys.append(key_id)
        recognized.append(is_recognized)
    pen_up = np.zeros(sum(ends), np.uint8)
    pen_up[np.cumsum(ends) - 1] = 1
    return {
        "points": np.concatenate(points),
        "pen_bits": np.packbits(pen_up, bitorder="little"),
        "offsets": np.concatenate([[0], np.cumsum(counts)]),
        "key_ids": np.array(keys, np.uint64),
        "recognized": np.array(recognized),
    }


def processor_time(function: Callable[[], object]) -> float:
    """Seconds of processor time, of all threads."""
    started = time.process_time()
    function()
    return time.process_time() - started


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", choices=ENDINGS)
    parser.add_argument("folder", type=Path, help="folder of official ndjson files")
    parser.add_argument("--n", type=int, default=60_000, help="drawings to prepare")
    parser.add_argument("--n-plain", type=int, default=3000, help="of them for the plain loop")
    parser.add_argument("--n-turns", type=int, default=5)
    options = parser.parse_args()
    convert._FEW_BYTES = 0  # the first turn compiles
    name, taken = options.format, {"plain": [], "prepare": []}
    with tempfile.TemporaryDirectory() as temporary:
        path, small = (Path(temporary) / size / f"cat{ENDINGS[name]}" for size in ("all", "few"))
        n_few = options.n // 10
        for file, n in ((path, options.n), (small, n_few)):
            file.parent.mkdir()
            write(name, options.folder, n, file)
        n_bytes = path.stat().st_size / options.n
        # Of npz everything is read at once.
        n_plain = options.n if name == "npz" else options.n_plain
        for turn in range(options.n_turns + 1):
            of_all, of_few = (
                processor_time(partial(prepare, file, Path(temporary) / f"data{turn}{file.parent.name}"))
                for file in (path, small)
            )
            taken["prepare"].append((of_all - of_few) / (options.n - n_few))
            taken["plain"].append(processor_time(lambda: plain(name, path, n_plain)) / n_plain)
    medians = {way: 1e6 * statistics.median(seconds[1:]) for way, seconds in taken.items()}
    result = {
        "format": name,
        "n_drawings": options.n,
        "bytes_a_drawing": n_bytes,
        **{f"{way}_us": value for way, value in medians.items()},
        "ratio": medians["plain"] / medians["prepare"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
