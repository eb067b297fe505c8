"""The npm package's preprocessing and Python's are equal in every digit.

`python tests/page/test_page_preprocessing.py` writes the golden file anew: do so only when preprocessing is meant to
change.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hands import Pages, blank, serving
from playwright.sync_api import Page

from quickstroke.config.model import Preprocessing
from quickstroke.data.points import n_channels, to_points
from quickstroke.drawings.simplification import simplify
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.formats import read_file

PREPROCESSINGS = get_args(Preprocessing)

SOURCES = Path(__file__).parents[2] / "js" / "src"
GOLDEN = Path(__file__).parent.parent / "golden" / "page.json"

Rows = list[list[float]]
Computed = list[dict[str, Any]]

# What both engines run: cases of raw strokes -> their simplified form and points, by each preprocessing.
COMPUTE = """
({ simplifyColumns }, { toPoints, N_CHANNELS }, { readStrokes }, cases) => cases.map(({ strokes, max_padding }) => {
  const simplified = simplifyColumns(readStrokes(strokes, "columns").columns);
  const points = (name) => [name, Array.from(toPoints(simplified, max_padding, name))];
  return { simplified, ...Object.fromEntries(Object.keys(N_CHANNELS).map(points)) };
})
"""


def raw_drawings() -> dict[str, list[Rows]]:
    """Synthetic drawings, random strokes, and what nobody draws well; each stroke is two rows."""
    drawings: dict[str, Any] = {
        drawing.word: [stroke.T.tolist() for stroke in drawing.strokes]
        for drawing in synthetic_drawings(1, seed=11, words=("face", "ladder", "star"), simplified=False)
    }
    rng = np.random.default_rng(5)
    drawings["random floats"] = [rng.normal(0, 1e3, (2, n)).tolist() for n in (7, 1, 12)]
    drawings["random pixels"] = [rng.integers(0, 30, (2, n)).tolist() for n in (20, 2, 9)]
    drawings["a dot"] = [[[17], [-4]]]
    drawings["a dot twice"] = [[[17, 17], [4, 4]]]
    drawings["dots"] = [[[0], [0]], [[0.5], [0.25]], [[0], [0]]]
    drawings["repeated points"] = [[[5, 5, 5, 80, 80, 5, 5], [9, 9, 9, 9, 9, 30, 30]], [[5, 5], [9, 9]]]
    drawings["a level line there and back"] = [[[0, 300, 10, 200], [7, 7, 7, 7]]]
    drawings["an upright line"] = [[[7, 7], [0, 1000]]]
    drawings["negative"] = [[[-300, -20, -310.5], [-5, -900, -3]], [[-1, -2], [-7, -7]]]
    drawings["huge"] = [[[-1.5e308, 1.7e308, 0], [1e308, -1.6e308, 3e307]]]
    drawings["tiny"] = [[[0, 3e-310, 1e-310], [0, 1e-310, 2e-310]]]
    drawings["far from the origin"] = [[[1e9 + 0.1, 1e9 + 250.7, 1e9 + 3], [2e9, 2e9 + 99.9, 2e9 + 180]]]
    drawings["an open box"] = [[[288, 288, 122, 122], [332, 365, 365, 332]]]  # on its last bits hangs what stays
    drawings["halves"] = [[[0, 0.5, 1.5, 2.5, 255], [0, 100.5, 0.5, 60.5, 31.5]]]
    turns = np.linspace(0, 150, 400)
    drawings["a spiral beyond max_padding"] = [[(turns * np.cos(turns)).tolist(), (turns * np.sin(turns)).tolist()]]
    drawings["many strokes"] = [[[x, x + 3.5], [x % 7, 20]] for x in range(0, 130, 2)]
    return drawings


def shortest(value: np.float32) -> float:
    """The float with the fewest digits that is this one when it is rounded to float32."""
    return float(str(value))


def computed(strokes: list[Rows], max_padding: int) -> dict[str, Any]:
    simplified = simplify([np.array(rows[:2]).T for rows in strokes])
    return {"simplified": [stroke.T.tolist() for stroke in simplified]} | {
        name: [shortest(value) for value in to_points(simplified, max_padding, name).ravel()] for name in PREPROCESSINGS
    }


def write_golden() -> None:
    records = [
        {"name": name, "max_padding": max_padding, "strokes": strokes, **computed(strokes, max_padding)}
        for name, strokes in raw_drawings().items()
        for max_padding in ((100, 10) if name == "star" else (100,))
    ]
    lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in records)
    GOLDEN.write_text(f"[\n{lines}\n]\n")


@pytest.fixture(scope="module")
def golden() -> Computed:
    records: Computed = json.loads(GOLDEN.read_text())
    return records


@pytest.fixture
def sources_page(pages: Pages) -> Iterator[Page]:
    """An empty page that can import the modules that the package is made of."""
    with serving(SOURCES) as url, pages.lent() as page:
        yield blank(page, url)


@pytest.fixture(params=["chromium", "node"])
def compute(request: pytest.FixtureRequest) -> Callable[[Computed], Computed]:
    """Runs the package's modules on cases, in the browser and in Node.js."""
    modules = ("simplify", "points", "strokes")
    if request.param == "chromium":
        page: Page = request.getfixturevalue("sources_page")
        # As text: Playwright takes long over large values.
        script = f"""async (text) => {{
          const modules = await Promise.all({json.dumps(modules)}.map((name) => import(`/${{name}}.js`)));
          return JSON.stringify(({COMPUTE.strip()})(...modules, JSON.parse(text)));
        }}"""
        return lambda cases: json.loads(page.evaluate(script, json.dumps(cases)))
    node: str = request.getfixturevalue("node")
    script = (
        'import { readFileSync } from "node:fs";\n'
        + "".join(f'import * as {name} from "{(SOURCES / name).as_uri()}.js";\n' for name in modules)
        + f"const cases = JSON.parse(readFileSync(0, 'utf8'));\n"
        f"console.log(JSON.stringify(({COMPUTE.strip()})({', '.join(modules)}, cases)));\n"
    )

    def run(cases: Computed) -> Computed:
        command = [node, "--input-type=module", "--eval", script]
        done = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        answers: Computed = json.loads(done.stdout)
        return answers

    return run


def assert_equal(ours: dict[str, Any], theirs: dict[str, Any], name: str) -> None:
    assert theirs["simplified"] == ours["simplified"], name
    for preprocessing in PREPROCESSINGS:
        assert np.array_equal(np.float32(theirs[preprocessing]), np.float32(ours[preprocessing])), name


def test_python_gives_the_golden_values(golden: Computed) -> None:
    for record in golden:
        assert_equal(record, computed(record["strokes"], record["max_padding"]), record["name"])


def test_javascript_gives_the_golden_values(golden: Computed, compute: Callable[[Computed], Computed]) -> None:
    answers = compute(golden)
    assert len(answers) == len(golden)
    for record, answer in zip(golden, answers, strict=True):
        assert_equal(record, answer, record["name"])


def test_golden_values_hold_the_hard_cases(golden: Computed) -> None:
    for preprocessing in PREPROCESSINGS:
        n = n_channels(preprocessing)
        assert [record["name"] for record in golden if not record[preprocessing]] == []
        assert max(len(record[preprocessing]) for record in golden) == n * 100
        assert {len(record[preprocessing]) for record in golden if record["max_padding"] == 10} == {n * 10}
    coordinates = [x for record in golden for rows in record["strokes"] for row in rows for x in row]
    assert min(coordinates) < -1e308 and max(coordinates) > 1e308
    assert any(0 < x < 1e-300 for x in coordinates)


@pytest.fixture(scope="module")
def real(shared: Path) -> Computed:
    """Real drawings, and what Python makes of them."""
    folder = shared / "data" / "quickdraw"
    drawings = [drawing for path in sorted((folder / "raw").iterdir()) for drawing in read_file(path)]
    drawings += [drawing for path in sorted((folder / "binary").iterdir()) for drawing in islice(read_file(path), 1)]
    strokes: list[list[Rows]] = [[stroke.T.tolist() for stroke in drawing.strokes] for drawing in drawings]
    assert len(strokes) > 1000
    return [{"strokes": each, "max_padding": 100, **computed(each, 100)} for each in strokes]


def test_javascript_equals_python_on_real_drawings(real: Computed, compute: Callable[[Computed], Computed]) -> None:
    answers = compute([{"strokes": each["strokes"], "max_padding": each["max_padding"]} for each in real])
    for each, answer in zip(real, answers, strict=True):
        assert_equal(each, answer, "a real drawing")


def test_javascript_knows_the_preprocessings_of_python(sources_page: Page) -> None:
    channels = sources_page.evaluate("import('/points.js').then(({ N_CHANNELS }) => N_CHANNELS)")
    assert channels == {name: n_channels(name) for name in PREPROCESSINGS}


if __name__ == "__main__":
    write_golden()
