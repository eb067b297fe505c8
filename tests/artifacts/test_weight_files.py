"""Files of weights that claim more than they have: refused before memory is taken for it, and nothing in them runs."""

import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kept_models import CLASSES, NAME, Touch, publish, saved

from quickstroke.artifacts.loading import load_model
from quickstroke.artifacts.weight_files import load
from quickstroke.config.model import ModelConfig
from quickstroke.errors import ModelNameError, RunError, WeightsError
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.training import checkpoint
from quickstroke.training.optimizer import Adam

BILLION = 10**9


def archive(changes, method=zipfile.ZIP_STORED):
    """An archive of a tensor of three numbers; `changes` has new bytes for entries, by the end of their name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved({"a": torch.zeros(3)}))) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            content = next((changes[end] for end in changes if entry.filename.endswith(end)), old.read(entry))
            new.writestr(entry.filename, content, method)
    return buffer.getvalue()


class Storage:
    """Pickles as a storage of so many float32 numbers."""

    def __init__(self, n, key="0"):
        self.pid = ("storage", torch.FloatStorage, key, "cpu", n)


class Tensor:
    """Pickles as a tensor of a storage."""

    def __init__(self, storage, shape, strides=None, offset=0):
        strides = strides or tuple(1 for _ in shape)
        self.reduced = torch._utils._rebuild_tensor_v2, (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self):
        return self.reduced


def pickled(value, legacy=False):
    """What PyTorch pickles, of tensors that there are not."""
    more = (None,) if legacy else ()

    class Pickler(pickle.Pickler):
        def persistent_id(self, part):
            return part.pid + more if isinstance(part, Storage) else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(value)
    return buffer.getvalue()


def old_form(value, keys=("0",), numbers=b""):
    """A file of PyTorch before 1.6."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})
    return (
        b"".join(pickle.dumps(part, 2) for part in head) + pickled(value, True) + pickle.dumps(list(keys), 2) + numbers
    )


ONE = struct.pack("<qf", 1, 0.5)
OLD = {  # what is said, the file
    "storage of 1000000000": ("claim 4000000000 bytes", old_form({"a": Tensor(Storage(BILLION), (9,))}, numbers=ONE)),
    "shape of 1000000000": ("in a storage of 1", old_form({"a": Tensor(Storage(1), (BILLION,))}, numbers=ONE)),
    "offset of 1000000000": (
        "in a storage of 1",
        old_form({"a": Tensor(Storage(1), (1,), (1,), BILLION)}, numbers=ONE),
    ),
    "99 storages": (
        "claim 3960000000 bytes",
        old_form([Tensor(Storage(10**7, str(i)), (1,)) for i in range(99)], map(str, range(99)), ONE),
    ),
    "5000 tensors": ("more than 4096 tensors", old_form([Tensor(Storage(1), (1,)) for _ in range(5000)], numbers=ONE)),
    "negative storage": ("of a kind that", old_form({"a": Tensor(Storage(-1), (1,))}, numbers=ONE)),
    "negative stride": ("without a shape", old_form({"a": Tensor(Storage(1), (2,), (-1,))}, numbers=ONE)),
    "a note far away": ("far more memory than it has bytes", b"\x80\x02Nr\xff\xff\xff\x7f."),
    "long text": ("cut off", b"\x80\x02X\xff\xff\xff\x7f."),
    "2000000 lists": ("far more memory than it has bytes", b"\x80\x02(" + b"]" * 2_000_000 + b"l."),
    "300000 tuples, one in the other, as a key": ("tuples", b"\x80\x02}N" + b"\x85" * 300_000 + b"Ns."),
    "call of bytearray": ("refused", b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."),
    "call of Tensor": ("refused", b"\x80\x02ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R."),
}
NEW = {
    "storage of 1000000000": ("4000000000 bytes that it has not", {"a": Tensor(Storage(BILLION), (9,))}),
    "shape of 1000000000": ("in a storage of 3", {"a": Tensor(Storage(3), (BILLION,))}),
    "one number more": ("16 bytes that it has not", {"a": Tensor(Storage(4), (4,))}),
    "no such entry": ("12 bytes that it has not", {"a": Tensor(Storage(3, "7"), (3,))}),
}
FILES = OLD | {f"archive: {what}": (why, archive({"data.pkl": pickled(value)})) for what, (why, value) in NEW.items()}


def refused(path, match):
    with pytest.raises(WeightsError, match=match) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.fixture
def path(tmp_path):
    return tmp_path / f"{NAME}.model"


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_claims_more_than_it_has_is_refused_before_memory_is_taken(what, path, memory_limit):
    why, data = FILES[what]
    path.write_bytes(saved({"a": torch.zeros(3)}, legacy=True))
    load(path)
    path.write_bytes(data)
    with memory_limit(512 << 20):  # far less than any of them claims
        refused(path, why)


def test_an_honest_file_made_here_loads(path):
    for data in (
        old_form({"a": Tensor(Storage(1), (1,))}, numbers=ONE),
        archive({"data.pkl": pickled({"a": Tensor(Storage(3), (1,))}), "data/0": struct.pack("<3f", 0.5, 1, 2)}),
    ):
        path.write_bytes(data)
        assert load(path)["a"].tolist() == [0.5]


def test_an_archive_that_inflates_or_overlaps_is_refused(path, memory_limit):
    path.write_bytes(archive({"data/0": bytes(10**8)}, method=zipfile.ZIP_DEFLATED))
    with memory_limit(64 << 20):
        refused(path, "its entries are compressed")
    data = bytearray(saved({"a": torch.zeros(300), "b": torch.ones(300)}))
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        first, second = (next(e for e in whole.infolist() if e.filename.endswith(f"data/{n}")) for n in (0, 1))
    path.write_bytes(data.replace(second.filename.encode(), first.filename.encode()))
    refused(path, "its entries overlap")
    at = data.rindex(b"PK\1\2", 0, data.rindex(first.filename.encode()))
    data[at + 20 : at + 28] = struct.pack("<II", 10**6, 10**6)
    path.write_bytes(data)
    refused(path, "its entries overlap")


@pytest.mark.parametrize("legacy", [False, True])
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_file_is_read_or_refused(legacy, tmp_path_factory, changes):
    data = bytearray(saved({"a": torch.arange(3.0), "b": torch.ones(2, 2)}, legacy))
    for position, byte in changes:
        data[int(position * len(data))] = byte
    path = tmp_path_factory.mktemp("damaged") / f"{NAME}.model"
    path.write_bytes(data)
    try:
        load(path)
    except WeightsError as error:
        assert str(error).startswith(f"{path}: ")


# --- models as users load them, with only so much memory


def test_a_name_that_asks_for_too_much(tmp_path, path, memory_limit):
    path.write_bytes(saved(StrokeClassifier(ModelConfig.from_name(NAME, n_classes=3)).state_dict()))
    with pytest.raises(ModelNameError, match="whole number from 1 to 65536, got '999999'"):
        load_model(path.rename(tmp_path / "simple_lay9_sz999999.model"), CLASSES)
    path = (tmp_path / "simple_lay9_sz999999.model").rename(tmp_path / "bilstm_lay64_sz65536.model")
    with memory_limit(256 << 20), pytest.raises(WeightsError, match="the weights do not fit bilstm_lay64_sz65536"):
        load_model(path, CLASSES)  # 6.6e12 parameters


def test_a_card_that_asks_for_too_much(tmp_path):
    path = publish(tmp_path)
    card_path = path.with_suffix(".json")
    card = json.loads(card_path.read_text())
    for n_classes, why in ((65_536, "lists 3 classes for 65536 outputs"), (10**9, "n_classes should be at most 65536")):
        card_path.write_text(json.dumps(card | {"config": card["config"] | {"n_classes": n_classes}}))
        with pytest.raises(WeightsError, match=why):
            load_model(path)
    for text in (card_path.read_text()[:-1] + " " * 400_000 + "}", "[" * 1_700_000):
        card_path.write_text(text)
        with pytest.raises(WeightsError, match=r"damaged card .*longer than 400000 characters"):
            load_model(path)


@pytest.mark.parametrize("shape", [[BILLION], [10**6, 10**6], [2**62, 4]])
def test_a_safetensors_header_that_asks_for_too_much(shape, tmp_path, memory_limit):
    path = tmp_path / "x.safetensors"
    for end in (4, 4 * BILLION):
        head = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()
        path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(4))
        with pytest.raises(WeightsError, match="damaged or not a safetensors file"):
            load_model(path)
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with memory_limit(256 << 20), pytest.raises(WeightsError, match="damaged or not a safetensors file"):
        load_model(path)


# --- nothing in a file runs


def as_tar(value):
    """What PyTorch before 0.2 wrote."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (("storages", pickle.dumps(0, 2)), ("tensors", pickle.dumps(0, 2)), ("pickle", value)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("place", range(5))
def test_no_code_in_any_part_of_an_old_file_runs(place, tmp_path, path):
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {}, {}, [])]
    parts[place] = pickle.dumps(Touch(tmp_path / "marker"), 2)
    path.write_bytes(b"".join(parts))
    refused(path, "refused: no plain state dict of tensors")
    assert not (tmp_path / "marker").exists()


def test_no_code_in_a_tar_or_in_an_archives_other_entries_runs(tmp_path, path):
    harm = pickle.dumps(Touch(tmp_path / "marker"), 2)
    path.write_bytes(as_tar(harm))
    refused(path, "not a PyTorch file: it begins with")
    data = bytearray(as_tar(harm))
    data[:9] = b"\x80" + bytes(8)  # its first entry's name
    path.write_bytes(data)
    refused(path, "damaged")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/constants.pkl", harm)
        archive.writestr("x/data.pkl", pickle.dumps({}, 2))
    refused(path, "damaged or not a PyTorch file")
    assert not (tmp_path / "marker").exists()


def test_a_checkpoint_is_held_against_its_size_too(tmp_path, memory_limit):
    model = StrokeClassifier(ModelConfig.from_name(NAME, n_classes=3))
    optimizer = Adam(model.parameters(), 0.1)
    checkpoint.save_checkpoint(tmp_path, checkpoint.State(), model, optimizer)
    assert checkpoint.load_checkpoint(tmp_path, model, optimizer) == checkpoint.State()
    (tmp_path / "last.ckpt").write_bytes(FILES["storage of 1000000000"][1])
    with memory_limit(512 << 20), pytest.raises(RunError, match="damaged checkpoint"):
        checkpoint.load_checkpoint(tmp_path, model, optimizer)
