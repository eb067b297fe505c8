"""The words of drawings are the classes of a dataset: which, in which order, and which are refused."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from prepared import ALL_TRAIN, as_lists, dot, save
from quickstroke.data.dataset import PreparedDataset
from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import CategoryError, FormatError
from quickstroke.preparation import convert
from quickstroke.preparation.prepare import prepare


def test_order_of_the_classes_is_that_of_the_labels(drawings: dict[str, list[Drawing]], tmp_path: Path) -> None:
    folder = save(tmp_path / "in", **drawings)
    prepare(folder, tmp_path / "out", classes=["star", "Circle"], split=ALL_TRAIN)
    data = PreparedDataset(tmp_path / "out")
    assert data.classes == ("star", "circle")
    for i in (0, 59, 60, 119):
        one = drawings[data.classes[data.labels[i]]][i % 60]
        assert as_lists(data.strokes(i)) == as_lists(one.strokes)
    assert data.manifest["left_out"] == {"other words": 60}


def test_without_a_list_classes_are_all_words_sorted(tmp_path: Path) -> None:
    folder = save(tmp_path / "in", zebra=[dot(1)], the_mona_lisa=[dot(2)], my_word=[dot(3)], ant=[dot(4)])
    prepare(folder, tmp_path / "out", split=ALL_TRAIN)
    assert PreparedDataset(tmp_path / "out").classes == ("The Mona Lisa", "ant", "my word", "zebra")


def test_files_of_one_word_are_one_class_in_source_order(tmp_path: Path) -> None:
    one = save(tmp_path / "one", ice_cream=[dot(2), dot(1)])
    other = save(tmp_path / "other", **{"ice cream": [dot(3), dot(2)]})
    for i, sources in enumerate(([one, other], [other, one])):
        prepare(sources, tmp_path / f"out{i}", split=ALL_TRAIN)
    assert PreparedDataset(tmp_path / "out0").key_ids.tolist() == [2, 1, 3]
    assert PreparedDataset(tmp_path / "out1").key_ids.tolist() == [3, 2, 1]


def test_class_twice_is_refused(binary_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CategoryError, match="'star' is listed twice, as class 1 and class 3"):
        prepare(binary_folder, tmp_path / "out", classes=["star", "house", "Star"])


def test_class_that_no_source_has_is_refused_with_a_hint(binary_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CategoryError) as caught:
        prepare(binary_folder, tmp_path / "out", classes=["star", "cat", "umbrela"])
    message = str(caught.value)
    assert "no drawings of 'cat', 'umbrela' (not a Quick, Draw! category; did you mean 'umbrella'?)" in message
    assert "star" not in message


def test_a_text_is_no_list_of_classes(binary_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CategoryError, match="classes: expected words, got the text 'cat'"):
        prepare(binary_folder, tmp_path / "out", classes="cat")
    assert not list(tmp_path.iterdir())


# An escape, nothing, the direction of writing and its isolation, no width three times, and a hyphen that is not seen.
UNPRINTABLE = ["\x1b", "\0", "\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u00ad"]


def words_file(path: Path, words: Sequence[str]) -> Path:
    """An ndjson or CSV file of a drawing a word."""
    if path.suffix == ".csv":
        lines = ["word,drawing", *(f'"{word}","[[[0,9],[0,9]]]"' for word in words)]
    else:
        lines = [json.dumps({"word": word, "drawing": [[[0, 9], [0, 9]]]}) for word in words]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("name", ["x.ndjson", "x.csv"])
def test_word_that_cannot_be_printed_is_refused_with_its_place(
    name: str, is_compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_compiled:
        monkeypatch.setattr(convert, "_FEW_BYTES", 0)
    for letter in UNPRINTABLE[:1] if is_compiled else UNPRINTABLE:
        path = words_file(tmp_path / "in" / name, ["cat", "dog", f"c{letter}at", "sun"])
        with pytest.raises(FormatError, match=rf"U\+{ord(letter):04X}, which cannot be printed") as caught:
            prepare(path, tmp_path / "out", split=ALL_TRAIN)
        assert str(caught.value).startswith(f"{path}: drawing 3 has the word 'c") and str(caught.value).isprintable()
        assert not (tmp_path / "out").exists()
        errors: list[FormatError] = []
        prepared = prepare(path, tmp_path / "three", split=ALL_TRAIN, on_invalid=errors.append)
        assert (prepared.n, prepared.left_out, list(map(str, errors))) == (3, {"no drawings": 1}, [str(caught.value)])
        shutil.rmtree(tmp_path / "three")
        # Of words that are not taken only the number is kept.
        assert prepare(path, tmp_path / "some", classes=["sun", "cat"], split=ALL_TRAIN).left_out == {"other words": 2}
        shutil.rmtree(tmp_path / "some")


@pytest.mark.parametrize("ending", [".bin", ".npz", ".bin.gz"])
def test_name_of_a_file_that_gives_a_word_that_cannot_be_printed_is_refused(ending: str, tmp_path: Path) -> None:
    for letter in UNPRINTABLE:
        if letter == "\0":  # in no name
            continue
        path = tmp_path / "in" / f"c{letter}at{ending}"
        save(path.parent, cat=[dot(1)])
        path.write_bytes(b"not read")
        with pytest.raises(FormatError, match=rf"gives the word .*U\+{ord(letter):04X}") as caught:
            prepare(path.parent, tmp_path / "out", split=ALL_TRAIN)
        assert caught.value.path == path
        assert [entry.name for entry in tmp_path.iterdir()] == ["in"]
        path.unlink()


def test_words_of_any_language_are_classes(tmp_path: Path) -> None:
    words = sorted(["cat", "Käse", "कमल", "قط", "猫", "😀", "2 + 2 = <4>"])
    for name in ("x.ndjson", "x.csv"):
        prepare(words_file(tmp_path / name, words), tmp_path / f"out {name}", split=ALL_TRAIN)
        assert list(PreparedDataset(tmp_path / f"out {name}").classes) == words


def test_a_preparation_that_an_older_version_began_makes_no_dataset_that_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = words_file(tmp_path / "in" / "x.ndjson", ["c\x1bat"])
    monkeypatch.setattr(convert, "unprintable", lambda word: "")
    with pytest.raises(CategoryError, match="cannot be printed"):
        prepare(path, tmp_path / "out", split=ALL_TRAIN)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]
