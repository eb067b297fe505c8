"""`quickstroke report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from rich.progress import TaskID
from tyro.conf import Positional, arg

from quickstroke.cli.answers import Answer, counted, note, percent
from quickstroke.cli.options import Json, optional
from quickstroke.cli.running import import_torch, progress
from quickstroke.config.training import Device


@dataclass(frozen=True)
class Options:
    """Runs, published models and results documents become one results document with pictures.

    Of a run it has the configuration, the log and the data, and of its best weights exact figures, confusions and
    mistakes; of a published model the same without a log, with --data. Sections of documents are carried over with
    their curves. Pictures go to FILE_files beside FILE.md.

    Attributes:
        sources: run folders, published .model files and results documents
        into: the document to write; an earlier one is replaced
        split: drawings to measure on; `auto` takes those to test where the dataset has any
        data: where the datasets of published models are, and those that a run no longer finds; a run whose dataset is
            found is measured on that
        without_data: go on where a dataset is not found, with what the run's metrics or the model's card tell
        device: where the models run
        no_mistakes: show no mistaken drawings: they are pictures of the dataset's own drawings
    """

    sources: Annotated[Positional[tuple[str, ...]], optional("SOURCE...")]
    into: Annotated[str, arg(metavar="FILE.md")]
    split: Literal["auto", "test", "val"] = "auto"
    data: Annotated[tuple[str, ...], optional("DIR...")] = ()
    without_data: bool = False
    device: Device = "auto"
    no_mistakes: bool = False
    json: Json = False


def run(options: Options) -> Answer:
    import_torch()
    from quickstroke.reports import figures, report

    with progress("drawings") as bar:
        tasks: dict[str, TaskID] = {}

        def on_drawings(source: str, n: int, total: int) -> None:
            if source not in tasks:
                tasks[source] = bar.add_task(source, total=total)
            bar.advance(tasks[source], n)

        results = report.write_report(
            options.sources,
            options.into,
            split=options.split,
            data=options.data,
            without_data=options.without_data,
            device=options.device,
            with_mistakes=not options.no_mistakes,
            on_drawings=on_drawings,
        )
    sections = [figures.figures(result) for result in results]
    for result, values in zip(results, sections, strict=True):
        for line in result.section.damaged if result.section else ():
            note(f"{result.source}, line {line}: begins as the line of an epoch and is none; left out")
        if result.run and not result.run.data:
            note(f"{result.source}: not measured: {result.run.why_no_data}")
        measured = (
            f"{values['split']} top-1 {percent(values['top1'])} of {values['n']:,}" if values["n"] else "not measured"
        )
        print(f"{result.title}  {measured}  {result.source}")
    measured_on = {result.run.data.path.resolve() for result in results if result.run and result.run.data}
    for folder in options.data:
        if Path(folder).resolve() not in measured_on:
            note(
                f"--data {folder} has no effect: each run is measured on its own dataset, each model on that of its "
                f"card; `quickstroke evaluate MODEL --data {folder}` measures on this one"
            )
    print(f"wrote {options.into}: {counted(len(sections), 'section')}")
    return Answer({"document": options.into, "sections": sections})
