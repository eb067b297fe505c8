"""What is known of one training or model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from quickstroke.data.dataset import PreparedDataset
from quickstroke.reports import document_config, documents
from quickstroke.reports.documents import EndLine, EpochLine

if TYPE_CHECKING:
    from quickstroke.artifacts.lineage import TrainingsBefore
    from quickstroke.artifacts.runs import RunConfig
    from quickstroke.evaluation.metrics import Evaluation

Split = Literal["auto", "test", "val"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a run, or the card of a published model, tells beyond what a document could.

    Attributes:
        config: its config.json, or as much of it as the card has.
        metrics: its metrics.jsonl, an epoch or more; empty for a card, which has none.
        n_epochs: that have ended.
        best_epoch: the one whose weights these are.
        seconds: that the training took.
        before: the trainings that it went on from.
        stated: its own figures of splits, among them `val`: `top1`, `top3`, `top5`, `loss` and the number `n`.
        test_data: what the card tells of another dataset, whose test drawings it states figures of; else None.
        n_parameters: of its model.
        command: that started it, "" where that is not known.
        data: the dataset of `measured`, None where that is gone or another by now.
        why_no_data: a sentence when `data` is None.
        split: the drawings that `measured` is of.
        measured: the weights by the protocol `standard`, None without `data`.
    """

    config: "RunConfig"
    metrics: list[dict[str, Any]]
    n_epochs: int
    best_epoch: int
    seconds: float
    before: "TrainingsBefore"
    stated: dict[str, dict[str, Any]]
    test_data: dict[str, Any] | None
    n_parameters: int
    command: str
    data: PreparedDataset | None = None
    why_no_data: str = ""
    split: str = ""
    measured: "Evaluation | None" = None

    @property
    def own_data(self) -> PreparedDataset | None:
        """The dataset that it was trained on, None where it was not found."""
        is_own = self.data and self.data.manifest_sha256 == self.config.data["manifest_sha256"]
        return self.data if is_own else None

    @property
    def stopped_early(self) -> bool:
        """Whether the run's patience has ended it."""
        patience = self.config.train.patience
        return 0 < patience <= self.n_epochs - self.best_epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One section of the document: a run, a published model, or a section of another document.

    Attributes:
        source: the run folder, the model or the document, as given.
        config: what its configuration block says, None where it has none.
        log: its epochs, empty for a published model.
        ended: the closing line of its log, None where it has not ended or there is no log.
        run: None for a section of a document.
        section: that section, None for a run.
        path: its headings under `# Results`, outermost first.
        suffix: what its last heading says to tell it from others of the same shape.
    """

    source: Path
    config: document_config.Config | None
    log: tuple[EpochLine, ...]
    ended: EndLine | None
    run: RunFacts | None = None
    section: documents.Section | None = None
    path: tuple[str, ...] = ()
    suffix: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        """The model name, None where the document does not say enough."""
        if self.run:
            return self.run.config.model.name
        return self.section.name if self.section else None

    @property
    def title(self) -> str:
        """One line that tells it from all others."""
        return ", ".join((self.name, *self.suffix)) if self.name else " > ".join(self.path)
