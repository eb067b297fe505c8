"""What compiled code takes of a body is what `bodies.take` makes of it; all else it leaves alone."""

import json
import subprocess
import sys
from collections.abc import Iterable

import numpy as np
import pytest

from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.serve import app as app_module
from quickstroke.serve.bodies import take
from quickstroke.serve.limits import Limits
from quickstroke.serve.quick import QuickReader
from quickstroke.serve.schemas import RecognizeRequest

LIMITS = Limits(strokes=20, points=3000)
SQUARE = "[[[0,9,9,0],[0,0,9,9]]]"


@pytest.fixture(scope="module")
def quick() -> QuickReader:
    reader = QuickReader(LIMITS)
    assert reader.take(b'{"strokes":%b}' % SQUARE.encode()) is None  # compiling is for no request to wait for
    reader.compile()
    return reader


def test_no_request_waits_for_compiling_where_asserts_are_left_out() -> None:
    program = "import quickstroke.serve.quick as q; q.QuickReader(q.Limits()).compile(); print(q._read.is_compiled)"
    done = subprocess.run([sys.executable, "-O", "-c", program], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def real_bodies() -> Iterable[dict[str, object]]:
    for is_simplified in (False, True):
        for i, drawing in enumerate(synthetic_drawings(1, simplified=is_simplified)):
            layout = ("columns", "points")[i % 2]
            rows = [stroke.T.tolist() if i % 2 == 0 else stroke.tolist() for stroke in drawing.strokes]
            yield {"top": 1 + i, "strokes": rows, "simplified": is_simplified, "layout": layout}


TAKEN = [
    f'{{"strokes":{SQUARE}}}',
    f'{{"strokes":{SQUARE},"top":7.0,"simplified":false,"layout":"auto","words":null}}',
    f' {{ "layout" : "columns", "simplified" :true ,"strokes": {SQUARE} }} ',
    '{"strokes":[[[1,2],[3,4]]]}',
    '{"strokes":[[[1,2],[3,4]]],"layout":"points"}',
    '{"strokes":[[[1.5,-2.25,0],[3e0,4,17]]]}'.replace("e0", ""),
    '{"strokes":[[[1,2,3,4],[3,4,3,9],[0,5,9,12]],[[7],[8],[100]]]}',
    '{"strokes":[[[3],[4]]],"simplified":true}',
]


@pytest.mark.parametrize("body", [*TAKEN, *map(json.dumps, real_bodies())])
def test_both_take_the_same(quick: QuickReader, body: str) -> None:
    expected = take(body.encode(), RecognizeRequest, LIMITS, float("inf"))
    taken = quick.take(bytearray(body.encode()))
    assert taken is not None
    assert (taken.top, taken.words) == (expected.top, expected.words)
    ((drawing, layout),), ((expected_drawing, expected_layout),) = taken.drawings, expected.drawings  # type: ignore[misc]
    assert layout == expected_layout and len(drawing) == len(expected_drawing)
    for stroke, other in zip(drawing, expected_drawing, strict=True):
        assert stroke.dtype == other.dtype and np.array_equal(stroke, other)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "{}",
        f'{{"strokes":{SQUARE}',
        f'{{"strokes":{SQUARE}}}x',
        f'{{"strokes":{SQUARE}}}}}',
        f'{{"strokes":{SQUARE},}}',
        f'{{"strokes":{SQUARE}\n}}',
        f'{{"strokes":{SQUARE},"strokes":{SQUARE}}}',
        f'{{"strokes":{SQUARE},"colour":1}}',
        f'{{"strokes":{SQUARE},"words":["cat"]}}',
        f'{{"strokes":{SQUARE},"top":0}}',
        f'{{"strokes":{SQUARE},"top":1.5}}',
        f'{{"strokes":{SQUARE},"top":true}}',
        f'{{"strokes":{SQUARE},"simplified":1}}',
        f'{{"strokes":{SQUARE},"layout":"rows"}}',
        f'{{"strokes":{SQUARE},"layout":"points"}}',
        '{"strokes":[]}',
        '{"strokes":[[]]}',
        '{"strokes":[[[],[]]]}',
        '{"strokes":[[[1,2],[3,NaN]]]}',
        '{"strokes":[[[1,2],[3,1e999]]]}',
        '{"strokes":[[[1,2,3,4],[3,4]]]}',
        '{"strokes":[[[1,2,3,4],[3,4,5,256]]],"simplified":true}',
        '{"strokes":[[[1,2,3,4],[3,4,5,-1]]],"simplified":true}',
        '{"strokes":[[[1,2,3,4],[3,4,5,2.5]]],"simplified":true}',
        json.dumps({"strokes": [[[1, 2, 3, 4], [3, 4, 5, 6]]] * 21}),
        json.dumps({"strokes": [[list(range(3001)), list(range(3001))]]}),
        json.dumps({"strokes": [[list(range(9)), [10**6 * (i % 2) for i in range(9)]]] * 20, "pad": 0}),
        f'{{"strokes":{SQUARE}{" " * 70_000}}}',
    ],
)
def test_all_else_is_left_alone(quick: QuickReader, body: str) -> None:
    assert quick.take(body.encode()) is None


def test_a_drawing_that_winds_is_left_to_a_thread(quick: QuickReader) -> None:
    body = json.dumps({"strokes": [[[0, 1] * 1500, [i % 3 for i in range(3000)]]]})
    assert take(body.encode(), RecognizeRequest, LIMITS, float("inf")).drawings
    assert quick.take(body.encode()) is None


def test_a_served_guess_is_the_same_when_all_is_compiled(new_client, recognizer, monkeypatch) -> None:
    services, service_of = [], app_module.Service
    monkeypatch.setattr(app_module, "Service", lambda *args: services.append(service_of(*args)) or services[-1])
    client = new_client(recognizer)
    bodies = list(real_bodies())[:5]
    before = [client.post("recognize", json=body).json() for body in bodies]
    services[0].compile()
    taken = []
    monkeypatch.setattr(app_module, "take", lambda *args: taken.append(args))
    for body, expected in zip(bodies, before, strict=True):
        answer = client.post("recognize", json=body).json()
        assert {**answer, "ms": 0} == {**expected, "ms": 0}
    assert not taken
