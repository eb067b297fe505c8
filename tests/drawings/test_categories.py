"""The words: all of them are there, and every way of writing one leads to the official one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickstroke.drawings.categories import (
    CATEGORIES,
    CATEGORIES_2020,
    as_known,
    canonical_word,
    check_classes,
    choose_words,
    closest_words,
    parse_classes,
    read_classes,
)
from quickstroke.errors import CategoryError


def test_there_are_345_distinct_categories_in_byte_order() -> None:
    assert len(set(CATEGORIES)) == len(CATEGORIES) == 345
    assert list(CATEGORIES) == sorted(CATEGORIES)


def test_categories_are_those_of_the_real_drawings(shared: Path) -> None:
    lines = (shared / "data/quickdraw/counts.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[0] for line in lines] == list(CATEGORIES)


def test_seed_categories_are_the_published_list_in_its_order(shared: Path) -> None:
    assert read_classes(shared / "models/seed/classes.txt") == CATEGORIES_2020


def test_seed_categories_are_100_official_ones() -> None:
    assert len(set(CATEGORIES_2020)) == len(CATEGORIES_2020) == 100
    assert set(CATEGORIES_2020) <= set(CATEGORIES)


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("power_outlet", "power outlet"),
        ("power outlet", "power outlet"),
        ("POWER  Outlet", "power outlet"),
        (" _power__outlet_\n", "power outlet"),
        ("the_eiffel_tower", "The Eiffel Tower"),
        ("T-Shirt", "t-shirt"),
        ("teddy-bear", "teddy-bear"),
        ("My Own_Word", "My Own Word"),
        ("A\u0308pfel", "\u00c4pfel"),
        ("", ""),
        ("___", ""),
    ],
)
def test_word_is_written_as_google_writes_it(written: str, word: str) -> None:
    assert canonical_word(written) == word


def test_official_words_are_found_from_underscores_and_any_case() -> None:
    assert tuple(map(canonical_word, CATEGORIES)) == CATEGORIES
    assert tuple(canonical_word(word.replace(" ", "_").upper()) for word in CATEGORIES) == CATEGORIES


@given(st.text())
def test_canonical_word_is_canonical(text: str) -> None:
    word = canonical_word(text)
    assert canonical_word(word) == word
    assert "_" not in word
    assert word == word.strip()


def test_hint_names_what_is_near_and_nothing_else() -> None:
    assert closest_words("Cats").startswith("; did you mean 'cat'")
    assert "'cat'" in closest_words("kat")
    assert closest_words("power_outlett") == "; did you mean 'power outlet'?"
    assert "'The Mona Lisa'" in closest_words("the_mona_liza")
    assert closest_words("qqqqqq") == ""
    assert closest_words("cat", among=("dog",)) == ""


def test_classes_keep_their_order() -> None:
    assert check_classes(["sun", "ice_cream", "CAT"], "here") == ("sun", "ice cream", "cat")


def test_class_listed_twice_is_refused_with_both_places() -> None:
    with pytest.raises(CategoryError, match=r"^here: 'ice cream' is listed twice, as class 2 and class 4$"):
        check_classes(["cat", "ice cream", "dog", "Ice_Cream"], "here")


@pytest.mark.parametrize("names", [["cat", ""], ["cat", "_"], ["cat", " \t"]])
def test_empty_class_is_refused(names: list[str]) -> None:
    for name in ("c\ud800at", "c\x1bat", "\x00"):
        with pytest.raises(CategoryError, match="here: class 1 has a name that cannot be printed"):
            check_classes([name], "here")
    with pytest.raises(CategoryError, match="here: class 2 has an empty name"):
        check_classes(names, "here")


@pytest.mark.parametrize("letter", ["\x1b", "\0", "\u202e", "\u2066", "\u200b", "\ufeff", "\u00ad"])
def test_word_of_a_file_that_cannot_be_printed_is_refused_with_its_line(letter: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(f"sun\n\ncat\nd{letter}og\n", encoding="utf-8")
    for read in (read_classes, lambda path: parse_classes([str(path)])):
        with pytest.raises(CategoryError, match=rf"words\.txt, line 4: the word 'd.*og' has U\+{ord(letter):04X}"):
            read(path)


def test_no_class_is_refused() -> None:
    with pytest.raises(CategoryError, match="here: no class is listed"):
        check_classes([], "here")


def test_class_list_file_may_come_from_any_editor(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(b"\xef\xbb\xbfcat\r\n\r\nice_cream\r\n  \n  sun")
    assert read_classes(path) == ("cat", "ice cream", "sun")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"cat\ndog\ncat\n", "'cat' is listed twice, as class 1 and class 3"),
        (b"", "no class is listed"),
        (b"\n \n", "no class is listed"),
        (b"caf\xe9\n", "cannot be read as a class list"),
    ],
)
def test_wrong_class_list_file_is_refused_by_name(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    with pytest.raises(CategoryError) as caught:
        read_classes(path)
    assert str(caught.value).startswith(str(path))
    assert reason in str(caught.value)


def test_missing_class_list_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CategoryError, match=r"absent\.txt: cannot be read"):
        read_classes(tmp_path / "absent.txt")
    with pytest.raises(CategoryError, match="cannot be read"):
        read_classes(tmp_path)


def test_command_line_gives_words_or_one_file(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("sun\ncat\n")
    assert parse_classes([str(path)]) == ("sun", "cat")
    assert parse_classes(["cat", "ice_cream"]) == ("cat", "ice cream")
    assert parse_classes(["cat"]) == ("cat",)
    assert parse_classes(["my own"]) == ("my own",)


def test_command_line_names_the_seed_categories_by_one_word() -> None:
    assert parse_classes(["classes2020"]) == CATEGORIES_2020
    with pytest.raises(CategoryError, match="called 'classes2020' now, got 'seed100'"):
        parse_classes(["seed100"])


def test_an_official_word_is_the_word_even_beside_a_file_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cat").write_text("dog\n")
    monkeypatch.chdir(tmp_path)
    assert parse_classes(["cat"]) == ("cat",)


@pytest.mark.parametrize("value", ["classes.txt", "./classes", "folder/classes"])
def test_what_looks_like_a_file_and_is_none_is_refused(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CategoryError, match="no such class list file"):
        parse_classes([value])


def test_words_of_ones_own_are_known_in_letters_of_either_case():
    known = ("cat", "Käse", "Ort", "ort")
    assert as_known("käse", known) == "Käse" and as_known("KÄSE", known) == "Käse"
    assert as_known("Ort", known) == "Ort" and as_known("ORT", known) == "ORT"  # of two nothing says which
    assert choose_words(["käse", "Cat"], known) == ("Käse", "cat")
    with pytest.raises(CategoryError, match="words: 'Käse' is listed twice, as class 1 and class 3"):
        choose_words(["käse", "cat", "Käse"], known)
    with pytest.raises(CategoryError, match="words: not among the 4 that the model knows: 'ORT'"):
        choose_words(["ORT"], known)


@pytest.mark.parametrize("word", ["👨\u200d👩\u200d👧", "❤\ufe0f\u200d🔥", "می\u200cخواهم", "क्\u200dष"])
def test_joiners_stay_in_words_that_need_them(word: str, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text(f"{word}\ncat\n", encoding="utf-8")
    assert read_classes(tmp_path / "words.txt") == (word, "cat")


@pytest.mark.parametrize(
    "word", ["c\u200dat", "\u200c猫", "猫\u200d", "猫\u200d\u200d犬", "猫\u200bx", "猫\u202e犬", "猫\u200d1"]
)
def test_joiners_that_join_nothing_are_refused(word: str) -> None:
    with pytest.raises(CategoryError, match="class 1 has a name that cannot be printed"):
        check_classes([word], "here")
