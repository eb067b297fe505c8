"""The documents: no longer than a newcomer reads, their links lead somewhere, their examples use what there is."""

import ast
import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

import quickstroke as qs
from quickstroke import cli
from quickstroke.cli import prepare, publish, train
from quickstroke.cli.options import parse
from quickstroke.config.model import ModelConfig
from quickstroke.drawings.render import to_svg
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.formats import binary, ndjson

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name != "cli.md")
DOCUMENTS = [ROOT / "README.md", *PAGES]


def blocks(path: Path, *languages: str) -> list[str]:
    """The code blocks of a document that are in one of some languages."""
    text = path.read_text(encoding="utf-8")
    return [code for language, code in re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S) if language in languages]


def commands(path: Path) -> list[list[str]]:
    """The words of each command of quickstroke in a document, from its name on."""
    texts = blocks(path, "console", "bash")
    texts += re.findall(r"`(quickstroke [^`]+)`", path.read_text(encoding="utf-8"))
    found = []
    for line in "\n".join(texts).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        at = next((i for i, word in enumerate(words) if word == "quickstroke"), None)
        if at is not None and words[at + 1 : at + 2] and words[at + 1] in cli.COMMANDS:
            found.append(words[at + 1 :])
    return found


@cache
def options_of(command: str) -> set[str]:
    """The options that a command tells of."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        cli.main([command, "--help"])
    return set(re.findall(r"--[a-z0-9-]+", output.getvalue()))


@pytest.mark.parametrize("has_teachers", [True, False])
def test_the_recipe_of_the_published_models_is_one_screen(tmp_path: Path, has_teachers: bool) -> None:
    """Up to four trainings a model, each from the one before or from given weights, by options that there are."""
    script = ROOT / "lstm" / "train.sh"
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 60
    program = tmp_path / "bin" / "quickstroke"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nfor word; do printf "%s\\t" "$word"; done >>../said; echo >>../said\n')
    program.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    env = {"PATH": f"{program.parent}:/usr/bin:/bin"}
    given = [tmp_path / "drawings", tmp_path / "lstm", *[tmp_path] * has_teachers]
    subprocess.run([script, *given], cwd=work, env=env, check=True)
    said = [line.split("\t")[:-1] for line in (tmp_path / "said").read_text().splitlines()]
    assert [words[0] for words in said] == ["prepare", *["train"] * (14 - has_teachers), *["publish"] * 5, "report"]
    trainings = {}
    for words in (words for words in said if words[0] == "train"):
        options = parse(train.Options, "train", words[1:])
        assert ModelConfig.from_name(options.name).name == options.name
        assert options.resume and (options.train.teacher or not has_teachers)
        # What it begins with, or has as a teacher, was trained before, or is given.
        assert all(options.name in path for path in options.train.pretrained)
        others = [*options.train.pretrained, *options.train.teacher]
        assert all(Path(path) in trainings for path in others if not (has_teachers and path.startswith("models/")))
        trainings[Path(options.into)] = options
    begun_with = {Path(path) for options in trainings.values() for path in options.train.pretrained}
    of_2020 = [options.name for options in trainings.values() if options.train_classes == ("classes2020",)]
    assert len(begun_with & trainings.keys()) == 9 - has_teachers and len(of_2020) == 6 - has_teachers
    published = [parse(publish.Options, "publish", words[1:]) for words in said if words[0] == "publish"]
    assert {Path(options.run) for options in published} == trainings.keys() - begun_with
    assert [options.default for options in published] == [True, *[False] * 4]
    parse(prepare.Options, "prepare", said[0][1:])


@pytest.mark.parametrize(("name", "n_lines"), [("README.md", 200), ("docs/architecture.md", 150)])
def test_a_document_that_is_read_first_is_short(name: str, n_lines: int) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= n_lines


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub and the site make them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S), re.M
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ["README.md", "js/README.md"])
def test_links_of_a_document_outside_the_site_lead_to_files_and_headings(name: str) -> None:
    """The site's own are held by `make check`."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)#?([^)]*)\)", (ROOT / name).read_text(encoding="utf-8"))
    assert len(links) > (20 if name == "README.md" else 0)
    to = [((ROOT / name).parent / link, anchor) for link, anchor in links]
    assert [path for path, anchor in to if not path.is_file() or (anchor and anchor not in anchors(path))] == []


def test_the_site_is_not_built_with_a_broken_link(tmp_path: Path) -> None:
    """By the options that the Makefile has; with `--quiet` as well, mkdocs passed over all that `--strict` refuses."""
    pytest.importorskip("mkdocs")
    line = next(
        line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if line.startswith("MKDOCS")
    )
    options = line.partition("mkdocs build")[2].split()
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text("site_name: name\nvalidation: {links: {anchors: warn}}\n")
    for link, is_whole in (("#title", True), ("#other", False), ("missing.md", False)):
        (tmp_path / "docs" / "index.md").write_text(f"# Title\n\n[link]({link})\n")
        built = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", *options], cwd=tmp_path, capture_output=True, text=True
        )
        assert (built.returncode == 0) == is_whole, built.stderr


def test_the_readme_links_to_every_page() -> None:
    links = re.findall(r"\]\((docs/[^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    pages = {path.relative_to(ROOT).as_posix() for path in PAGES} | {"docs/cli.md"}
    assert pages - set(links) == {"docs/index.md"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_of_a_document_have_the_options_that_it_uses(path: Path) -> None:
    wrong = [
        f"{words[0]} {option}"
        for words in commands(path)
        for option in (word.partition("=")[0] for word in words if word.startswith("--"))
        if option not in options_of(words[0])
    ]
    assert wrong == []


def test_the_documents_show_every_command() -> None:
    shown = {words[0] for path in DOCUMENTS for words in commands(path)}
    assert set(cli.COMMANDS) - shown <= {"demo", "models"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_code_of_a_document_can_be_read(path: Path) -> None:
    for code in blocks(path, "python"):
        ast.parse(code)
        names = set(re.findall(r"\bqs\.(\w+)", code))
        assert names <= set(qs.__all__), names
    for code in blocks(path, "toml"):
        tomllib.loads(code)
    for code in blocks(path, "json"):
        value = json.loads(code)
        assert "drawing" not in value or ndjson.parse_line(code).word == value["word"]


def test_the_python_reference_has_every_public_name() -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: quickstroke\.(\w+)$", text, re.M)) == sorted([*qs.__all__, "errors"])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder as the documents have it: `drawings`, and the dataset `data` of them."""
    folder = tmp_path_factory.mktemp("documents")
    for word in ("circle", "square", "star"):
        binary.write(folder / "drawings" / f"{word}.bin", synthetic_drawings(40, words=(word,)))
    binary.write(folder / "robots" / "robot.bin", synthetic_drawings(5, words=("ladder",)))
    qs.prepare(folder / "drawings", folder / "data")
    return folder


RUN = ["README.md", *(f"docs/howto/{name}.md" for name in ("python", "pytorch", "teach", "tools"))]
# Of libraries that few need: their blocks run where they are installed.
NEEDS = {"to_datasets": "datasets", "qs.widget": "anywidget"}


@pytest.mark.parametrize("name", RUN)
def test_python_of_a_document_runs(name: str, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page, one after the other, as somebody would who reads it."""
    (tmp_path / "drawings").symlink_to(drawn / "drawings")
    (tmp_path / "robots").symlink_to(drawn / "robots")
    if "qs.prepare(" not in (ROOT / name).read_text(encoding="utf-8"):
        (tmp_path / "data").symlink_to(drawn / "data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in blocks(ROOT / name, "python"):
        if any(word in code and find_spec(library) is None for word, library in NEEDS.items()):
            continue
        exec(compile(code, name, "exec"), names)
    assert names.get("qs", qs) is qs


def test_the_program_that_runs_an_exported_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what `load` says, also of a drawing with strokes that are longer than the model reads."""
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", qs.load().name, "--to", "onnx", "--into", "NAME.onnx"]) == 0
    recognizer = qs.load("NAME.onnx")
    (code,) = blocks(ROOT / "docs" / "howto" / "export.md", "python")
    line = next(line for line in code.splitlines() if line.startswith("strokes = "))
    for drawing in synthetic_drawings(3):
        given = [stroke.tolist() for stroke in drawing.strokes] * 40
        capsys.readouterr()
        exec(compile(code.replace(line, f"strokes = {given}"), "export.md", "exec"), {})
        prediction = recognizer.predict(given, simplified=True, top=1)
        *word, probability, unknown = capsys.readouterr().out.split()
        assert " ".join(word) == prediction[0].word
        assert float(probability) == pytest.approx(prediction[0].probability, abs=1e-5)
        assert float(unknown) == pytest.approx(prediction.unknown, abs=1e-5)


def test_commands_of_your_own_drawings_run(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All commands of the page, one after the other, on a folder of SVG files and a CSV file."""
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    lines = ["word,drawing"]
    for word in ("circle", "square"):
        folder = tmp_path / "sketches" / word
        folder.mkdir(parents=True)
        for i, drawing in enumerate(qs.read_drawings(drawn / "drawings" / f"{word}.bin")):
            (folder / f"{i}.svg").write_text(to_svg([drawing]))
            strokes = [[*stroke.T.tolist(), list(range(len(stroke)))] for stroke in drawing.strokes]
            lines.append(f'{word},"{json.dumps(strokes)}"')
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    (tmp_path / "new.svg").write_text((folder / "0.svg").read_text())
    for name, seed in (("learnt", 1), ("chosen", 2), ("judged", 3)):
        ndjson.write(tmp_path / f"{name}.ndjson", synthetic_drawings(10, seed=seed, words=("circle", "square")))
    run = commands(ROOT / "docs" / "howto" / "own-drawings.md")
    assert {"prepare", "train", "evaluate", "publish", "predict", "convert"} <= {words[0] for words in run}
    for words in run:
        quick = ["--n-epochs", "1", "--device", "cpu"] if words[0] == "train" else []
        assert cli.main([*words, *quick]) == 0, (words, capsys.readouterr().err)
    assert "new.svg:1  " in capsys.readouterr().out
    by_person = qs.PreparedDataset("data-by-person")
    assert by_person.manifest["n_by_split"] == {"reserved": 0, "train": 20, "val": 20, "test": 20}
    assert qs.PreparedDataset("data").classes == qs.PreparedDataset("data-of-csv").classes == ("circle", "square")
    read = [sorted(drawing.word for drawing in qs.read_drawings(name)) for name in ("sketches.ndjson", "mine.parquet")]
    assert read == [["circle"] * 40 + ["square"] * 40] * 2


@pytest.mark.parametrize("name", ["teach", "audit"])
def test_commands_of_taught_words_and_of_wrong_labels_run(
    name: str, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("drawings", "robots"):
        (tmp_path / folder).symlink_to(drawn / folder)
    # What the page of doubted drawings would save.
    ndjson.write(tmp_path / "relabelled.ndjson", synthetic_drawings(3, words=("star",), seed=1))
    given = {"leave-out.txt": "audit/leave-out.txt"}
    quick = {"audit": ["--n-epochs", "1", "--folds", "2", "--part", "0.1"]}
    run = [
        [given.get(word, word) for word in words] + quick.get(words[0], [])
        for words in commands(ROOT / "docs" / "howto" / f"{name}.md")
        if len(words) > 2 and words[0] in ("prepare", "audit", "teach", "predict")
    ]
    assert len(run) >= 4
    for words in run:
        shutil.rmtree("clean", ignore_errors=True)  # each command of the page prepares it
        assert cli.main(words) == 0, (words, capsys.readouterr().err)
    printed = capsys.readouterr().out
    if name == "teach":
        assert "robot" in printed and "robot" not in Path("mine.taught.json").read_text()
    else:
        n_left_out = len(Path("audit/leave-out.txt").read_text().splitlines())
        assert len(qs.PreparedDataset("clean")) == 120 + 3 - n_left_out < 123
