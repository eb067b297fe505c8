from collections import Counter

import numpy as np
import pytest

from quickstroke.drawings.categories import CATEGORIES
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.synthetic import SYNTHETIC_WORDS, synthetic_drawing, synthetic_drawings
from quickstroke.errors import CategoryError, ConfigError


def raw(n_per_word: int, seed: int = 0) -> list[Drawing]:
    return list(synthetic_drawings(n_per_word, seed, simplified=False))


def same(a: Drawing, b: Drawing) -> bool:
    return (
        (a.word, a.key_id, len(a.strokes)) == (b.word, b.key_id, len(b.strokes))
        and all(np.array_equal(x, y) for x, y in zip(a.strokes, b.strokes, strict=True))
        and all(np.array_equal(x, y) for x, y in zip(a.times_ms or (), b.times_ms or (), strict=True))
    )


def test_a_dozen_official_words() -> None:
    assert len(set(SYNTHETIC_WORDS)) == 12
    assert set(SYNTHETIC_WORDS) <= set(CATEGORIES)


@pytest.mark.parametrize("word", SYNTHETIC_WORDS)
def test_raw_form(word: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        drawing = synthetic_drawing(word, rng)
        assert drawing.word == word and drawing.countrycode == "ZZ" and drawing.timestamp_us == 0
        assert drawing.recognized and not drawing.is_simplified
        assert 1 << 63 <= drawing.key_id < 1 << 64
        assert 1 <= len(drawing.strokes) <= 20
        assert drawing.times_ms is not None
        for stroke, times_ms in zip(drawing.strokes, drawing.times_ms, strict=True):
            assert stroke.dtype == times_ms.dtype == np.float64
            assert stroke.shape == (len(times_ms), 2)
            assert np.array_equal(stroke, np.rint(stroke))
            assert (np.hypot(*np.diff(stroke, axis=0).T) >= 5).all()
        times_ms = np.concatenate(drawing.times_ms)
        assert times_ms[0] == 0 and (np.diff(times_ms) > 0).all()
        points = np.concatenate(drawing.strokes)
        assert points.min() >= 0
        assert 80 < np.ptp(points, axis=0).max() < 1200


def test_a_drawing_depends_on_seed_word_and_index_only() -> None:
    many = raw(4)
    few = list(synthetic_drawings(2, words=("sun", "circle"), simplified=False))
    assert [drawing.word for drawing in few] == ["sun", "sun", "circle", "circle"]
    for drawing in few:
        assert sum(same(drawing, other) for other in many) == 1
    assert not any(same(a, b) for a, b in zip(raw(1, seed=0), raw(1, seed=1), strict=True))


def test_key_ids_are_unique_and_stay_as_they_are() -> None:
    drawings = raw(10, seed=0) + raw(10, seed=1)
    assert len({drawing.key_id for drawing in drawings}) == len(drawings)
    (first,) = synthetic_drawings(1, words=["circle"], simplified=False)
    assert first.key_id == 14894201503581098487


def test_simplified_form() -> None:
    drawings = list(synthetic_drawings(20))
    assert Counter(drawing.word for drawing in drawings) == dict.fromkeys(SYNTHETIC_WORDS, 20)
    for drawing, before in zip(drawings, raw(20), strict=True):
        assert drawing.is_simplified and drawing.times_ms is None
        assert drawing.key_id == before.key_id
        assert drawing.n_points < before.n_points
        assert np.concatenate(drawing.strokes).max() >= 250
    n_points = np.array([drawing.n_points for drawing in drawings])
    n_strokes = np.array([len(drawing.strokes) for drawing in drawings])
    # Official drawings of these words have about 10 to 60 points in 1 to 15 strokes.
    assert np.quantile(n_points, 0.05) >= 8 and np.quantile(n_points, 0.95) <= 75
    assert np.quantile(n_strokes, 0.95) <= 15


def test_words_differ_in_shape_and_not_in_stroke_count() -> None:
    def picture(drawing: Drawing) -> np.ndarray:
        points = np.concatenate(drawing.strokes) - np.concatenate(drawing.strokes).min(axis=0)
        x, y = (points * 11.99 / points.max()).astype(int).T
        cells = np.zeros((14, 14))
        cells[y + 1, x + 1] = 1
        blurred = sum(np.roll(cells, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) + 2 * cells
        return np.asarray(blurred / np.linalg.norm(blurred)).ravel()

    known, asked = raw(40, seed=0), raw(10, seed=1)
    nearest = np.argmax(np.stack([*map(picture, asked)]) @ np.stack([*map(picture, known)]).T, axis=1)
    by_shape = np.mean([known[i].word == drawing.word for i, drawing in zip(nearest, asked, strict=True)])
    words_of_count: dict[int, Counter[str]] = {}
    for drawing in known:
        words_of_count.setdefault(len(drawing.strokes), Counter())[drawing.word] += 1
    by_count = sum(max(words.values()) for words in words_of_count.values()) / len(known)
    assert by_count < 0.4
    assert 0.7 < by_shape < 0.99


def test_words_that_cannot_be_drawn() -> None:
    with pytest.raises(CategoryError, match=r"'hous'.*did you mean 'house'"):
        synthetic_drawing("hous", np.random.default_rng(0))
    with pytest.raises(CategoryError, match=r"'The Mona Lisa'.*expected one of bicycle, circle"):
        synthetic_drawings(1, words=["the_mona_lisa"])
    with pytest.raises(CategoryError, match="twice"):
        synthetic_drawings(1, words=["sun", "sun"])
    with pytest.raises(ConfigError, match="n_per_word=-1"):
        synthetic_drawings(-1)
    assert list(synthetic_drawings(0)) == []
