"""What is refused: each limit and each mistake, with its status and code."""

import asyncio
import json
import sys
import threading
import time

import numpy as np
import pytest

from quickstroke.artifacts.unknown import Outputs
from quickstroke.inference.recognizer import Recognizer
from quickstroke.serve import bodies
from quickstroke.serve import limits as limits_module
from quickstroke.serve.limits import Limits, Refused
from quickstroke.serve.schemas import RecognizeBatchRequest, RecognizeRequest

SQUARE = [[[0, 0, 255, 255, 0], [0, 255, 255, 0, 0]]]
JSON = {"Content-Type": "application/json"}
# Round and round a square: its samples tie with each other, and each corner of each round stays.
WINDING = [[[i // 2 % 2 for i in range(20_000)], [(i + 1) // 2 % 2 for i in range(20_000)]]]


@pytest.fixture(autouse=True)
def short_farewell(monkeypatch):
    monkeypatch.setattr(limits_module, "_LINGER_S", 0.01)


def refused(answer, status, code, **facts):
    """The answer is this error, on one line for people; `facts` are the error's further entries."""
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), error
    assert answer.headers["content-type"] == "application/json"
    message = error.pop("message")
    assert message and "\n" not in message and len(message) < 250
    assert {key: error[key] for key in facts} == facts
    return message


def patient(**limits):
    """Limits that no test meets because the machine has much else to do."""
    return Limits(**{"body_s": 600.0, "work_s": 600.0, **limits})


# --- the body as JSON

# In Python's own words, which differ.
TRAILING_COMMA = (
    "Illegal trailing comma before end of array at character 22"
    if sys.version_info >= (3, 13)
    else "Expecting value at character 23"
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value at character 0"),
        (b"{", "at character 1"),
        (b'{"strokes": [[[1], [1]]]} {}', "Extra data at character 26"),
        (b'{"strokes": [[[1], [1],]]}', TRAILING_COMMA),
        (b'{"strokes": [[[NaN], [1]]]}', "NaN is no JSON number"),
        (b'{"strokes": [[[1], [-Infinity]]]}', "-Infinity is no JSON number"),
        (b'{"strokes": [[[1], [%s]]]}' % (b"1" * 5000), "too many digits"),
        (b'{"strokes": [[[1], [1]]], "top": 1, "top": 2}', "a key twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"strokes": "\xff"}', "byte 13 is no UTF-8"),
        ("\ufeff{}".encode(), "BOM"),
        ('{"strokes": []}'.encode("utf-16"), "UTF-8"),
    ],
)
def test_no_json(client, content, reason):
    message = refused(client.post("recognize", content=content, headers=JSON), 400, "malformed_json")
    assert message.startswith("the body is no valid JSON: ") and reason in message


def test_names_are_counted_before_they_cost_anything(client, monkeypatch):
    names = "".join(f'"{i}": 0, ' for i in range(50_000))
    monkeypatch.setattr("quickstroke.serve.bodies.parse", lambda *_: pytest.fail("was parsed"))
    answer = client.post("recognize", content=f'{{{names}"strokes": []}}'.encode(), headers=JSON)
    assert "more than 100 names of values" in refused(answer, 422, "invalid_request", limit=100)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
    ],
)
def test_other_types(client, headers):
    refused(client.post("recognize", content=b"{}", headers=headers), 415, "unsupported_media_type")


def test_compressed_bodies(client):
    headers = {**JSON, "Content-Encoding": "gzip"}
    refused(client.post("recognize", content=b"{}", headers=headers), 415, "unsupported_encoding")
    headers["Content-Encoding"] = "identity"
    assert client.post("recognize", content=json.dumps({"strokes": SQUARE}), headers=headers).status_code == 200


# --- values


@pytest.mark.parametrize("text", ["1e999", "-1e999"])
def test_numbers_that_are_not_finite(client, text):
    content = f'{{"strokes": [[[1, 2], [3, {text}]]]}}'
    answer = client.post("recognize", content=content, headers=JSON)
    refused(answer, 422, "not_finite", field="strokes[0][1][1]")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "strokes"),
        ({"strokes": None}, "strokes"),
        ({"strokes": {"0": []}}, "strokes"),
        ({"strokes": "abc"}, "strokes"),
        ({"strokes": []}, "strokes"),
        ({"strokes": [[]]}, "strokes[0]"),
        ({"strokes": [*SQUARE, [[], []]]}, "strokes[1][0]"),
        ({"strokes": [[[1], ["1"]]]}, "strokes[0][1][0]"),
        ({"strokes": [[[1], [True]]]}, "strokes[0][1][0]"),
        ({"strokes": [[[1], [None]]]}, "strokes[0][1][0]"),
        ({"strokes": [[[1], [1], ["t"]]]}, "strokes[0][2][0]"),
        ({"strokes": [[[10**400], [1]]]}, "strokes[0][0][0]"),
        ({"strokes": SQUARE, "simplified": "yes"}, "simplified"),
        ({"strokes": SQUARE, "simplified": 1}, "simplified"),
        ({"strokes": SQUARE, "top": 0}, "top"),
        ({"strokes": SQUARE, "top": -1}, "top"),
        ({"strokes": SQUARE, "top": "5"}, "top"),
        ({"strokes": SQUARE, "top": 2.5}, "top"),
        ({"strokes": SQUARE, "top": True}, "top"),
        ({"strokes": SQUARE, "layout": "rows"}, "layout"),
        ({"strokes": SQUARE, "layout": None}, "layout"),
        ({"strokes": SQUARE, "topp": 3}, "topp"),
        ({"strokes": SQUARE, "\ud800": 3}, None),
        ({"strokes": SQUARE, "x" * 10_000: 3}, "x" * 80),
        ({"drawings": [SQUARE]}, "strokes"),
    ],
)
def test_wrong_values(client, body, field):
    answer = client.post("recognize", content=json.dumps(body), headers=JSON)
    message = refused(answer, 422, "invalid_request", **({"field": field} if field else {}))
    assert message.startswith(f"{field}: ") or not field


@pytest.mark.parametrize(
    ("drawing", "message"),
    [
        ([], "{}: expected at least one stroke"),
        ([[]], "{}[0]: expected at least one point"),
        ([1, 2], "{}[0]: expected a stroke: columns [[x..], [y..]] or points [[x, y], ..]"),
        (
            [[1, 2], [3, 4]],
            "{}[0][0]: expected numbers x and y, or all x or all y; one stroke alone has to be put into a list",
        ),
    ],
)
def test_what_is_no_drawing_is_told_with_what_it_should_be(client, drawing, message):
    alone = client.post("recognize", {"strokes": drawing}).json()["error"]["message"]
    among = client.post("recognize-batch", {"drawings": [SQUARE, drawing]}).json()["results"][1]["error"]["message"]
    assert (alone, among) == (message.format("strokes"), message.format("drawings[1]"))


@pytest.mark.parametrize("text", ["[]", "1", "null", '"strokes"'])
def test_no_object(client, text):
    refused(client.post("recognize", content=text, headers=JSON), 422, "invalid_request")


@pytest.mark.parametrize(
    ("drawings", "field"),
    [
        ([SQUARE, []], "drawings[1]"),
        ([SQUARE, [[[1], ["a"]]]], "drawings[1][0][1][0]"),
        ([SQUARE, None], "drawings[1]"),
        ([*([SQUARE] * 5), 7], "drawings[5]"),
        (SQUARE, "drawings[0][0][0]"),
    ],
)
def test_a_wrong_drawing_leaves_the_others_of_a_batch_their_guesses(client, drawings, field):
    answer = client.post("recognize-batch", {"drawings": drawings, "top": 1})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert len(results) == len(drawings)
    at = int(field[9])
    assert results[at].keys() == {"error"}
    assert results[at]["error"]["code"] == "invalid_request" and results[at]["error"]["field"] == field
    assert results[at]["error"]["message"].startswith(f"{field}: ")
    right = [result for drawing, result in zip(drawings, results, strict=True) if drawing is SQUARE]
    assert all(len(result["guesses"]) == 1 for result in right)


@pytest.mark.parametrize("drawings", [[], None, {}, "abc"])
def test_a_batch_without_drawings(client, drawings):
    refused(client.post("recognize-batch", {"drawings": drawings}), 422, "invalid_request", field="drawings")


def test_numbers_that_are_not_finite_spoil_their_drawing_alone(client):
    content = json.dumps({"drawings": [SQUARE, [[[1, 10**400], [2, 3]]]]})
    results = client.post("recognize-batch", content=content, headers=JSON).json()["results"]
    assert results[0]["guesses"] and results[1]["error"]["field"] == "drawings[1][0][0][1]"


@pytest.mark.parametrize("stroke", [[[1, 2], [3]], [[1], [2, 3]], [[1, 2], [3, 4], [5]]])
def test_rows_of_unequal_length(client, stroke):
    answer = client.post("recognize", {"strokes": [*SQUARE, stroke]})
    refused(answer, 422, "invalid_stroke", field="strokes[1]")
    results = client.post("recognize-batch", {"drawings": [SQUARE, [*SQUARE, stroke]]}).json()["results"]
    assert results[0]["guesses"] and results[1]["error"]["code"] == "invalid_stroke"
    assert results[1]["error"]["field"] == "drawings[1][1]"


@pytest.mark.parametrize("stroke", [[[1], [1], [1], [1]], [[1, 2, 3, 4]], [[1, 2, 3, 4]] * 5])
def test_strokes_of_neither_layout(client, stroke):
    answer = client.post("recognize", {"strokes": [stroke]})
    message = refused(answer, 422, "invalid_stroke", field="strokes[0]")
    assert message.startswith("strokes[0] has ") and "; expected points [[x, y], ..] or columns [[x..]" in message


def test_strokes_that_contradict_each_other(client):
    points, columns, either = [[1, 2]] * 4, [[1, 2, 3, 4], [5, 6, 7, 8]], [[1, 2], [3, 4]]
    answer = client.post("recognize", {"strokes": [either, points, columns]})
    message = refused(answer, 422, "invalid_stroke", field="strokes[2]")
    why = "expected points [[x, y], ..], since strokes[1] is written so"
    assert message == f"strokes[2] has 2 rows of 4 numbers; {why}"
    answer = client.post("recognize-batch", {"drawings": [[points], [columns], [columns, either, points]]})
    message = answer.json()["results"][2]["error"]["message"]
    assert message.endswith("expected columns [[x..], [y..]], since drawings[2][0] is written so")
    answer = client.post("recognize", {"strokes": [either, columns], "layout": "points"})
    message = refused(answer, 422, "invalid_stroke", field="strokes[1]")
    assert message.endswith("expected points [[x, y], ..], since layout is 'points'")


@pytest.mark.parametrize("value", [-1, 256, 0.5, 1e300])
def test_what_is_not_simplified(client, value):
    strokes = [*SQUARE, [[0, value], [0, 0]]]
    answer = client.post("recognize", {"strokes": strokes, "simplified": True})
    refused(answer, 422, "not_simplified", field="strokes[1]")
    assert client.post("recognize", {"strokes": strokes}).status_code == 200


# --- how much


@pytest.mark.parametrize(
    ("name", "most", "more"),
    [
        ("strokes", [[[1], [1]]] * 5, [[[1], [1]]] * 6),
        ("points", [[[1] * 8, [1] * 8], [[1, 2], [3, 4]]], [[[1] * 8, [1] * 8], [[1, 2, 3], [4, 5, 6]]]),
        ("points", [[[1, 1]] * 8, [[1, 2]] * 2], [[[1, 1, 0]] * 8, [[1, 2, 0]] * 3]),
    ],
)
@pytest.mark.parametrize("simplified", [True, False])
def test_too_many_strokes_and_points(new_client, recognizer, name, most, more, simplified):
    limits = patient(strokes=5, points=10)
    client = new_client(recognizer, limits)
    assert client.post("recognize", {"strokes": most, "simplified": simplified}).status_code == 200
    answer = client.post("recognize", {"strokes": more, "simplified": simplified})
    refused(answer, 422, f"too_many_{name}", field="strokes", limit=getattr(limits, name))
    answer = client.post("recognize-batch", {"drawings": [most, most, more], "simplified": simplified})
    error = answer.json()["results"][2]["error"]
    assert (error["code"], error["field"], error["limit"]) == (f"too_many_{name}", "drawings[2]", getattr(limits, name))


@pytest.mark.parametrize("unit", [b"[],", b"{},", b'{"":[]},', b"[[1],[2]],"])
def test_lists_that_would_fill_memory_are_refused_unparsed(client, is_small, unit):
    body = b'{"strokes":[' + unit * (2_000_000 // len(unit)) + b"[[1],[2]]]}"
    answer = client.post("recognize", content=body, headers=JSON)
    message = refused(answer, 422, "too_many_strokes", field="the body", limit=139_810)
    assert "lists and objects, at most 139810 are taken" in message

    def take():
        with pytest.raises(Refused):
            bodies.take(body, RecognizeRequest, Limits(), 0)

    assert is_small(take, len(body))


def test_as_many_lists_as_a_batch_may_have_are_taken(client):
    batch = {"drawings": [[[[1], [2], [3]]] * 500] * 64}
    assert len(client.post("recognize-batch", json=batch).json()["results"]) == 64
    batch = {"drawings": [[[[1, 2]] * 2_000]] * 63 + [[[[1, 2]] * 13_000]]}
    assert client.post("recognize-batch", json=batch).status_code == 200
    assert client.post("recognize", json={"strokes": [[[i, 2] for i in range(20_000)]]}).status_code == 200


def test_too_many_drawings(new_client, recognizer):
    client = new_client(recognizer, patient(drawings=3))
    assert client.post("recognize-batch", {"drawings": [SQUARE] * 3}).status_code == 200
    answer = client.post("recognize-batch", {"drawings": [SQUARE] * 4})
    refused(answer, 422, "too_many_drawings", field="drawings", limit=3)


def test_the_limits_by_default(new_client, recognizer):
    client = new_client(recognizer, Limits())
    limits = client.get("model").json()["limits"]
    assert limits == {
        "body_bytes": 2 << 20,
        "held_bytes": 64 << 20,
        "picture_bytes": 8 << 20,
        "picture_pixels": 16_000_000,
        "body_s": 10.0,
        "drawings": 64,
        "strokes": 500,
        "points": 20_000,
        "pending": 128,
        "work_s": 10.0,
    }
    client, dot = new_client(recognizer), [[1], [1]]  # as many, and patient
    refused(client.post("recognize", {"strokes": [dot] * 501}), 422, "too_many_strokes", limit=500)
    refused(client.post("recognize", {"strokes": [[[1] * 20_001] * 2]}), 422, "too_many_points", limit=20_000)
    refused(client.post("recognize-batch", {"drawings": [[dot]] * 65}), 422, "too_many_drawings", limit=64)
    assert client.post("recognize-batch", {"drawings": [[dot]] * 64}).status_code == 200


def test_a_drawing_that_winds_too_much(client):
    refused(client.post("recognize", {"strokes": WINDING}), 422, "too_winding", field="strokes")


# --- how large


def body_of(n_bytes):
    content = json.dumps({"strokes": SQUARE}).encode()
    return content + b" " * (n_bytes - len(content))


async def in_chunks(content, size=64):
    for begin in range(0, len(content), size):
        yield content[begin : begin + size]


@pytest.mark.parametrize("is_chunked", [True, False])
def test_too_large_bodies(new_client, recognizer, is_chunked):
    client = new_client(recognizer, patient(body_bytes=1000))
    as_sent = in_chunks if is_chunked else bytes
    assert client.post("recognize", content=as_sent(body_of(1000)), headers=JSON).status_code == 200
    answer = client.post("recognize", content=as_sent(body_of(1001)), headers=JSON)
    refused(answer, 413, "body_too_large", limit=1000)
    assert answer.headers["connection"] == "close"


def test_a_body_that_is_announced_too_large_is_not_waited_for(new_client, recognizer):
    """It is refused by its head; the body itself never comes."""
    client = new_client(recognizer, patient(body_bytes=1000))
    answer = client.post("recognize", content=never(), headers={**JSON, "Content-Length": "1001"})
    refused(answer, 413, "body_too_large", limit=1000)


def test_an_endless_body_is_not_read_to_its_end(new_client, recognizer):
    async def endless():
        while True:
            yield b" " * 100
            await asyncio.sleep(0)

    answer = new_client(recognizer, patient(body_bytes=1000)).post("recognize", content=endless(), headers=JSON)
    refused(answer, 413, "body_too_large")


def test_the_bodies_held_together_have_a_limit(new_client, recognizer):
    client = new_client(recognizer, patient(held_bytes=1500))
    part_is_read, rest_may_come = asyncio.Event(), asyncio.Event()

    async def slow():
        content = body_of(1000)
        yield content[:900]
        part_is_read.set()
        await rest_may_come.wait()
        yield content[900:]

    async def both():
        first = asyncio.create_task(client.sending("POST", "recognize", content=slow(), headers=JSON))
        await part_is_read.wait()
        second = await client.sending("POST", "recognize", content=body_of(1000), headers=JSON)
        rest_may_come.set()
        return await first, second

    first, second = client.run(both())
    assert first.status_code == 200
    refused(second, 503, "busy")
    assert second.headers["retry-after"] == "1"
    # what was held is free again, that of a refused body too
    assert client.post("recognize", content=body_of(1500), headers=JSON).status_code == 200


# --- how long


async def never(first=b""):
    yield first
    await asyncio.Event().wait()


@pytest.mark.parametrize("first", [b"", b'{"strokes": '])
def test_bodies_that_do_not_come(new_client, recognizer, first):
    client = new_client(recognizer, Limits(body_s=0.02))
    answer = client.post("recognize", content=never(first), headers=JSON)
    refused(answer, 408, "slow_body", limit=0.02)
    assert answer.headers["connection"] == "close"


def test_bodies_that_drip(new_client, recognizer):
    async def drip():
        while True:
            yield b" "
            await asyncio.sleep(0.001)

    answer = new_client(recognizer, Limits(body_s=0.05)).post("recognize", content=drip(), headers=JSON)
    refused(answer, 408, "slow_body")


def test_bodies_that_are_cut_off(new_client, recognizer):
    """The connection ends within the body: nobody is left to answer, and nothing stays behind."""
    client = new_client(recognizer, patient(held_bytes=1500))

    async def cut_off():
        messages = [
            {"type": "http.request", "body": b" " * 1000, "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent = []

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/v1/recognize",
            "headers": [(b"content-type", b"application/json")],
            "query_string": b"",
        }
        await client.app(scope, receive, send)
        return sent

    for _ in range(3):
        start, end = client.run(cut_off())
        assert start["status"] == 400 and json.loads(end["body"])["error"]["code"] == "incomplete_body"
    assert client.post("recognize", content=body_of(1500), headers=JSON).status_code == 200


class Gate:
    """A model that waits until it is let go."""

    name, classes, card, note = "gate", ("a", "b"), None, ""
    max_padding, preprocessing = 100, "delta3"

    def __init__(self):
        self.entered, self.may_go = threading.Event(), threading.Event()

    def outputs(self, points, lengths):
        self.entered.set()
        self.may_go.wait()
        return Outputs(np.full((len(points), 2), 0.5), None)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.may_go.set()


def test_work_that_takes_too_long(new_client, gate):
    client = new_client(Recognizer(gate), Limits(work_s=0.05))
    answer = client.post("recognize", {"strokes": SQUARE})
    refused(answer, 503, "too_slow", limit=0.05)
    assert answer.headers["retry-after"] == "1"
    gate.may_go.set()


def test_no_drawing_is_begun_after_the_time_for_the_work(monkeypatch):
    begun = []
    monkeypatch.setattr(bodies, "simplify", lambda strokes: begun.append(strokes) or [])
    body = json.dumps({"drawings": [SQUARE] * 5}).encode()
    with pytest.raises(Refused) as error:
        bodies.take(body, RecognizeBatchRequest, Limits(), time.monotonic() - 1)
    assert (error.value.status, error.value.code, begun) == (503, "too_slow", [])
    assert len(bodies.take(body, RecognizeBatchRequest, Limits(), time.monotonic() + 3600).drawings) == len(begun) == 5


def test_too_many_requests_at_once(new_client, gate):
    client = new_client(Recognizer(gate), patient(pending=2))

    async def three():
        pending = [asyncio.create_task(client.sending("POST", "recognize", json={"strokes": SQUARE})) for _ in range(2)]
        await asyncio.to_thread(gate.entered.wait)
        while not (await client.sending("GET", "metrics")).text.count("quickstroke_pending_requests 2.0"):
            assert not any(task.done() for task in pending)
        third = await client.sending("POST", "recognize", json={"strokes": SQUARE})
        others = [await client.sending("GET", path) for path in ("healthz", "model", "/")]
        gate.may_go.set()
        return await asyncio.gather(*pending), third, others

    pending, third, others = client.run(three())
    refused(third, 503, "busy", limit=2)
    assert third.headers["retry-after"] == "1"
    assert [answer.status_code for answer in [*pending, *others]] == [200] * 5
    assert client.post("recognize", {"strokes": SQUARE}).status_code == 200
