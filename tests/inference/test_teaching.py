"""Words that a recognizer is taught by a few drawings."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import quickstroke as qs
from quickstroke import cli
from quickstroke.artifacts import discriminant
from quickstroke.artifacts.discriminant import Discriminant, rounded
from quickstroke.artifacts.loading import LoadedModel, write_model
from quickstroke.artifacts.unknown import Outputs
from quickstroke.config.model import ModelConfig
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import CategoryError, ConfigError, FormatError, WeightsError
from quickstroke.export.compact import export as export_compact
from quickstroke.export.onnx import export
from quickstroke.formats import binary, svg
from quickstroke.inference import prototypes
from quickstroke.inference.onnx_model import OnnxModel
from quickstroke.inference.recognizer import Recognizer, load
from quickstroke.models.classifier import StrokeClassifier

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("circle", "house", "star", "cat")
NAMES = ("simple_lay1_sz8", "bipool_cv1_6_3_2_img2_lay1_sz5")
LADDERS = list(synthetic_drawings(24, seed=3, words=("ladder",)))


@pytest.fixture(scope="module", params=NAMES)
def path(request, tmp_path_factory):
    torch.manual_seed(0)
    model = StrokeClassifier(ModelConfig.from_name(request.param, n_classes=len(CLASSES), reading="length-aware"))
    folder = tmp_path_factory.mktemp("lstm")
    return write_model(folder, LoadedModel(model.eval(), CLASSES, None, folder), {})


@pytest.fixture
def recognizer(path):
    return load(path)


@pytest.fixture
def with_discriminant(path, tmp_path):
    """The same model, published with where the drawings of its words lie."""
    rng = np.random.default_rng(0)
    statistics = Discriminant(*(rounded(rng.normal(0, 2, (3, len(CLASSES)))) for _ in range(2)))
    loaded = replace(load(path)._model, card=None)
    return write_model(tmp_path / "with", loaded, {"discriminant": statistics.entry()})


def test_the_document_has_the_constants():
    """Programs in other languages take them from there."""
    text = (Path(__file__).parents[2] / "docs" / "howto" / "teach.md").read_text(encoding="utf-8")
    evidence, favour, many, share = prototypes.EVIDENCE, prototypes.FAVOUR, prototypes.MANY, prototypes.SHARE
    temperature, lowest = discriminant._TEMPERATURE, discriminant.LOWEST
    assert f"exp({evidence} (L(w) - T) + {favour} - min(n, {many}) / {share})" in text
    assert f"log(sum of exp({temperature} L(v))) / {temperature}" in text and f"below {lowest:g}," in text
    assert f"`{prototypes.SLOPE:g} n / (n + 1) (cosine - {prototypes.MIDDLE})`" in text


def others():
    return [drawing for word in ("circle", "star") for drawing in synthetic_drawings(10, seed=5, words=(word,))]


def test_embeddings_are_directions_and_do_not_depend_on_company(recognizer):
    drawings = [*LADDERS[:5], *others()]
    embeddings = recognizer.embed(drawings)
    n_read = recognizer._model.model.linear.in_features
    assert embeddings.dtype == np.float32 and embeddings.shape == (len(drawings), n_read + len(CLASSES))
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)
    for i in (0, 7):
        np.testing.assert_allclose(recognizer.embed(drawings[i : i + 1])[0], embeddings[i], atol=1e-5)
    strokes = [drawing.strokes for drawing in drawings]
    assert np.array_equal(recognizer.embed(strokes, simplified=True), embeddings)
    assert recognizer.embed([]).shape == (0, n_read + len(CLASSES))
    some = Recognizer(recognizer._model, ["cat", "star"])
    assert np.array_equal(some.embed(drawings), embeddings)
    recognizer.teach("ladder", LADDERS[:5])
    assert np.array_equal(recognizer.embed(drawings), embeddings)


def test_an_embedding_has_the_features_and_the_fourth_roots_of_the_probabilities_both_of_one_length():
    outputs = Outputs(np.array([[16, 1]]) / 17, None, np.array([[3, 4]], np.float32))
    expected = np.array([[3 / 5, 4 / 5, 2 / np.sqrt(5), 1 / np.sqrt(5)]]) / np.sqrt(2)
    np.testing.assert_allclose(prototypes.embedding(outputs, Path("a.model")), expected, rtol=1e-6)


def test_every_format_gives_the_same_embeddings(path, tmp_path):
    pytest.importorskip("onnxruntime")
    loaded = load(path)
    expected = loaded.embed(LADDERS[:6])
    file = tmp_path / "model.onnx"
    file.write_bytes(export(loaded._model).data)
    (tmp_path / "model.quickstroke").write_bytes(export_compact(loaded._model, "float16").data)
    loaded.compile()
    np.testing.assert_allclose(loaded.embed(LADDERS[:6]), expected, atol=1e-5)
    np.testing.assert_allclose(load(file).embed(LADDERS[:6]), expected, atol=1e-5)
    np.testing.assert_allclose(load(tmp_path / "model.quickstroke").embed(LADDERS[:6]), expected, atol=5e-3)
    # A file of before, which lacks that output: it guesses as ever, and says what it cannot do.
    old = OnnxModel.load(file)
    old = replace(old, card=old.card | {"graph": 1})
    assert Recognizer(old).predict(LADDERS[0]) == load(file).predict(LADDERS[0])
    for call in (lambda: Recognizer(old).embed(LADDERS[:1]), lambda: Recognizer(old).teach("ladder", LADDERS[:3])):
        with pytest.raises(WeightsError, match=r"model.onnx: does not give .* export the model again"):
            call()


def test_a_taught_word_is_one_in_letters_of_either_case(recognizer):
    recognizer.teach("robot", LADDERS[:3])
    with pytest.raises(CategoryError, match=r"^word: 'robot' is among the words .* already; forget it first"):
        recognizer.teach("Robot", LADDERS[:3])
    assert {guess.word for guess in recognizer.predict(LADDERS[0], words=["ROBOT", "cat"])} == {"robot", "cat"}
    recognizer.forget("Robot")
    assert recognizer.taught == {}


def test_a_taught_word_is_known_everywhere(recognizer):
    before = recognizer.predict_many(others(), top=9)
    recognizer.teach("Ladder", LADDERS[:10])  # canonical where Google has the word
    assert recognizer.classes == (*CLASSES, "ladder") and recognizer.taught == {"ladder": 10}
    assert repr(recognizer).endswith(": 5 words>")
    guesses = recognizer.predict(LADDERS[12], top=9)
    assert sum(guess.probability for guess in guesses) == pytest.approx(1)
    # The odds are those of its distance, and the other words keep theirs among each other.
    proto = recognizer.embed(LADDERS[:10]).astype(float).mean(0)
    cosine = recognizer.embed(LADDERS[12:13])[0] @ proto / np.linalg.norm(proto)
    own = dict(guesses)["ladder"]
    assert np.log(own / (1 - own)) == pytest.approx(26 * 10 / 11 * (cosine - 0.835), abs=1e-4)
    assert recognizer.predict(LADDERS[12], words=["cat", "LADDER"])[0].word in ("cat", "ladder")
    assert len(recognizer.probabilities([LADDERS[0].strokes])[0]) == 5
    some = Recognizer(recognizer._model, ["star", "cat"])
    some.teach("ladder", LADDERS[:10])
    assert some.classes == ("star", "cat", "ladder")
    assert some.predict(LADDERS[12]) == recognizer.predict(LADDERS[12], words=["star", "cat", "ladder"])
    with pytest.raises(CategoryError, match="the last of the words"):
        some._words = ["ladder"]
        some.forget("ladder")
    recognizer.forget("ladder")
    assert recognizer.classes == CLASSES and recognizer.predict_many(others(), top=9) == before


def test_a_model_with_discriminants_compares_these_in_every_format(path, with_discriminant, tmp_path):
    pytest.importorskip("onnxruntime")
    recognizer = load(with_discriminant)
    before = recognizer.probabilities([drawing.strokes for drawing in LADDERS])
    for i in range(2):
        recognizer.teach(f"ladder {i}", LADDERS[3 * i : 3 * i + 3 + i])
    after = recognizer.probabilities([drawing.strokes for drawing in LADDERS])
    statistics = recognizer._discriminant
    points = statistics.project(np.log(before))
    means = np.stack([points[:3].mean(0) * 3 / 4, points[3:7].mean(0) * 4 / 5])
    trained = statistics.means.T - statistics.means.mean(1)
    near = [-0.5 * np.square(points[:, None] - own).sum(2) for own in (means, trained)]
    expected = near[0] - np.log(np.exp(0.2 * near[1]).sum(1, keepdims=True)) / 0.2
    n, odds = np.array([3, 4]), np.log(after[:, 4:] / after[:, :4].sum(1, keepdims=True))
    np.testing.assert_allclose(odds, 0.17 * expected + 0.3 - n / 50, atol=1e-6)
    np.testing.assert_allclose(after[:, :4] / after[:, :4].sum(1, keepdims=True), before, atol=1e-9)
    plain = load(path)
    plain.teach("ladder 0", LADDERS[:3])
    assert plain.predict(LADDERS[9]) != recognizer.predict(LADDERS[9])
    recognizer.save(tmp_path / "mine.json")
    (tmp_path / "model.onnx").write_bytes(export(recognizer._model).data)
    (tmp_path / "model.quickstroke").write_bytes(export_compact(recognizer._model, "float16", has_statistics=True).data)
    for suffix, tolerance in (("onnx", 1e-4), ("quickstroke", 0.02)):
        again = load(tmp_path / f"model.{suffix}", taught=tmp_path / "mine.json")
        np.testing.assert_allclose(again.probabilities([d.strokes for d in LADDERS]), after, atol=tolerance)


@pytest.mark.parametrize(
    "damage", ["x", {}, {"int4": "", "scales": []}, {"int4": "AAAA", "scales": [1.0]}, "one scale is not finite"]
)
def test_damaged_discriminants_are_refused(with_discriminant, damage):
    card = json.loads(with_discriminant.with_suffix(".json").read_text())
    if damage == "one scale is not finite":
        card["discriminant"]["means"]["scales"][0] = float("nan")
    else:
        card["discriminant"]["means"] = damage
    loaded = replace(load(with_discriminant)._model, card=card)
    with pytest.raises(WeightsError, match="its discriminant is damaged"):
        Recognizer(loaded)


def test_unknown_falls_where_a_taught_word_is_likely(path, tmp_path):
    facts = {"unknown": {"intercept": 1.0, "slope": 0.5}}
    model = load(path)._model
    known = load(write_model(tmp_path, replace(model, card=None), facts))
    before = known.unknown(LADDERS[0])
    known.teach("ladder", LADDERS[:5])
    guesses = known.predict(LADDERS[0])
    assert guesses.unknown == pytest.approx(before * (1 - dict(guesses)["ladder"]))


def test_what_cannot_be_taught_is_refused_and_changes_nothing(recognizer):
    recognizer.teach("ladder", LADDERS[:3])
    for word, drawings, error, reason in (
        ("CAT", LADDERS[:5], CategoryError, r"word: 'cat' is among the words that .* knows already$"),
        ("ladder", LADDERS[:5], CategoryError, "knows already; forget it first$"),
        ("", LADDERS[:5], CategoryError, "word: class 1 has an empty name"),
        ("robot", LADDERS[:2], ConfigError, "drawings: 2 of 'robot'; a word is taught by 3 or more$"),
        ("robot", [*LADDERS[:3], [[]]], FormatError, "drawing 4: "),
    ):
        with pytest.raises(error, match=reason):
            recognizer.teach(word, drawings)
    with pytest.raises(CategoryError, match="'robot' was not taught; taught words: 'ladder'"):
        recognizer.forget("robot")
    assert recognizer.taught == {"ladder": 3}


def test_taught_words_are_loaded_as_outside_of_tests(path, recognizer, tmp_path, monkeypatch):
    recognizer.teach("ladder", LADDERS[:4])
    recognizer.save(tmp_path / "mine.json")
    monkeypatch.setattr(qs.Recognizer, "compiles", True)  # drawings are counted until code is compiled
    assert load(path, taught=tmp_path / "mine.json").taught == {"ladder": 4}


def test_saved_words_come_back(path, recognizer, tmp_path):
    file = tmp_path / "mine.json"
    recognizer.teach("ladder", LADDERS[:4])
    recognizer.teach("scribble of ä", others()[:3])
    recognizer.save(file)
    assert not [left for left in tmp_path.iterdir() if left != file]
    again = load(path, taught=file)
    assert again.taught == recognizer.taught
    assert again.predict_many(LADDERS) == recognizer.predict_many(LADDERS)
    assert load(path, words=["ladder", "cat"], taught=file).classes == ("ladder", "cat")
    with pytest.raises(CategoryError, match=r"mine.json: 'ladder' is among the words"):
        again.load(file)
    recognizer.forget("ladder")
    recognizer.save(file)
    assert load(path, taught=file).taught == {"scribble of ä": 3}


def test_a_failed_save_leaves_the_file_as_it_was(recognizer, tmp_path, monkeypatch):
    file = tmp_path / "mine.json"
    recognizer.teach("ladder", LADDERS[:3])
    recognizer.save(file)
    before = file.read_bytes()
    recognizer.teach("robot", LADDERS[3:9])
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        recognizer.save(file)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def test_files_that_cannot_be_taken(recognizer, tmp_path):
    file = tmp_path / "mine.json"
    recognizer.teach("ladder", LADDERS[:3])
    recognizer.save(file)
    recognizer.forget("ladder")
    content = json.loads(file.read_text(encoding="utf-8"))
    whole = file.read_bytes()
    ladders = content["words"]["ladder"]
    for given, reason in (
        (whole[:-40], "cut off, damaged or no file of taught words"),
        (b"\xff\xfe", "cut off, damaged or no file"),
        (b"[" * 100_000, "cut off, damaged or no file"),
        (b"[]", "no file of taught words; expected one of `quickstroke teach`"),
        (content | {"version": 2}, "version 2 of taught words, this program reads version 1"),
        (content | {"version": None}, "version None of taught words"),
        (
            content | {"model": "other", "model_sha256": "f" * 64},
            r"was taught to 'other' with the hash ffffffffffff\.\.;",
        ),
        (content | {"words": []}, "damaged: `words` is no object"),
        (content | {"words": {"ladder": ladders[:2]}}, "damaged: a word has .*; expected 3 drawings or more"),
        (content | {"words": {"ladder": [*ladders, [[[0, 300], [0, 1]]]]}}, r"damaged: .*300"),
        (content | {"words": {"ladder": [*ladders, "x"]}}, "damaged: "),
        (content | {"words": {"": ladders}}, "damaged: words: class 1 has an empty name"),
        (content | {"words": {"star": ladders}}, "'star' is among the words"),
    ):
        file.write_bytes(given if isinstance(given, bytes) else json.dumps(given).encode())
        with pytest.raises((WeightsError, CategoryError), match=rf"mine\.json: {reason}"):
            recognizer.load(file)
        assert recognizer.classes == CLASSES
    with pytest.raises(WeightsError, match="nowhere: cannot be read: No such file"):
        recognizer.load(tmp_path / "nowhere")


def test_prototypes_of_zeros_stay_finite():
    assert not prototypes.prototype(np.zeros((3, 4)), None).any()


# --- the command


@pytest.fixture
def ladders(tmp_path):
    binary.write(tmp_path / "ladder.bin", LADDERS[:6])
    return str(tmp_path / "ladder.bin")


def test_the_command_teaches_and_predict_takes_it(path, ladders, tmp_path, capsys):
    file = str(tmp_path / "mine.json")
    assert cli.main(["teach", str(path), ladders, "--into", "my_ladder", "--taught", file, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["words"] == {"my ladder": 6}
    assert "6 of the drawings say that they show 'ladder'; they are taught as 'my ladder'" in err
    arguments = ["predict", ladders, "--model", str(path), "--taught", file, "--json"]
    assert cli.main([*arguments, "--words", "my ladder", "cat"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["words"] == ["my ladder", "cat"]
    expected = load(path, taught=file).predict(LADDERS[0], words=["my ladder", "cat"])
    assert values["drawings"][0]["guesses"][0]["word"] == expected[0].word
    assert cli.main(["teach", str(path), ladders, "--into", "my ladder", "--taught", file]) == 2
    assert "'my ladder' is among the words" in capsys.readouterr().err
    assert cli.main(["teach", str(path), ladders, "--into", "my ladder", "--taught", file, "--forget"]) == 0
    assert cli.main(["teach", str(path), "--into", "my ladder", "--taught", file, "--forget"]) == 0
    assert load(path, taught=file).taught == {}


def test_the_name_of_a_folder_says_nothing(path, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for number, drawing in enumerate(LADDERS[:3]):
        svg.write(tmp_path / "photos" / f"{number}.svg", [replace(drawing, word="")])
    command = ["teach", str(path), str(tmp_path / "photos"), "--into", "ladder", "--taught", str(tmp_path / "a.json")]
    assert cli.main(command) == 0
    assert "say that they show" not in capsys.readouterr().err


def test_the_command_refuses_in_one_line(path, ladders, tmp_path, capsys):
    file = tmp_path / "mine.json"
    binary.write(tmp_path / "few.bin", LADDERS[:2])
    for arguments, reason in (
        ([ladders, "--into", "cat"], "'cat' is among the words"),
        ([str(tmp_path / "few.bin"), "--into", "robot"], "2 of 'robot'; a word is taught by 3 or more"),
        (["--into", "robot"], "no FILE was given"),
        (["--into", "robot", "--forget"], "'robot' was not taught"),
    ):
        capsys.readouterr()
        assert cli.main(["teach", str(path), *arguments, "--taught", str(file)]) == 2
        assert reason in capsys.readouterr().err.splitlines()[-1]
    assert not file.exists()


def test_taught_words_are_not_evaluated(recognizer):
    recognizer.teach("ladder", LADDERS[:3])
    with pytest.raises(ConfigError, match="has taught words, which are not evaluated"):
        qs.evaluate(recognizer, others())
