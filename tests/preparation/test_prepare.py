"""Preparations that are stopped and resumed, and the memory that they take."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from prepared import contents, save
from quickstroke.cli import main
from quickstroke.data import dataset
from quickstroke.data.splits import FractionSplit, PositionSplit
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import DatasetError, FormatError
from quickstroke.formats import binary, ndjson
from quickstroke.preparation import convert, keys, writer
from quickstroke.preparation import journal as journal_module
from quickstroke.preparation import prepare as prepare_module
from quickstroke.preparation import sources as sources_module
from quickstroke.preparation.journal import Preparation, folder_of
from quickstroke.preparation.keys import KeySet
from quickstroke.preparation.prepare import prepare
from quickstroke.preparation.writer import Writer
from quickstroke.utils import files

HALF = FractionSplit(0.5, 0.3, 0.2)
POSITION = PositionSplit(15, 5, 4, 6)


def dots(*key_ids: int, word: str = "") -> list[Drawing]:
    return [Drawing(word, [np.array([[key % 256, 7]], np.uint8)], key_id=key) for key in key_ids]


@pytest.fixture
def mixed(drawings: dict[str, list[Drawing]], tmp_path: Path) -> Path:
    """Four words in binary and other files, with drawings that are there twice."""
    folder = save(tmp_path / "mixed", star=drawings["star"], circle=drawings["circle"][:40])
    ndjson.write(folder / "a.ndjson", [*drawings["house"][:30], *drawings["circle"][30:]])
    ndjson.write(folder / "b.ndjson.gz", [*drawings["house"][20:], *synthetic_drawings(50, seed=1, words=("sun",))])
    return folder


class _Stop(BaseException):
    pass


def stop_at(n: int, call: Callable[..., Any], error: BaseException, after: bool) -> Callable[..., Any]:
    """`call`, but the n-th time an error, before it or after."""
    n_calls = 0

    def stopping(*args: Any, **options: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == n and not after:
            raise error
        value = call(*args, **options)
        if n_calls == n:
            raise error
        return value

    return stopping


# --- going on


@pytest.mark.parametrize("split", [HALF, POSITION])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("owner", "name", "n"),
    [
        *((Preparation, "note", n) for n in (1, 2, 3, 4, 6)),
        *((Writer, "append", n) for n in (1, 2, 4)),
        (Writer, "finish", 1),
        (prepare_module, "write_json", 1),
        (Path, "rename", 1),
    ],
)
def test_what_was_stopped_anywhere_ends_with_the_same_bytes(
    owner: Any,
    name: str,
    n: int,
    after: bool,
    split: FractionSplit | PositionSplit,
    mixed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = prepare(mixed, tmp_path / "whole", split=split)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, stop_at(n, getattr(owner, name), _Stop(), after))
        with pytest.raises(_Stop):
            prepare(mixed, tmp_path / "out", split=split)
    assert (name == "rename" and after) or not (tmp_path / "out").exists()
    done: list[str] = []
    prepared = prepare(mixed, tmp_path / "out", split=split, resume=True, on_class=lambda word, *_: done.append(word))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert prepared == dataclasses.replace(whole, path=tmp_path / "out")
    assert not list(tmp_path.glob(".*"))
    if name == "note" and after and n > 2:
        assert done == ["circle", "house", "star", "sun"][n - 2 :]


def test_only_what_is_not_done_is_read_again(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(word: str, *_: object) -> None:
        if word == "house":
            raise _Stop

    with pytest.raises(_Stop):
        prepare(mixed, tmp_path / "out", split=HALF, on_class=stop)
    read: list[str] = []
    monkeypatch.setattr(convert.Converter, "convert", lambda *_: pytest.fail("read again"))
    blocks = binary.read_blocks
    monkeypatch.setattr(binary, "read_blocks", lambda path, word: read.append(word) or blocks(path, word))
    started: list[tuple[int, int]] = []
    prepare(mixed, tmp_path / "out", split=HALF, resume=True, on_start=lambda *args: started.append(args))
    # What was under way while "house" was told of is written, too.
    assert set(read) == {"sun"}
    assert started == [(4, 3)]  # two files of text and those of two classes


def test_a_killed_process_is_gone_on_with(mixed: Path, tmp_path: Path) -> None:
    prepare(mixed, tmp_path / "whole", split=HALF)
    program = f"""
import os, signal
from quickstroke.data.splits import FractionSplit
from quickstroke.preparation.prepare import prepare

def kill(word, done, total):
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

prepare({str(mixed)!r}, {str(tmp_path / "out")!r}, split=FractionSplit(0.5, 0.3, 0.2), on_class=kill)
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    # What was told of is done, and the next class, too, if it was written before the kill came.
    journal = (folder_of(tmp_path / "out") / "journal.jsonl").read_bytes()
    n_done = sum(b'"word"' in line for line in journal.splitlines(keepends=True) if line.endswith(b"\n"))
    assert n_done >= 2
    # Half a class behind the journal, and half a line of it.
    with (folder_of(tmp_path / "out") / "dataset/points.bin").open("ab") as file:
        file.write(b"more than is told")
    with (folder_of(tmp_path / "out") / "journal.jsonl").open("ab") as file:
        file.write(b'{"word": "star", "n_by_')
    done: list[int] = []
    prepare(mixed, tmp_path / "out", split=HALF, resume=True, on_class=lambda word, n, total: done.append(n))
    assert done == list(range(n_done + 1, 5))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_file_that_was_wrong_may_be_set_right(mixed: Path, tmp_path: Path) -> None:
    whole = (mixed / "star.bin").read_bytes()
    (mixed / "star.bin").write_bytes(whole[:-1])
    with pytest.raises(FormatError, match=r"star\.bin.*truncated"):
        prepare(mixed, tmp_path / "out", split=HALF)
    (mixed / "star.bin").write_bytes(whole)
    prepare(mixed, tmp_path / "out", split=HALF, resume=True)
    prepare(mixed, tmp_path / "whole", split=HALF)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.fixture
def begun(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A preparation of one of four classes, by position."""
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        patch.setattr(Writer, "append", stop_at(4, Writer.append, full, False))
        with pytest.raises(OSError, match="No space left"):
            prepare(mixed, tmp_path / "out", split=POSITION)
    return tmp_path / "out"


def test_what_was_begun_is_not_overwritten(begun: Path, mixed: Path) -> None:
    before = contents(folder_of(begun))
    with pytest.raises(DatasetError, match="a preparation of it was begun; give --resume to go on with it, or remove"):
        prepare(mixed, begun, split=POSITION)
    assert contents(folder_of(begun)) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": HALF}, r"split = .*position.*, cannot resume with .*hash of key_id"),
        ({"limit": 50}, r"options = .*'limit': None.*, cannot resume with .*'limit': 50"),
        ({"classes": ("star", "sun")}, r"classes = None, cannot resume with \['star', 'sun'\]"),
        ({"layout": "columns"}, r"layout = None, cannot resume with 'columns'"),
    ],
)
def test_other_options_do_not_go_on(options: dict[str, Any], said: str, begun: Path, mixed: Path) -> None:
    before = contents(folder_of(begun))
    with pytest.raises(DatasetError, match=f"out: was begun with {said}.*; remove .*part to start anew"):
        prepare(mixed, begun, resume=True, **({"split": POSITION} | options))
    assert contents(folder_of(begun)) == before


@pytest.mark.parametrize("name", ["train_only", "val_only", "test_only"])
def test_another_split_of_a_file_does_not_go_on(
    name: str, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(_Stop):
        patch.setattr(Writer, "append", stop_at(1, Writer.append, _Stop(), False))
        prepare(mixed, tmp_path / "out", split=HALF)
    own: dict[str, Any] = {name: mixed / "star.bin"}  # the last one in either case
    with pytest.raises(DatasetError, match=rf"out: was begun with {name} = None, cannot resume with \['star\.bin'\]"):
        prepare(mixed, tmp_path / "out", split=HALF, resume=True, **own)


def test_other_sources_do_not_go_on(begun: Path, mixed: Path) -> None:
    save(mixed, zoo=dots(1))
    with pytest.raises(DatasetError, match=r"sources\[4\] = None, cannot resume with 'zoo\.bin'"):
        prepare(mixed, begun, split=POSITION, resume=True)
    (mixed / "zoo.bin").unlink()
    os.utime(mixed / "circle.bin", ns=(1, 1))  # touched, and the same
    content = bytearray((mixed / "a.ndjson").read_bytes())
    content[content.index(b'"recognized":true') + 13] = ord(" ")
    (mixed / "a.ndjson").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.ndjson: is not what it was when the preparation of .*out began"):
        prepare(mixed, begun, split=POSITION, resume=True)
    assert folder_of(begun).exists()


def test_an_addition_that_an_older_version_began_does_not_go_on(begun: Path, mixed: Path) -> None:
    path = folder_of(begun) / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"added_to": "5" * 64}))
    with pytest.raises(DatasetError, match=r"was begun with added_to = '5+', cannot resume with None; remove .*part"):
        prepare(mixed, begun, split=POSITION, resume=True)
    # What it began without adding has the key, too.
    path.write_text(json.dumps(json.loads(path.read_text()) | {"added_to": None}))
    prepare(mixed, begun, split=POSITION, resume=True)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("plan.json", b"{", r"plan\.json: damaged"),
        ("plan.json", b'{"format": "quickstroke preparation", "version": 2}', "version 2; expected"),
        ("journal.jsonl", b'{"source": 1}\n[]\n', r"journal\.jsonl: damaged"),
        ("dataset/points.bin", b"\0" * 100_000, r"points\.bin: does not hold what was written"),
        ("dataset/points.bin", b"", r"points\.bin: does not hold what was written"),
    ],
)
def test_what_is_damaged_does_not_go_on(name: str, content: bytes, said: str, begun: Path, mixed: Path) -> None:
    (folder_of(begun) / name).write_bytes(content)
    with pytest.raises(DatasetError, match=f"{said}.*") as caught:
        prepare(mixed, begun, split=POSITION, resume=True)
    assert "part to start anew" in str(caught.value) or "version 2" in str(caught.value)
    assert folder_of(begun).exists()


def test_binary_files_that_were_lost_are_made_again(begun: Path, mixed: Path, tmp_path: Path) -> None:
    converted = sorted((folder_of(begun) / "converted").rglob("*.bin"))
    assert len(converted) == 4
    converted[0].unlink()
    converted[3].write_bytes(converted[3].read_bytes()[:-5])
    prepare(mixed, begun, split=POSITION, resume=True)
    prepare(mixed, tmp_path / "whole", split=POSITION)
    assert contents(begun) == contents(tmp_path / "whole")


@pytest.mark.skipif(not files._HAS_LOCKS, reason="no locks here")
def test_two_at_once_are_refused(begun: Path, mixed: Path) -> None:
    def again(*_: object) -> None:
        with pytest.raises(DatasetError, match="another process is preparing it"):
            prepare(mixed, begun, split=POSITION, resume=True)

    prepare(mixed, begun, split=POSITION, resume=True, on_class=again)


@pytest.mark.skipif(not files._HAS_LOCKS, reason="no locks here")
def test_one_that_ends_as_another_begins_takes_nothing_of_it(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "out")

    def late(journal: BinaryIO) -> bool:
        monkeypatch.undo()
        shutil.rmtree(folder)  # as the other one does at its end, whose journal this is
        return files.lock(journal)

    monkeypatch.setattr(journal_module, "lock", late)
    ours = Preparation(tmp_path / "out", {}, resume=False)
    assert not (folder / "journal.jsonl").read_bytes()
    with pytest.raises(DatasetError, match="another process is preparing it"):
        Preparation(tmp_path / "out", {}, resume=False)
    assert (folder / "plan.json").exists()
    ours.close(keep=False)
    assert not folder.exists()


@pytest.mark.parametrize("left", [(), ("journal.jsonl",), (".plan.json.17.tmp",)])
def test_a_kill_in_the_first_moment_leaves_nothing_to_resume(
    left: tuple[str, ...], mixed: Path, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "out")
    folder.mkdir()
    for name in left:
        (folder / name).touch()
    prepare(mixed, tmp_path / "out", split=HALF)
    assert (tmp_path / "out" / "manifest.json").exists()
    assert not folder.exists()


def test_without_anything_begun_it_starts_anew(mixed: Path, tmp_path: Path) -> None:
    started: list[tuple[int, int]] = []
    prepare(mixed, tmp_path / "out", split=HALF, resume=True, on_start=lambda *args: started.append(args))
    assert started == [(0, 0)]


def test_a_whole_dataset_is_told_from_another(mixed: Path, tmp_path: Path) -> None:
    first = prepare(mixed, tmp_path / "out", split=HALF)
    before = contents(tmp_path / "out")
    assert prepare(mixed, tmp_path / "out", split=HALF, resume=True) == first
    for sources, split in ((mixed, POSITION), (mixed / "star.bin", HALF)):
        with pytest.raises(DatasetError, match="exists already, from other sources or with other options"):
            prepare(sources, tmp_path / "out", split=split, resume=True)
    with pytest.raises(DatasetError, match="exists already, from other sources or with other options"):
        prepare(mixed, tmp_path / "out", split=HALF, layout="columns", resume=True)
    assert contents(tmp_path / "out") == before
    first = prepare(mixed, tmp_path / "columns", split=HALF, layout="columns")
    assert prepare(mixed, tmp_path / "columns", split=HALF, layout="columns", resume=True) == first


def test_compiled_code_converts_the_same(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(mixed, tmp_path / "here", split=HALF)
    monkeypatch.setattr(convert, "_FEW_BYTES", 0)
    prepare(mixed, tmp_path / "there", split=HALF)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    with (mixed / "a.ndjson").open("a") as file:
        file.write('{"word": "cat"}\n')
    with pytest.raises(FormatError, match=r"a\.ndjson, line 61: has no key 'drawing'"):
        prepare(mixed, tmp_path / "wrong", split=HALF)


def test_a_converter_that_was_stopped_ends_before_the_next_drawings(mixed: Path, tmp_path: Path) -> None:
    converter = convert.Converter(None)
    converter.stop()
    with pytest.raises(KeyboardInterrupt):
        converter.convert(mixed / "a.ndjson", tmp_path / "there")
    assert not list((tmp_path / "there").iterdir())


# --- memory


def prepared(folder: Path, *sources: Path, **options: Any) -> dict[str, bytes]:
    prepare(sources, folder, **options)
    return contents(folder)


def test_keys_are_told_from_those_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_RUN_KEYS", 80)
    monkeypatch.setattr(keys, "_LEAST_PLACES", 4)  # a table grows before it is full
    rng = np.random.default_rng(3)
    ours, theirs = KeySet(tmp_path / "keys"), set[int]()
    for turn in range(40):
        values = rng.integers(0, 1000, 120 if turn == 9 else 30).astype(np.uint64)  # once more than fit at a time
        if turn % 4 == 1:
            values[rng.integers(0, 30, 2)] = 0  # which is no place's content
        assert ours.among(values).tolist() == [value in theirs for value in values.tolist()]
        expected = []
        for value in values.tolist():
            expected.append(value not in theirs)
            theirs.add(value)
        assert ours.add_new(values).tolist() == expected
    assert len(list((tmp_path / "keys").iterdir())) > 5


def test_a_dataset_is_the_same_whatever_is_in_memory(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepared(tmp_path / "whole", mixed, split=POSITION, drop_duplicates=True)
    monkeypatch.setattr(keys, "_RUN_KEYS", 20)
    monkeypatch.setattr(sources_module, "_BLOCK_POINTS", 1)
    monkeypatch.setattr(dataset, "_PIECE", 7)
    monkeypatch.setattr(writer, "_PIECE_BYTES", 24)
    monkeypatch.setattr(binary, "_CHUNK_BYTES", 500)
    assert prepared(tmp_path / "pieces", mixed, split=POSITION, drop_duplicates=True) == whole


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_grow_with_the_data(drawings: dict[str, list[Drawing]], tmp_path: Path) -> None:
    # 2 words of 360,000 drawings, whose points alone would take 60 MB.
    record = b"".join(binary.encode(drawing) for drawing in drawings["star"])
    plain = np.frombuffer(record, np.uint8)
    begins = np.cumsum([0, *(len(binary.encode(drawing)) for drawing in drawings["star"])])[:-1]
    (tmp_path / "in").mkdir()
    for n in (20, 6000):
        rng = np.random.default_rng(n)
        for word in ("ant", "bee"):
            with (tmp_path / "in" / f"{word}.bin").open("wb") as file:
                for _ in range(n):
                    copy = plain.copy()
                    for byte in range(8):
                        copy[begins + byte] = rng.integers(0, 256, len(begins))
                    file.write(copy)
        program = f"""
from pathlib import Path
from quickstroke.preparation.prepare import prepare
peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3
before = peak()
prepare({str(tmp_path / "in")!r}, {str(tmp_path / f"out{n}")!r})
print(peak() - before)
"""
        output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
        assert float(output) < 160, f"{2 * n * 60} drawings"


# --- from the command line


def test_the_command_says_what_it_goes_on_with(begun: Path, mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = ("--n-train", "15", "--n-val", "5", "--n-test", "4", "--n-test-reserved", "6")
    command = ["prepare", str(mixed), "--into", str(begun), *counts]
    assert main(command) == 2
    refused = capsys.readouterr().err
    assert refused.count("\n") == 1 and "give --resume to go on with it, or remove" in refused
    assert main([*command, "--resume"]) == 0
    assert capsys.readouterr().err.startswith("resuming after 1 class\n")


def test_the_command_does_not_speak_of_a_class_after_the_last(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["prepare", str(mixed), "--into", str(tmp_path / "out")]
    with monkeypatch.context() as patch:  # a kill when all classes are written
        patch.setattr(Writer, "finish", stop_at(1, Writer.finish, KeyboardInterrupt(), False))
        assert main(command) == 130
    capsys.readouterr()
    assert main([*command, "--resume"]) == 0
    assert capsys.readouterr().err.startswith("resuming after 4 classes\n")


def test_what_ended_at_no_drawing_goes_on_without_it(mixed: Path, tmp_path: Path) -> None:
    (mixed / "b.ndjson").write_text((mixed / "a.ndjson").read_text() + "no drawing\n")
    with pytest.raises(FormatError, match=r"b\.ndjson, line"):
        prepare(mixed, tmp_path / "out", split=HALF)
    errors: list[FormatError] = []
    prepared = prepare(mixed, tmp_path / "out", split=HALF, resume=True, on_invalid=errors.append)
    assert prepared.left_out["no drawings"] == len(errors) == 1
    prepare(mixed, tmp_path / "other", split=HALF, on_invalid=errors.append)
    assert contents(tmp_path / "out") == contents(tmp_path / "other")
