"""Drawings of requests that come while the model is busy run through it together."""

import asyncio
import threading

import numpy as np
import pytest

from quickstroke.drawings.simplification import simplify
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.serve import app as app_module
from quickstroke.serve.batching import Batcher

RAW = [drawing.strokes for drawing in synthetic_drawings(3, simplified=False)]
DRAWINGS = [simplify(strokes) for strokes in RAW]


class Gated:
    """A recognizer that waits for `may_go` in its first run.

    Attributes:
        runs: the drawings of each run.
    """

    def __init__(self, recognizer):
        self.name, self.classes = recognizer.name, recognizer.classes
        self.card, self.note = recognizer.card, recognizer.note
        self.entered, self.may_go = threading.Event(), threading.Event()
        self.runs = []
        self._recognizer = recognizer

    def predict_many(self, drawings, *, simplified, top, words):
        assert simplified
        self.runs.append(drawings)
        self.entered.set()
        self.may_go.wait()
        return self._recognizer.predict_many(drawings, simplified=True, top=top, words=words)


@pytest.fixture
def gated(recognizer):
    gated = Gated(recognizer)
    yield gated
    gated.may_go.set()


def same(guesses, expected):
    assert [word for word, _ in guesses] == [word for word, _ in expected]
    np.testing.assert_allclose([p for _, p in guesses], [p for _, p in expected], rtol=1e-5)


def run_all(gated, jobs, max_drawings=64, cancelled=()):
    """Gives the first job, the others while it runs, and returns their answers and the size of each run."""
    sizes = []
    batcher = Batcher(gated, max_drawings, sizes.append)

    async def main():
        tasks = [asyncio.create_task(batcher.recognize(*jobs[0]))]
        await asyncio.to_thread(gated.entered.wait)
        tasks += [asyncio.create_task(batcher.recognize(*job)) for job in jobs[1:]]
        await asyncio.sleep(0)  # each has begun now, and waits
        for position in cancelled:
            tasks[position].cancel()
        await asyncio.sleep(0)
        gated.may_go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(main()), sizes


def test_what_comes_while_the_model_is_busy_is_run_together(gated, recognizer):
    jobs = [([drawing], 5) for drawing in DRAWINGS]
    answers, sizes = run_all(gated, jobs)
    assert sizes == [1, len(DRAWINGS) - 1] == [len(run) for run in gated.runs]
    for (drawings, top), answer in zip(jobs, answers, strict=True):
        same(answer[0], recognizer.predict(drawings[0], simplified=True, top=top))


def test_each_job_gets_its_own_drawings_and_words(gated, recognizer):
    jobs = [(DRAWINGS[:2], 1), (DRAWINGS[2:3], 7), (DRAWINGS[3:8], 2), ([], 3), (DRAWINGS[8:10], 100)]
    answers, sizes = run_all(gated, jobs)
    assert sizes == [2, 8]
    for (drawings, top), answer in zip(jobs, answers, strict=True):
        assert len(answer) == len(drawings)
        for drawing, guesses in zip(drawings, answer, strict=True):
            same(guesses, recognizer.predict(drawing, simplified=True, top=top))


def test_jobs_run_together_that_choose_among_the_same_words(gated, recognizer):
    few = ("star", "sun")
    jobs = [([drawing], 2, few if i in (0, 2, 3) else None) for i, drawing in enumerate(DRAWINGS[:6])]
    answers, sizes = run_all(gated, jobs)
    assert sizes == [1, 1, 2, 2]
    for (drawings, top, words), answer in zip(jobs, answers, strict=True):
        same(answer[0], recognizer.predict(drawings[0], simplified=True, top=top, words=words))


def test_a_run_has_no_more_than_its_most_drawings_and_jobs_stay_whole_and_in_order(gated):
    jobs = [(DRAWINGS[:n], 1) for n in (1, 2, 2, 1, 3, 1, 6, 4)]
    _, sizes = run_all(gated, jobs, max_drawings=4)
    assert sizes == [1, 4, 4, 1, 6, 4]  # 2 + 2, 1 + 3, 1, the one that is larger by itself, 4


def test_a_job_that_was_given_up_is_not_run(gated, recognizer):
    jobs = [([drawing], 1) for drawing in DRAWINGS[:4]]
    answers, sizes = run_all(gated, jobs, cancelled=[0, 2])
    assert sizes == [1, 2]  # the first was running already
    assert isinstance(answers[0], asyncio.CancelledError) and isinstance(answers[2], asyncio.CancelledError)
    for position in (1, 3):
        same(answers[position][0], recognizer.predict(DRAWINGS[position], simplified=True, top=1))


def test_a_run_that_fails_fails_for_its_own_jobs_only(gated, recognizer, monkeypatch):
    predict_many = recognizer.predict_many

    def fail_alone(drawings, **options):
        if len(drawings) == 1:
            raise ZeroDivisionError
        return predict_many(drawings, **options)

    monkeypatch.setattr(recognizer, "predict_many", fail_alone)
    answers, sizes = run_all(gated, [([drawing], 1) for drawing in DRAWINGS[:3]])
    assert sizes == [1, 2]
    assert isinstance(answers[0], ZeroDivisionError)
    assert [len(answer) for answer in answers[1:]] == [1, 1]


def test_the_model_rests_between_runs(recognizer):
    sizes = []
    batcher = Batcher(recognizer, 64, sizes.append)

    async def main():
        for drawing in DRAWINGS[:3]:
            await batcher.recognize([drawing], 1)

    asyncio.run(main())
    assert sizes == [1, 1, 1]


def test_short_runs_have_the_thread_of_the_event_loop(recognizer, monkeypatch):
    threads, predict_many = [], recognizer.predict_many

    def noted(drawings, **options):
        threads.append(threading.current_thread())
        return predict_many(drawings, **options)

    monkeypatch.setattr(recognizer, "predict_many", noted)
    batcher = Batcher(recognizer, 64, lambda n: None)
    batcher.most_here = 2

    async def main():
        return [await batcher.recognize(DRAWINGS[:n], 1) for n in (1, 2, 3)]

    answers = asyncio.run(main())
    assert [thread is threading.main_thread() for thread in threads] == [True, True, False]
    for n, answer in enumerate(answers, start=1):
        for drawing, guesses in zip(DRAWINGS[:n], answer, strict=True):
            same(guesses, recognizer.predict(drawing, simplified=True, top=1))


def test_concurrent_requests_share_runs(new_client, gated, recognizer, monkeypatch):
    """Through the whole application: one request runs, 20 others come meanwhile and become one batch."""
    made = []
    monkeypatch.setattr(app_module, "Batcher", lambda *args: made.append(Batcher(*args)) or made[-1])
    client = new_client(gated)
    bodies = [{"strokes": [stroke.T.tolist() for stroke in strokes], "top": 7} for strokes in RAW[:21]]

    async def main():
        tasks = [asyncio.create_task(client.sending("POST", "recognize", json=bodies[0]))]
        await asyncio.to_thread(gated.entered.wait)
        tasks += [asyncio.create_task(client.sending("POST", "recognize", json=body)) for body in bodies[1:]]
        while len(made[0]._waiting) < 20:
            assert not any(task.done() for task in tasks)
            await asyncio.sleep(0)
        gated.may_go.set()
        return await asyncio.gather(*tasks)

    answers = client.run(main())
    assert [len(run) for run in gated.runs] == [1, 20]
    for strokes, answer in zip(RAW, answers, strict=False):
        assert answer.status_code == 200
        guesses = [(guess["word"], guess["probability"]) for guess in answer.json()["guesses"]]
        same(guesses, recognizer.predict(strokes, top=7))
    metrics = client.get("metrics").text
    assert "quickstroke_batch_drawings_count 2.0" in metrics and "quickstroke_batch_drawings_sum 21.0" in metrics
