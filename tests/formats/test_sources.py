"""Which files the names on a command line stand for."""

from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest

from quickstroke import formats
from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import FormatError
from quickstroke.formats import (
    binary,
    ending_of,
    find_sources,
    ndjson,
    pictures,
    read_drawings,
    read_file,
    read_records,
    word_of,
)
from quickstroke.preparation.prepare import prepare

ENDINGS = [".bin", ".bin.gz", ".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz", ".npz", ".csv", ".csv.gz"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of every format and others; nothing is read from them."""
    folder = tmp_path / "drawings"
    (folder / "sub.bin").mkdir(parents=True)
    for name in ("b.bin", "a.ndjson.gz", "c.csv", "README.md", "a.npy", "d.NPZ", ".hidden.bin", "sub.bin/e.bin"):
        (folder / name).touch()
    return folder


def found(sources: Any) -> list[str]:
    return [path.name for path in find_sources(sources).files]


@pytest.mark.parametrize("ending", [ending for ending in formats.ENDINGS if not ending.endswith(".gz")])
def test_each_ending_is_documented_and_thrown_damaged_files_at(ending: str) -> None:
    root = Path(__file__).parents[2]
    table = (root / "docs" / "formats.md").read_text().partition("| ending ")[2].partition("\n\n")[0]
    assert any(f"`{ending}`" in row.split("|")[1] for row in table.splitlines()[2:])
    # Lines of JSON are ndjson, and pictures have endings in a list there.
    assert f'{ending}"' in (root / "fuzz" / "targets.py").read_text() or ending in (".jsonl", *pictures.ENDINGS)


@pytest.mark.parametrize("ending", ENDINGS)
def test_ending_tells_the_format_in_any_case(ending: str) -> None:
    assert ending_of(Path(f"ice cream{ending}")) == ending
    assert ending_of(Path(f"x.y/ice_cream{ending.upper()}")) == ending
    assert word_of(Path(f"x/ice_cream{ending}")) == "ice cream"
    assert word_of(Path(f"ice_cream{ending.upper()}")) == "ice cream"


@pytest.mark.parametrize("name", ["cat", "cat.txt", "cat.gz", "cat.npz.gz", "cat.bin.zip", "bin", "cat.bin.bak"])
def test_other_endings_are_none(name: str) -> None:
    assert ending_of(Path(name)) is None


def test_word_is_the_name_without_its_ending() -> None:
    assert word_of(Path("the_eiffel_tower.bin")) == "The Eiffel Tower"
    assert word_of(Path("cat.full.npz")) == "cat"
    assert word_of(Path("my.own.word.bin")) == "my.own.word"


def test_folder_is_its_files_by_name_without_subfolders(folder: Path) -> None:
    sources = find_sources(folder)
    assert [path.name for path in sources.files] == ["a.ndjson.gz", "b.bin", "c.csv", "d.NPZ"]
    assert sources.ignored_names == ("README.md", "a.npy", "sub.bin/")
    assert all(path.parent == folder for path in sources.files)


def test_order_is_that_of_the_sources(folder: Path) -> None:
    assert found([folder / "c.csv", folder / "b.bin"]) == ["c.csv", "b.bin"]
    assert found([folder / "c.csv", folder]) == ["c.csv", "a.ndjson.gz", "b.bin", "d.NPZ"]


def test_one_source_need_not_be_a_list(folder: Path) -> None:
    assert found(str(folder / "b.bin")) == found(folder / "b.bin") == found([folder / "b.bin"]) == ["b.bin"]


def test_pattern_is_its_matches_by_name(folder: Path) -> None:
    assert found(f"{folder}/*") == ["a.ndjson.gz", "b.bin", "c.csv", "d.NPZ"]
    assert found(f"{folder}/[bc].*") == ["b.bin", "c.csv"]
    assert sorted(found(f"{folder}/**/*.bin")) == ["b.bin", "e.bin"]
    ignored = find_sources(f"{folder}/*").ignored
    assert [path.name for path in ignored] == ["README.md", "a.npy"]


def test_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    (folder / "[b].bin").touch()
    assert found(folder / "[b].bin") == ["[b].bin"]


def test_file_named_twice_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "link.bin").symlink_to(folder / "b.bin")
    names: list[str | Path] = ["b.bin", "./b.bin", folder / "b.bin", "sub.bin/../b.bin", "link.bin", "b.*", "*b.bin"]
    sources = find_sources(names)
    assert sources.files == (Path("b.bin"),)
    assert sources.repeated == (Path("link.bin"),)
    assert found([*names, "."]) == ["b.bin", "a.ndjson.gz", "c.csv", "d.NPZ"]


def test_a_picture_linked_into_the_folder_of_another_word_is_told(tmp_path: Path) -> None:
    for word in ("cat", "dog"):
        (tmp_path / word).mkdir()
    (tmp_path / "cat" / "1.png").touch()
    for name in ("1.png", "2.png"):
        (tmp_path / "dog" / name).symlink_to(tmp_path / "cat" / "1.png")
    (tmp_path / "also").symlink_to(tmp_path / "dog")
    sources = find_sources([tmp_path / "cat", tmp_path / "dog", tmp_path / "cat" / "1.png"])
    assert sources.files == (tmp_path / "cat" / "1.png",) and sources.repeated_names == ("dog/1.png", "dog/2.png")
    assert find_sources(tmp_path).repeated_names == ("also/2.png", "cat/1.png", "dog/1.png", "dog/2.png")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent.bin", "no such file or folder"),
        ("absent", "no such file or folder"),
        ("*.absent", "no drawing file matches this pattern"),
        ("*.md", "no drawing file matches this pattern"),
        ("sub*", "no drawing file matches this pattern"),
        ("README.md", "has no ending of a drawing format"),
        ("empty", "holds no drawing file"),
        ("others", "holds no drawing file"),
    ],
)
def test_source_that_gives_nothing_is_refused_by_name(name: str, reason: str, folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "others").mkdir()
    (folder / "others" / "notes.txt").touch()
    sources: Any
    for sources in (f"{folder}/{name}", [folder / "b.bin", f"{folder}/{name}"]):
        with pytest.raises(FormatError, match=reason) as caught:
            find_sources(sources)
        assert str(caught.value).startswith(f"{folder}/{name}: ")


def test_empty_name_is_not_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(FormatError, match="empty name"):
        find_sources("")


def test_no_source_is_no_file() -> None:
    assert find_sources([]).files == ()
    assert list(read_drawings([])) == []


def test_unknown_ending_is_refused_in_reading(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"cat\.txt: has no ending of a drawing format; expected \.bin, "):
        list(read_file(tmp_path / "cat.txt"))


def test_drawings_come_in_the_order_of_their_files(tmp_path: Path) -> None:
    def drawing(word: str, key_id: int) -> Drawing:
        return Drawing(word, [np.zeros((1, 2), np.uint8)], key_id=key_id)

    binary.write(tmp_path / "sun.bin", [drawing("", 3), drawing("", 4)])
    ndjson.write(tmp_path / "all.ndjson", [drawing("cat", 1), drawing("dog", 2)])
    read = [(drawing.word, drawing.key_id) for drawing in read_drawings(tmp_path)]
    assert read == [("cat", 1), ("dog", 2), ("sun", 3), ("sun", 4)]


def test_sources_are_found_before_anything_is_read(tmp_path: Path) -> None:
    binary.write(tmp_path / "cat.bin", [Drawing("cat", [np.zeros((1, 2), np.uint8)])])
    with pytest.raises(FormatError, match="no such file"):
        next(read_drawings([tmp_path / "cat.bin", tmp_path / "absent.bin"]))


def test_unreadable_name_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file or folder"):
        find_sources(f"{tmp_path}/nul\0.bin")


def test_a_prepared_dataset_is_no_folder_of_drawings(tmp_path: Path) -> None:
    into = tmp_path / "prepared"
    binary.write(tmp_path / "cat.bin", [Drawing("cat", [np.zeros((1, 2), np.uint8)])])
    prepare(tmp_path / "cat.bin", into)
    with pytest.raises(FormatError, match="is a prepared dataset; expected drawing files"):
        find_sources(into)


def test_a_folder_of_folders_of_pictures_is_read_and_one_of_other_files_is_not(tmp_path: Path) -> None:
    for name in ("in/dog/2.svg", "in/cat/b.svg", "in/cat/a.svg", "in/cat/deep/c.svg", "in/.git/d.svg", "in/note.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = find_sources(tmp_path / "in").files
    assert [str(path.relative_to(tmp_path / "in")) for path in files] == ["cat/a.svg", "cat/b.svg", "dog/2.svg"]
    (tmp_path / "in" / "cow").mkdir()
    (tmp_path / "in" / "cow" / "1.png").touch()  # each folder for itself
    assert found(tmp_path / "in") == ["a.svg", "b.svg", "1.png", "2.svg"]
    assert find_sources(tmp_path / "in").ignored_names == ("note.txt", "deep/")
    (tmp_path / "in" / "dog" / "house.bmp").touch()
    assert find_sources(tmp_path / "in").ignored_names == ("note.txt", "house.bmp", "deep/")
    (tmp_path / "in" / "dog.svg").touch()
    assert found(tmp_path / "in") == ["dog.svg"]
    assert find_sources(tmp_path / "in").ignored_names == ("note.txt", "cat/", "cow/", "dog/")
    (tmp_path / "in" / "cow" / "points.bin").touch()  # of a dataset
    (tmp_path / "in" / "package").mkdir()
    (tmp_path / "in" / "package" / "package.json").touch()  # any JSON
    assert find_sources(tmp_path / "in").ignored_names == ("note.txt", "cat/", "dog/")
    (tmp_path / "all" / "binary").mkdir(parents=True)
    (tmp_path / "all" / "binary" / "cat.bin").touch()
    with pytest.raises(FormatError, match="subfolders are searched for files of one drawing alone"):
        find_sources(tmp_path / "all")


def test_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "cat.bin").symlink_to("/nonexistent/cat.bin")
    (tmp_path / "dog.bin").touch()
    for name in ("notes.txt", "meta.json", "preview.png"):  # none of them would be read
        (tmp_path / name).symlink_to(f"/nonexistent/{name}")
    for source in (tmp_path, f"{tmp_path}/*.bin"):
        with pytest.raises(FormatError, match=r"cat\.bin: is a link to /nonexistent/cat\.bin, which is not there"):
            find_sources(source)
    (tmp_path / "cat.bin").unlink()
    assert found(tmp_path) == ["dog.bin"]


def test_no_file_is_looked_up_among_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
        for i in range(500):
            (tmp_path / folder / f"{i}.png").touch()
    n_compared, equal = 0, PurePath.__eq__

    def counted(self: PurePath, other: object) -> bool:
        nonlocal n_compared
        n_compared += 1
        return bool(equal(self, other))

    monkeypatch.setattr(PurePath, "__eq__", counted)
    assert len(find_sources(tmp_path).files) == 1000
    assert n_compared < 20_000  # some 500,000 where each is


@pytest.mark.parametrize("byte_order", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    ("name", "text"), [("a.ndjson", '{"strokes": [[[1, 2]]]}\n'), ("a.csv", "word,drawing\n"), ("a.json", "[[[1, 2]]]")]
)
def test_text_in_utf16_is_called_so(name: str, text: str, byte_order: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(f"\ufeff{text}".encode(byte_order))
    for found in (read_drawings(path), read_records(path, on_invalid=lambda error: None)):
        with pytest.raises(FormatError, match=r"is text in UTF-16; expected UTF-8"):
            list(found)
