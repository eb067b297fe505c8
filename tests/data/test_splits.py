"""No drawing is in two splits, and each is where the rule puts it."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepared import dot, save, split_of
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.manifest import SPLITS
from quickstroke.data.splits import FractionSplit, PositionSplit
from quickstroke.drawings.categories import CATEGORIES_2020
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import ConfigError, DatasetError
from quickstroke.formats import ndjson, read_file
from quickstroke.preparation.prepare import prepare


def splitmix64(value: int) -> int:
    """As published, in whole numbers."""
    mask = 2**64 - 1
    z = (value + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
    return z ^ z >> 31


def key_with_hash(wanted: int) -> int:
    """The key_id that splitmix64 takes to `wanted`."""

    def unshift(value: int, by: int) -> int:
        found = value
        for _ in range(64 // by):
            found = value ^ found >> by
        return found

    z = unshift(wanted, 31) * pow(0x94D049BB133111EB, -1, 2**64) % 2**64
    z = unshift(z, 27) * pow(0xBF58476D1CE4E5B9, -1, 2**64) % 2**64
    key = (unshift(z, 30) - 0x9E3779B97F4A7C15) % 2**64
    assert splitmix64(key) == wanted
    return key


def test_hash_is_splitmix64() -> None:
    # The first output of the published generator from the seed 0.
    assert splitmix64(0) == 0xE220A8397B1DCDAF
    keys = [0, 1, 5201136883597312, 2**63, 2**64 - 1, key_with_hash(0), key_with_hash(2**64 - 1)]
    split = FractionSplit(0.25, 0.5, 0.25)
    expected = [1 if part < 0.25 else 2 if part < 0.75 else 3 for part in (splitmix64(key) / 2**64 for key in keys)]
    assert split.assign(np.array(keys, np.uint64)).tolist() == expected


@pytest.mark.parametrize(
    "fractions",
    [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (0.5, 0.5, 0),
        (0.5, 0, 0.5),
        (0, 0.5, 0.5),
        (0.9, 0.1, 0),
        (0.7, 0.3, 0),
        (0.1, 0.2, 0.7),
        (0.3, 0.7 - 1e-12, 1e-12),
        (1 / 3, 1 / 3, 1 / 3),
        (1e-10, 0, 1 - 1e-10),
    ],
)
def test_fraction_of_zero_is_empty_and_others_are_as_asked(
    fractions: tuple[float, float, float], real: PreparedDataset
) -> None:
    ends = np.array([key_with_hash(wanted) for wanted in (0, 1, 2**63, 2**64 - 600, 2**64 - 1)], np.uint64)
    split = FractionSplit(*fractions)
    assigned = split.assign(np.concatenate([ends, real.key_ids]))
    assert assigned.dtype == np.uint8
    counts = np.bincount(assigned, minlength=4) / len(assigned)
    assert counts[0] == 0
    for fraction, share in zip(fractions, counts[1:], strict=True):
        assert (share == 0) if fraction == 0 else abs(share - fraction) < 0.005


@pytest.mark.parametrize(
    "fractions",
    [
        (0.8, 0.1, 0.2),
        (0.8, 0.1, 0),
        (-0.1, 1, 0.1),
        (1.1, -0.1, 0),
        (float("nan"), 0.5, 0.5),
        (float("inf"), 0, 0),
        (0, 0, 0),
    ],
)
def test_fractions_that_are_none_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="fractions should be three numbers from 0 to 1"):
        FractionSplit(*fractions)


def test_the_folds_of_a_split_test_on_each_drawing_once(binary_folder: Path, tmp_path: Path) -> None:
    keys = np.arange(1, 10_001, dtype=np.uint64)
    for seed in (0, 3):
        splits = np.array([FractionSplit(0.7, 0.1, 0.2, seed, fold).assign(keys) for fold in range(5)])
        assert ((splits == SPLITS.index("test")).sum(0) == 1).all()
        assert all(abs((part == SPLITS.index("val")).mean() - 0.1) < 0.02 for part in splits)
        assert (splits[0] == FractionSplit(0.7, 0.1, 0.2, seed).assign(keys)).all()
    # In every version fold 1 tests on the same drawings.
    first_hundred = np.array([splitmix64(key) / 2**64 for key in range(1, 101)])
    tested = FractionSplit(0.7, 0.1, 0.2, fold=1).assign(keys[:100]) == SPLITS.index("test")
    assert tested.tolist() == ((first_hundred >= 0.6) & (first_hundred < 0.8)).tolist()
    prepared = prepare(binary_folder, tmp_path / "data", split=FractionSplit(0.7, 0.1, 0.2, fold=4))
    told = PreparedDataset(prepared.path).manifest["split"]
    assert told == {"rule": "hash of key_id", "train": 0.7, "val": 0.1, "test": 0.2, "fold": 4}
    for fractions, wrong, most in (((0.7, 0.1, 0.2), 5, 4), ((0.5, 0.2, 0.3), 3, 2), ((1, 0, 0), 1, 0)):
        with pytest.raises(ConfigError, match=f"the fold of a split should be a whole number from 0 to {most}, since"):
            FractionSplit(*fractions, fold=wrong)
    with pytest.raises(ConfigError, match="the fold of a split"):
        FractionSplit(fold=True)
    assert FractionSplit(1, 0, 5e-324, fold=2).fold == 2


def test_each_seed_is_another_split(binary_folder: Path, tmp_path: Path) -> None:
    keys = np.arange(20_000, dtype=np.uint64) * np.uint64(3)
    splits = [FractionSplit(0.8, 0.1, 0.1, seed=seed).assign(keys) for seed in (0, 1, 2, 2**63 - 1)]
    np.testing.assert_array_equal(splits[0], FractionSplit(0.8, 0.1, 0.1).assign(keys))
    for one in range(4):
        assert abs((splits[one] == 3).mean() - 0.1) < 0.01
        for other in range(one):  # two tenths of the drawings have little to do with each other
            assert abs(((splits[one] == 3) & (splits[other] == 3)).mean() - 0.01) < 0.003
    prepare(binary_folder, tmp_path / "own", split=FractionSplit(0.8, 0.1, 0.1, seed=np.int64(7)))  # type: ignore[arg-type]
    own, plain = PreparedDataset(tmp_path / "own"), prepare(binary_folder, tmp_path / "plain")
    assert own.manifest["split"] == {"rule": "hash of key_id", "train": 0.8, "val": 0.1, "test": 0.1, "seed": 7}
    assert "seed" not in PreparedDataset(plain.path).manifest["split"]
    assert own.indices("test").tolist() != PreparedDataset(plain.path).indices("test").tolist()
    assert FractionSplit(*np.array([0.5, 0.25, 0.25], np.float32)) == FractionSplit(0.5, 0.25, 0.25)
    for wrong in (-1, 2**63, 0.5, True, "1"):
        with pytest.raises(ConfigError, match="the seed of a split, --split-seed, should be a whole number from 0"):
            FractionSplit(seed=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("counts", [(-1, 5, 5), (5, -1, 5), (5, 5, -1), (5, 5, 5, -1), (0, 0, 0), (0, 0, 0, 0)])
def test_counts_that_are_none_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"should be 0 or more|at least one drawing"):
        PositionSplit(*counts)


def test_no_real_drawing_is_in_two_splits_by_hash(real: PreparedDataset) -> None:
    found = split_of(real)
    assert len(found) == len(real)
    assert set(map(len, found.values())) == {1}
    assert {name for names in found.values() for name in names} == {"train", "val", "test"}


def test_no_real_drawing_is_in_two_splits_by_position(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/quickdraw"
    # the same drawings twice: the official lines are among the binary files
    sources = [source / "binary", source / "simplified"]
    prepared = prepare(sources, tmp_path / "out", classes=CATEGORIES_2020, split=PositionSplit(20, 6, 6, 8))
    data = PreparedDataset(tmp_path / "out")
    found = split_of(data)
    assert len(found) == len(data) == 4000
    assert set(map(len, found.values())) == {1}
    assert prepared.left_out["repeated key_id"] > 1000
    assert prepared.splits == {"reserved": 800, "train": 2000, "val": 600, "test": 600}


@pytest.mark.parametrize("split", [FractionSplit(0.4, 0.3, 0.3), PositionSplit(12, 9, 9, 10)])
def test_planted_duplicates_are_in_one_split(split: FractionSplit | PositionSplit, tmp_path: Path) -> None:
    words = ("circle", "house", "star")
    items = {word: list(synthetic_drawings(50, seed=1, words=(word,))) for word in words}
    folder = save(
        tmp_path / "in", circle=items["circle"], house=items["circle"][:20] + items["house"], star=items["star"]
    )
    ndjson.write(folder / "more.ndjson", items["star"][::-1] + items["circle"][10:])
    (folder / "again.ndjson.gz").write_bytes(gzip.compress((folder / "more.ndjson").read_bytes()))
    prepared = prepare(folder, tmp_path / "out", split=split)
    data = PreparedDataset(tmp_path / "out")
    assert set(map(len, split_of(data).values())) == {1}
    # 50 + 70 + 50 in binary files and 90 lines twice
    assert prepared.n + sum(prepared.left_out.values()) == 50 + 70 + 50 + 2 * 90
    assert prepared.left_out["repeated key_id"] == 180
    assert ("key_id of another class" in prepared.left_out) == isinstance(split, PositionSplit)


@given(
    words=st.lists(
        st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.booleans()), min_size=1, max_size=12),
        min_size=1,
        max_size=3,
    ),
    split=st.sampled_from(
        [FractionSplit(0, 0.5, 0.5), FractionSplit(0, 1, 0), PositionSplit(1, 0, 0), PositionSplit(0, 1, 1, 1)]
    ),
    recognized_only=st.booleans(),
    drop_duplicates=st.booleans(),
    limit=st.none() | st.integers(1, 5),
)
def test_every_drawing_is_in_one_split_or_left_out_for_one_reason(
    words: list[list[tuple[int, int, bool]]],
    split: FractionSplit | PositionSplit,
    recognized_only: bool,
    drop_duplicates: bool,
    limit: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    names = ("ant", "bee", "cat")[: len(words)]
    save(folder / "in", **{name: [dot(*one) for one in items] for name, items in zip(names, words, strict=True)})
    options = {"recognized_only": recognized_only, "drop_duplicates": drop_duplicates, "limit": limit}
    try:
        prepared = prepare(folder / "in", folder / "out", split=split, **options)  # type: ignore[arg-type]
    except DatasetError as error:
        assert "too few drawings" in str(error)
        return
    data = PreparedDataset(folder / "out")
    data.verify()
    assert prepared.n + sum(prepared.left_out.values()) == sum(map(len, words))
    assert all(n > 0 for n in prepared.left_out.values())
    assert len(data) == prepared.n == sum(prepared.splits.values())
    assert all(len(found) == 1 for found in split_of(data).values())
    per_class = [data.key_ids[data.labels == label].tolist() for label in range(len(words))]
    assert all(len(set(keys)) == len(keys) for keys in per_class)
    if limit:
        assert all(len(keys) <= limit for keys in per_class)


def test_hash_split_depends_on_nothing_but_the_key_id(drawings: dict[str, list[Drawing]], tmp_path: Path) -> None:
    split = FractionSplit(0.5, 0.3, 0.2)
    save(tmp_path / "all", **drawings)
    save(tmp_path / "some", star=drawings["star"][::-1][:30], circle=drawings["circle"][7:])
    prepare(tmp_path / "all", tmp_path / "a", split=split)
    prepare(tmp_path / "some", tmp_path / "b", classes=["star", "circle"], split=split, limit=25)
    a, b = split_of(PreparedDataset(tmp_path / "a")), split_of(PreparedDataset(tmp_path / "b"))
    assert len(b) == 50
    assert {key: a[key] for key in b} == b


def test_position_split_takes_each_class_in_the_order_of_its_file(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/quickdraw/binary"
    prepare(folder, tmp_path / "out", classes=["sun", "cat", "dog"], split=PositionSplit(20, 6, 5, 9))
    data = PreparedDataset(tmp_path / "out")
    for label, word in enumerate(data.classes):
        keys = [drawing.key_id for drawing in read_file(folder / f"{word}.bin")][:40]
        mine = data.labels == label
        assert data.key_ids[mine].tolist() == keys
        assert data.splits[mine].tolist() == [0] * 9 + [1] * 20 + [2] * 6 + [3] * 5


def test_too_few_drawings_names_every_class_with_what_it_has_and_what_was_asked(tmp_path: Path) -> None:
    folder = save(
        tmp_path / "in",
        ant=map(dot, range(1, 10)),
        bee=map(dot, range(11, 40)),
        cat=map(dot, [50] * 30),
        dog=[],
    )
    with pytest.raises(DatasetError) as caught:
        prepare(folder, tmp_path / "out", split=PositionSplit(10, 3, 0, 7))
    asked = "asked for 20 (7 reserved + 10 train + 3 val)"
    assert str(caught.value) == f"too few drawings: ant has 9, {asked}; cat has 1, {asked}; dog has 0, {asked}"


def test_class_with_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "in", ant=map(dot, range(1, 50)), bee=[dot(1, recognized=False)])
    with pytest.raises(DatasetError, match=r"too few drawings: bee has 0, asked for at least one to train on$"):
        prepare(tmp_path / "in", tmp_path / "out", recognized_only=True)
    assert prepare(tmp_path / "in", tmp_path / "out", split=FractionSplit(0, 0, 1), recognized_only=True).n == 49


def test_positions_are_counted_on() -> None:
    split = PositionSplit(3, 0, 2, 1)
    whole = split.assign(np.zeros(9, np.uint64))
    assert whole.tolist() == [0, 1, 1, 1, 3, 3]
    assert whole.dtype == np.uint8
    for n in range(10):
        parts = [split.assign(np.zeros(n, np.uint64)), split.assign(np.zeros(9 - n, np.uint64), n)]
        assert np.concatenate(parts).tolist() == whole.tolist()


def test_where_all_drawings_went_is_told(tmp_path: Path) -> None:
    folder = save(tmp_path / "in", cat=[dot(key_with_hash(2**64 - 1))])
    with pytest.raises(
        DatasetError, match="cat has 1, asked for at least one to train on; by their key_ids went 1 to test"
    ):
        prepare(folder, tmp_path / "out")
