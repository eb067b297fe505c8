"""What the API answers when all is well, and to wrong paths and methods; headers, CORS, metrics."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from quickstroke import __version__
from quickstroke.artifacts.unknown import Outputs
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.inference.recognizer import Recognizer, load

JSON = {"Content-Type": "application/json"}
SQUARE = [[[0, 0, 255, 255, 0], [0, 255, 255, 0, 0]], [[100, 150], [100, 160]]]


def rows(strokes):
    """Strokes (n, C) as the API takes them."""
    return [np.asarray(stroke).T.tolist() for stroke in strokes]


def check(guesses, expected):
    """Guesses of the API are those of a recognizer; run in a batch they may differ in the last bits."""
    assert [guess["word"] for guess in guesses] == [guess.word for guess in expected]
    np.testing.assert_allclose(
        [guess["probability"] for guess in guesses], [guess.probability for guess in expected], rtol=1e-5
    )


# --- recognize


@pytest.mark.parametrize("simplified", [True, False])
def test_guesses_are_those_of_the_recognizer(client, recognizer, simplified):
    for drawing in synthetic_drawings(2, simplified=simplified):
        answer = client.post("recognize", {"strokes": rows(drawing.strokes), "simplified": simplified, "top": 7})
        assert answer.status_code == 200
        body = answer.json()
        check(body["guesses"], recognizer.predict(drawing.strokes, simplified=simplified, top=7))
        assert body.keys() == {"guesses", "unknown", "layout", "model", "ms"}
        assert body["model"] == recognizer.name and body["ms"] > 0


def test_options_in_the_address_are_refused(client):
    for kind, body in (("recognize", {"strokes": SQUARE}), ("recognize-batch", {"drawings": [SQUARE]})):
        answer = client.post(f"{kind}?top=1", body)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["field"]) == (422, "invalid_request", "top")
        assert error["message"] == "top: is in the address; options of this request are in its body"


def test_real_drawings(client, recognizer, shared):
    for path in sorted((shared / "data/quickdraw/raw").glob("*.ndjson")):
        with path.open(encoding="utf-8") as file:
            strokes = json.loads(file.readline())["drawing"]  # rows x, y, t
        expected = recognizer.predict([np.transpose(stroke) for stroke in strokes])
        check(client.post("recognize", {"strokes": strokes}).json()["guesses"], expected)


def test_raw_and_five_words_are_the_default(client, recognizer):
    body = client.post("recognize", {"strokes": SQUARE}).json()
    check(body["guesses"], recognizer.predict([np.transpose(stroke) for stroke in SQUARE], top=5))
    assert (
        body["guesses"]
        == client.post("recognize", {"strokes": SQUARE, "simplified": False, "top": 5}).json()["guesses"]
    )


def test_times_are_not_looked_at(client):
    with_times = [[*stroke, [-3.5] * len(stroke[0])] for stroke in SQUARE]
    for simplified in (True, False):
        answers = [
            client.post("recognize", {"strokes": strokes, "simplified": simplified}).json()["guesses"]
            for strokes in (SQUARE, with_times, [with_times[0], SQUARE[1]])
        ]
        assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("top", [1, 6, 7, 8, 3.0, 10**30])
def test_top(client, recognizer, top):
    guesses = client.post("recognize", {"strokes": SQUARE, "top": top}).json()["guesses"]
    assert len(guesses) == min(top, len(recognizer.classes))
    assert sum(guess["probability"] for guess in guesses) == pytest.approx(1) or top < 7


def test_words_to_choose_among(client, recognizer):
    few, drawings = ["star", "the_eiffel_tower", "sun"], [SQUARE, SQUARE[:1]]
    expected = recognizer.predict([np.transpose(stroke) for stroke in SQUARE], words=["star", "sun"])
    guesses = client.post("recognize", {"strokes": SQUARE, "words": ["star", "sun"]}).json()["guesses"]
    check(guesses, expected)
    assert sum(guess["probability"] for guess in guesses) == pytest.approx(1) and len(guesses) == 2
    several = client.post("recognize-batch", {"drawings": drawings, "words": ["sun", "star"]}).json()["results"]
    check(several[0]["guesses"], expected)
    everything = client.post("recognize", {"strokes": SQUARE, "words": None}).json()["guesses"]
    check(everything, recognizer.predict([np.transpose(stroke) for stroke in SQUARE]))
    for words, code, message in (
        (few, "invalid_words", "words: not among the 7 that the model knows: 'The Eiffel Tower'"),
        (["stars", "sun"], "invalid_words", "'stars' (did you mean 'star'?)"),
        (["sun", "sun"], "invalid_words", "listed twice"),
        (["\a"], "invalid_words", "cannot be printed"),
        (["\ud800"], "invalid_request", "words[0]"),
        ([], "invalid_request", "words: expected at least one item"),
        ("sun", "invalid_request", "words"),
        (["x" * 201], "invalid_request", "words[0]"),
    ):
        answer = client.post("recognize", content=json.dumps({"strokes": SQUARE, "words": words}), headers=JSON)
        error = answer.json()["error"]
        assert answer.status_code == 422 and error["code"] == code and message in error["message"]


@pytest.mark.parametrize(
    "strokes",
    [
        [[[7], [9]]],
        [[[-5e300], [1e-300]]],
        [[[1e308, -1e308], [0, 1]]],
        [[[2**70, 1], [0, 0.5]]],
        [[[0, 0], [0, 0]]] * 500,
        [[list(range(20_000)), [0] * 20_000]],
    ],
)
def test_odd_drawings_are_answered(client, recognizer, strokes):
    answer = client.post("recognize", {"strokes": strokes})
    assert answer.status_code == 200
    check(answer.json()["guesses"], recognizer.predict([np.array(stroke, dtype=float).T for stroke in strokes]))


def test_the_content_type_may_name_its_charset(client):
    content = json.dumps({"strokes": SQUARE})
    for kind in ("application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"', "application/json;"):
        assert client.post("recognize", content=content, headers={"Content-Type": kind}).status_code == 200


# --- layouts

LINE, BEND = [[0, 10], [200, 40]], [[5, 90], [60, 3], [100, 80]]  # as points two and three, as columns two and two


def transposed(strokes):
    return [np.transpose(stroke).tolist() for stroke in strokes]


def test_points_and_columns_of_a_drawing_have_the_same_guesses(client):
    for drawing in synthetic_drawings(1, simplified=False):
        columns = rows(drawing.strokes)
        answers = [client.post("recognize", {"strokes": s}).json() for s in (columns, transposed(columns))]
        assert [answer["layout"] for answer in answers] == ["columns", "points"]
        assert answers[0]["guesses"] == answers[1]["guesses"]


def test_the_example_of_the_readme_is_read_as_columns(client, recognizer):
    text = (Path(__file__).parents[2] / "README.md").read_text()
    strokes = json.loads(re.search(r"-d '(\{\"strokes\".*\})'", text)[1])["strokes"]
    body = client.post("recognize", {"strokes": strokes}).json()
    assert body["layout"] == "columns"
    check(body["guesses"], recognizer.predict(transposed(strokes), layout="points"))
    assert load().predict(strokes, layout="columns")[0].word == "triangle"  # by the default model


@pytest.mark.parametrize("strokes", [[LINE], [LINE, LINE], [BEND], [LINE, BEND], [[[1, 2, 0], [3, 4, 9], [5, 9, 20]]]])
def test_strokes_that_may_be_both_are_columns_unless_the_client_says_so(client, recognizer, strokes):
    by_layout = {
        layout: client.post("recognize", {"strokes": strokes, **({"layout": layout} if layout else {})}).json()
        for layout in (None, "auto", "columns", "points")
    }
    assert [body["layout"] for body in by_layout.values()] == ["columns", "columns", "columns", "points"]
    for layout in (None, "auto", "columns"):
        check(by_layout[layout]["guesses"], recognizer.predict(transposed(strokes), layout="points"))
    check(by_layout["points"]["guesses"], recognizer.predict(strokes, layout="points"))


def test_one_stroke_that_can_only_be_points_decides(client, recognizer):
    strokes = [LINE, [[7, 9]], BEND]
    body = client.post("recognize", {"strokes": strokes}).json()
    assert body["layout"] == "points"
    check(body["guesses"], recognizer.predict(strokes))


def test_each_drawing_of_a_batch_has_its_own_layout(client, recognizer):
    drawings = [[LINE], [LINE, [[7, 9]]], SQUARE]
    results = client.post("recognize-batch", {"drawings": drawings}).json()["results"]
    assert [result["layout"] for result in results] == ["columns", "points", "columns"]
    results = client.post("recognize-batch", {"drawings": drawings[:2], "layout": "points"}).json()["results"]
    for result, strokes in zip(results, drawings, strict=False):
        assert result["layout"] == "points"
        check(result["guesses"], recognizer.predict(strokes))


# --- recognize-batch


def test_a_batch_has_the_guesses_of_each(client, recognizer):
    drawings = [drawing.strokes for drawing in synthetic_drawings(1, simplified=False)]
    answer = client.post("recognize-batch", {"drawings": [rows(strokes) for strokes in drawings], "top": 3})
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"results", "model", "ms"}
    assert len(body["results"]) == len(drawings)
    for result, strokes in zip(body["results"], drawings, strict=True):
        check(result["guesses"], recognizer.predict(strokes, top=3))
    one = client.post("recognize-batch", {"drawings": [SQUARE], "simplified": True}).json()["results"]
    check(one[0]["guesses"], recognizer.predict([np.transpose(stroke) for stroke in SQUARE], simplified=True))


# --- the model and the server


def test_the_model_and_its_card(client, recognizer):
    answer = client.get("model")
    assert answer.status_code == 200
    body = answer.json()
    assert body["card"] == recognizer.card
    assert body["card"]["figures"] == {"val": {"top1": 0.5}}
    assert (body["name"], tuple(body["classes"]), body["note"]) == (recognizer.name, recognizer.classes, "")
    assert body["limits"]["points"] == 20_000 and body["limits"]["body_bytes"] == 2 << 20


def test_a_model_without_a_card(new_client):
    class Bare:
        name, classes, card, note = "bare", ("a", "b"), None, "assumed"
        max_padding, preprocessing = 100, "delta3"

        def outputs(self, points, lengths):
            return Outputs(np.tile([0.25, 0.75], (len(points), 1)), None)

    client = new_client(Recognizer(Bare()))
    body = client.get("model").json()
    assert (body["name"], body["classes"], body["card"], body["note"]) == ("bare", ["a", "b"], None, "assumed")
    body = client.post("recognize", {"strokes": SQUARE}).json()
    assert body["guesses"] == [{"word": "b", "probability": 0.75}, {"word": "a", "probability": 0.25}]
    assert body["unknown"] is None


def test_what_is_none_of_the_words(new_client):
    class Doubting:
        name, classes, card, note = "doubting", ("a", "b"), None, ""
        max_padding, preprocessing = 100, "delta3"

        def outputs(self, points, lengths):
            return Outputs(np.tile([0.25, 0.75], (len(points), 1)), np.linspace(0.5, 1, len(points)))

    client = new_client(Recognizer(Doubting()))
    assert client.post("recognize", {"strokes": SQUARE}).json()["unknown"] == 0.5
    results = client.post("recognize-batch", {"drawings": [SQUARE] * 3}).json()["results"]
    assert [result["unknown"] for result in results] == [0.5, 0.75, 1]


def test_healthz(client, recognizer):
    answer = client.get("healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "model": recognizer.name})


def test_the_page_and_its_headers(client):
    page = client.get("/")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-cache"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert client.get("/", headers={"If-None-Match": page.headers["etag"]}).status_code == 304
    api = client.get("healthz")
    assert api.headers["cache-control"] == "no-store" and api.headers["x-content-type-options"] == "nosniff"


# --- wrong paths and methods, mistakes of our own


@pytest.mark.parametrize(
    "path",
    ["nothing", "recognize/", "/api/v2/recognize", "/api/", "/nothing", "/../app.py", "/%2e%2e/app.py", "/redoc"],
)
def test_nothing_there(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": {"code": "not_found", "message": "there is nothing here"}}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "recognize", "POST"),
        ("PUT", "recognize-batch", "POST"),
        ("POST", "model", "GET"),
        ("DELETE", "metrics", "GET"),
        ("OPTIONS", "recognize", "POST"),
    ],
)
def test_wrong_methods(client, method, path, allowed):
    answer = client.send(method, path)
    assert answer.status_code == 405 and answer.headers["allow"] == allowed
    assert answer.json() == {"error": {"code": "method_not_allowed", "message": f"expected {allowed}"}}
    assert client.post("/").status_code == 405


def test_a_mistake_of_our_own_is_logged_and_no_more_is_told(new_client, recognizer, monkeypatch, caplog):
    client = new_client(recognizer)

    def fail(*args, **options):
        raise ZeroDivisionError("secret")

    with monkeypatch.context() as patch:
        patch.setattr(recognizer, "predict_many", fail)
        answer = client.post("recognize", {"strokes": SQUARE})
    assert answer.status_code == 500
    message = "the server made a mistake; its log says more"
    assert answer.json() == {"error": {"code": "internal_error", "message": message}}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "ZeroDivisionError: secret" in caplog.text
    assert client.post("recognize", {"strokes": SQUARE}).status_code == 200


@pytest.mark.parametrize("path", ["healthz", "model", "metrics"])
def test_head_is_get_without_the_body(client, path):
    """As programs ask that look whether a server is well."""
    head, get = client.send("HEAD", path), client.get(path)
    assert head.status_code == get.status_code == 200
    assert head.headers["content-type"] == get.headers["content-type"]
    assert get.content and not head.content
    assert client.send("HEAD", "recognize").status_code == 405


# --- CORS

ORIGIN = "https://draw.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type",
}


def test_who_may_frame_the_page(new_client, recognizer):
    for origins, allowed in (
        ((), "'self'"),
        ((ORIGIN, "http://localhost:3000"), f"'self' {ORIGIN} http://localhost:3000"),
    ):
        policy = new_client(recognizer, frame_ancestors=origins).get("/").headers["content-security-policy"]
        assert policy.endswith(f"; frame-ancestors {allowed}")


def cors_headers(answer):
    return {name for name in answer.headers if name.startswith("access-control-")}


def test_other_pages_may_not_ask_by_default(client):
    answer = client.post("recognize", {"strokes": SQUARE}, headers={"Origin": ORIGIN})
    assert answer.status_code == 200 and not cors_headers(answer)
    preflight = client.send("OPTIONS", "recognize", headers=PREFLIGHT)
    assert preflight.status_code == 405 and not cors_headers(preflight)


def test_pages_of_an_allowed_origin_may_ask(new_client, recognizer):
    client = new_client(recognizer, cors=[ORIGIN, "http://localhost:3000"])
    preflight = client.send("OPTIONS", "recognize", headers=PREFLIGHT)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "content-type" in preflight.headers["access-control-allow-headers"].lower()
    for answer in (
        client.post("recognize", {"strokes": SQUARE}, headers={"Origin": ORIGIN}),
        client.post("recognize", {"strokes": []}, headers={"Origin": ORIGIN}),
    ):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["access-control-expose-headers"] == "Retry-After"
    other = client.post("recognize", {"strokes": SQUARE}, headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    refused = client.send("OPTIONS", "recognize", headers={**PREFLIGHT, "Origin": "https://evil.example"})
    assert refused.status_code == 400 and refused.json()["error"]["code"] == "cors_refused"
    assert "access-control-allow-origin" not in refused.headers


def test_one_origin_needs_no_list(new_client, recognizer):
    client = new_client(recognizer, cors=ORIGIN)
    assert client.get("model", headers={"Origin": ORIGIN}).headers["access-control-allow-origin"] == ORIGIN


def test_all_pages_may_ask(new_client, recognizer):
    client = new_client(recognizer, cors=["*"])
    assert client.get("model", headers={"Origin": ORIGIN}).headers["access-control-allow-origin"] == "*"
    assert client.send("OPTIONS", "recognize", headers=PREFLIGHT).headers["access-control-allow-origin"] == "*"


# --- metrics


def samples(client):
    answer = client.get("metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_count_what_was_asked(client):
    for _ in range(3):
        client.post("recognize", {"strokes": SQUARE})
    client.post("recognize-batch", {"drawings": [SQUARE, SQUARE]})
    client.post("recognize", {"strokes": []})
    client.get("/")
    client.get("/secret-path")
    client.get("secret-path")
    found = samples(client)

    def requests(route, status):
        return found.get(("quickstroke_requests_total", ("route", route), ("status", status)))

    assert requests("/api/v1/recognize", "200") == 3
    assert requests("/api/v1/recognize", "422") == 1
    assert requests("/api/v1/recognize-batch", "200") == 1
    assert (requests("page", "200"), requests("page", "404"), requests("none", "404")) == (1, 1, 1)
    assert not any("secret" in value for key in found for label in key[1:] for value in label)
    assert found[("quickstroke_request_seconds_count", ("route", "/api/v1/recognize"))] == 4
    assert found[("quickstroke_drawings_total",)] == 5
    assert found[("quickstroke_batch_drawings_count",)] == 4
    assert found[("quickstroke_batch_drawings_sum",)] == 5
    assert found[("quickstroke_pending_requests",)] == 0


def test_each_application_counts_for_itself(new_client, recognizer):
    one, other = new_client(recognizer), new_client(recognizer)
    one.post("recognize", {"strokes": SQUARE})
    assert samples(one)[("quickstroke_drawings_total",)] == 1
    assert samples(other)[("quickstroke_drawings_total",)] == 0


def test_openapi_tells_the_version(client):
    assert client.get("openapi.json").json()["info"]["version"] == __version__
