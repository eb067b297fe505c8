"""manifest.json of a prepared dataset, held against all that it must say before anything believes it."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from quickstroke.config.schema import fits
from quickstroke.drawings.categories import canonical_word, check_classes
from quickstroke.errors import CategoryError, DatasetError, shown

FORMAT = "quickstroke prepared dataset"
VERSION = 1
SPLITS = ("reserved", "train", "val", "test")
# From so many points on, offsets are uint64.
WIDE_POINTS = 2**32
# The array files of a dataset, with the types that each may have.
ARRAYS: dict[str, tuple[str, ...]] = {
    "points": ("<u1",),
    "pen_up": ("<u1",),
    "offsets": ("<u4", "<u8"),
    "labels": ("<u2",),
    "key_ids": ("<u8",),
    "splits": ("<u1",),
}

_Kind = tuple[str, Callable[[Any], bool]]


def shapes(n: int, n_points: int) -> dict[str, list[int]]:
    """The shape of each array of a dataset of `n` drawings with `n_points` points in all."""
    return {name: [n] for name in ARRAYS} | {
        "points": [n_points, 2],
        "pen_up": [(n_points + 7) // 8],
        "offsets": [n + 1],
    }


def read_manifest(folder: Path) -> tuple[dict[str, Any], str]:
    """The manifest of the dataset in a folder, and its SHA-256.

    Raises:
        DatasetError: there is none, or as `parse_manifest`.
    """
    file = folder / "manifest.json"
    try:
        text = file.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{folder}: no prepared dataset there (manifest.json: {error.strerror}); make one with "
            f"`quickstroke prepare SOURCE... --into {folder}`"
        ) from error
    return parse_manifest(text, file), hashlib.sha256(text).hexdigest()


def parse_manifest(text: bytes, file: Path) -> dict[str, Any]:
    """A manifest whose parts have the types that they must have and fit each other; `split` is for the caller to check.

    Words are written canonically: those of an older manifest may have accents that are not composed.

    Raises:
        DatasetError: it is damaged, of something else, or of another version.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: damaged manifest: not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise DatasetError(f"{file}: damaged manifest: all of it is {shown(values)}, expected an object")
    manifest = _Part(file, values)
    if manifest.of("format", _TEXT) != FORMAT:
        raise DatasetError(f"{file}: not the manifest of a prepared dataset")
    version = manifest.of("version", ("a number", lambda value: True))
    if version != VERSION or not fits(version, int):
        raise DatasetError(
            f"{file}: version {shown(version)}, this program reads version {VERSION}; prepare it again, or use a newer "
            "quickstroke"
        )
    _check_classes(manifest)
    _check_counts(manifest)
    _check_origin(manifest)
    _check_arrays(manifest)
    return values


class _Part:
    """An object in a manifest, whose values are named by their way from the top, as in `arrays.points.shape`."""

    def __init__(self, file: Path, values: dict[str, Any], at: str = "") -> None:
        self._file, self.values, self._at = file, values, at

    def of(self, key: str, kind: _Kind) -> Any:
        """The value of a key.

        Raises:
            DatasetError: it is not there or not of that kind.
        """
        expected, is_right = kind
        if key not in self.values:
            name = f"{self._at}{shown(key)}"
            raise DatasetError(f"{self._file}: damaged manifest: {name} is missing, expected {expected}")
        if not is_right(self.values[key]):
            self.refuse(key, expected)
        return self.values[key]

    def inside(self, key: str) -> "_Part":
        """The object that a key has."""
        return _Part(self._file, self.of(key, _OBJECT), f"{self._at}{key}.")

    def each(self, key: str, kind: _Kind) -> Iterator["_Part"]:
        """The objects of the list that a key has."""
        for i, value in enumerate(self.of(key, kind)):
            yield _Part(self._file, {f"{key}[{i}]": value}, self._at).inside(f"{key}[{i}]")

    def refuse(self, key: str, expected: str) -> NoReturn:
        """Raises DatasetError for the value of a key."""
        name = "".join(letter if letter.isprintable() else "?" for letter in f"{self._at}{key}")
        told = shown(self.values[key])
        raise DatasetError(f"{self._file}: damaged manifest: {name:.80} is {told}, expected {expected}")


def _is_count(value: object) -> bool:
    return fits(value, int) and value in range(2**63)


def _is_text(value: object) -> bool:
    """Whether it is text that can be written again."""
    return isinstance(value, str) and value.encode("utf-8", "replace").decode() == value


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value)) and all(map(_is_count, value.values()))


# What a value should be, in words, and whether it is.
_OBJECT: _Kind = ("an object", lambda value: isinstance(value, dict))
_SOURCES: _Kind = ("a list of sources", lambda value: isinstance(value, list))
_WORDS: _Kind = ("a list of words", lambda value: isinstance(value, list) and all(map(_is_text, value)))
_SHAPE: _Kind = ("a list of counts", lambda value: isinstance(value, list) and all(map(_is_count, value)))
_TEXT: _Kind = ("a text", _is_text)
_SHA256: _Kind = ("a SHA-256", lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value)))
_FLAG: _Kind = ("true or false", lambda value: isinstance(value, bool))
_TRUE: _Kind = ("true", lambda value: value is True)
_COUNT: _Kind = ("a count of 0 or more", _is_count)
_LIMIT: _Kind = ("null or a number of 1 or more", lambda value: value is None or (_is_count(value) and value != 0))
_REASONS: _Kind = ("an object of reasons and counts", _are_counts)
_OF_SPLITS: _Kind = (
    f"a count of 0 or more for each of {', '.join(SPLITS)}",
    lambda value: _are_counts(value) and set(value) == {*SPLITS},
)


def _check_classes(manifest: _Part) -> None:
    words = manifest.of("classes", _WORDS)
    try:
        manifest.values["classes"] = list(check_classes(words, "classes"))
    except CategoryError as error:
        manifest.refuse("classes", f"{_WORDS[0]}: {error}")


def _check_counts(manifest: _Part) -> None:
    """How many drawings there are, in all, in each split and of each class."""
    n, by_split, classes = manifest.of("n", _COUNT), manifest.of("n_by_split", _OF_SPLITS), manifest.values["classes"]
    by_class = manifest.inside("n_by_class")
    by_word = {canonical_word(word): word for word in by_class.values}
    if len(by_word) != len(by_class.values) or by_word.keys() != set(classes):
        others = sorted(by_word.keys() ^ set(classes)) or ["one twice"]
        manifest.refuse("n_by_class", f"each of the classes, and no other word ({shown(others[0])})")
    of_classes = {word: by_class.of(by_word[word], _OF_SPLITS) for word in classes}
    for split, told in by_split.items():
        summed = sum(counts[split] for counts in of_classes.values())
        if told != summed:
            manifest.inside("n_by_split").refuse(split, f"{summed}, the sum of n_by_class")
    if n != (summed := sum(by_split.values())):
        manifest.refuse("n", f"{summed}, the sum of n_by_split")
    manifest.values["n_by_class"] = of_classes


def _check_origin(manifest: _Part) -> None:
    """What the drawings were taken from, and which of them."""
    manifest.of("left_out", _REASONS)
    options = manifest.inside("options")
    options.of("limit", _LIMIT)
    for key in ("recognized_only", "drop_duplicates"):
        options.of(key, _FLAG)
    for key in ("held_out", "leave_out"):
        if key in options.values:
            options.of(key, _SHA256)
    for source in manifest.each("sources", _SOURCES):
        source.of("name", _TEXT)
        source.of("bytes", _COUNT)
        source.of("sha256", _SHA256)
        for key in ("train_only", "val_only", "test_only"):
            if key in source.values:
                source.of(key, _TRUE)


def _check_arrays(manifest: _Part) -> None:
    n, arrays = manifest.values["n"], manifest.inside("arrays")
    for name, dtypes in ARRAYS.items():
        array = arrays.inside(name)
        if array.of("dtype", _TEXT) not in dtypes:
            array.refuse("dtype", " or ".join(dtypes))
        array.of("shape", _SHAPE)
        array.of("sha256", _SHA256)
    (n_points,) = arrays.values["points"]["shape"][:1] or [0]
    for name, shape in shapes(n, n_points).items():
        if arrays.values[name]["shape"] != shape:
            arrays.inside(name).refuse("shape", f"{shape}: it has n = {n} drawings")
