"""Drawings of concurrent requests run through the model together."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quickstroke.drawings.drawing import Drawing
from quickstroke.inference.recognizer import Guesses, Recognizer

# In simplified form: strokes uint8 (n, 2), or what was traced from a picture.
Given = list[NDArray[np.uint8]] | Drawing


@dataclass(frozen=True, slots=True)
class _Job:
    drawings: Sequence[Given]
    top: int
    words: tuple[str, ...] | None
    future: asyncio.Future[list[Guesses]]


class Batcher:
    """Runs the model on whatever is waiting to choose among the same words, one run after the other.

    Nothing waits for a batch to fill: a drawing that comes while the model is idle is run at once, and those that come
    meanwhile are run together next.

    Attributes:
        most_here: a run of so many drawings or fewer has the event loop's thread, as to wake another takes longer; a
            larger one has a thread of its own.
    """

    most_here = 0

    def __init__(self, recognizer: Recognizer, max_drawings: int, on_batch: Callable[[int], None]) -> None:
        """
        Args:
            recognizer: used by one thread at a time.
            max_drawings: of one run; a job with more is run alone.
            on_batch: told the number of drawings of each run.
        """
        self._recognizer, self._max_drawings, self._on_batch = recognizer, max_drawings, on_batch
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="quickstroke-model")
        self._waiting: deque[_Job] = deque()
        self._task: asyncio.Task[None] | None = None

    async def recognize(
        self, drawings: Sequence[Given], top: int, words: tuple[str, ...] | None = None
    ) -> list[Guesses]:
        """The `top` most probable words for each of some simplified drawings, best first, among `words` if any."""
        job = _Job(drawings, top, words, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await job.future

    async def _run(self) -> None:
        while batch := self._next_batch():
            drawings = [drawing for job in batch for drawing in job.drawings]
            self._on_batch(len(drawings))
            top, words = max(job.top for job in batch), batch[0].words
            try:
                if len(drawings) <= self.most_here:
                    guesses = self._predict(drawings, top, words)
                else:
                    guesses = await asyncio.get_running_loop().run_in_executor(
                        self._thread, self._predict, drawings, top, words
                    )
            except Exception as error:
                for job in batch:
                    if not job.future.done():
                        job.future.set_exception(error)
                continue
            for job in batch:
                own, guesses = guesses[: len(job.drawings)], guesses[len(job.drawings) :]
                if not job.future.done():
                    job.future.set_result([Guesses(ranked[: job.top], ranked.layout, ranked.unknown) for ranked in own])

    def _next_batch(self) -> list[_Job]:
        batch: list[_Job] = []
        n = 0
        while self._waiting and (not batch or self._may_join(self._waiting[0], batch[0], n)):
            job = self._waiting.popleft()
            if not job.future.done():  # its request was given up otherwise
                batch.append(job)
                n += len(job.drawings)
        return batch

    def _may_join(self, job: _Job, first: _Job, n: int) -> bool:
        """Whether a job can be run with another one, when `n` drawings are to be run already."""
        return n + len(job.drawings) <= self._max_drawings and job.words == first.words

    def _predict(self, drawings: Sequence[Given], top: int, words: tuple[str, ...] | None) -> list[Guesses]:
        return self._recognizer.predict_many(drawings, simplified=True, top=top, words=words)
