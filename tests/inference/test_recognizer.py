"""From strokes to ranked words, as evaluation would have it."""

import os
import pickle
import signal
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import quickstroke as qs
from quickstroke.artifacts.loading import LoadedModel, write_model
from quickstroke.artifacts.unknown import Outputs
from quickstroke.config.model import ModelConfig
from quickstroke.data.memory import from_drawings
from quickstroke.data.points import to_points
from quickstroke.data.selection import LabelledDrawings
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.simplification import simplify
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import CategoryError, ConfigError, FormatError, WeightsError
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.inference import recognizer as recognizer_module
from quickstroke.inference.recognizer import Guess, Recognizer, load
from quickstroke.models.classifier import StrokeClassifier

CLASSES = ("circle", "house", "star", "cat", "sun", "fish", "tree")
NAMES = ("simple_lay1_sz8", "bilstm_cv1_6_3_lay1_sz5")
SQUARE = [[[0, 0], [0, 255], [255, 255], [255, 0], [0, 0]], [[100, 100], [150, 160]]]


pytestmark = pytest.mark.usefixtures("one_thread")


def new_model(name, reading="length-aware"):
    torch.manual_seed(0)
    model = StrokeClassifier(ModelConfig.from_name(name, n_classes=len(CLASSES), reading=reading))
    with torch.no_grad():  # far from uniform answers
        model.linear.weight.mul_(10)
    return model.eval()


@pytest.fixture(scope="module", params=[(name, reading) for name in NAMES for reading in ("length-aware", "padded")])
def recognizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lstm")
    return load(write_model(folder, LoadedModel(new_model(*request.param), CLASSES, None, folder), {}))


class Fixed:
    """A model that says the same of every drawing."""

    name, classes, card, note, max_padding, preprocessing = "fixed", CLASSES, None, "", 100, "delta3"

    def __init__(self, *probabilities):
        self._probabilities = probabilities

    def outputs(self, points, lengths):
        return Outputs(np.tile(self._probabilities, (len(points), 1)), np.full(len(points), 0.25))


def close(one, other):
    assert [guess.word for guess in one] == [guess.word for guess in other]
    np.testing.assert_allclose([g.probability for g in one], [g.probability for g in other], rtol=1e-5)


# --- guesses


def test_guesses_are_ranked_probabilities_of_all_words(recognizer):
    guesses = recognizer.predict(SQUARE, simplified=True, top=len(CLASSES))
    assert sorted(guess.word for guess in guesses) == sorted(CLASSES)
    probabilities = [guess.probability for guess in guesses]
    assert sum(probabilities) == pytest.approx(1, abs=1e-12)
    assert probabilities == sorted(probabilities, reverse=True) and probabilities[-1] > 0
    assert all(type(guess) is Guess and type(guess.probability) is float for guess in guesses)
    assert guesses[0] == (guesses[0].word, guesses[0].probability)


def test_top(recognizer):
    everything = recognizer.predict(SQUARE, simplified=True, top=1000)
    assert len(everything) == len(CLASSES)  # no more than the model knows
    for top in range(1, len(CLASSES) + 1):
        assert recognizer.predict(SQUARE, simplified=True, top=top) == everything[:top]
    assert recognizer.predict(SQUARE, simplified=True) == everything[:5]
    assert recognizer.predict(SQUARE, simplified=True, top=np.int64(2)) == everything[:2]
    for top in (0, -1, True, 2.0):
        with pytest.raises(ConfigError, match=f"top should be 1 or more, got {top}"):
            recognizer.predict(SQUARE, top=top)


def test_some_words_are_chosen_among_as_by_a_model_of_these_alone(recognizer, tmp_path):
    words = ["tree", "circle", "CAT"]
    chosen = recognizer.predict(SQUARE, simplified=True, words=words)
    at = [CLASSES.index(word) for word in ("tree", "circle", "cat")]
    model = recognizer._model.model
    with torch.inference_mode():  # what it says without its other outputs
        model.linear.weight, model.linear.bias, saved = (
            torch.nn.Parameter(model.linear.weight[at]),
            torch.nn.Parameter(model.linear.bias[at]),
            (model.linear.weight, model.linear.bias),
        )
    few = Recognizer(LoadedModel(model, ("tree", "circle", "cat"), None, tmp_path))
    expected = few.predict(SQUARE, simplified=True)
    model.linear.weight, model.linear.bias = saved
    close(chosen, expected)
    path = tmp_path / "few.txt"
    path.write_text("\n".join(words), encoding="utf-8")
    for form in (words, path, str(path)):
        loaded = Recognizer(recognizer._model, form)
        assert loaded.classes == ("tree", "circle", "cat") and repr(loaded).endswith(": 3 words>")
        assert loaded.predict(SQUARE, simplified=True) == chosen
        assert recognizer.predict(SQUARE, simplified=True, words=form) == chosen
    assert loaded.predict_many([SQUARE], simplified=True, words=["cat", "tree"])[0].layout == "points"
    np.testing.assert_allclose(loaded.probabilities([np.array(SQUARE[:1], np.uint8)]).sum(axis=1), 1, atol=1e-12)
    drawing = Drawing("", [np.array(SQUARE[1], np.uint8)])
    assert recognizer.predict(drawing, words=["sun"]) == [("sun", 1.0)]


def test_words_that_are_not_known_are_refused_with_the_nearest(recognizer):
    for words, reason in (
        (["tre", "cat", "zebra"], "words: not among the 7 .*: 'tre' .did you mean 'tree'.., 'zebra'$"),
        ([f"word {i}" for i in range(9)], "'word 4' and 4 more$"),
        (["cat", "Cat"], "words: 'cat' is listed twice"),
        ([], "words: no class is listed"),
        ([3], "words: class 1 is 3; expected a word"),
        ("nowhere.txt", "nowhere.txt: no such class list file"),
    ):
        for call in (lambda w: recognizer.predict(SQUARE, words=w), lambda w: Recognizer(recognizer._model, w)):
            with pytest.raises(CategoryError, match=reason):
                call(words)
    with pytest.raises(CategoryError, match="not among the 2 that the model knows: 'star'"):
        Recognizer(recognizer._model, ["cat", "tree"]).predict(SQUARE, words=["star"])


def test_words_none_of_which_is_told_from_0_are_equally_probable():
    sure = Fixed(1.0, *[0.0] * 5, 1e-300)
    model = Recognizer(sure, ["cat", "star"])
    assert model.predict(SQUARE) == [("cat", 0.5), ("star", 0.5)]
    assert Recognizer(sure).predict(SQUARE, words=["star", "tree"]) == [("tree", 1.0), ("star", 0.0)]
    assert Recognizer(sure).unknown(SQUARE) == 0.25 and model.unknown(SQUARE) == 1


def test_dots_alone_are_none_of_the_words():
    dot, dots, line = [[(5, 5)]], [[(5, 5)], [(9, 40)]], [[(5, 5)], [(9, 40), (0, 0)]]
    told = Recognizer(Fixed(1.0, *[0.0] * 6)).predict_many([dot, dots, line], layout="points")
    assert [(guesses.unknown, guesses.is_sure) for guesses in told] == [(1, False), (1, False), (0.25, False)]


def test_unknown_of_chosen_words_is_that_the_drawing_shows_none_of_these():
    torn = Fixed(0.5, 0.25, 0.25, 0, 0, 0, 0)
    model = Recognizer(torn)
    for words, known in ((["circle"], 0.5), (["house", "star"], 0.5), (["circle", "star", "sun"], 0.75)):
        assert model.unknown(SQUARE, words=words) == Recognizer(torn, words).predict(SQUARE).unknown
        assert model.predict_many([SQUARE], words=words)[0].unknown == pytest.approx(1 - 0.75 * known)


def test_equal_probabilities_keep_the_order_of_the_classes(tmp_path):
    model = new_model(NAMES[0])
    with torch.no_grad():
        model.linear.weight.zero_()
        model.linear.bias.copy_(torch.tensor([1.0, 2, 1, 2, 1, 1, 3]))
    guesses = Recognizer(LoadedModel(model, CLASSES, None, tmp_path)).predict(SQUARE, top=7)
    assert [guess.word for guess in guesses] == ["tree", "house", "cat", "circle", "star", "sun", "fish"]


def test_what_a_recognizer_tells_of_its_model(tmp_path):
    path = write_model(tmp_path, LoadedModel(new_model(NAMES[0]), CLASSES, None, tmp_path), {"licence": "MIT"})
    published = load(path)
    assert (published.name, published.classes, published.note) == (NAMES[0], CLASSES, "")
    assert published.card is not None and published.card["licence"] == "MIT"
    assert repr(published) == f"<Recognizer {NAMES[0]}: {len(CLASSES)} words>"
    path.with_suffix(".json").unlink()
    bare = load(str(path), list(CLASSES))
    assert (bare.name, bare.classes, bare.card) == (NAMES[0], CLASSES, None) and "no card" in bare.note
    with pytest.raises(WeightsError, match="7 outputs and no card"):
        load(path)


def test_the_default_model_is_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("quickstroke.artifacts.cards.model_folders", lambda: [tmp_path / "lstm"])
    with pytest.raises(WeightsError, match="no published model"):
        load()
    write_model(tmp_path / "lstm", LoadedModel(new_model(NAMES[0]), CLASSES, None, tmp_path), {})
    assert load().name == load(NAMES[0]).name == qs.load().name == NAMES[0]


# --- forms of strokes


def test_simplified_strokes_in_any_form(recognizer):
    expected = recognizer.predict(SQUARE, simplified=True)
    arrays = [np.array(stroke) for stroke in SQUARE]
    forms = [
        arrays,
        tuple(arrays),
        [array.astype(np.uint8) for array in arrays],
        [array.astype(np.float32) for array in arrays],
        [array.astype(np.uint64) for array in arrays],
        [tuple(map(tuple, stroke)) for stroke in SQUARE],
        [np.asfortranarray(array) for array in arrays],
        [np.column_stack([array, np.full(len(array), -3.5)]) for array in arrays],  # a third column is ignored
    ]
    for form in forms:
        assert recognizer.predict(form, simplified=True) == expected


def test_raw_strokes_in_any_form(recognizer):
    raw = next(iter(synthetic_drawings(1, words=("house",), simplified=False)))
    expected = recognizer.predict(raw.strokes)
    assert recognizer.predict(simplify(raw.strokes), simplified=True) == expected
    forms = [
        [stroke.tolist() for stroke in raw.strokes],
        tuple(raw.strokes),
        [np.column_stack([stroke, np.arange(len(stroke))]) for stroke in raw.strokes],
        [stroke.astype(np.int32) for stroke in raw.strokes],
    ]
    for form in forms:
        assert recognizer.predict(form) == expected
    close(recognizer.predict([stroke * 0.5 + 1000 for stroke in raw.strokes]), expected)


def test_a_drawing_object_says_itself_whether_it_is_simplified(recognizer):
    for simplified in (True, False):
        drawing = next(iter(synthetic_drawings(1, words=("star",), simplified=simplified)))
        expected = recognizer.predict(drawing.strokes, simplified=simplified, top=3)
        assert recognizer.predict(drawing, top=3) == expected
    assert len(expected) == 3


def test_arrays_of_bytes_are_in_simplified_form_already(recognizer):
    drawing = next(synthetic_drawings(1, simplified=False))
    strokes = simplify(drawing.strokes)
    # Simplified once more they would lose points.
    longer = [np.concatenate([stroke, stroke[-1:]]) for stroke in strokes]
    for own in (strokes, longer):
        expected = recognizer.predict(own, simplified=True)
        assert recognizer.predict(own) == recognizer.predict(Drawing("cat", own)) == expected
        np.testing.assert_array_equal(recognizer.embed([own]), recognizer.embed([Drawing("cat", own)]))
    as_raw = [stroke.astype(float) for stroke in longer]
    for no in (False, np.False_):
        assert recognizer.predict(longer, simplified=no) == recognizer.predict(as_raw)
    assert sum(map(len, simplify(as_raw))) < sum(map(len, longer))
    # Pixels of a small canvas, or far from its corner, are the pen's own.
    for pixels in ([stroke // 2 for stroke in longer], [np.maximum(stroke, 60) for stroke in longer]):
        assert recognizer.predict(pixels) == recognizer.predict([stroke.astype(float) for stroke in pixels])


def test_drawings_are_taken_beside_strokes(recognizer):
    drawings = [next(iter(synthetic_drawings(1, words=("star",), simplified=s))) for s in (True, False)]
    for drawing in drawings:
        expected = recognizer.predict(drawing.strokes, simplified=drawing.is_simplified)
        for simplified in (None, drawing.is_simplified, np.bool_(drawing.is_simplified)):
            assert recognizer.predict(drawing, simplified=simplified) == expected
        said = "simplified" if drawing.is_simplified else "raw"
        message = f"simplified = {not drawing.is_simplified} was given with a Drawing that is {said}"
        with pytest.raises(ConfigError, match=message):
            recognizer.predict(drawing, simplified=not drawing.is_simplified)
        with pytest.raises(ConfigError, match="drawing 2: " + message):
            recognizer.predict_many([SQUARE, drawing], simplified=not drawing.is_simplified)
    raw = [*drawings, drawings[1].strokes]
    one, two, three = recognizer.predict_many(raw, top=7)
    close(one, recognizer.predict(drawings[0], top=7))
    close(two, recognizer.predict(drawings[1], top=7))
    close(three, two)
    assert recognizer.predict_many(iter(raw), top=7) == [one, two, three]
    simplified = recognizer.predict_many([drawings[0], SQUARE], simplified=True, top=7)
    close(simplified[1], recognizer.predict(SQUARE, simplified=True, top=7))


def test_the_strokes_of_a_drawing_may_be_lists(recognizer):
    drawing = Drawing("cat", SQUARE)
    assert not drawing.is_simplified and recognizer.predict(drawing) == recognizer.predict(SQUARE)
    with pytest.raises(FormatError, match=r"strokes\[0\]"):
        recognizer.predict(Drawing("cat", [5]))


def test_probabilities_take_drawings_in_simplified_form(recognizer):
    strokes = [np.array(stroke, np.uint8) for stroke in SQUARE]
    assert recognizer.probabilities([strokes, strokes]).shape == (2, len(CLASSES))
    drawings = [Drawing("cat", SQUARE), Drawing("cat", strokes)]
    expected = [{guess.word: guess.probability for guess in recognizer.predict(drawing, top=9)} for drawing in drawings]
    for row, of in zip(recognizer.probabilities(drawings), expected, strict=True):
        assert dict(zip(recognizer.classes, row, strict=True)) == pytest.approx(of, abs=1e-6)
    with pytest.raises(FormatError, match="expected integers from 0 to 255"):
        recognizer.probabilities([[np.full((2, 2), 0.5)]])


def test_input_is_left_as_it_was(recognizer):
    raw = next(iter(synthetic_drawings(1, words=("sun",), simplified=False)))
    for simplified, strokes in ((False, raw.strokes), (True, simplify(raw.strokes))):
        before = [stroke.copy() for stroke in strokes]
        recognizer.predict(strokes, simplified=simplified)
        assert all(np.array_equal(a, b) for a, b in zip(strokes, before, strict=True))


@pytest.mark.parametrize("simplified", [True, False])
def test_dots_and_single_points(recognizer, simplified):
    dot = recognizer.predict([[[7, 9]]], simplified=simplified, top=7)
    assert sum(guess.probability for guess in dot) == pytest.approx(1)
    assert recognizer.predict([[[200, 3]]], simplified=simplified, top=7) == dot  # where it lies does not matter
    for strokes in ([[[0, 0]], [[255, 255]]], [[[5, 5]] * 4], [[[1, 2], [3, 4]], [[9, 9]]]):
        guesses = recognizer.predict(strokes, simplified=simplified, top=7)
        assert sum(guess.probability for guess in guesses) == pytest.approx(1)


# --- one drawing or many


def test_many_at_once_are_as_one_by_one(recognizer, monkeypatch):
    drawings = list(synthetic_drawings(2, words=("circle", "house", "star", "sun"), simplified=False))
    many = [drawing.strokes for drawing in drawings] + [[[[3, 3]]]]
    expected = [recognizer.predict(strokes, top=7) for strokes in many]
    for batch_size in (256, 9, 4, 1):
        monkeypatch.setattr(recognizer_module, "_BATCH_SIZE", batch_size)
        for one, other in zip(recognizer.predict_many(many, top=7), expected, strict=True):
            close(one, other)
    assert recognizer.predict_many([]) == []
    assert len(recognizer.predict_many(many, top=2)[3]) == 2


@settings(max_examples=25)
@given(
    st.lists(
        st.lists(
            st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=60),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_simplified_drawings(recognizer, drawings):
    together = recognizer.predict_many(drawings, simplified=True, top=7)
    for strokes, guesses in zip(drawings, together, strict=True):
        assert sum(guess.probability for guess in guesses) == pytest.approx(1)
        alone = {guess.word: guess.probability for guess in recognizer.predict(strokes, simplified=True, top=7)}
        for guess in guesses:
            assert guess.probability == pytest.approx(alone[guess.word], rel=1e-4, abs=1e-7)


def test_the_same_as_evaluation(recognizer, drawings):
    """The recognizer's first guess, its probability and the rank of the truth are those that evaluation counts."""
    items = [drawing for word in drawings for drawing in drawings[word][:8]]
    items += synthetic_drawings(2, seed=3, words=("sun",), simplified=False)
    data, left_out = from_drawings(items, CLASSES)
    assert not left_out and len(data) == 26
    result = evaluate(recognizer._model.model, LabelledDrawings(data, np.arange(26), CLASSES, np.arange(len(CLASSES))))
    by_label = sorted(items, key=lambda drawing: CLASSES.index(drawing.word))
    for position, drawing in enumerate(by_label):
        guesses = recognizer.predict(drawing, top=7)
        assert guesses[0].word == CLASSES[result.predicted[position]]
        assert guesses[0].probability == pytest.approx(result.probability[position], rel=1e-5)
        assert [guess.word for guess in guesses].index(drawing.word) == result.ranks[position]


def test_drawings_longer_than_max_padding_are_cut(recognizer):
    rng = np.random.default_rng(0)
    long = rng.integers(0, 256, (300, 2))
    long[0], long[1] = (0, 0), (255, 255)  # the bounding box is in what is kept
    guesses = recognizer.predict([long], simplified=True, top=7)
    close(recognizer.predict([np.concatenate([long, long])], simplified=True, top=7), guesses)
    assert recognizer.predict([long[:60]], simplified=True, top=7) != guesses


# --- what is refused


@pytest.mark.parametrize(
    "strokes",
    [
        [],
        (),
        None,
        5,
        [[]],
        [[], [[1, 2]]],
        [[1, 2]],
        np.array([[1, 2], [3, 4]]),
        [[[1, 2, 3, 4]]],
        [[[1]]],
        [[[1, 2], [3]]],
        [[["a", "b"]]],
        [[[None, 1]]],
        [[[1j, 2]]],
        [[[True, False]]],
        [[[float("nan"), 1]]],
        [[[1, float("inf")]]],
        [np.zeros((2, 2, 2))],
        ["abc"],
    ],
)
def test_what_is_no_drawing(recognizer, strokes):
    for simplified in (True, False):
        with pytest.raises(FormatError) as error:
            recognizer.predict(strokes, simplified=simplified)
        assert "\n" not in str(error.value)
        with pytest.raises(FormatError, match=r"^drawing 2: "):
            recognizer.predict_many([SQUARE, strokes], simplified=simplified)


@pytest.mark.parametrize("value", [-1, 256, 0.5, 1e9, -0.001])
def test_what_is_not_simplified(recognizer, value):
    with pytest.raises(FormatError, match=r"strokes\[1\]\[\d\] is at .*; expected integers from 0 to 255"):
        recognizer.predict([[[0, 0], [1, 1]], [[value, 3]]], simplified=True)
    assert len(recognizer.predict([[[0, 0], [1, 1]], [[value, 3]]])) == 5  # as raw strokes they are fine


def test_tensors_are_strokes_unless_they_need_their_gradient(recognizer):
    stroke = torch.tensor([[0.0, 0.0], [5.0, 9.0]])
    assert len(recognizer.predict([stroke])) == 5
    for simplified in (True, False):
        with pytest.raises(FormatError, match=r"strokes\[0\]"):
            recognizer.predict([stroke.requires_grad_()], simplified=simplified)


def test_a_drawing_object_without_strokes(recognizer):
    with pytest.raises(FormatError):
        recognizer.predict(Drawing("cat", []))


def test_more_than_a_few_drawings_begin_to_compile_beside_the_guesses(recognizer, monkeypatch):
    own, begun = Recognizer(recognizer._model), []
    own.compiles = True
    monkeypatch.setattr(recognizer_module, "beside", begun.append)
    own.predict_many([SQUARE] * 60)
    own.predict(SQUARE)
    assert not begun
    for _ in range(5):
        own.predict(SQUARE)
    assert begun == [own.compile]


def test_who_wants_no_compiling_has_none(recognizer, monkeypatch):
    own = Recognizer(recognizer._model)
    own.compiles = False
    monkeypatch.setattr(recognizer_module, "beside", lambda work: pytest.fail("compiles"))
    own.predict_many([SQUARE] * 70)


def test_of_a_traced_drawing_the_image_counts_more():
    """As of a model whose logits are a weighted mean of those of its points and those of its image."""
    name = "bipool_cv1_5_3_2_img2_lay1_sz3"
    recognizer = Recognizer(LoadedModel(new_model(name), CLASSES, None, Path("unused")))
    model = recognizer._model.model
    drawn = list(synthetic_drawings(3, seed=2, words=("face",)))
    traced = [replace(drawing, is_traced=True) for drawing in drawn]
    of_points_and_image = []
    for drawing in drawn:
        points = torch.from_numpy(to_points(drawing.strokes, recognizer._model.max_padding, "pos5"))[None]
        with torch.no_grad():
            of_points_and_image.append(model(points, torch.tensor([points.shape[1]]), auxiliary=True)[0, 1:])
    for drawing, (points, image) in zip(traced, of_points_and_image, strict=True):
        expected = (0.35 * points + 0.65 * image).softmax(0).numpy()
        found = dict(recognizer.predict(drawing, top=7))
        np.testing.assert_allclose([found[word] for word in recognizer.classes], expected, atol=1e-6)
        assert found != dict(recognizer.predict(replace(drawing, is_traced=False), top=7))
    mixed = recognizer.predict_many([drawn[0], traced[1], drawn[2]])
    for guesses, drawing in zip(mixed, (drawn[0], traced[1], drawn[2]), strict=True):
        close(guesses, recognizer.predict(drawing))
    both = recognizer.probabilities([traced[1], drawn[2]])
    for row, guesses in zip(both, mixed[1:], strict=True):
        np.testing.assert_allclose(row.max(), guesses[0].probability, atol=1e-6)
    assert recognizer.predict(traced[0], words=recognizer.classes[:2])[0].word in recognizer.classes[:2]
    plain = Recognizer(LoadedModel(new_model("bipool_cv1_5_3_2_lay1_sz3"), CLASSES, None, Path("unused")))
    close(plain.predict(traced[0]), plain.predict(drawn[0]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_copy_of_a_compiled_recognizer_guesses_in_a_forked_child(tmp_path, request):
    model = new_model("simple_lay1_sz256")
    mine = load(write_model(tmp_path, LoadedModel(model, CLASSES, None, tmp_path), {}))
    mine.compile()
    kept = pickle.dumps(mine)
    expected = mine.predict(SQUARE)
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(2)
    torch.stack([model.lstm.weight_hh_l0.t()])  # of two threads, of which the child has one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads, which is what this is about
        child = os.fork()
    if not child:
        signal.alarm(60)
        copied = pickle.loads(kept)
        same = copied.predict(SQUARE) == expected
        copied.compile()
        os._exit(not (same and copied.predict(SQUARE) == expected))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
