"""A tiny model, and a client that talks to an application in this process."""

import asyncio
import io
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
import torch

from quickstroke.artifacts.loading import LoadedModel, write_model
from quickstroke.config.model import ModelConfig
from quickstroke.inference.recognizer import Recognizer, load
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.serve.app import create_app
from quickstroke.serve.limits import Limits

CLASSES = ("circle", "house", "star", "cat", "sun", "fish", "tree")
NAME = "simple_lay1_sz8"
# The limits by default but for those of time: a machine that does much else besides answers late, and rightly.
PATIENT = Limits(body_s=600.0, work_s=600.0)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory):
    """An untrained model with a card."""
    torch.manual_seed(0)
    model = StrokeClassifier(ModelConfig.from_name(NAME, n_classes=len(CLASSES)))
    with torch.no_grad():  # far from uniform answers
        model.linear.weight.mul_(10)
    folder = tmp_path_factory.mktemp("lstm")
    return write_model(folder, LoadedModel(model.eval(), CLASSES, None, folder), {"figures": {"val": {"top1": 0.5}}})


@pytest.fixture(scope="session")
def recognizer(model_file) -> Recognizer:
    """As the command has it before its first request: compiled, which can take longer than a request may."""
    recognizer = load(model_file)
    recognizer.compile()
    return recognizer


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Makes a picture of two lines, or of greys (H, W), in one of the forms that are taken."""

    def make(form: str = "png", greys: np.ndarray | None = None) -> bytes:
        from PIL import Image

        if greys is None:
            greys = np.full((120, 160), 255, np.uint8)
            greys[20:24, 20:140] = greys[20:100, 60:64] = 0
        file = io.BytesIO()
        Image.fromarray(greys).save(file, form)
        return file.getvalue()

    return make


class Client:
    """Sends requests to an application, one after the other or together."""

    def __init__(self, app) -> None:
        self.app = app
        self._runner = asyncio.Runner()
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")

    def run(self, task):
        """Runs a coroutine in the loop in which the application runs."""
        return self._runner.run(task)

    def send(self, method: str, path: str, **options) -> httpx.Response:
        return self.run(self.sending(method, path, **options))

    async def sending(self, method: str, path: str, **options) -> httpx.Response:
        return await self._http.request(method, path if path.startswith("/") else f"/api/v1/{path}", **options)

    def get(self, path: str, **options) -> httpx.Response:
        return self.send("GET", path, **options)

    def post(self, path: str, json=None, **options) -> httpx.Response:
        return self.send("POST", path, **options if json is None else {**options, "json": json})

    def close(self) -> None:
        self.run(self._http.aclose())
        self._runner.close()


@pytest.fixture
def new_client() -> Iterator[Callable[..., Client]]:
    """Makes clients; arguments are those of `create_app`."""
    clients = []

    def new(recognizer, limits=PATIENT, **options) -> Client:
        clients.append(Client(create_app(recognizer, limits, **options)))
        return clients[-1]

    yield new
    for client in clients:
        client.close()


@pytest.fixture
def client(new_client, recognizer) -> Client:
    return new_client(recognizer)
