"""Runs that differ by their seed alone have a mean and a standard deviation in the summary."""

import statistics
from dataclasses import replace
from pathlib import Path

import pytest

import quickstroke as qs
from quickstroke.data.dataset import PreparedDataset
from quickstroke.reports import report
from quickstroke.utils.files import write_text


def test_runs_of_several_seeds(dataset: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "write_picture", lambda path, draw: write_text(path, ""))
    config = qs.TrainConfig(n_epochs=1, batch_size=32, learning_rate=0.01, device="cpu")
    model = qs.ModelConfig.from_name("simple_lay1_sz4")
    changes = {"a": {"seed": 3}, "b": {"seed": 1}, "c": {"seed": 2}, "other": {"seed": 2, "learning_rate": 0.02}}
    for name, change in changes.items():
        qs.train(model, replace(config, **change), dataset, tmp_path / name)
    report.write_report([tmp_path / name for name in changes], tmp_path / "out.md")
    text = (tmp_path / "out.md").read_text()
    summary = text[text.index("# Summary") : text.index("\n# Results")]
    scores = [qs.evaluate(tmp_path / name, dataset, "test") for name in "abc"]
    told = []
    for values in (
        [100 * score.top(1) for score in scores],
        [100 * score.balanced_accuracy() for score in scores],
        [100 * score.top(3) for score in scores],
    ):
        told.append(f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}%")
    assert summary.count(" ± ") == 4  # one of them above the table
    assert f"| `simple_lay1_sz4` | 1, 2, 3 | {' | '.join(told)} |" in summary
    assert f"{scores[0].balanced_accuracy():.2%} |" in summary
    report.write_report([tmp_path / "a", tmp_path / "other"], tmp_path / "two.md")
    assert "seed alone" not in (tmp_path / "two.md").read_text()
