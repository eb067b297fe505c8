"""A preparation under way, `.NAME.part` beside the dataset NAME: all that is needed to resume it after a kill.

    plan.json      what was asked for; a preparation is resumed only when the same is asked again
    journal.jsonl  a line for each source that was converted to binary files, and for each class that is written
    converted/     those binary files, a folder a source
    dataset/       the array files, to which the classes are appended in order; at the end it becomes NAME
    offsets.wide   the offsets, uint64, until it is known how wide they have to be

A journal line has the lengths and the SHA-256 of the array files, so that bytes after it, of an unfinished class, are
cut off, and damage is found. An incomplete line does not count.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from quickstroke.errors import DatasetError
from quickstroke.utils.files import followed, lock, write_text

FORMAT = "quickstroke preparation"
VERSION = 1


def folder_of(into: Path) -> Path:
    """Where the preparation of a dataset is while it is under way."""
    into = followed(into)
    return into.with_name(f".{into.name}.part")


class Preparation:
    """The folder of a preparation.

    Attributes:
        folder: the folder.
        into: the dataset that is made.
        sources: of each source that is done, by its position, what its journal line says.
        classes: the journal lines of the classes that are written, in order.
    """

    def __init__(self, into: Path, plan: Mapping[str, Any], resume: bool) -> None:
        """Makes the folder, or takes up the preparation in it.

        Raises:
            DatasetError: there is one and `resume` is false, or another process is at it, or it is damaged, or it was
                begun with another plan.
        """
        self.into, self.folder = into, folder_of(into)
        self.sources: dict[int, dict[str, Any]] = {}
        self.classes: list[dict[str, Any]] = []
        self._journal_path, self._plan_path = self.folder / "journal.jsonl", self.folder / "plan.json"
        self._journal = self._open_journal()
        try:
            is_begun = self._plan_path.exists()
            if is_begun and not resume:
                raise DatasetError(
                    f"{into}: a preparation of it was begun; give --resume to go on with it, or remove {self.folder}"
                )
            if is_begun:
                self._check_plan(plan)
                self._read_journal()
            else:  # whatever a kill left of the first moment, nothing of it was read
                self._journal.truncate(0)
                self._write_plan(plan)
        except BaseException:
            self._journal.close()
            raise

    def folder_of_source(self, position: int) -> Path:
        """Where the binary files are to which a source was converted."""
        return self.folder / "converted" / str(position)

    def note(self, **line: Any) -> None:
        """Writes a line of the journal."""
        self._journal.write(json.dumps(line, ensure_ascii=False).encode("utf-8") + b"\n")
        self._journal.flush()
        self._take(line)

    def close(self, keep: bool) -> None:
        """Ends the work in the folder, and removes it unless it is to be kept and anything in it is done."""
        if not (keep and (self.sources or self.classes)):
            if os.name == "nt":  # it has no locks, and removes no open file
                self._journal.close()
            shutil.rmtree(self.folder, ignore_errors=True)
        self._journal.close()

    def _open_journal(self) -> BinaryIO:
        """The journal, locked; what else is in the folder is for the process alone that holds the lock."""
        path = self._journal_path
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another process ended, and removed the folder
                journal = path.open("ab")
                try:
                    if not lock(journal):
                        raise DatasetError(f"{self.into}: another process is preparing it")
                    if os.path.samestat(os.fstat(journal.fileno()), path.stat()):
                        return journal
                except BaseException:
                    journal.close()
                    raise
                journal.close()

    def _write_plan(self, plan: Mapping[str, Any]) -> None:
        write_text(self._plan_path, json.dumps({"format": FORMAT, "version": VERSION, **plan}) + "\n")

    def _check_plan(self, plan: Mapping[str, Any]) -> None:
        path = self._plan_path
        try:
            stored = json.loads(path.read_bytes())
            begun = stored["format"], stored["version"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise self._damaged(path, error) from error
        if begun != (FORMAT, VERSION):
            raise DatasetError(f"{path}: {begun[0]} version {begun[1]}; expected {FORMAT} {VERSION}")
        asked = json.loads(json.dumps(plan))
        before = stored.get("options")
        # Nothing had to be left out of what is done.
        is_widened = isinstance(before, dict) and before | {"skip_invalid": True} == asked.get("options") != before
        if is_widened:
            stored["options"] = asked["options"]
        for key in sorted((asked | stored).keys() - {"format", "version"}):
            then, now = stored.get(key), asked.get(key)
            if then != now:
                if isinstance(then, list) and isinstance(now, list):  # long ones: the first that differs
                    at = next((i for i, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), -1)
                    at = min(len(then), len(now)) if at < 0 else at
                    then, now = (one[at] if at < len(one) else None for one in (then, now))
                    key = f"{key}[{at}]"
                raise DatasetError(
                    f"{self.into}: was begun with {key} = {then!r:.80}, cannot resume with {now!r:.80}; "
                    f"remove {self.folder} to start anew"
                )
        if is_widened:
            self._write_plan(plan)

    def _read_journal(self) -> None:
        path = self._journal_path
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        self._journal.truncate(len(whole))
        try:
            for line in whole.splitlines():
                self._take(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise self._damaged(path, error) from error

    def _take(self, line: dict[str, Any]) -> None:
        if "source" in line:
            self.sources[line["source"]] = line
        else:
            self.classes.append(line)
            self.sources |= {source["source"]: source for source in line["sources"]}

    def _damaged(self, path: Path, error: Exception) -> DatasetError:
        return DatasetError(f"{path}: damaged ({type(error).__name__}: {error}); remove {self.folder} to start anew")
