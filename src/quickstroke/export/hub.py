"""A folder for the Hugging Face Hub: weights as `.safetensors`, the same as `.onnx`, and a README.md that is its card.

The README's metadata: huggingface.co/docs/hub/model-cards.
"""

import re
from pathlib import Path
from typing import Any

from quickstroke.artifacts import cards
from quickstroke.artifacts.hub import GRAPH, PREFIX, WEIGHTS
from quickstroke.artifacts.loading import LoadedModel
from quickstroke.errors import ConfigError, DownloadError, first_line
from quickstroke.export import onnx, safetensors
from quickstroke.reports.markdown import as_text
from quickstroke.utils.files import write_bytes, write_text
from quickstroke.utils.telemetry import import_huggingface_hub

huggingface_hub = import_huggingface_hub()

DATASET = "google/quickdraw"
_REPO = re.compile(r"([\w.-]+/)?[\w.-]+", re.ASCII)
FILES = ("README.md", GRAPH, WEIGHTS)


def default_repo(name: str) -> str:
    """The repository of a model where the user names none; `USER` stands for the name of one who is not logged in."""
    user = "USER"
    if is_logged_in():
        try:
            user = huggingface_hub.HfApi().whoami()["name"]
        except Exception as error:  # the network's and the Hub's have no common root
            raise DownloadError(f"the Hub does not say who is logged in: {first_line(error)}") from error
    return f"{user}/quickstroke-{name}"


def check_repo(repo: str) -> None:
    """Raises ConfigError for what cannot be the name of a repository."""
    if not _REPO.fullmatch(repo):
        raise ConfigError(f"{repo!r} is no name of a repository; expected USER/NAME of letters, digits, - _ and .")


def is_logged_in() -> bool:
    """Whether this machine has a token of the Hub."""
    return huggingface_hub.get_token() is not None


def write_folder(loaded: LoadedModel, into: Path, repo: str) -> None:
    """Writes the folder of a model that has a card.

    Raises:
        WeightsError: the model cannot be exported.
    """
    exported = onnx.export(loaded)
    into.mkdir(parents=True, exist_ok=True)
    write_bytes(into / GRAPH, exported.data)
    safetensors.write(loaded, into / WEIGHTS)
    write_text(into / "README.md", readme(exported.model.card, repo))


def push(folder: Path, repo: str) -> str:
    """Makes the repository where it is missing, uploads the folder, and returns the address.

    Raises:
        DownloadError: the Hub cannot be reached, or refuses.
    """
    api = huggingface_hub.HfApi()
    try:
        url = api.create_repo(repo, exist_ok=True)
        api.upload_folder(repo_id=url.repo_id, folder_path=folder, allow_patterns=list(FILES))
    except Exception as error:
        raise DownloadError(f"{repo}: the Hub did not take it: {first_line(error)}") from error
    return str(url)


def readme(card: dict[str, Any], repo: str) -> str:
    """README.md of a model with this card."""
    figures = card.get("figures") or {}
    # The Hub compares results of one dataset: those on other drawings are in the table alone, and the name tells of the
    # words and that the split is no official one, of which the dataset has none.
    is_quickdraw = card.get("attribution") == cards.QUICKDRAW
    results = [
        huggingface_hub.EvalResult(
            task_type="image-classification",
            dataset_type=DATASET,
            dataset_name=f"Quick, Draw!, {card['config']['n_classes']} words, split of its own",
            dataset_split=split,
            metric_type="accuracy",
            metric_name=f"top-{k}",
            metric_value=round(values[f"top{k}"], 6),
        )
        for split, values in figures.items()
        for k in (1, 3, 5)
        if is_quickdraw and f"top{k}" in values
    ]
    metadata = huggingface_hub.ModelCardData(
        license=card["licence"].lower() if card.get("licence") else None,
        library_name="quickstroke",
        tags=[*["quickdraw"] * is_quickdraw, "sketch-recognition", "lstm", "onnx"],
        datasets=[DATASET] if is_quickdraw else None,
        metrics=["accuracy"],
        model_name=card["name"],
        eval_results=results or None,
    )
    rows = [
        f"| {split} | {values['n']:,} | {values['top1']:.2%} | {values['top3']:.2%} | {values['top5']:.2%} |"
        for split, values in figures.items()
        if {"n", "top1", "top3", "top5"} <= values.keys()
    ]
    table = ["| split | drawings | top-1 | top-3 | top-5 |", "|---|---|---|---|---|", *rows, ""] if rows else []
    config = card["config"]
    lines = [
        "---",
        metadata.to_yaml(),
        "---",
        "",
        f"# {card['name']}",
        "",
        f"Names a drawing from its pen strokes: {config['n_classes']} words, {config['reading']} reading.",
        "",
        *table,
        "```python",
        "import quickstroke  # pip install 'quickstroke[hub]'",
        "",
        f'recognizer = quickstroke.load("{PREFIX}{repo}")',
        "recognizer.predict([[(10, 10), (60, 12), (35, 80), (10, 10)]])  # strokes of points, y grows downwards",
        "```",
        "",
        f"`{GRAPH}` runs without PyTorch; `{WEIGHTS}` has the same weights for it. Both hold their card.",
        "",
        card.get("attribution", ""),
        "",
        f"Words: {', '.join(map(as_text, card['classes']))}.",
        "",
    ]
    return "\n".join(lines)
