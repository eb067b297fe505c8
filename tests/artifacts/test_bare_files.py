"""Weights without a card: the 2020 project's files, what is no such file, and that no code in a file ever runs."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kept_models import CLASSES, NAME, Touch, bare, change_card, logits, new_model, publish, refused, saved, weights

from quickstroke.artifacts.loading import load_model, read_weights
from quickstroke.config.model import ModelConfig
from quickstroke.drawings.categories import CATEGORIES_2020, read_classes
from quickstroke.errors import CategoryError, ModelNameError, WeightsError
from quickstroke.utils.files import sha256_of

pytestmark = pytest.mark.usefixtures("one_thread")

FILES_2020 = (
    "bilstm_lay1_sz64",
    "lstm_cv1_128_5_lay1_sz64",
    "simple_lay1_sz256",
    "simple_lay1_sz64",
    "simple_lay2_sz256",
    "simple_lay2_sz64",
)


# --- files that are read, and files that are not


@pytest.mark.parametrize("legacy", [False, True])
def test_a_bare_file_is_read_as_the_2020_projects(tmp_path, legacy):
    expected = new_model(reading="padded")
    path = bare(tmp_path, saved(expected.state_dict(), legacy))
    (tmp_path / "words.txt").write_text("\n".join(CLASSES))
    for classes in (CLASSES, tmp_path / "words.txt", str(tmp_path / "words.txt")):
        loaded = load_model(path, classes)
        assert loaded.classes == CLASSES and loaded.card is None
        assert loaded.model.config == expected.config
        assert "no card" in loaded.note and "padded" in loaded.note
        assert torch.equal(logits(loaded.model), logits(expected))


@pytest.mark.parametrize("name", FILES_2020)
def test_the_2020_projects_files_load(shared: Path, name):
    """Written by an old PyTorch, on a GPU."""
    folder = shared / "models" / "seed"
    path = folder / f"{name}.model"
    listed = read_classes(folder / "classes.txt")
    loaded = load_model(path)
    assert loaded.name == name and loaded.classes == CATEGORIES_2020 == listed
    assert loaded.model.config == ModelConfig.from_name(name, reading="padded")
    assert "no card" in loaded.note and "100 classes" in loaded.note
    assert all(value.device.type == "cpu" for value in loaded.model.state_dict().values())
    expected = torch.load(path, map_location="cpu", weights_only=True)
    assert all(torch.equal(value, expected[key]) for key, value in loaded.model.state_dict().items())
    other = tuple(reversed(listed))
    assert load_model(path, other).classes == other
    assert load_model(path, folder / "classes.txt").classes == listed


def test_the_2020_projects_files_under_other_names(shared: Path, tmp_path):
    source = shared / "models" / "seed" / "simple_lay1_sz64.model"
    for name in ("simple_lay1_sz256", "simple_lay2_sz64", "bilstm_lay1_sz64", "lstm_cv1_128_5_lay1_sz64"):
        path = tmp_path / f"{name}.model"
        path.write_bytes(source.read_bytes())
        refused(path, rf"do not fit {name} with 100 classes: '\S+' is .*, expected")
    for name in ("model", "simple", "simple_lay1", "simple_lay1_sz064", "simple_lay1_sz64 (1)", "lstm_lay1_sz64"):
        path = tmp_path / f"{name}.model"
        path.write_bytes(source.read_bytes())
        refused(path, "has no card .*is no model name", ModelNameError)


def test_the_2020_projects_files_with_wrong_classes(shared: Path):
    path = shared / "models" / "seed" / "simple_lay1_sz64.model"
    for n in (1, 99):
        refused(path, f"has 100 outputs, but {n} classes were given", classes=CATEGORIES_2020[:n])
    with pytest.raises(CategoryError, match="twice"):
        load_model(path, [*CATEGORIES_2020[:99], CATEGORIES_2020[0]])
    with pytest.raises(CategoryError, match="no such class list"):
        load_model(path, "missing/words.txt")


def test_truncated_2020_files(shared: Path, tmp_path):
    data = (shared / "models" / "seed" / "simple_lay1_sz64.model").read_bytes()
    for n in (1, 2, 100, 1000, len(data) // 2, len(data) - 1):
        refused(bare(tmp_path, data[:n], "simple_lay1_sz64"), "damaged or not a PyTorch file")


def test_a_bare_file_of_type_bipool_needs_its_card(tmp_path):
    refused(
        bare(tmp_path, weights(), "bipool_lay1_sz4"), r"has no card \(bipool_lay1_sz4.json\), which .* bipool needs"
    )


def test_without_a_class_list_only_100_outputs_are_known(tmp_path):
    path = bare(tmp_path, weights())
    refused(path, "has 3 outputs and no card")
    refused(path, "has 3 outputs, but 2 classes were given", classes=("cat", "star"))


def test_the_2020_projects_classes_in_another_order_are_told(tmp_path):
    path = bare(tmp_path, new_model(n_classes=100, reading="padded", max_padding=100).state_dict())
    assert "another order" not in load_model(path, CATEGORIES_2020).note
    told = load_model(path, tuple(sorted(CATEGORIES_2020))).note
    assert told.endswith(
        "; the classes given are that project's in another order, in which its own weights have others"
    )


def test_convolutions_longer_than_a_drawing(tmp_path):
    path = bare(tmp_path, weights(), "lstm_cv1_4_101_lay1_sz4")
    refused(path, "span 101 steps", ModelNameError, classes=CLASSES)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_truncated_bare_file(tmp_path, legacy):
    data = saved(weights(), legacy)
    for n in (*range(1, 20), len(data) // 4, len(data) // 2, len(data) - 100, len(data) - 1):
        refused(bare(tmp_path, data[:n]), "damaged or not a PyTorch file|not a PyTorch file: it begins with")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "begins with b'<!DOCTYPE"),
        (b"Not found\n", "begins with b'Not found"),
        (b'{"weights": 3}', "not a PyTorch file"),
        (bytes(1000), "not a PyTorch file"),
        (b"PK\x03\x04" + bytes(1000), "damaged or not a PyTorch file"),
        (b"PK\x05\x06" + bytes(18), "not a PyTorch file"),
        (b"\x80" + bytes(1000), "refused|damaged"),
    ],
)
def test_files_of_another_kind(tmp_path, data, message):
    refused(bare(tmp_path, data), message)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"PK\x03\x04"]))
def test_random_bytes_are_refused(tmp_path_factory, data, head):
    refused(bare(tmp_path_factory.mktemp("random"), head + data), "PyTorch file|refused|holds")


def test_a_zip_archive_of_something_else(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("notes/data.txt", "hello")
    refused(bare(tmp_path, buffer.getvalue()), "damaged or not a PyTorch file")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "holds a list"),
        ({}, "holds an empty dict"),
        (torch.zeros(3), "holds a Tensor"),
        (3, "holds a int"),
        ({"model": weights()}, "'model' is a dict"),
        (weights() | {"epoch": 3}, "'epoch' is a int"),
        (weights() | {"note": "best"}, "'note' is a str"),
        (weights() | {3: torch.zeros(1)}, "3 is a Tensor"),
        (weights(bn__weight=None), "'bn.weight' is missing"),
        (weights(linear__bias=None), r"no output layer \(linear.bias\)"),
        (weights(linear__bias=torch.tensor(1.0)), r"no output layer \(linear.bias\)"),
        (weights(linear__bias=torch.zeros(0)), r"no output layer \(linear.bias\)"),
        (weights(linear__bias=torch.zeros(5)), "'linear.weight' is .*with 5 classes|with 5 classes: 'linear.weight'"),
        (weights(extra=torch.zeros(2)), r"'extra' is \(2,\), expected none"),
        (weights(**{"a\nb": torch.zeros(2)}), "'a.*b' is"),
        (weights(bn__weight=torch.zeros(4)), r"'bn.weight' is \(4,\), expected \(3,\)"),
        (weights(bn__weight=torch.tensor([1, float("nan"), 1])), "'bn.weight' has numbers that are not finite"),
        (weights(bn__running_var=torch.tensor([1, float("inf"), 1])), "not finite"),
        (weights(bn__bias=torch.full((3,), 1e300, dtype=torch.float64)), "not finite"),
        (weights(bn__running_var=torch.tensor([1, -0.5, 1])), "negative variance"),
        (weights(bn__bias=torch.zeros(3).to_sparse()), "refused: no plain state dict"),
        (weights(bn__bias=torch.zeros(3, device="meta")), "refused: no plain state dict"),
        (weights(bn__bias=torch.zeros(3, dtype=torch.complex64)), "no plain dense tensor"),
        (weights(bn__bias=torch.zeros(3, dtype=torch.int8)), "no plain dense tensor"),
        (weights(bn__bias=torch.zeros(3).to(torch.float8_e4m3fn)), "refused: no plain state dict"),
    ],
)
def test_what_is_no_state_dict_of_the_model(tmp_path, value, message):
    refused(bare(tmp_path, value), message, classes=CLASSES)


@pytest.mark.parametrize("key", ["linear__bias", "bn__weight"])
def test_a_few_bytes_that_claim_a_huge_tensor(tmp_path, key):
    """Strides of 0 make one number a tensor of any shape: refused before memory is taken for it."""
    path = bare(tmp_path, weights(**{key: torch.zeros(1).expand(10**13)}))
    assert path.stat().st_size < 10_000
    refused(path, "no plain dense tensor", classes=CLASSES)


def test_other_precisions_load(tmp_path):
    """Half precision and views into larger storages are plain numbers all the same."""
    whole = torch.arange(12.0).reshape(4, 3)
    path = bare(tmp_path, weights(bn__weight=torch.full((3,), 0.5, dtype=torch.float16), bn__bias=whole[2]))
    model = load_model(path, CLASSES).model
    assert model.bn.weight.dtype == torch.float32 and model.bn.weight.tolist() == [0.5] * 3
    assert model.bn.bias.tolist() == [6, 7, 8]


def test_files_older_than_the_batch_counter_load(tmp_path):
    """PyTorch before 0.4.1 wrote no `num_batches_tracked`."""
    path = bare(tmp_path, OrderedDict(weights(bn__num_batches_tracked=None)))
    assert torch.equal(logits(load_model(path, CLASSES).model), logits(new_model(reading="padded")))


def test_a_missing_file_and_other_endings(tmp_path):
    refused(tmp_path / f"{NAME}.model", "no such model file")
    (tmp_path / "weights.pt").write_bytes(saved(weights()))
    refused(tmp_path / "weights.pt", "expected a .model, .safetensors or .quickstroke file or a run folder")


# --- code in a file never runs


def as_pickle(value):
    return pickle.dumps(value, protocol=2)


def as_new_pickle(value):
    return pickle.dumps(value, protocol=4)


def as_legacy(value):
    return saved(value, legacy=True)


def as_zip(value):
    return saved(value)


def as_tampered_zip(value):
    """A good file whose pickle was exchanged."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(weights()))) as good, zipfile.ZipFile(buffer, "w") as bad:
        for item in good.infolist():
            is_pickle = item.filename.endswith("data.pkl")
            bad.writestr(item, pickle.dumps(value, protocol=2) if is_pickle else good.read(item))
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [as_pickle, as_new_pickle, as_legacy, as_zip, as_tampered_zip])
@pytest.mark.parametrize("inside", [False, True])
def test_no_code_in_a_file_runs(tmp_path, pack, inside):
    marker = tmp_path / "marker"
    value = weights() | {"extra": Touch(marker)} if inside else Touch(marker)
    data = pack(value)
    refused(bare(tmp_path, data), "refused: no plain state dict", classes=CLASSES)
    assert not marker.exists()
    # The same bytes in careless hands: the test would notice if code had run.
    try:
        torch.load(io.BytesIO(data), weights_only=False)
    except Exception:
        pickle.loads(data)
    assert marker.exists()


def test_no_code_in_a_published_file_runs(tmp_path):
    """Not even where the card's hash is that of the file."""
    path = publish(tmp_path)
    marker = tmp_path / "marker"
    path.write_bytes(saved(weights() | {"extra": Touch(marker)}))
    change_card(path.with_suffix(".json"), {"sha256": sha256_of(path)})
    refused(path, "refused: no plain state dict")
    assert not marker.exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    for legacy in (False, True):
        refused(bare(tmp_path, saved(new_model(), legacy)), "refused: no plain state dict", classes=CLASSES)


def test_reading_warns_of_nothing(tmp_path, recwarn):
    with pytest.raises(WeightsError):
        read_weights(bare(tmp_path, pickle.dumps({"x": 1}, protocol=4)))
    read_weights(bare(tmp_path, saved(weights(), legacy=True)))
    assert not recwarn.list
