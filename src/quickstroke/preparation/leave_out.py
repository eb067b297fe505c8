"""Lists of drawings to leave out: `KEY_ID<TAB>WORD` a line, as `quickstroke audit` writes them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstroke.drawings.categories import canonical_word
from quickstroke.errors import FormatError

# Why a drawing of a list was left out.
LISTED = "listed to be left out"


class LeaveOut(NamedTuple):
    """Drawings to leave out: ascending key_ids uint64 (N,) by word, and the file's SHA-256."""

    by_word: dict[str, NDArray[np.uint64]]
    sha256: str | None


def text_of(drawings: Iterable[tuple[int, str]]) -> str:
    """The list of drawings with these key_ids and words."""
    return "".join(f"{key_id}\t{word}\n" for key_id, word in drawings)


def read_leave_out(path: Path) -> LeaveOut:
    """Reads a list; empty lines are ignored.

    Raises:
        FormatError: it cannot be read, or a line is no key_id and a word.
    """
    try:
        data = path.read_bytes()
        lines = data.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", path) from error
    except UnicodeDecodeError as error:
        raise FormatError("is no UTF-8 text", path) from error
    found: dict[str, list[int]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        key_id, _, word = line.partition("\t")
        if not (key_id.isascii() and key_id.isdigit() and int(key_id) < 2**64 and word.strip()):
            raise FormatError(f"is {line!r:.60}; expected a key_id, a tab and a word", path, line=number)
        found.setdefault(canonical_word(word), []).append(int(key_id))
    by_word = {word: np.unique(np.array(keys, np.uint64)) for word, keys in found.items()}
    return LeaveOut(by_word, hashlib.sha256(data).hexdigest())
