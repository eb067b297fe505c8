"""The folder for the browser: whole or not at all."""

import dataclasses
import gzip
import json
import re
from pathlib import Path

import pytest

from prepared import contents
from quickstroke.artifacts.loading import load_model
from quickstroke.cli import main
from quickstroke.errors import WeightsError
from quickstroke.export import compact, web
from quickstroke.utils import files as files_module


@pytest.fixture(params=["bilstm_cv1_4_3_lay1_sz4", "bipool_cv1_4_3_2_img2_lay1_sz4"])
def model(request, publish):
    loaded = publish(request.param, reading="length-aware", max_padding=40)
    return loaded, compact.export(loaded)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- the folder


def write(into, exported, replace=False):
    return web.write_folder(into, exported, replace=replace)


def longer(exported, more):
    return dataclasses.replace(exported, data=exported.data + more)


def test_what_is_in_the_folder(model, tmp_path):
    loaded, exported = model
    into = tmp_path / "new" / "page"
    n_bytes = write(into, exported)
    assert n_bytes == sum(path.stat().st_size for path in into.rglob("*") if path.is_file())
    assert (into / "model.quickstroke").read_bytes() == exported.data
    found = load_model(into / "model.quickstroke")
    assert (found.name, found.classes, found.max_padding) == (loaded.name, loaded.classes, 40)
    assert "MIT License" in (into / "LICENSE").read_text() and not [path for path in into.iterdir() if path.is_dir()]
    assert names(into.parent) == ["page"]


def test_the_folder_is_small(model, tmp_path):
    """All but the model; with a model of a million parameters the whole is at most 1.6 MB."""
    assert write(tmp_path / "page", model[1]) - len(model[1].data) < 400_000


def test_its_code_is_small(model, tmp_path):
    write(tmp_path / "page", model[1])
    code = [path.read_bytes() for path in (tmp_path / "page").iterdir() if path.suffix in (".js", ".css", ".html")]
    assert sum(len(gzip.compress(data)) for data in code) < 60_000


def test_the_page_recognises_by_itself_and_its_files_lose_nothing_but_comments_and_indents(model, tmp_path):
    write(tmp_path / "page", model[1])
    static = Path(web.__file__).parent.parent / "serve" / "static"
    links = re.findall(r'<link rel="stylesheet" href="(.+)">', (static / "index.html").read_text())
    assert sorted(links) == sorted(path.name for path in static.glob("*.css"))
    given = {path.name: path.read_bytes() for path in static.iterdir() if path.name not in links}
    given["page.css"] = b"".join((static / name).read_bytes() for name in links)
    del given["http-recognizer.js"]
    given["recognizer.js"] = given["recognizer.js"].replace(b"Http", b"Local").replace(b"http-", b"local-")
    for name, expected in given.items():
        written = (tmp_path / "page" / name).read_bytes()
        if name == "index.html":
            lines = written.decode().splitlines()
            added = set(lines) - {line.strip() for line in expected.decode().splitlines()}
            expected_links = {f'<link rel="modulepreload" href="{name}">' for name in ("app.js", "quickstroke.js")}
            assert expected_links < added and '<meta name="quickstroke-mode" content="offline">' in added
            assert '<link rel="preload" href="model.quickstroke" as="fetch" crossorigin>' in added
            assert not [line for line in lines if line.startswith((" ", "<!--"))]
        elif name.endswith((".js", ".css")) and name not in ("service-worker.js", "quickstroke.js"):
            lines = written.decode().splitlines()
            code = (
                re.sub(r"([;,)]) (//|/\*)[^\"'`]*$", r"\1", line.strip()) for line in expected.decode().splitlines()
            )
            assert set(lines) <= set(code) and "" not in lines
            assert not [line for line in lines if re.search(r"^(//|/\*)|[;,)] (// |/\*)", line)]
        elif name != "service-worker.js":
            assert written == expected


def test_the_service_worker_lists_every_file_and_changes_with_each(model, tmp_path):
    def listing(folder):
        text = (folder / "service-worker.js").read_text()
        return json.loads(re.search(r"FILES = (.*);", text)[1]), re.search(r'VERSION = "(.+)"', text)[1]

    into = tmp_path / "page"
    write(into, model[1])
    files, version = listing(into)
    assert sorted([*files, "LICENSE", "LICENSE-gifenc.txt", "service-worker.js"]) == names(into)
    write(into, model[1], replace=True)
    assert listing(into) == (files, version)
    write(into, longer(model[1], b"more"), replace=True)
    assert listing(into)[0] == files and listing(into)[1] != version


def test_every_file_that_the_page_names_is_there(model, tmp_path):
    into = tmp_path / "page"
    write(into, model[1])
    imported = {
        path.parent / name
        for path in into.glob("*.js")
        if path.name != "quickstroke.js"
        for name in re.findall(
            r'(?:from|import\(|startWorker\(|MODEL =)\s*"(\.?/?[\w./-]+)"', path.read_text(encoding="utf-8")
        )
    }
    linked = re.findall(r'(?:src|href)="([\w./-]+)"', (into / "index.html").read_text(encoding="utf-8"))
    assert {into / "worker.js", into / "quickstroke.js", into / "model.quickstroke"} <= imported
    assert len(imported) > 5 and len(linked) > 3
    assert [str(path) for path in imported | {into / name for name in linked} if not path.is_file()] == []


def test_an_earlier_export_is_replaced_only_when_that_is_asked_for(model, tmp_path):
    into = tmp_path / "page"
    write(into, model[1])
    (into / "left over").touch()
    (into / "ort").mkdir()
    (into / ".git").mkdir()
    (into / ".git" / "HEAD").symlink_to("nowhere")
    with pytest.raises(WeightsError, match="exists already; give --replace"):
        write(into, model[1])
    assert (into / "left over").exists()
    write(into, model[1], replace=True)
    assert (into / "left over").exists() and (into / ".git" / "HEAD").is_symlink()  # they are not ours
    assert (into / "ort").is_dir() and names(tmp_path) == ["lstm", "page"]


@pytest.mark.parametrize("what", ["thesis.txt", "file", "model.json", "model.quickstroke"])
def test_nothing_else_is_ever_replaced(model, tmp_path, what):
    into = tmp_path / "page"
    if what == "file":
        into.write_text("mine")
    else:
        into.mkdir()
        (into / what).write_text('{"format": "mine"}')
    before = into.read_text() if what == "file" else names(into)
    for replace in (False, True):
        with pytest.raises(WeightsError, match="exists and is no folder of `quickstroke export`"):
            write(into, model[1], replace=replace)
    assert (into.read_text() if what == "file" else names(into)) == before


def test_what_a_link_leads_to_is_replaced_not_the_link(model, tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "page").symlink_to("served")
    for _ in range(2):
        write(tmp_path / "page", model[1], replace=True)
        assert (tmp_path / "page").is_symlink() and (tmp_path / "served" / "model.quickstroke").is_file()
    assert names(tmp_path) == ["lstm", "page", "served"]


def test_an_empty_folder_is_taken(model, tmp_path):
    (tmp_path / "page").mkdir()
    write(tmp_path / "page", model[1])
    assert (tmp_path / "page" / "model.quickstroke").is_file() and names(tmp_path) == ["lstm", "page"]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_full_disk_names_the_file_and_leaves_what_was(model, tmp_path, files_of_at_most, is_there):
    into = tmp_path / "page"
    if is_there:
        write(into, model[1])
        before = contents(into)
    with files_of_at_most(2_000_000), pytest.raises(OSError, match="too large") as caught:
        write(into, longer(model[1], bytes(3_000_000)), replace=True)
    assert caught.value.filename == str(into / "model.quickstroke")
    assert names(tmp_path) == (["lstm", "page"] if is_there else ["lstm"])
    assert not is_there or contents(into) == before


def test_a_full_disk_names_the_file_that_was_there_beside_the_export(model, tmp_path, files_of_at_most):
    into = tmp_path / "page"
    write(into, model[1])
    (into / "data").mkdir()
    (into / "data" / "large").write_bytes(bytes(3_000_000))
    before = contents(into)
    with files_of_at_most(2_000_000), pytest.raises(OSError, match="too large") as caught:
        write(into, model[1], replace=True)
    assert caught.value.filename == str(into / "data" / "large")
    assert names(tmp_path) == ["lstm", "page"] and contents(into) == before


@pytest.mark.parametrize("after", [False, True])
def test_there_is_a_whole_folder_at_every_moment(model, tmp_path, monkeypatch, after):
    """What is interrupted before or after the two folders exchange their names."""
    into = tmp_path / "page"
    write(into, model[1])
    before = contents(into)

    def interrupted(one, other):
        if after:
            exchange(one, other)
        raise KeyboardInterrupt

    exchange = files_module.exchange
    monkeypatch.setattr(files_module, "exchange", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(into, longer(model[1], b"more"), replace=True)
    now = contents(into)
    assert (now.pop("service-worker.js") != before.pop("service-worker.js")) is after
    if after:
        before["model.quickstroke"] += b"more"
    assert names(tmp_path) == ["lstm", "page"] and now == before


# --- the command


def test_the_command(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    loaded, exported = model
    assert main(["export", str(loaded.path), "--to", "web", "--json"]) == 0
    into = Path(f"{loaded.name}-web")
    values = json.loads(capsys.readouterr().out)
    assert values == {
        "to": "web",
        "path": str(into),
        "model": loaded.name,
        "weights": "int8",
        "measured": None,
        "bytes": sum(path.stat().st_size for path in into.rglob("*") if path.is_file()),
        "model_bytes": len(exported.data),
    }
    assert (into / "model.quickstroke").read_bytes() == exported.data
    assert main(["export", str(loaded.path), "--to", "web"]) == 2
    assert "exists already; give --replace" in capsys.readouterr().err
    assert main(["export", str(loaded.path), "--to", "web", "--replace", "--weights", "float16"]) == 0
    assert load_model(into / "model.quickstroke").card["quantization"] == {"weights": "float16"}


def test_without_a_model_the_default_is_exported(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    loaded, _ = model
    assert main(["export", "--to", "web", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == loaded.name
