"""The npm package: its bundle is that of its sources, and it says what Python says, by every type of model."""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quickstroke.artifacts.discriminant import Discriminant, rounded
from quickstroke.artifacts.loading import LoadedModel, load_model, write_model
from quickstroke.config.model import ModelConfig
from quickstroke.config.naming import TYPES
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.export import compact, web
from quickstroke.formats import read_file
from quickstroke.inference.recognizer import Recognizer, load
from quickstroke.kernels.raster import n_features
from quickstroke.models.classifier import StrokeClassifier

PACKAGE = Path(__file__).parents[2] / "js"
WIDGET = PACKAGE.parent / "src" / "quickstroke" / "notebook" / "widget.js"
WORDS = ("circle", "house", "star")

# Each type with each way to read, and sizes that fill no vector.
MODELS = [
    *[
        (name, reading, max_padding)
        for name in ("simple_lay2_sz9", "lstm_cv1_9_4_cv2_5_3_lay2_sz8", "bilstm_lay2_sz5", "bilstm_cv1_4_3_lay1_sz4")
        for reading, max_padding in (("length-aware", 100), ("length-aware", 20), ("padded", 20))
    ],
    *[
        (name, "length-aware", max_padding)
        for name in ("bipool_lay1_sz4", "bipool_cv1_5_4_lay2_sz3", "bipool_cv1_7_5_2_cv2_9_4_3_img5_lay2_sz13")
        for max_padding in (200, 20)
    ],
]


def test_each_type_is_compared() -> None:
    assert {name.partition("_")[0] for name, *_ in MODELS} == set(TYPES)


# The probabilities of all words and of none of them (-1 where nobody can tell) by each model, for the drawings in one
# order and in the other: nothing is left of the drawing before.
PREDICT = """
import { readFileSync } from "node:fs";
const { bundle, models, drawings, layout } = JSON.parse(readFileSync(0, "utf8"));
const { load } = await import(bundle);
const answers = [];
for (const model of models) {
  const recognizer = await load(model);
  const all = (strokes) => {
    const { guesses, unknown } = recognizer.predict(strokes, { top: recognizer.words.length, layout });
    const found = new Map(guesses.map(({ word, probability }) => [word, probability]));
    return [...recognizer.words.map((word) => found.get(word)), unknown ?? -1];
  };
  answers.push([drawings.map(all), drawings.toReversed().map(all).toReversed()]);
}
console.log(JSON.stringify(answers));
"""


# With words of a file that Python wrote: embeddings, guesses, and the file once more.
TAUGHT = """
import { readFileSync } from "node:fs";
const { bundle, models, drawings } = JSON.parse(readFileSync(0, "utf8"));
const { load } = await import(bundle);
const answers = [];
for (const [model, text, teaching] of models) {
  const recognizer = await load(model);
  recognizer.restore(text);
  if (teaching) await recognizer.loadTeaching(new TextEncoder().encode(teaching));
  const options = { simplified: true, layout: "columns" };
  const guesses = drawings.map((strokes) => recognizer.predict(strokes, { top: 9, ...options }).guesses);
  const probabilities = guesses.map((own) => Object.fromEntries(own.map((guess) => [guess.word, guess.probability])));
  const embeddings = drawings.map((strokes) => [...recognizer.embed(strokes, options)]);
  answers.push({ embeddings, probabilities, text: recognizer.save() });
}
console.log(JSON.stringify(answers));
"""


@pytest.fixture(scope="session")
def bundle(static: Path) -> Path:
    return static / "quickstroke.js"


def random_model(name: str, reading: Any, max_padding: int, seed: int) -> LoadedModel:
    """Weights large enough that each of them shows."""
    config = ModelConfig.from_name(name, n_classes=len(WORDS), reading=reading, max_padding=max_padding)
    generator = torch.Generator().manual_seed(seed)
    model = StrokeClassifier(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator))
        if config.image:
            model.linear.weight[:, -n_features(config.image) :] *= 0.2
        n = model.bn.num_features
        model.bn.running_mean.copy_(torch.randn(n, generator=generator))
        model.bn.running_var.copy_(0.1 + torch.rand(n, generator=generator))
    return LoadedModel(model, WORDS, None, Path("unused"))


@pytest.fixture(scope="module")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of small models with random weights, in 8 and 16 bits; every other one can say that it knows none, two of
    three have where the drawings of their words lie."""
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    statistics = Discriminant(*(rounded(rng.normal(0, 0.3, (3, len(WORDS)))) for _ in range(2))).entry()
    paths = []
    for i, (name, reading, max_padding) in enumerate(MODELS):
        own = folder / str(i)
        rule: dict[str, Any] = {"intercept": 1.5, "slope": 0.5, "entropy": 0.3}
        rule |= {"floor": -0.5, "words": rng.normal(0, 0.4, len(WORDS)).tolist()} if i % 4 == 0 else {}
        facts = {"unknown": rule} if i % 2 == 0 else {}
        facts |= {"discriminant": statistics} if i % 3 else {}
        loaded = load_model(write_model(own, random_model(name, reading, max_padding, i), facts))
        paths.append(own / f"{name}.quickstroke")
        weights: Any = "float16" if i % 3 == 0 else "int8"
        paths[-1].write_bytes(compact.export(loaded, weights, has_statistics=True).data)
    return paths


def in_node(node: str, bundle: Path, models: list[Path], drawings: list[Any]) -> list[Any]:
    """What the package says in Node: for each model, for both orders, of each drawing the probabilities."""
    given = {"bundle": bundle.as_uri(), "models": list(map(str, models)), "drawings": drawings, "layout": "columns"}
    command = [node, "--input-type=module", "--eval", PREDICT]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


def probabilities(recognizer: Recognizer, drawing: list[Any]) -> list[float]:
    strokes = [np.array(rows[:2]).T for rows in drawing]
    guesses = recognizer.predict(strokes, top=len(recognizer.classes), layout="points")
    found = dict(guesses)
    return [*(found[word] for word in recognizer.classes), -1 if guesses.unknown is None else guesses.unknown]


def test_every_type_of_model_says_what_python_says(node: str, bundle: Path, small_models: list[Path]) -> None:
    drawings = [
        [stroke.T.tolist() for stroke in drawing.strokes]
        for drawing in synthetic_drawings(6, seed=3, words=("face", "ladder"), simplified=False)
    ]
    drawings += [[[[5], [5]]], [[[5, 6], [5, 5]]], [[[0, 1, 2], [0, 1, 0]], [[3], [3]]]]
    drawings.append([[list(range(300)), [i * i % 37 for i in range(300)]]])
    answers = in_node(node, bundle, small_models, drawings)
    for path, (theirs, reversed_theirs) in zip(small_models, answers, strict=True):
        recognizer = load(path)
        ours = np.array([probabilities(recognizer, drawing) for drawing in drawings])
        assert np.abs(np.array(theirs) - ours).max() < 2e-6, path.name
        assert reversed_theirs == theirs, path.name
        assert np.ptp(ours[:, :-1], axis=0).max() > 1e-3, path.name
    assert {bool(answer[0][0][-1] < 0) for answer in answers} == {False, True}


def test_words_taught_in_python_are_known_in_javascript(
    node: str, bundle: Path, small_models: list[Path], tmp_path: Path
) -> None:
    drawings = [list(synthetic_drawings(6, seed=3, words=(word,))) for word in ("face", "ladder")]
    many = list(synthetic_drawings(25, seed=5, words=("face",)))  # beyond those that lower how a word is favoured
    recognizers = [load(path) for path in small_models]
    texts = []
    for recognizer in recognizers:
        recognizer.teach("ladder", drawings[1][:4])
        recognizer.teach("face", many)
        recognizer.save(tmp_path / "mine.json")
        texts.append((tmp_path / "mine.json").read_text())
    strokes = [[stroke.T.tolist() for stroke in drawing.strokes] for own in drawings for drawing in own]
    given = {"bundle": bundle.as_uri(), "drawings": strokes}
    given["models"] = [(str(path), text) for path, text in zip(small_models, texts, strict=True)]
    command = [node, "--input-type=module", "--eval", TAUGHT]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for recognizer, text, theirs in zip(recognizers, texts, json.loads(done.stdout), strict=True):
        flat = [drawing for own in drawings for drawing in own]
        np.testing.assert_allclose(theirs["embeddings"], recognizer.embed(flat), atol=1e-5)
        for ours, them in zip(recognizer.predict_many(flat, top=9), theirs["probabilities"], strict=True):
            assert them == pytest.approx(dict(ours), abs=1e-4)
        assert theirs["text"] == text


def test_statistics_beside_the_model_serve_as_those_inside(
    node: str, bundle: Path, small_models: list[Path], tmp_path: Path
) -> None:
    """Also for words that were taught before they came."""
    inside = load_model(small_models[1])
    beside = compact.export(inside)
    assert inside.card is not None and beside.model.card is not None and "discriminant" not in beside.model.card
    (tmp_path / "beside.quickstroke").write_bytes(beside.data)
    drawings = [[s.T.tolist() for s in drawing.strokes] for drawing in synthetic_drawings(5, seed=3, words=("ladder",))]
    recognizer = load(small_models[1])
    recognizer.teach("ladder", list(synthetic_drawings(5, seed=3, words=("ladder",)))[:4])
    recognizer.save(tmp_path / "mine.json")
    text, teaching = (tmp_path / "mine.json").read_text(), web.model_files(beside)["teaching.json"].decode()
    given = {"bundle": bundle.as_uri(), "drawings": drawings}
    given["models"] = [(str(small_models[1]), text), (str(tmp_path / "beside.quickstroke"), text, teaching)]
    command = [node, "--input-type=module", "--eval", TAUGHT]
    one, other = json.loads(subprocess.run(command, input=json.dumps(given), capture_output=True, text=True).stdout)
    for own, theirs in zip(one["probabilities"], other["probabilities"], strict=True):
        assert own == pytest.approx(theirs, abs=1e-6)
    for damage, says in (("{", "it is no JSON"), ("[]", "no file of"), (teaching.replace("sha256", "sha1"), "another")):
        given["models"] = [(str(small_models[1]), text, damage)]
        done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True)
        assert done.returncode and "ModelError" in done.stderr and says in done.stderr


def test_real_drawings_by_a_real_model(node: str, bundle: Path, shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "real.quickstroke"
    path.write_bytes(compact.export(load_model(shared / "models" / "seed" / "simple_lay2_sz64.model")).data)
    files = sorted((shared / "data" / "quickdraw" / "raw").iterdir())
    drawings = [[s.T.tolist() for s in d.strokes] for file in files for d in islice(read_file(file), 6)][:150]
    recognizer = load(path)
    ours = np.array([probabilities(recognizer, drawing) for drawing in drawings])
    theirs = np.array(in_node(node, bundle, [path], drawings)[0][0])
    assert len(theirs) == 150 and np.abs(theirs - ours).max() < 1e-4
    assert (theirs.argmax(1) == ours.argmax(1)).all()


def test_the_tests_of_the_package(node: str, bundle: Path, small_models: list[Path]) -> None:
    environment = {**os.environ, "QUICKSTROKE_BUNDLE": str(bundle), "QUICKSTROKE_MODEL": str(small_models[-2])}
    command = [node, "--test", "--test-reporter=tap", str(PACKAGE / "test" / "package.test.mjs")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^# pass [1-9]", done.stdout, re.MULTILINE) and "# skipped 0" in done.stdout


def test_the_bundle_says_that_it_is_built_from_these_sources(bundle: Path) -> None:
    """Without Node. Whoever changes them runs `make js`."""
    paths = [path for path in (PACKAGE / "src").rglob("*") if path.suffix in (".js", ".ts")]
    paths += [PACKAGE / "build.mjs", PACKAGE / "package-lock.json"]
    digest = hashlib.sha256()
    for name in sorted(path.relative_to(PACKAGE).as_posix() for path in paths):
        digest.update(f"{name}\0".encode() + (PACKAGE / name).read_bytes() + b"\0")
    for path in (bundle, WIDGET):
        first, second, third = path.read_text(encoding="utf-8").splitlines()[:3]
        assert first == f"/* sources sha256 {digest.hexdigest()[:16]} */"
        assert "MIT License. Built by js/build.mjs" in second
        assert ("gifenc, whose licence is LICENSE-gifenc.txt" in third) == (path == bundle)


def test_the_bundle_is_built_again_to_the_same_bytes(node: str, tools: Path, bundle: Path, tmp_path: Path) -> None:
    build = [node, PACKAGE / "build.mjs", tmp_path / "page", tmp_path / "dist"]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page" / "quickstroke.js").read_bytes() == bundle.read_bytes()
    assert (tmp_path / "page" / "widget.js").read_bytes() == WIDGET.read_bytes()
    licence = (tmp_path / "page" / "LICENSE-gifenc.txt").read_text(encoding="utf-8")
    assert licence == bundle.with_name("LICENSE-gifenc.txt").read_text(encoding="utf-8")
    assert licence.startswith("The MIT License (MIT)\nCopyright (c) 2017 Matt DesLauriers")
    # A page's worker and element have their own files.
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in (tmp_path / "dist").iterdir()}
    assert sizes.keys() == {"quickstroke.js", "worker.js", "element.js"} and sum(sizes.values()) <= 60_000


def test_tools_can_ask_the_installed_package_for_its_version(node: str, tmp_path: Path) -> None:
    installed = tmp_path / "node_modules" / "quickstroke"
    installed.mkdir(parents=True)
    shutil.copy(PACKAGE / "package.json", installed)
    command = [node, "--eval", "console.log(require('quickstroke/package.json').version)"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    version = json.loads((PACKAGE / "package.json").read_text())["version"]
    assert (done.stdout.strip(), done.stderr) == (version, "")


def test_the_types_compile(node: str, tools: Path) -> None:
    if not shutil.which("npm"):
        pytest.skip("npm, which some packages of Node leave out, is not installed")
    done = subprocess.run(["npm", "run", "--silent", "types"], cwd=PACKAGE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_code_is_small_and_stands_alone(bundle: Path) -> None:
    code = bundle.read_bytes()
    assert len(gzip.compress(code)) <= 60_000
    assert not re.search(rb"\bimport\s*[({*\"'\w]|\brequire\(", code)
    described = json.loads((PACKAGE / "package.json").read_text())
    assert "dependencies" not in described and described["license"] == "MIT"
    # Parcel and linters that do not read `exports`.
    assert described["main"] == described["exports"]["."]["default"]


def test_no_source_and_no_function_of_the_package_is_too_long() -> None:
    for path in [*(PACKAGE / "src").rglob("*.js"), *(PACKAGE / "src").rglob("*.ts"), *(PACKAGE / "test").iterdir()]:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 500, path
        begin = None
        for number, line in enumerate(lines):
            indent = len(line) - len(line.lstrip())
            if re.match(r"\s*(export )?(async )?(function \w+|constructor|#?\w+)\(.*\{$", line) and indent <= 2:
                begin = number
            elif line.strip() in ("}", "},") and indent <= 2 and begin is not None:
                assert number - begin < 80, f"{path}:{begin + 1}"
                begin = None
