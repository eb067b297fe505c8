"""The Hugging Face Hub: `publish --hub` and hf:// addresses, by huggingface_hub's own client and a local stand-in."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_hub import TOKEN, LocalHub, local_hub
from small_models import CLASSES

import quickstroke as qs
from quickstroke.artifacts.hub import fetch
from quickstroke.artifacts.loading import LoadedModel, load_model
from quickstroke.cli import main
from quickstroke.errors import ConfigError, DownloadError, MissingExtra, WeightsError
from quickstroke.export import hub

NAME = "simple_lay1_sz16"
REPO, ADDRESS = "ada/doodles", "hf://ada/doodles"
STROKES = [[(10, 10), (60, 12), (35, 80), (10, 10)]]
hub.huggingface_hub.HfApi  # noqa: B018 - the client's modules are imported when they are first needed
constants = hub.huggingface_hub.constants


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """A run of one epoch on the three synthetic words."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", NAME, "--data", str(dataset.path), "--into", str(folder), "--n-epochs", "1"]) == 0
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    """The Hub, with nobody logged in and an empty cache."""
    with local_hub() as server:
        reach(server.url, monkeypatch)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.chdir(tmp_path)
        yield server


def reach(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_ENDPOINT does when the client is first imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def uploaded(server: LocalHub, publish: Callable[..., LoadedModel], tmp_path: Path) -> LoadedModel:
    """A model that is in the repository."""
    loaded = publish(NAME)
    hub.write_folder(loaded, tmp_path / "folder", REPO)
    server.commits[REPO] = [{path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}]
    return loaded


def test_without_login_the_folder_is_made_and_the_way_on_is_told(server, trained, capsys):
    assert main(["publish", str(trained), "--into", "lstm/three", "--json", "--hub"]) == 0
    captured = capsys.readouterr()
    folder = Path("hub") / NAME
    assert json.loads(captured.out)["hub"] == {"folder": str(folder), "url": None}
    assert f"hf auth login`, then `hf upload USER/quickstroke-{NAME} {folder}`" in captured.err
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.onnx", "model.safetensors"]
    assert not server.asked


def test_the_folder_holds_the_model_and_a_readme_that_the_hub_reads(server, trained, monkeypatch):
    monkeypatch.setattr("quickstroke.export.publish._KEY_IDS", (0, 2**64 - 1))  # as if the drawings were Google's
    assert main(["publish", str(trained), "--into", "lstm/three", "--hub", "ada/doodles"]) == 0
    folder, published = Path("hub") / NAME, load_model(Path("lstm/three") / f"{NAME}.model")
    assert load_model(folder / "model.safetensors").card == published.card
    assert qs.load(folder / "model.onnx").card == published.card | {"graph": 3}
    card = hub.huggingface_hub.ModelCard(
        (folder / "README.md").read_text(encoding="utf-8"), ignore_metadata_errors=False
    )
    data = card.data
    assert (data.license, data.library_name, data.datasets) == ("mit", "quickstroke", ["google/quickdraw"])
    assert data.metrics == ["accuracy"] and "quickdraw" in data.tags and data.model_name == NAME
    figures = published.card["figures"]
    assert {result.dataset_name for result in data.eval_results} == {"Quick, Draw!, 3 words, split of its own"}
    results = {(result.dataset_split, result.metric_name): result.metric_value for result in data.eval_results}
    assert results.keys() == {(split, f"top-{k}") for split in ("val", "test") for k in (1, 3, 5)}
    assert all(abs(results[split, "top-1"] - figures[split]["top1"]) < 1e-6 for split in figures)
    assert f"| test | 30 | {figures['test']['top1']:.2%} |" in card.text
    assert 'quickstroke.load("hf://ada/doodles")' in card.text
    assert "CC BY 4.0" in card.text and f"Words: {', '.join(CLASSES)}." in card.text
    example = card.text.split("recognizer.predict(")[1].split(")  #")[0]
    assert len(qs.load(folder / "model.onnx").predict(eval(example))) == 3


@pytest.mark.parametrize("said", [[], ["--attribution", "Drawn by class 4b.", "--licence", "CC0-1.0"]])
def test_the_readme_of_ones_own_drawings_says_nothing_of_google(server, trained, said):
    assert main(["publish", str(trained), "--into", "lstm/three", *said, "--hub", REPO]) == 0
    text = (Path("hub") / NAME / "README.md").read_text(encoding="utf-8")
    card = hub.huggingface_hub.ModelCard(text, ignore_metadata_errors=False)
    assert (card.data.license, card.data.datasets, card.data.eval_results) == ("cc0-1.0" if said else None, None, None)
    assert "| test | 30 |" in text and ("Drawn by class 4b." in text) == bool(said)
    assert not any(word in text.lower() for word in ("google", "quickdraw", "mit\n"))


@pytest.mark.parametrize(("arguments", "repo"), [([REPO], REPO), ([], f"ada/quickstroke-{NAME}")])
def test_who_is_logged_in_uploads(server, trained, capsys, monkeypatch, arguments, repo):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert main(["publish", str(trained), "--into", "lstm/three", "--json", "--hub", *arguments]) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["hub"]["url"] == f"{server.url}/{repo}"
    assert TOKEN not in out
    (files,) = server.commits[repo]
    assert files == {name: (Path("hub") / NAME / name).read_bytes() for name in hub.FILES}


@pytest.mark.parametrize("when", ["asked who it is", "uploading"])
def test_what_the_hub_refuses_is_one_line(server, trained, capsys, monkeypatch, when):
    server.refuses = True
    arguments = [REPO] if when == "uploading" else []
    monkeypatch.setenv("HF_TOKEN", TOKEN if when == "uploading" else "hf_of_nobody")
    assert main(["publish", str(trained), "--into", "lstm/three", "--hub", *arguments]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("quickstroke publish:")]
    if when == "uploading":
        assert f"{REPO}: the Hub did not take it: 403 Forbidden: the storage of ada is full" in line
        assert f"; the folder is ready: hf upload {REPO} hub/{NAME}" in line
        assert (Path("hub") / NAME / "README.md").is_file()
    else:
        assert "the Hub does not say who is logged in: " in line
    assert (Path("lstm/three") / f"{NAME}.model").is_file()


@pytest.mark.parametrize("repos", [["a/b", "c/d"], ["a/b/c"], ["https://hub.example/a/b"], ["a b"], [""]])
def test_a_repository_that_cannot_be_is_refused_before_anything_is_done(server, trained, capsys, repos):
    assert main(["publish", str(trained), "--into", "lstm/three", "--hub", *repos]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--hub takes one REPO" in line or "is no name of a repository; expected USER/NAME" in line
    assert not Path("lstm").exists() and not Path("hub").exists()


def test_a_folder_of_before_is_replaced_only_when_that_is_asked_for(server, trained, capsys):
    command = ["publish", str(trained), "--into", "lstm/three", "--hub", "ada/doodles"]
    assert main(command) == 0
    Path("lstm/three", f"{NAME}.model").unlink()
    assert main(command) == 2
    assert f"hub/{NAME}: exists already; give --replace" in capsys.readouterr().err
    assert not Path("lstm/three", f"{NAME}.model").exists()
    assert main([*command, "--replace"]) == 0


def test_a_readme_without_figures():
    card = {"name": NAME, "config": {"n_classes": 2, "reading": "padded"}, "classes": ["cat", "<b>_"], "licence": "MIT"}
    for figures in ({}, {"figures": {"val": {"top1": 0.5}}}):
        text = hub.readme(card | figures, "a/b")
        assert "| split |" not in text and r"Words: cat, \<b>\_." in text
        assert hub.huggingface_hub.ModelCard(text).data.license == "mit"


def test_a_run_is_published_to_the_hub_and_loaded_from_it(
    server: LocalHub, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    made = qs.publish(trained, "lstm/three", hub=REPO)
    assert made.url == f"{server.url}/{REPO}"
    assert set(server.commits[REPO][-1]) == {"README.md", "model.onnx", "model.safetensors"}
    loaded, published = qs.load(ADDRESS), qs.load(made.path)
    assert loaded.card == published.card and loaded.predict(STROKES) == published.predict(STROKES)
    # What is asked tells neither which PyTorch there is nor anything else about who asks.
    assert len(server.asked) > 8 and not [agent for _, agent in server.asked if "torch" in agent]


def test_a_revision_is_what_it_was(server: LocalHub, uploaded: LoadedModel) -> None:
    old = fetch(ADDRESS).parent.name
    server.commits[REPO].append(server.commits[REPO][0] | {"model.safetensors": b"other"})
    assert qs.load(f"{ADDRESS}@{old}").card == uploaded.card
    with pytest.raises(WeightsError, match="damaged or not a safetensors file"):
        qs.load(ADDRESS)


def test_what_is_cached_needs_no_network(
    server: LocalHub, uploaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = qs.load(ADDRESS).predict(STROKES)
    reach("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the client's tries
    assert qs.load(ADDRESS).predict(STROKES) == first
    with pytest.raises(DownloadError, match=r"^hf://ada/other: the Hub cannot be reached, and the cache has no copy"):
        qs.load("hf://ada/other")


def test_without_torch_the_graph_is_run(
    server: LocalHub, uploaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    graph = qs.load(ADDRESS)
    assert [path for path, _ in server.asked if "GET" in path] == [f"GET /{REPO}/resolve/main/model.onnx"]
    assert graph.card == {**(uploaded.card or {}), "graph": 3}


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises((ConfigError, DownloadError, MissingExtra, WeightsError)) as error:
        call()
    (line,) = str(error.value).splitlines()
    return line


def test_what_the_hub_has_not_is_one_line(
    server: LocalHub, uploaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(lambda: qs.load("hf://ada/nothing")).startswith("hf://ada/nothing: no such repository, or a private")
    assert refused(lambda: qs.load(f"{ADDRESS}@v9")) == f"{ADDRESS}@v9: the repository has no revision 'v9'"
    server.private.add(REPO)
    assert "no such repository, or a private one: `hf auth login`" in refused(lambda: qs.load(ADDRESS))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert qs.load(ADDRESS).name == NAME
    server.commits["ada/text"] = [{"README.md": b"# hello"}]
    assert refused(lambda: qs.load("hf://ada/text")) == (
        "hf://ada/text: has no model.safetensors and no model.onnx; "
        "expected a repository of `quickstroke publish --hub`"
    )
    for address in ("hf://", "hf://ada", "hf://ada/doodles/model.onnx", "hf://ada/doodles@", "hf://ada/../x y"):
        assert "is no address of a model; expected hf://OWNER/NAME" in refused(lambda address=address: qs.load(address))


def test_another_file_of_that_name_is_refused_and_runs_nothing(server: LocalHub, tmp_path: Path) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"bn.weight": Evil()}, tmp_path / "evil")
    server.commits[REPO] = [{"model.safetensors": (tmp_path / "evil").read_bytes()}]
    line = refused(lambda: qs.load(ADDRESS))
    assert "models--ada--doodles" in line and "damaged or not a safetensors file" in line
    assert not (tmp_path / "ran").exists()


def test_publishing_is_refused_before_anything_is_written(server: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(lambda: qs.publish("run", "lstm", hub=REPO)) == (
        f"{REPO}: nobody is logged in to the Hub; `hf auth login`"
    )
    assert "'a/b/c' is no name of a repository" in refused(lambda: qs.publish("run", "lstm", hub="a/b/c"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert refused(lambda: qs.load(ADDRESS)).endswith("not installed: pip install 'quickstroke[hub]'")
    monkeypatch.delitem(sys.modules, "quickstroke.export.hub")
    monkeypatch.delattr("quickstroke.export.hub")
    assert refused(lambda: qs.publish("run", "lstm", hub=REPO)).endswith("pip install 'quickstroke[hub]'")
    assert not Path("lstm").exists() and not server.asked


def test_a_command_takes_the_address_of_a_model(server: LocalHub, uploaded: LoadedModel, tmp_path: Path) -> None:
    """In a process of its own, which knows the Hub by HF_ENDPOINT alone."""
    line = {"word": "circle", "key_id": "1", "drawing": [[[10, 60, 35, 10], [10, 12, 80, 10]]]}
    Path("own.ndjson").write_text(json.dumps(line))
    command = [sys.executable, "-m", "quickstroke", "predict", "own.ndjson", "--model", ADDRESS, "--json"]
    env = os.environ | {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)["drawings"]
    assert [guess["word"] for guess in answer["guesses"]] == [g.word for g in qs.load(ADDRESS).predict(STROKES)]
    assert {guess["word"] for guess in answer["guesses"]} == set(CLASSES)
