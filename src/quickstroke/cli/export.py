"""`quickstroke export`."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional

from quickstroke.cli.answers import Answer, note, percent, say
from quickstroke.cli.inputs import drawing_files
from quickstroke.cli.options import ClassesFile, Json, Split, optional
from quickstroke.cli.running import import_torch
from quickstroke.errors import ConfigError, DatasetError, WeightsError

if TYPE_CHECKING:
    from quickstroke.artifacts.loading import LoadedModel
    from quickstroke.data.selection import LabelledDrawings

# Of an export: its bytes, what is told of it, and further entries of the JSON.
_Written = tuple[int, str, dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """A model becomes a file that runs without PyTorch, or a page that recognises in the browser.

    onnx: NAME.onnx with its card inside, for `predict`, `serve` and `quickstroke.load`, which then need onnxruntime and
    no PyTorch. It is kept only when onnxruntime gives the same probabilities as PyTorch. quickstroke: NAME.quickstroke,
    card and weights in 8 or 16 bits, for the npm package `quickstroke`. safetensors: weights and card as
    NAME.safetensors. litert: NAME.tflite, for phones and small devices; it takes minutes. web: a folder with the page
    and such a model, for any static host. html: the same as one file, NAME.html, that opens by a double click.

    Attributes:
        model: a .model, .safetensors or .quickstroke file, a run folder, the name of a published model, or
            hf://OWNER/NAME (default: the default model)
        files: drawing files, folders or glob patterns, to measure smaller weights on
        to: what it becomes
        into: the file or folder (default: NAME.onnx and so on, or NAME-web, here)
        replace: replace an earlier export
        weights: for `quickstroke`, `web` and `html`: 8 bits with a scale for each output, or 16 (default: int8)
        teaching: for `quickstroke`: keep the statistics by which taught words are recognised more often (57 kB for 345
            words); `web` and `html` have them beside it
        int8: for `onnx`: weights in 8 bits, a quarter of the size; kept only when they lose at most half a point of
            top-1 on the drawings of --data or FILE, else the weights stay float32
        converter: for `litert`: the Python of an environment that has litert-torch
        data: a prepared dataset, in place of files
        split: which drawings of the prepared dataset (default: val)
    """

    model: Annotated[Positional[str | None], optional("[MODEL]")] = None
    files: Annotated[Positional[tuple[str, ...]], optional("[FILE...]")] = ()
    to: Literal["onnx", "quickstroke", "web", "html", "safetensors", "litert"] = "onnx"
    into: Annotated[str | None, optional("PATH")] = None
    replace: bool = False
    classes: ClassesFile = None
    weights: Annotated[Literal["int8", "float16"] | None, optional("int8|float16")] = None
    teaching: bool = False
    int8: bool = False
    converter: Annotated[str | None, optional("PYTHON")] = None
    data: Annotated[str | None, optional("DIR")] = None
    split: Split = None
    json: Json = False


def run(options: Options) -> Answer:
    _check(options)
    from quickstroke.artifacts import cards

    path = cards.find_model(options.model)
    if path.suffix == ".onnx":
        raise ConfigError(f"{path}: is exported already; expected the model that it comes from")
    import_torch()
    from quickstroke.artifacts import loading
    from quickstroke.utils.files import check_place

    loaded = loading.load_model(path, options.classes)
    note(loaded.note)
    into = _target(options, loaded.name)
    check_place(into)
    write = {"safetensors": _write_safetensors, "litert": _write_litert, "onnx": _write_onnx}.get(options.to)
    n_bytes, told, facts = (write or _write_compact)(options, loaded, into)
    print(f"{into}: {n_bytes:,} bytes, {told}")
    return Answer({"to": options.to, "path": str(into), "model": loaded.name, "bytes": n_bytes, **facts})


def _check(options: Options) -> None:
    is_compact = options.to in ("quickstroke", "web", "html")
    if options.int8 and is_compact:
        raise ConfigError(f"--int8 is for --to onnx; --to {options.to} has weights in 8 bits by itself (--weights)")
    if options.int8 and options.to in ("safetensors", "litert"):
        raise ConfigError(f"--int8: --to {options.to} keeps weights as they are; expected --to onnx")
    if options.weights and not is_compact:
        raise ConfigError("--weights is for --to quickstroke, web and html only")
    if options.teaching and options.to != "quickstroke":
        raise ConfigError("--teaching is for --to quickstroke; the others have what teaching needs by themselves")
    if bool(options.converter) != (options.to == "litert"):
        raise ConfigError(
            "--to litert needs --converter PYTHON, of an environment with litert-torch, and nothing else does"
        )
    if options.int8 and bool(options.files) == bool(options.data):
        raise ConfigError("--int8 is measured on drawings: give either drawing files or --data DIR")
    if options.files and options.data:
        raise ConfigError("weights are measured on either drawing files or --data DIR, not on both")
    if (options.files or options.data) and not options.int8 and not is_compact:
        raise ConfigError("drawings are for measuring 8-bit weights; give --int8, too, or no drawings")
    if options.split and not options.data:
        note("--split has no effect without --data")


def _target(options: Options, name: str) -> Path:
    """Where the export goes; refused where something is that may not be replaced."""
    if options.to == "web":
        from quickstroke.export import web

        into = Path(options.into or f"{name}-web")
        web.check_free(into, replace=options.replace)
        return into
    into, suffix = Path(options.into or "."), ".tflite" if options.to == "litert" else f".{options.to}"
    if into.is_dir():
        into /= name + suffix
    if into.suffix != suffix:
        raise ConfigError(f"--into {into}: expected a name that ends in {suffix}, or a folder that exists")
    if into.exists() and not options.replace:
        raise WeightsError(f"{into}: exists already; give --replace to replace it, or another --into")
    return into


def _write_safetensors(options: Options, loaded: "LoadedModel", into: Path) -> _Written:
    from quickstroke.artifacts import loading
    from quickstroke.export import safetensors

    safetensors.write(loaded, into)
    loading.load_model(into)
    return into.stat().st_size, f"weights and card of {loaded.name}", {}


def _write_litert(options: Options, loaded: "LoadedModel", into: Path) -> _Written:
    from quickstroke.export import litert
    from quickstroke.utils.files import write_bytes

    note("converting takes a minute or two")
    data, largest = litert.export(loaded, options.converter or "")
    write_bytes(into, data)
    return len(data), f"probabilities within {largest:.1g} of PyTorch's", {"max_difference": largest}


def _write_compact(options: Options, loaded: "LoadedModel", into: Path) -> _Written:
    """A `.quickstroke` file, or a page with it: a folder or one file."""
    from quickstroke.export import compact, html, web
    from quickstroke.utils.files import write_bytes

    weights = options.weights or "int8"
    drawings = _drawings(options, loaded.classes) if options.files or options.data else None
    if options.teaching and not (loaded.card or {}).get("discriminant"):
        note(
            "--teaching has no effect: the model has no statistics for teaching words; those of 50 words or more have "
            "them that this version published"
        )
    exported = compact.export(loaded, weights, drawings, has_statistics=options.teaching)
    facts: dict[str, Any] = {"weights": weights, "measured": exported.measured}
    n_bytes = n_model = len(exported.data)
    if options.to == "quickstroke":
        write_bytes(into, exported.data)
        told = f"weights in {weights}, card and words of {loaded.name}"
    else:
        facts["model_bytes"] = n_model
    if options.to == "web":
        n_bytes = web.write_folder(into, exported, replace=options.replace)
        told = f"of which the model {n_model:,} with weights in {weights}"
    elif options.to == "html":
        data = html.page(exported)
        write_bytes(into, data)
        n_bytes, told = len(data), f"the page and {loaded.name} in one file; a double click opens it"
    if measured := exported.measured:
        top1, top1_float32 = percent(measured["top1"]), percent(measured["top1_float32"])
        told += f"\n{weights}: top-1 {top1} of {measured['n']:,}; float32: top-1 {top1_float32}"
    if options.to == "web":
        told += f"\nany static host serves it; to try it: python3 -m http.server --directory {shlex.quote(str(into))}"
    return n_bytes, told, facts


def _drawings(options: Options, classes: tuple[str, ...]) -> "LabelledDrawings":
    """The drawings that smaller weights are measured on."""
    from quickstroke.data.dataset import PreparedDataset
    from quickstroke.data.selection import LabelledDrawings
    from quickstroke.formats import read_drawings

    if options.data:
        drawings = LabelledDrawings.of_split(PreparedDataset(options.data), options.split or "val", classes)
    else:
        drawings, _ = LabelledDrawings.of_drawings(read_drawings(drawing_files(options.files)), classes)
    if not len(drawings):
        raise DatasetError("no drawing to measure the weights on is of a word that the model knows")
    return drawings


def _write_onnx(options: Options, loaded: "LoadedModel", into: Path) -> _Written:
    from quickstroke.export import onnx
    from quickstroke.utils.files import write_bytes

    exported = onnx.export(loaded)
    told, int8 = f"probabilities within {exported.max_difference:.1g} of PyTorch's", None
    if options.int8:
        result = onnx.quantize(loaded, exported, _drawings(options, loaded.classes))
        n_bytes, n_bytes_float32 = len(result.exported.data), len(exported.data)
        say(
            f"int8: {n_bytes:,} bytes, top-1 {percent(result.top1)} of {result.n:,}; float32: {n_bytes_float32:,} "
            f"bytes, top-1 {percent(result.top1_float32)}; "
            + (f"not kept: {result.refusal}" if result.refusal else "int8 is kept")
        )
        int8 = {
            "kept": not result.refusal,
            "bytes": n_bytes,
            "bytes_float32": n_bytes_float32,
            "top1": result.top1,
            "top1_float32": result.top1_float32,
            "n": result.n,
        }
        if not result.refusal:
            exported, told = result.exported, "8-bit weights"
    write_bytes(into, exported.data)
    return len(exported.data), told, {"max_difference": exported.max_difference, "int8": int8}
