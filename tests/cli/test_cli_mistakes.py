"""Commands typed wrongly: each is one line on stderr that names what is wrong, exit code 2, nothing on stdout."""

import threading

import pytest

from quickstroke.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory, binary_folder):
    """Where the commands are typed: files and folders of the right names that hold nothing, and `file`."""
    path = tmp_path_factory.mktemp("mistakes")
    (path / "drawings").symlink_to(binary_folder)
    for name in ("empty.bin", "empty.npz", "empty.csv", "empty.model", "empty.onnx", "empty.md", "empty.txt", "file"):
        (path / name).touch()
    for name in ("none", "folder.bin", "folder.model", "folder.toml", "folder.md", "folder.svg"):
        (path / name).mkdir()
    for name in ("run/config.json", "data/manifest.json"):
        (path / name).parent.mkdir()
        (path / name).touch()
    (path / "latin.toml").write_bytes(b"\xff")
    (path / "deep.toml").write_text("batch_size = " + "[" * 2000)
    return path


@pytest.mark.parametrize(
    ("command", "told"),
    [
        # options
        ("train x --dat y", "unknown option --dat; did you mean --data?; see `quickstroke train --help`"),
        ("train x --lr 0.1", "unknown option --lr; did you mean --learning-rate?"),
        ("tune x --data d --into r --wd 0.1", "unknown option --wd; did you mean --weight-decay?"),
        (
            "evaluate x --device cuda:1",
            "expected auto, cpu or cuda; CUDA_VISIBLE_DEVICES=1 and 'cuda' choose that GPU; see",
        ),
        ("evaluate x --device gpu", "--device gpu: expected auto, cpu or cuda; see"),
        ("train x", "missing --data DIR and --into RUN"),
        ("evaluate", "missing MODEL"),
        ("train", "missing NAME"),
        ("tune", "missing"),
        ("evaluate run --protocol published", "protocol 'published' is called '2020' now"),
        ("evaluate x --split tset", "--split tset: expected reserved, test, train or val"),
        ("models x", "unexpected argument x"),
        ("predict x --top many", "--top many: expected a whole number"),
        ("predict x --limit 1.5", "--limit 1.5: expected a whole number"),
        ("train x --data d --into r --learning-rate fast", "--learning-rate fast: expected a number"),
        ("train x --data d --into r --n-epochs", "--n-epochs: expected a value"),
        ("prepare x --into y --fractions 1 2", "--fractions 1 2: expected three numbers"),
        ("prepare x --into y --n-train=many", "--n-train many: expected a whole number"),
        ("predict a --words cat dog --words elbow", "--words is given 2 times; expected it once, with all its values"),
        ("train x --data d --into r --train_classes=a --train-classes b", "--train-classes is given 2 times"),
        ("train x --data d --into r --teacher a --teacher b --teacher c", "--teacher is given 3 times"),
        ("prepare x --into y --fractions 1 0 0 --fractions 0 1 0", "--fractions is given 2 times"),
        (
            "predict missing.bin --top 1 --top 2",
            "missing.bin: no such file",
        ),  # of an option of one value the last counts
        # options that contradict each other
        ("evaluate run drawings --data data", "either drawing files or --data DIR"),
        ("evaluate run --data d --batch-size 0 --protocol 2020", "--batch-size should be 1 or more"),
        ("evaluate run --partial --protocol 2020", "--partial goes with the protocol `standard` only"),
        ("publish run --data d --without-data", "--data and --without-data contradict each other"),
        ("prepare drawings --into y --n-train 5 --fractions 1 0 0", "two split rules"),
        ("prepare drawings --into y --n-train 5 --train-only more", "--train-only needs a split by fractions"),
        ("prepare drawings --into y --n-train 5 --test-only more", "--test-only needs a split by fractions"),
        ("prepare drawings --into y --test-only", "--test-only has no PATH; expected drawing files, folders or glob"),
        ("prepare --train-only --into y", "--train-only has no PATH; expected drawing files, folders or glob"),
        ("render drawings --into a.npy --size 4", "--size has no effect on a .npy"),
        ("export run --int8 --to safetensors", "--int8"),
        # missing, of another kind, empty, damaged
        ("predict missing.bin", "missing.bin: no such file or folder"),
        ("predict folder.bin", "folder.bin"),
        ("predict none", "none"),
        ("predict file", "file"),
        ("predict empty.bin --model empty.model", "empty.model"),
        (
            "predict empty.bin --model missing",
            "missing: neither a .model, .safetensors, .quickstroke or .onnx file, a run folder nor a model published",
        ),
        ("predict empty.bin --model folder.model", "folder.model"),
        ("predict empty.bin --model empty.onnx", "empty.onnx"),
        ("predict empty.bin --model run", "run"),
        ("evaluate run", "config.json: damaged"),
        ("evaluate none", "none"),
        ("train simple_lay1_sz4 --data missing --into r", "missing: no prepared dataset there"),
        ("train simple_lay1_sz4 --data file --into r", "file"),
        ("train simple_lay1_sz4 --data data --into r", "manifest.json"),
        ("train simple_lay1_sz4 --data data --into r --config missing.toml", "missing.toml"),
        ("train simple_lay1_sz4 --data data --into r --config folder.toml", "folder.toml"),
        ("train simple_lay1_sz4 --data data --into r --config folder.md", "folder.md"),
        ("train simple_lay1_sz4 --data data --into r --config latin.toml", "latin.toml"),
        ("train simple_lay1_sz4 --data data --into r --config deep.toml", "deep.toml"),
        ("train simple_lay1_sz4 --data data --into r --config empty.md", "empty.md: no results in it"),
        ("prepare empty.csv --into p", "empty.csv: is empty"),
        ("prepare folder.bin --into p", "folder.bin"),
        ("prepare drawings --into p --classes stra", "did you mean 'star'"),
        ("prepare drawings --into p --classes missing.txt", "missing.txt"),
        ("prepare drawings --into p --classes empty.txt", "empty.txt"),
        ("prepare drawings --into data", "data"),
        ("prepare drawings --into file", "file"),
        ("prepare drawings --into p --add", "--add was removed; prepare all sources anew; see `quickstroke prepare"),
        ("publish missing", "missing: no run there"),
        ("publish run", "config.json: damaged"),
        ("rerun file", "file: no run there"),
        ("report missing --into r.md", "missing: no such run folder, model or results document"),
        ("report empty.md --into r.md", "empty.md"),
        ("report empty.md --into none", "none: is a folder"),
        ("report empty.md --into r.txt", "r.txt: expected the document to write"),
        ("export missing", "missing"),
        ("export none", "none"),
        ("export none --to web --ort a.tgz", "--ort was removed; the page needs no onnxruntime-web; see `quick"),
        ("serve missing --port 0", "missing"),
        ("serve --port 99999999", "--port should be 0 to 65535"),
        ("render missing --into a.svg", "missing: no such file or folder"),
        ("render drawings --into a.jpg", "--into a.jpg should end in"),
        ("render drawings --into folder.svg", "folder.svg"),
        ("tune nope --data data --into s", "'nope' is no model name"),
        ("tune simple_lay1_sz4 --data missing --into s", "missing"),
        ("tune simple_lay1_sz4 --data data --into s --space missing.toml", "missing.toml"),
        ("download nope --into d", "nope"),
        ("download cat --into d --url nonsense", "nonsense"),
        ("demo --into none", "none: exists already and is no former demo"),
    ],
)
def test_one_clear_line(folder, monkeypatch, capsys, command, told):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1, err
    assert err.startswith(f"quickstroke {command.split()[0]}: ") and told in err, err
    assert sorted(folder.rglob("*")) == before


def test_no_command_writes_over_what_it_reads(tmp_path, binary_folder, dataset, capsys):
    picture = tmp_path / "photo.png"
    assert main(["render", str(binary_folder), "--into", str(picture), "--limit", "1"]) == 0
    content = picture.read_bytes()
    (tmp_path / "link.png").symlink_to(picture)
    for name in ("photo.png", "link.png"):
        for words in (["render", "--into"], ["predict", "--show"]):
            assert main([words[0], str(picture), words[1], str(tmp_path / name)]) == 2
            assert f"{words[1]} {tmp_path / name}: is read by this command" in capsys.readouterr().err
    assert picture.read_bytes() == content
    (tmp_path / "folder.csv").mkdir()
    assert main(["predict", str(picture), "--predictions", str(tmp_path / "folder.csv")]) == 2
    assert "folder.csv: is there and is no such table" in capsys.readouterr().err
    assert main(["predict", str(picture), "--show", f"{picture}/a.svg"]) == 2
    assert "a.svg: cannot be written: " in capsys.readouterr().err
    assert main(["audit", str(dataset.path), "--into", str(dataset.path)]) == 2
    assert f"{dataset.path}: is a dataset; expected another folder for the audit" in capsys.readouterr().err


def test_what_is_no_drawing_is_named(tmp_path, capsys):
    for name, content, told in (
        (
            "card.json",
            '{"format": "quickstroke model", "sha256": "0", "name": "x"}',
            "is the card of a model; expected",
        ),
        ("a.ndjson", '[{"word": "cat"}]', "got list; JSON of another form is read from a file that ends in .json"),
    ):
        (tmp_path / name).write_text(content)
        assert main(["predict", str(tmp_path / name)]) == 2
        assert told in capsys.readouterr().err


def test_into_a_file_is_told_before_anything_is_measured(tmp_path, dataset, capsys):
    run, file = tmp_path / "run", tmp_path / "file"
    start = ["train", "simple_lay1_sz4", "--data", str(dataset.path), "--into", str(run), "--n-epochs", "1"]
    assert main([*start, "--device", "cpu"]) == 0
    file.touch()
    capsys.readouterr()
    assert main(["publish", str(run), "--into", str(file)]) == 2
    assert capsys.readouterr() == (
        "",
        f"quickstroke publish: {file}: is a file; expected the folder of published models\n",
    )


def test_a_limit_of_processes_is_told_in_one_line(binary_folder, tmp_path, monkeypatch, capsys):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert main(["prepare", str(binary_folder), "--into", str(tmp_path / "data")]) == 2
    told = "quickstroke prepare: no more threads can be started: a limit of processes or memory is reached (`ulimit`)\n"
    assert capsys.readouterr().err == told


def test_a_library_that_finds_no_memory_is_told_in_one_line(monkeypatch, capsys):
    def run(arguments):
        raise ImportError("libtorch_cpu.so: failed to map segment from shared object")

    monkeypatch.setattr("quickstroke.cli._run", run)
    assert main(["predict"]) == 2
    told = "quickstroke predict: out of memory (libtorch_cpu.so: failed to map segment from shared object)\n"
    assert capsys.readouterr().err == told
