"""manifest.json of a prepared dataset, held against all that it must say before anything believes it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from quickstroke.config.schema import fits
from quickstroke.data.layout import ARRAYS
from quickstroke.drawings.categories import canonical_word, check_classes
from quickstroke.errors import CategoryError, DatasetError, shown

FORMAT = "quickstroke prepared dataset"
VERSION = 1
SPLITS = ("reserved", "train", "val", "test")

_SHA256 = re.compile("[0-9a-f]{64}")


def parse_manifest(text: bytes, file: Path) -> dict[str, Any]:
    """A manifest whose parts have the types that they must have and fit each other; `split` is for the caller to check.

    Words are written canonically: those of an older manifest may have accents that are not composed.

    Raises:
        DatasetError: it is damaged, of something else, or of another version.
    """
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: damaged manifest: not valid JSON ({error})") from error
    parts = _Parts(file)
    parts.check(manifest, "all of it", "an object", _is_object)
    if parts.of(manifest, "format", "a text", _is_text) != FORMAT:
        raise DatasetError(f"{file}: not the manifest of a prepared dataset")
    version = parts.of(manifest, "version", "a number", lambda value: True)
    if version != VERSION or not fits(version, int):
        raise DatasetError(
            f"{file}: version {shown(version)}, this program reads version {VERSION}; prepare it again, or use a newer "
            "quickstroke"
        )
    _check_classes(manifest, parts)
    _check_counts(manifest, parts)
    _check_origin(manifest, parts)
    _check_arrays(manifest, parts)
    return dict(manifest)


class _Parts:
    """Parts of a manifest, each named by its way from the top, as in `arrays.points.shape`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def of(self, values: dict[str, Any], key: str, expected: str, is_right: Callable[[Any], bool], at: str = "") -> Any:
        """The value of a key of `values`, which is at `at`.

        Raises:
            DatasetError: it is not there or not right.
        """
        if key not in values:
            raise DatasetError(f"{self._file}: damaged manifest: {at}{shown(key)} is missing, expected {expected}")
        self.check(values[key], f"{at}{key}", expected, is_right)
        return values[key]

    def check(self, value: object, name: str, expected: str, is_right: Callable[[Any], bool]) -> None:
        """Raises DatasetError where a value is not right."""
        if not is_right(value):
            self.refuse(name, value, expected)

    def refuse(self, name: str, value: object, expected: str) -> NoReturn:
        """Raises DatasetError for a value."""
        name = "".join(letter if letter.isprintable() else "?" for letter in name)
        raise DatasetError(f"{self._file}: damaged manifest: {name:.80} is {shown(value)}, expected {expected}")

    def counts(self, values: dict[str, Any], key: str, at: str = "") -> dict[str, int]:
        """So many drawings in each split."""
        expected = f"a count of 0 or more for each of {', '.join(SPLITS)}"
        found: dict[str, int] = self.of(
            values,
            key,
            expected,
            lambda value: isinstance(value, dict) and set(value) == {*SPLITS} and all(map(_is_count, value.values())),
            at,
        )
        return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and fits(value, int) and 0 <= value < 2**63


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_limit(value: object) -> bool:
    return value is None or (_is_count(value) and value != 0)


def _is_shape(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _is_text(value: object) -> bool:
    """Whether it is text that can be written again."""
    return isinstance(value, str) and value.encode("utf-8", "replace").decode() == value


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and bool(_SHA256.fullmatch(value))


def _check_classes(manifest: dict[str, Any], parts: _Parts) -> None:
    expected = "a list of words"
    words = parts.of(manifest, "classes", expected, lambda value: isinstance(value, list) and all(map(_is_text, value)))
    try:
        manifest["classes"] = list(check_classes(words, "classes"))
    except CategoryError as error:
        parts.refuse("classes", words, f"{expected}: {error}")


def _check_counts(manifest: dict[str, Any], parts: _Parts) -> None:
    """How many drawings there are, in all, in each split and of each class."""
    n = parts.of(manifest, "n", "a count of 0 or more", _is_count)
    by_split = parts.counts(manifest, "n_by_split")
    by_class = parts.of(manifest, "n_by_class", "an object", _is_object)
    by_word = {canonical_word(word): word for word in by_class}
    if len(by_word) != len(by_class) or by_word.keys() != set(manifest["classes"]):
        others = sorted(by_word.keys() ^ set(manifest["classes"])) or ["one twice"]
        parts.refuse("n_by_class", list(by_class), f"each of the classes, and no other word ({shown(others[0])})")
    of_classes = {word: parts.counts(by_class, by_word[word], "n_by_class.") for word in manifest["classes"]}
    for split, told in by_split.items():
        summed = sum(counts[split] for counts in of_classes.values())
        if told != summed:
            parts.refuse(f"n_by_split.{split}", told, f"{summed}, the sum of n_by_class")
    if n != (summed := sum(by_split.values())):
        parts.refuse("n", n, f"{summed}, the sum of n_by_split")
    manifest["n_by_class"] = of_classes


def _check_origin(manifest: dict[str, Any], parts: _Parts) -> None:
    """What the drawings were taken from, and which of them."""
    parts.of(
        manifest,
        "left_out",
        "an object of reasons and counts",
        lambda value: isinstance(value, dict) and all(map(_is_text, value)) and all(map(_is_count, value.values())),
    )
    options = parts.of(manifest, "options", "an object", _is_object)
    parts.of(options, "limit", "null or a number of 1 or more", _is_limit, "options.")
    for key in ("recognized_only", "drop_duplicates"):
        parts.of(options, key, "true or false", lambda value: isinstance(value, bool), "options.")
    for key in ("held_out", "leave_out"):
        if key in options:
            parts.of(options, key, "a SHA-256", _is_sha256, "options.")
    sources = parts.of(manifest, "sources", "a list of sources", lambda value: isinstance(value, list))
    for i, source in enumerate(sources):
        at = f"sources[{i}]"
        parts.check(source, at, "an object", _is_object)
        parts.of(source, "name", "a text", _is_text, f"{at}.")
        parts.of(source, "bytes", "a count of 0 or more", _is_count, f"{at}.")
        parts.of(source, "sha256", "a SHA-256", _is_sha256, f"{at}.")
        if "train_only" in source:
            parts.of(source, "train_only", "true", lambda value: value is True, f"{at}.")


def _check_arrays(manifest: dict[str, Any], parts: _Parts) -> None:
    n, arrays = manifest["n"], parts.of(manifest, "arrays", "an object", _is_object)
    for name, dtypes in ARRAYS.items():
        at = f"arrays.{name}."
        described = parts.of(arrays, name, "an object", _is_object, "arrays.")
        if parts.of(described, "dtype", "a text", _is_text, at) not in dtypes:
            parts.refuse(f"{at}dtype", described["dtype"], " or ".join(dtypes))
        parts.of(described, "shape", "a list of counts", _is_shape, at)
        parts.of(described, "sha256", "a SHA-256", _is_sha256, at)
    (n_points,) = arrays["points"]["shape"][:1] or [0]
    for name, shape in {
        "points": [n_points, 2],
        "pen_up": [(n_points + 7) // 8],
        "offsets": [n + 1],
        "labels": [n],
        "key_ids": [n],
        "splits": [n],
    }.items():
        if arrays[name]["shape"] != shape:
            parts.refuse(f"arrays.{name}.shape", arrays[name]["shape"], f"{shape}: it has n = {n} drawings")
