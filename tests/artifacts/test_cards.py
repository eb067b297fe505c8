"""Finding published models by their cards: which is meant, which is the default."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from quickstroke.artifacts import cards
from quickstroke.artifacts.cards import find_model, find_published, write_default
from quickstroke.artifacts.loading import LoadedModel, load_model, write_model
from quickstroke.cli import main
from quickstroke.config.model import ModelConfig
from quickstroke.errors import WeightsError
from quickstroke.inference.recognizer import load
from quickstroke.models.classifier import StrokeClassifier

NAME = "simple_lay1_sz4"
CLASSES = ("cat", "flying saucer", "star")


def new_model(name=NAME, seed=0):
    torch.manual_seed(seed)
    return StrokeClassifier(ModelConfig.from_name(name, n_classes=len(CLASSES))).eval()


def publish(folder, name=NAME, seed=0, facts=None):
    return write_model(folder, LoadedModel(new_model(name, seed), CLASSES, None, Path("unused")), facts or {})


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders of published models, the first where the user is, and nothing else."""
    found = [Path("lstm"), tmp_path / "package" / "lstm"]
    monkeypatch.setattr(cards, "model_folders", lambda: found)
    monkeypatch.chdir(tmp_path)
    return found


def facts(top1, split="test"):
    return {"figures": {split: {"top1": top1}}}


def test_where_models_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here, *packaged = cards.model_folders()
    assert here == Path("lstm") and not here.exists()
    assert packaged[0] == Path(cards.__file__).parents[1] / "lstm"
    assert all(folder.is_absolute() and folder.name == "lstm" for folder in packaged)


def test_nothing_published(folders):
    assert find_published()[0] == []
    with pytest.raises(WeightsError, match="no published model found"):
        find_model(None)
    with pytest.raises(WeightsError, match=rf"{NAME}: neither a \.model, .* a run folder nor a model published"):
        find_model(NAME)


def test_the_default_is_what_the_first_folder_names(folders, capsys):
    publish(folders[0], "simple_lay1_sz3", facts=facts(0.9))
    named = publish(folders[0], "simple_lay2_sz3", facts=facts(0.7))
    publish(folders[0], "simple_lay1_sz2", facts=facts(0.6, "val"))
    publish(folders[0], "simple_lay1_sz1")
    publish(folders[0] / "animals", "simple_lay1_sz9", facts=facts(0.99))
    publish(folders[1], "simple_lay1_sz8", facts=facts(0.9))
    models = find_published()[0]
    assert [model.default for model in models] == [False] * 6
    with pytest.raises(
        WeightsError, match=r"lstm: has 4 models, simple_lay1_sz1, .*sz2, .*sz3, simple_lay2_sz3; name "
    ):
        load()
    assert main(["models"]) == 0
    assert "no default: " in capsys.readouterr().err
    write_default(folders[0], "simple_lay2_sz3")
    write_default(folders[1], "simple_lay1_sz8")
    models = find_published()[0]
    assert [(model.name, model.default) for model in models] == [
        ("simple_lay2_sz3", True),
        ("animals/simple_lay1_sz9", False),
        ("simple_lay1_sz1", False),
        ("simple_lay1_sz2", False),
        ("simple_lay1_sz3", False),
        ("simple_lay1_sz8", False),
    ]
    assert find_model(None) == named == models[0].path
    assert load().name == load_model(named).name == "simple_lay2_sz3" and find_published()[1] == []
    write_default(folders[0], "animals/simple_lay1_sz9")
    assert find_model(None) == folders[0] / "animals" / "simple_lay1_sz9.model"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 0 lines; expected one, the name of a model"),
        ("a\nb\n", "has 2 lines"),
        ("\xff", "names 'ÿ'; expected a model of this folder whose card is whole: simple_lay1_sz4"),
        ("../secret", "names '../secret'; expected"),
    ],
)
def test_a_default_that_is_none_is_refused(folders, text, reason):
    publish(folders[0])
    publish(folders[1])
    (folders[0] / "default.txt").write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=rf"default\.txt: {reason}"):
        load()
    (folders[0] / "default.txt").write_bytes(b"\xff")
    with pytest.raises(WeightsError, match=r"default\.txt: cannot be read"):
        find_model(None)
    assert find_model(NAME) == folders[0] / f"{NAME}.model" and not any(model.default for model in find_published()[0])


def test_the_default_comes_with_the_package_where_nothing_is_published_here(folders):
    best = publish(folders[1], facts=facts(0.9))
    publish(folders[0] / "animals", "simple_lay1_sz9")  # a set of its own is nobody's default
    assert find_model(None) == best
    bare_file = folders[0] / "simple_lay1_sz2.model"
    torch.save(new_model("simple_lay1_sz2").state_dict(), bare_file)  # nor is a file without a card
    assert find_model(None) == best
    assert [(model.name, model.card is None) for model in find_published()[0]] == [
        (NAME, False),
        ("animals/simple_lay1_sz9", False),
        ("simple_lay1_sz2", True),
    ]


def test_of_two_models_of_one_name_the_first_folder_counts(folders):
    here, there = publish(folders[0], seed=1, facts=facts(0.1)), publish(folders[1], seed=2, facts=facts(0.9))
    assert [(model.path, model.default) for model in find_published()[0]] == [(here, True)]
    assert find_model(NAME) == here
    shutil.rmtree(folders[0])
    assert find_model(NAME) == there


def test_models_by_name_and_path(folders, tmp_path):
    path = publish(folders[1] / "animals")
    assert find_model(f"animals/{NAME}") == path
    assert find_model(path) == path and find_model(str(path)) == path
    missing = tmp_path / "missing.model"
    assert find_model(missing) == missing  # loading it says what is wrong
    with pytest.raises(WeightsError, match="no such model file"):
        load_model(find_model(missing))
    (tmp_path / NAME).mkdir()
    assert find_model(NAME) == Path(NAME)  # a run folder of that name lies here


def test_a_folder_of_published_models_stands_for_its_default(folders):
    only = publish(folders[1] / "animals")
    assert find_model(only.parent) == only
    with pytest.raises(WeightsError, match=rf"^{NAME}: neither .*; did you mean 'animals/{NAME}'\?$"):
        find_model(NAME)
    second = publish(only.parent, "simple_lay1_sz3")
    with pytest.raises(WeightsError, match=rf"animals: has 2 models, simple_lay1_sz3, {NAME}; name one, or write into"):
        find_model(only.parent)
    (only.parent / "default.txt").write_text("simple_lay1_sz3\n")
    (only.parent / "config.json").write_text("{}")  # of something else, which makes it no run
    assert find_model(only.parent) == second


def test_a_damaged_card_is_told_when_models_are_listed(folders):
    path = publish(folders[0], facts=facts(0.9))
    path.with_suffix(".json").write_text("{")
    assert find_published()[0] == []
    (error,) = find_published()[1]
    assert str(error).startswith(f"{path.with_suffix('.json')}: damaged card")
    with pytest.raises(WeightsError, match=rf"no published model found .*; .*{NAME}\.json: damaged card"):
        find_model(None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 99}, "card version 99"),
        ({"config": {"hidden_size": 4, "new": 1}}, "unknown key 'new'"),
        ({"classes": ["cat", "cat", "cat"]}, "listed twice"),
        ({"parameters": 7}, "was changed since it was written"),
    ],
)
def test_a_bad_card_does_not_hide_the_other_models(folders, change, reason):
    good = publish(folders[0], "simple_lay1_sz3", facts=facts(0.5))
    bad = publish(folders[0], facts=facts(0.9)).with_suffix(".json")
    bad.write_text(json.dumps(json.loads(bad.read_text()) | change))
    models, (error,) = find_published()
    assert [(model.path, model.default) for model in models] == [(good, True)] and find_model(None) == good
    assert str(error).startswith(str(bad)) and reason in str(error)
    recognizer = load()
    assert recognizer.name == "simple_lay1_sz3"
    assert recognizer.note == f"passed over in the search for the default model: {error}"
    assert load("simple_lay1_sz3").note == ""


def test_in_a_folder_that_may_not_be_looked_into_models_of_the_package_are_found(folders, monkeypatch):
    exists = Path.exists

    def refuse(path, **options):
        if path.parent in (Path("lstm"), Path()):
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path, **options)

    packaged = publish(folders[1], facts=facts(0.9))
    monkeypatch.setattr(Path, "exists", refuse)
    assert find_model(None) == find_model(NAME) == packaged


def test_a_folder_and_a_link_to_nothing_are_no_models(folders):
    path = publish(folders[0], facts=facts(0.5))
    (folders[0] / "folder.model").mkdir()
    (folders[0] / "link.model").symlink_to(folders[0] / "nothing")
    models, errors = find_published()
    assert [model.path for model in models] == [path] and not errors


def test_older_cards_get_the_names_of_today():
    card = {
        "preprocessing": {"name": "seed3", "max_padding": 60},
        "figures": {"val": {"top1": 0.5, "balanced_top1": 0.4}},
        "calibration": {"temperature": 0.5, "prior": 0.25, "split": "val", "criterion": "top1"},
    }
    card["card_sha256"] = cards.card_hash(card)
    renamed = cards.with_current_names(card)
    assert renamed.pop("card_sha256") == cards.card_hash(renamed)
    assert renamed == {
        "preprocessing": {"name": "delta3", "max_padding": 60},
        "figures": {"val": {"top1": 0.5, "balanced_accuracy": 0.4}},
        "calibration": {"temperature": 0.5, "tau": 0.25, "split": "val", "select_by": "top1"},
    }
    assert cards.with_current_names(renamed) == renamed and cards.with_current_names({}) == {}


def test_figures_of_older_cards_have_todays_names():
    card = {"figures": {"val": {"top1": 0.5, "balanced_top1": 0.4, "balanced_top1_of_points": {"1": 0.4}}}}
    assert cards.figures_of(card) == {
        "val": {"top1": 0.5, "balanced_accuracy": 0.4, "balanced_accuracy_of_points": {"1": 0.4}}
    }
    assert cards.figures_of({}) == {}


@pytest.mark.parametrize(
    "change",
    [{"figures": {"test": {"top1": 10**400}}}, {"classes": None}, {"parameters": "many"}, {"parameters": 0.5}],
)
def test_a_card_whose_entries_cannot_be_shown_is_damaged(change):
    card = {"format": cards.FORMAT, "version": cards.VERSION, "classes": ["cat"]}
    assert cards.parse_card(json.dumps(card), Path("x.json")) == card
    with pytest.raises(WeightsError, match=r"x\.json: damaged card"):
        cards.parse_card(json.dumps(card | change), Path("x.json"))


def test_a_card_without_its_weights_is_no_model(folders):
    publish(folders[0]).unlink()
    assert find_published()[0] == []


@pytest.mark.parametrize(
    "figures", [3, [], {"test": 3}, {"test": {}}, {"val": {"top1": "good"}}, {"val": {"top1": None}}]
)
def test_a_card_whose_figures_are_none(folders, figures):
    path = publish(folders[0], facts={"figures": figures})
    assert find_published()[0] == [] and f"{NAME}.json: damaged card" in str(find_published()[1][0])
    with pytest.raises(WeightsError, match="damaged card"):
        load_model(path)
