"""What is fuzzed: each function makes its seeds in a folder, and gives them with what one input is given to.

Where a reader takes several kinds of input, or checks a hash that no change of bytes would meet, the first byte says
how the rest is packed.
"""

import asyncio
import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from quickstroke.artifacts.unknown import Outputs
from quickstroke.config import naming
from quickstroke.config.model import ModelConfig
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import FormatError, QuickstrokeError
from quickstroke.formats import binary, ndjson, parquet, read_file, read_records, records, svg
from quickstroke.preparation.convert import as_prepared
from quickstroke.reports import document_config, documents

Target = tuple[list[bytes], Callable[[bytes], None]]
WORDS = ("circle", "house", "star")
compress = partial(gzip.compress, compresslevel=1)


def said(drawing: Drawing) -> tuple[object, ...]:
    """All that a drawing says, to compare."""
    strokes = [stroke.tolist() for stroke in drawing.strokes]
    times = None if drawing.times_ms is None else [row.tolist() for row in drawing.times_ms]
    head = (drawing.key_id, drawing.countrycode, drawing.timestamp_us, drawing.recognized)
    return (*head, drawing.is_simplified, strokes, times)


def some(simplified: bool = True) -> list[Drawing]:
    """A doodle of each word with its first strokes and points only: short inputs are quick."""
    return [
        replace(
            drawing,
            strokes=[stroke[:5] for stroke in drawing.strokes[:3]],
            times_ms=drawing.times_ms and [times[:5] for times in drawing.times_ms[:3]],
        )
        for drawing in synthetic_drawings(1, words=WORDS, simplified=simplified)
    ]


def packed(forms: list[tuple[list[bytes], Callable[[bytes], None]]]) -> Target:
    """Several targets as one, told apart by the first byte of an input."""
    seeds = [bytes([i]) + seed for i, (own, _) in enumerate(forms) for seed in own]
    return seeds, lambda data: forms[data[0] % len(forms)][1](data[1:]) if data else None


def reader(path: Path, check: Callable[[list[Drawing], bytes], None], pack: Callable[[bytes], bytes] = bytes) -> Any:
    """Reads a file of the input, packed in some way, and checks what came."""

    def one(data: bytes) -> None:
        path.write_bytes(pack(data))
        if ".bin" not in path.name:
            assert joined(path, read_records(path)) == joined(path, read_file(path))
        found = list(read_file(path))
        assert all(len(stroke) and stroke.shape[1] == 2 for drawing in found for stroke in drawing.strokes)
        check(found, data)

    return one


def joined(path: Path, parts: Iterable[records.Records | Drawing]) -> tuple[list[tuple[str, bytes]], str]:
    """What a dataset would have of a file, the drawings of a word that follow each other together; and the error."""
    made: list[tuple[str, bytes]] = []
    try:
        for part in parts:
            data = part.data if isinstance(part, records.Records) else binary.encode(as_prepared(part))
            before = made.pop()[1] if made and made[-1][0] == part.word else b""
            made.append((part.word, before + data))
    except FormatError as error:
        return made, str(error)
    return made, ""


def nothing(found: list[Drawing], data: bytes) -> None:
    """For a form that quickstroke does not write."""


def binary_target(folder: Path) -> Target:
    """Official binary files, plain, compressed, and as damaged gzip."""
    records = [binary.encode(drawing) for drawing in some()]
    short = [binary.encode(Drawing("cat", [np.full((n, 2), n % 256, np.uint8)] * 2, 2**64 - n)) for n in (1, 2, 130)]
    seeds = [*records, *short, b"".join(records), b"".join(short), b""]

    def same(found: list[Drawing], data: bytes) -> None:
        assert b"".join(map(binary.encode, found)) == data

    return packed(
        [
            (seeds, reader(folder / "cat.bin", same)),
            (seeds, reader(folder / "cat.bin.gz", same, compress)),
            ([gzip.compress(seed) for seed in seeds], reader(folder / "dog.bin.gz", nothing)),
        ]
    )


def _lines() -> list[bytes]:
    simplified = [ndjson.format_line(drawing) for drawing in some()]
    raw = []
    for drawing in some(simplified=False):
        assert drawing.times_ms is not None
        rows = [[*s.T.tolist(), t.tolist()] for s, t in zip(drawing.strokes, drawing.times_ms, strict=True)]
        raw.append(json.dumps({"word": drawing.word, "key_id": "5", "recognized": False, "drawing": rows}))
    few = '{"drawing":[[[1,2],[3,4]],[[5],[6]]],"timestamp":"2017-03-01 20:41:36.70725 UTC","countrycode":"DE"}'
    return [line.encode() for line in (*simplified, *raw, few, few + "\n\n" + few, '{"drawing":[[[1.5],[3],[0]]]}')]


def ndjson_target(folder: Path) -> Target:
    """Official ndjson files, simplified and raw, plain and compressed."""

    def same(found: list[Drawing], data: bytes) -> None:
        for drawing in found:
            if drawing.is_simplified:
                again = ndjson.parse_line(ndjson.format_line(drawing))
                assert said(again) == said(drawing) and again.word == drawing.word

    lines = _lines()
    return packed(
        [
            (lines, reader(folder / "cat.ndjson", same)),
            (lines, reader(folder / "cat.ndjson.gz", same, compress)),
        ]
    )


def npz_target(folder: Path) -> Target:
    """Sketch-rnn's files: as they are, and any pickle or array in an archive that is sound."""
    rows = [np.array([[10, 0, 0], [0, 20, 1], [5, -5, 0], [-1, -2, 1]], np.int16), np.ones((1, 3), np.int16)]
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    plain, small, one_array, head = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(plain, train=array, test=array)
    np.savez_compressed(small, valid=array)
    np.save(one_array, array)
    np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": (len(rows),)})

    def archived(data: bytes) -> bytes:
        packed_bytes = io.BytesIO()
        with zipfile.ZipFile(packed_bytes, "w") as archive:
            archive.writestr("train.npy", data)
        return packed_bytes.getvalue()

    return packed(
        [
            ([plain.getvalue(), small.getvalue()], reader(folder / "cat.npz", nothing)),
            ([one_array.getvalue()], reader(folder / "cat.npz", nothing, archived)),
            (
                [pickle.dumps(array, protocol) for protocol in (0, 2, 4, 5)],
                reader(folder / "cat.npz", nothing, lambda data: archived(head.getvalue() + data)),
            ),
        ]
    )


def csv_target(folder: Path) -> Target:
    """Kaggle's files, with any bytes after a good header, and with any header."""
    row = b'DE,"[[[1, 2, 3], [4, 5, 6]], [[7], [8]]]",5201136883597312,False,2017-03-01 20:41:36.707250,ice cream\n'
    head = b"countrycode,drawing,key_id,recognized,timestamp,word\n"
    rows = [row, row + row.replace(b"\n", b"\r\n"), b'US,"[[[1.0],[2]]]",,True,,"a\nb"\n']
    return packed(
        [
            (rows, reader(folder / "any.csv", nothing, lambda data: head + data)),
            ([head + row, b'word,drawing\ncat,"[[[1],[2]]]"'], reader(folder / "any.csv", nothing)),
            (rows, reader(folder / "any.csv.gz", nothing, lambda data: gzip.compress(head + data))),
        ]
    )


def picture_target(folder: Path) -> Target:
    """Pictures of each kind, and bitmaps."""
    from PIL import Image

    from quickstroke.drawings.bitmap import to_bitmap, write_bitmaps

    write_bitmaps(folder / "seed.npy", some()[:2])  # each takes long
    shown = Image.fromarray(255 - to_bitmap(some()[0].strokes)).resize((60, 60))
    seeds = {"npy": (folder / "seed.npy").read_bytes()}
    for ending, kind, mode in (("png", "PNG", "LA"), ("jpg", "JPEG", "RGB"), ("webp", "WEBP", "RGBA")):
        shown.convert(mode).save(file := io.BytesIO(), kind)
        seeds[ending] = file.getvalue()
    return packed([([seed], reader(folder / f"any.{ending}", nothing)) for ending, seed in seeds.items()])


def svg_target(folder: Path) -> Target:
    """SVG files, and one path."""
    svg.write(folder / "seed.svg", [replace(drawing, word="a & b", key_id=5) for drawing in some()])
    shapes = (
        '<style>.a{stroke:none}</style><g stroke="red" transform="rotate(9,1 2)scale(2)">'
        '<rect width="5mm" height="4" rx="1"/>'
        '<circle class="a" r="4"/><polygon points="1,2 3 4-5.5.5"/><ellipse rx="4" ry="9"/><line x2="3"/></g>'
    )
    path = b"M1 2h3v-.5l1e1,2C1 2 3 4 5 6s1 2 3 4q1 2 3 4T5 6a5 9 30 015 6A1 1 0 1 0 9 9zm1 1 2 2z"

    def same(found: list[Drawing], data: bytes) -> None:
        drawings = [drawing for drawing in found if drawing.is_simplified]
        if drawings:
            svg.write(folder / "again.svg", drawings)
            assert [(said(each), each.word) for each in svg.read(folder / "again.svg", "")] == [
                (said(each), each.word) for each in drawings
            ]

    seeds = [(folder / "seed.svg").read_bytes(), f"<svg>{shapes}</svg>".encode()]
    return packed(
        [
            (seeds, reader(folder / "any.svg", same)),
            ([path], reader(folder / "any.svg", same, lambda data: b'<svg><path d="' + data + b'"/></svg>')),
        ]
    )


def inkml_target(folder: Path) -> Target:
    """InkML files, and one trace."""
    channels = "".join(f'<channel name="{name}"/>' for name in "YXT")
    whole = (
        f'<ink><definitions><context xml:id="c"><traceFormat>{channels}</traceFormat></context></definitions>'
        "<traceGroup>"
        '<trace id="a" contextRef="#c">1 2 3,4 5 6</trace><trace continuation="end" priorRef="#a">1 1 1</trace>'
        '</traceGroup><trace type="penUp">1 2 3</trace></ink>'
    )
    seeds = [b"10 0,'9'14,\"8\"2,3-5, #1F *,! 5 6", b"1 2 , 3.5e1 -4,? 5"]
    pack = partial(b"<ink><trace>%b</trace></ink>".__mod__)
    return packed(
        [
            ([whole.encode()], reader(folder / "any.inkml", nothing)),
            (seeds, reader(folder / "any.inkml", nothing, pack)),
        ]
    )


def json_target(folder: Path) -> Target:
    """Plain JSON: a drawing, and lists of them."""
    columns = b"[[[0, 100.5, 3], [4, 5, 6]], [[7], [8]]]"
    points = b'{"strokes": [[[1, 2], [3, 4], [5, 6], [7, 8]]], "word": "a \\" ]", "simplified": true}'
    seeds = [columns, points, b'[%b,\n%b, {"drawing": [[[1, 2], [3, 4], [5, 6]]]}]' % (columns, points)]
    return seeds, reader(folder / "any.json", nothing)


def parquet_target(folder: Path) -> Target:
    """Parquet: as it is written, and as others write it."""
    import pyarrow
    from pyarrow.parquet import write_table

    path = folder / "seed.parquet"
    parquet.write(path, some())
    seeds = [path.read_bytes()]
    for column in ([[[[1, 2, 3], [4, 5, 6]]]], ["[[[1,2,3],[4,5,6]]]"], [[[5, 6, 0], [7, 8, 1]]]):
        write_table(pyarrow.table({"drawing": column, "word": ["cat"], "key_id": [5]}), path)
        seeds.append(path.read_bytes())
    return seeds, reader(folder / "any.parquet", nothing)


def name_target(folder: Path) -> Target:
    """Model names."""
    names = ("simple_lay1_sz64", "lstm_cv1_128_5_lay2_sz8", "bilstm_cv1_4_3_cv2_5_3_lay1_sz4")
    names += ("bipool_cv1_64_5_cv2_128_5_2_lay2_sz144", "simple_lay9_sz999999", "simple_lay1_sz64.model")
    names += ("bipool_cv1_32_5_img16_lay1_sz32",)

    def one(data: bytes) -> None:
        name = data.decode("utf-8", "surrogateescape")
        assert naming.format_name(naming.parse_name(name)) == name
        assert ModelConfig.from_name(name).name == name

    return [name.encode() for name in names], one


def document_target(folder: Path) -> Target:
    """Results documents: whole files, and the code of one configuration block."""
    config = document_config.format_config(
        {"batch_size": 256, "learning_rate": 0.001, "hidden_size": 64, "n_layers": 1, "N_train": 5, "N_val": 1}
        | {"train_classes": ("cat", "ice cream"), "conv1": (4, 3), "conv2": None, "bidirectional": True}
        | {"readout": "pool", "image": 16}
    )
    log = "\n".join(
        (
            documents.format_epoch(documents.EpochLine(1, 2, 0.5, 12.5, 3.25)),
            documents.format_end(documents.EndLine(2, 13.0)),
        )
    )
    whole = f"# Results\n\n## Model\n\n```python\n{config}\n```\n\n~~~\n{log}\n~~~\n"
    sums = "N_train = 10 * 2 + 1\nN_val = N_train // 5\ntrain_classes = classes[1:-1:2]\nhidden_size = n = 4\n"
    path = folder / "results.md"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for section in documents.read_document(path).sections:
            assert str(section)
            if section.config is not None:
                written(section.config)

    def parse(data: bytes) -> None:
        written(document_config.parse_config(data.decode("utf-8", "replace")))

    def written(config: document_config.Config) -> None:
        assert document_config.parse_config(document_config.format_config(config)) == config

    return packed([([whole.encode()], read), ([config.encode(), sums.encode()], parse)])


def model_target(folder: Path) -> Target:
    """Files of weights of every kind with their cards, run folders and checkpoints."""
    from model_files import target

    return target(folder)


class _Anything:
    """A model that finds every word equally likely: what is fuzzed is what comes before it."""

    name, classes, card, note, max_padding, preprocessing = "any", WORDS, None, "", 100, "pos5"

    def outputs(self, points: Any, lengths: Any) -> Outputs:
        assert np.isfinite(points).all()
        return Outputs(np.full((len(points), len(WORDS)), 1 / len(WORDS)), None)

    def compile(self) -> None:
        pass


def api_target(folder: Path) -> Target:
    """The application, asked in this process: bodies of both kinds, and requests of any method, path and headers."""
    from quickstroke.inference.recognizer import Recognizer
    from quickstroke.serve import bodies, schemas
    from quickstroke.serve.app import API, create_app
    from quickstroke.serve.limits import Limits
    from quickstroke.serve.quick import QuickReader

    quick = QuickReader(Limits())
    quick.compile()
    app = create_app(Recognizer(_Anything()), cors=["https://example.org"])  # type: ignore[arg-type]
    loop = asyncio.new_event_loop()

    def ask(method: str, path: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        parts: list[Any] = [{"type": "http.request", "body": body[i : i + 500]} for i in range(0, len(body) or 1, 500)]
        for part in parts[:-1]:
            part["more_body"] = True
        sent: list[Any] = []

        async def receive() -> Any:
            return parts.pop(0) if parts else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        text, _, query = path.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": text.decode("latin-1"),
            "raw_path": text,
            "query_string": query,
            "root_path": "",
            "headers": list(headers),
            "server": ("localhost", 80),
            "client": ("localhost", 5),
        }
        loop.run_until_complete(app(scope, receive, send))
        answer = b"".join(message.get("body", b"") for message in sent)
        code = sent[0]["status"]
        assert sent[0]["type"] == "http.response.start" and code < 500, (code, answer)
        if text.decode("latin-1").startswith("/api/") and code >= 400:
            error = json.loads(answer)["error"]
            assert error["code"] and error["message"] and len(answer) < 2000
            raise _Refusal(error["message"])
        if method == "POST" and text.startswith(API.encode() + b"/recognize"):
            assert json.loads(answer)["model"] == "any"

    kind = [(b"content-type", b"application/json")]

    def several_drawings(data: bytes) -> None:
        ask("POST", f"{API}/recognize-batch".encode(), kind, data)

    def one_drawing(data: bytes) -> None:
        taken = quick.take(data)
        if taken is not None:  # the careful reader must take it, and alike
            same = bodies.take(data, schemas.RecognizeRequest, Limits(), float("inf"))
            assert repr(taken) == repr(same)
        ask("POST", f"{API}/recognize".encode(), kind, data)

    def any_request(data: bytes) -> None:
        head, _, content = data.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        method, _, path = first.partition(b" ")
        headers = [(key.strip().lower(), value.strip()) for key, _, value in (line.partition(b":") for line in lines)]
        ask(method.decode("latin-1"), path, headers, content)

    single = [json.dumps(example["value"]).encode() for example in schemas.RECOGNIZE_EXAMPLES.values()]
    several = [json.dumps(example["value"]).encode() for example in schemas.BATCH_EXAMPLES.values()]
    requests = [
        b"GET /api/v1/model\naccept: */*\n\n",
        b"GET /app.js\nif-none-match: x\nrange: bytes=0-10\n\n",
        b"OPTIONS /api/v1/recognize\norigin: https://example.org\naccess-control-request-method: POST\n\n",
        b"POST /api/v1/recognize?a=b\ncontent-type: application/json; charset=utf-8\ncontent-length: 9\n\n" + single[0],
        b"GET /api/v1/healthz\n\n",
    ]
    return packed([(single, one_drawing), (several, several_drawings), (requests, any_request)])


class _Refusal(QuickstrokeError):
    """The application said no, in its form."""
