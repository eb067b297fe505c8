"""The page on which doubtful drawings are looked at: audit_page.html with them in it, which needs nothing else."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def audit_page(items: Iterable[dict[str, Any]]) -> str:
    """The page of drawings: each a dict of `key_id`, `word`, `guess` and `drawing`, in columns."""
    page = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    data = json.dumps(list(items), ensure_ascii=False, separators=(",", ":"))
    return page.replace("DATA", data.replace("<", "\\u003c"))
