"""The page on which doubtful drawings are looked at: audit_page.html with them in it, which needs nothing else."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def audit_page(items: Iterable[dict[str, Any]], words: Iterable[str]) -> str:
    """The page of drawings: each a dict of `key_id`, `word`, `guess` and `drawing`, in columns; and the words that are
    proposed."""
    page = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    head, middle, tail = re.split("DATA|WORDS", page)
    data, known = (json.dumps(list(each), ensure_ascii=False, separators=(",", ":")) for each in (items, words))
    return head + data.replace("<", "\\u003c") + middle + known.replace("<", "\\u003c") + tail
