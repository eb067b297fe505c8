"""Pictures of drawings as bodies: read as `predict` reads them, or refused with what is wrong."""

import sys

import numpy as np
import pytest

from quickstroke.formats.pictures import trace
from quickstroke.serve.limits import Limits

PATIENT = {"body_s": 600.0, "work_s": 600.0}


def ask(client, body, query="", kind="image/png"):
    return client.post(f"recognize-picture{query}", content=body, headers={"Content-Type": kind})


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_a_picture_has_the_guesses_of_its_strokes(client, recognizer, picture, form):
    answer = ask(client, picture(form), "?top=3", f"image/{form}")
    assert answer.status_code == 200
    drawing = trace(picture(form))
    body = answer.json()
    assert body["strokes"] == [stroke.T.tolist() for stroke in drawing.strokes] and len(body["strokes"]) == 2
    expected = recognizer.predict(drawing.strokes, simplified=True, top=3)
    assert [guess["word"] for guess in body["guesses"]] == [guess.word for guess in expected]
    assert body.keys() == {"guesses", "unknown", "strokes", "model", "ms"}


def test_words_to_choose_among(client, picture):
    guesses = ask(client, picture(), "?words=star&words=sun").json()["guesses"]
    assert {guess["word"] for guess in guesses} == {"star", "sun"}
    assert ask(client, picture(), "?words=moon").json()["error"]["code"] == "invalid_words"


@pytest.mark.parametrize(
    ("greys", "reason"),
    [
        (np.full((50, 50), 255, np.uint8), "no ink"),
        (np.zeros((50, 50), np.uint8), "ink"),
        (np.zeros((200, 101), np.uint8), "200 pixels; expected at most 20,000"),
    ],
)
def test_what_is_no_drawing(new_client, recognizer, picture, greys, reason):
    client = new_client(recognizer, Limits(picture_pixels=20_000, **PATIENT))
    answer = ask(client, picture("png", greys))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "invalid_picture")
    assert error["message"].startswith("the picture ") and reason in error["message"]


@pytest.mark.parametrize("body", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"0" * 99])
def test_what_is_no_picture(client, picture, body):
    answer = ask(client, body or picture()[:60])
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_picture")
    assert "truncated" in answer.json()["error"]["message"]


def test_large_pictures_other_types_and_wrong_questions(new_client, recognizer, picture):
    body = picture()
    client = new_client(recognizer, Limits(picture_bytes=len(body), body_bytes=10, **PATIENT))
    assert ask(client, body).status_code == 200
    too_large = ask(client, body + b" ")
    assert (too_large.status_code, too_large.json()["error"]["limit"]) == (413, len(body))
    for kind in ("image/gif", "application/json", ""):
        assert "image/webp" in ask(client, body, kind=kind).json()["error"]["message"]
    for query, field in (("?top=0", "top"), ("?top=x", "top"), ("?size=3", "size")):
        answer = ask(client, body, query)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def test_what_reads_pictures_may_be_missing(client, picture, monkeypatch):
    body = picture()
    monkeypatch.setitem(sys.modules, "PIL", None)
    answer = ask(client, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "not_installed")
    assert "pip install 'quickstroke[pictures]'" in answer.json()["error"]["message"]
