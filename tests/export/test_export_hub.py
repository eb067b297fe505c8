"""`publish --hub`: a folder that the Hub understands, uploaded only for who is logged in. No test asks the Hub."""

import json
from pathlib import Path

import pytest
from small_models import CLASSES

import quickstroke as qs
from quickstroke.artifacts.loading import load_model
from quickstroke.cli import main
from quickstroke.export import hub

NAME = "simple_lay1_sz16"


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """A run of one epoch on the three synthetic words."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", NAME, "--data", str(dataset.path), "--into", str(folder), "--n-epochs", "1"]) == 0
    return folder


class FakeHub:
    """What HfApi is asked; `error` is what it raises when something is uploaded."""

    def __init__(self):
        self.calls, self.error, self.token, self.user = [], None, None, {"name": "ada"}

    def whoami(self):
        if isinstance(self.user, Exception):
            raise self.user
        return self.user

    def create_repo(self, repo, **options):
        self.calls.append(("create", repo, options))
        return Url(repo)

    def upload_folder(self, *, repo_id, folder_path, allow_patterns):
        if self.error:
            raise self.error
        self.calls.append(("upload", repo_id, Path(folder_path), allow_patterns))


class Url(str):
    """As huggingface_hub.RepoUrl: the address, which knows the name."""

    def __new__(cls, repo):
        url = str.__new__(cls, f"https://hub.example/{repo}")
        url.repo_id = repo
        return url


@pytest.fixture
def fake(monkeypatch, tmp_path):
    fake = FakeHub()
    monkeypatch.setattr(hub.huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(hub.huggingface_hub, "get_token", lambda: fake.token)
    monkeypatch.chdir(tmp_path)
    return fake


def test_without_login_the_folder_is_made_and_the_way_on_is_told(fake, trained, capsys):
    assert main(["publish", str(trained), "--into", "lstm/three", "--json", "--hub"]) == 0
    captured = capsys.readouterr()
    folder = Path("hub") / NAME
    assert json.loads(captured.out)["hub"] == {"folder": str(folder), "url": None}
    assert f"hf auth login`, then `hf upload USER/quickstroke-{NAME} {folder}`" in captured.err
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.onnx", "model.safetensors"]
    assert fake.calls == []


def test_the_folder_holds_the_model_and_a_readme_that_the_hub_reads(fake, trained, capsys):
    assert main(["publish", str(trained), "--into", "lstm/three", "--hub", "ada/doodles"]) == 0
    folder, published = Path("hub") / NAME, load_model(Path("lstm/three") / f"{NAME}.model")
    assert load_model(folder / "model.safetensors").card == published.card
    assert qs.load(folder / "model.onnx").card == published.card | {"graph": 2}
    card = hub.huggingface_hub.ModelCard(
        (folder / "README.md").read_text(encoding="utf-8"), ignore_metadata_errors=False
    )
    data = card.data
    assert (data.license, data.library_name, data.datasets) == ("mit", "quickstroke", ["google/quickdraw"])
    assert data.metrics == ["accuracy"] and "quickdraw" in data.tags and data.model_name == NAME
    figures = published.card["figures"]
    results = {(result.dataset_split, result.metric_name): result.metric_value for result in data.eval_results}
    assert results.keys() == {(split, f"top-{k}") for split in ("val", "test") for k in (1, 3, 5)}
    assert all(abs(results[split, "top-1"] - figures[split]["top1"]) < 1e-6 for split in figures)
    assert f"| test | 30 | {figures['test']['top1']:.2%} |" in card.text
    assert 'hf_hub_download("ada/doodles", "model.onnx")' in card.text
    assert "CC BY 4.0" in card.text and f"Words: {', '.join(CLASSES)}." in card.text
    example = card.text.split("recognizer.predict(")[1].split(")  #")[0]
    assert len(qs.load(folder / "model.onnx").predict(eval(example))) == 3


@pytest.mark.parametrize(("arguments", "repo"), [(["ada/doodles"], "ada/doodles"), ([], f"ada/quickstroke-{NAME}")])
def test_who_is_logged_in_uploads(fake, trained, capsys, arguments, repo):
    fake.token = "a token"
    assert main(["publish", str(trained), "--into", "lstm/three", "--json", "--hub", *arguments]) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["hub"]["url"] == f"https://hub.example/{repo}"
    assert "a token" not in out
    assert fake.calls == [
        ("create", repo, {"exist_ok": True}),
        ("upload", repo, Path("hub") / NAME, ["README.md", "model.onnx", "model.safetensors"]),
    ]


@pytest.mark.parametrize("when", ["asked who it is", "uploading"])
def test_what_the_hub_refuses_is_one_line(fake, trained, capsys, when):
    fake.token, arguments = "a token", []
    if when == "uploading":
        fake.error, arguments = RuntimeError("403 Forbidden\nsecond line"), ["ada/doodles"]
    else:
        fake.user = OSError("401 Unauthorized")
    assert main(["publish", str(trained), "--into", "lstm/three", "--hub", *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("quickstroke publish:")]
    assert len(lines) == 1 and "second line" not in lines[0]
    if when == "uploading":
        assert "403 Forbidden; the folder is ready: hf upload ada/doodles" in lines[0]
        assert (Path("hub") / NAME / "README.md").is_file()
    else:
        assert "the Hub does not say who is logged in: 401 Unauthorized" in lines[0]
    assert (Path("lstm/three") / f"{NAME}.model").is_file()


@pytest.mark.parametrize("repos", [["a/b", "c/d"], ["a/b/c"], ["https://hub.example/a/b"], ["a b"], [""]])
def test_a_repository_that_cannot_be_is_refused_before_anything_is_done(fake, trained, capsys, repos):
    assert main(["publish", str(trained), "--into", "lstm/three", "--hub", *repos]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--hub takes one REPO" in line or "is no name of a repository; expected USER/NAME" in line
    assert not Path("lstm").exists() and not Path("hub").exists()


def test_a_folder_of_before_is_replaced_only_when_that_is_asked_for(fake, trained, capsys):
    command = ["publish", str(trained), "--into", "lstm/three", "--hub", "ada/doodles"]
    assert main(command) == 0
    Path("lstm/three", f"{NAME}.model").unlink()
    assert main(command) == 2
    assert f"hub/{NAME}: exists already; give --replace" in capsys.readouterr().err
    assert not Path("lstm/three", f"{NAME}.model").exists()
    assert main([*command, "--replace"]) == 0


def test_a_readme_without_figures():
    card = {"name": NAME, "config": {"n_classes": 2, "reading": "padded"}, "classes": ["cat", "dog"]}
    for figures in ({}, {"figures": {"val": {"top1": 0.5}}}):
        text = hub.readme(card | figures, "a/b")
        assert "| split |" not in text and "Words: cat, dog." in text
        assert hub.huggingface_hub.ModelCard(text).data.license == "mit"
