"""The application: the page at `/` and the API under `/api/v1`, both on one recognizer."""

import asyncio
import copy
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quickstroke import __version__
from quickstroke.drawings.categories import choose_words
from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import CategoryError
from quickstroke.inference.recognizer import Guesses, Recognizer
from quickstroke.serve import schemas
from quickstroke.serve.batching import Batcher
from quickstroke.serve.bodies import PICTURES, Asked, Bodies, take, take_picture
from quickstroke.serve.docs import STYLE, docs_page
from quickstroke.serve.guard import OPEN, Guard
from quickstroke.serve.limits import Limits, Refused
from quickstroke.serve.metrics import CONTENT_TYPE, Metrics
from quickstroke.serve.quick import QuickReader
from quickstroke.utils.compiled import beside
from quickstroke.utils.system import n_cores

API = "/api/v1"
STATIC = Path(__file__).parent / "static"

# Nothing from other hosts. WebAssembly, workers from blobs and pictures as data are the page's own.
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)

_DESCRIPTION = """Pen strokes become words.

Every error is JSON, `{"error": {"code", "message", ...}}`: `code` is for programs, `field` says where in the body, and
`limit` what was passed. `GET /api/v1/model` tells the limits."""

_TRIANGLE = [[(0, 0), (9, 5), (3, 3)]]

# What the body of a request should be; None for a picture.
_Kind = type[schemas.RecognizeRequest | schemas.RecognizeBatchRequest] | None

_log = logging.getLogger(__name__)


def create_app(
    recognizer: Recognizer,
    limits: Limits | None = None,
    cors: Sequence[str] | str = (),
    frame_ancestors: Sequence[str] = (),
    *,
    tokens: Sequence[str] = (),
    per_minute: float = 0.0,
    root_path: str = "",
) -> FastAPI:
    """An ASGI application that serves one recognizer, and compiles what is quicker beside the first requests.

    Args:
        recognizer: the model; from here on only the application may use it.
        limits: what requests may ask for.
        cors: origins such as `https://example.org` whose pages may use the API, or `*` for all of them.
        frame_ancestors: origins whose pages may show this one in a frame, or `*`; its own may always.
        tokens: those of which a request to the API needs one, as `Authorization: Bearer TOKEN`; none where all may ask.
        per_minute: requests to the API that one client may make in a minute; 0 for any number.
        root_path: the path under which a proxy shows the server, such as `/sketch`; it takes it away from requests.
    """
    limits = limits or Limits()
    service = Service(recognizer, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        recognizer.predict(_TRIANGLE)  # PyTorch prepares itself
        recognizer.compiles = False
        beside(service.compile)  # until it is done, requests are answered more slowly
        yield

    app = FastAPI(
        title="quickstroke",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # their scripts come from other hosts
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": root_path}] if root_path else None,
        lifespan=lifespan,
        exception_handlers={Refused: _refused, HTTPException: _http_error},
    )
    _add_api(app, service, recognizer, limits)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(docs_page(app.openapi(), root_path), media_type="text/html")

    @app.get("/docs.css", include_in_schema=False)
    async def docs_style() -> Response:
        return Response(STYLE, media_type="text/css")

    app.router.routes.append(_Page("/", StaticFiles(directory=STATIC, html=True), name="page"))
    if tokens:
        _tell_of_tokens(app.openapi())
    if tokens or per_minute:
        app.add_middleware(Guard, tokens=tokens, per_minute=per_minute)
    policy = " ".join([_POLICY, *frame_ancestors])
    app.add_middleware(_Outermost, metrics=service.metrics, policy=policy)
    if cors:
        app.add_middleware(
            _Cors,
            allow_origins=[cors] if isinstance(cors, str) else list(cors),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization"] if tokens else [],
            expose_headers=["Retry-After"],
        )
    return app


def _tell_of_tokens(document: dict[str, Any]) -> None:
    """Has an OpenAPI document say which requests need a token, and where it stands."""
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    for path in document["paths"].keys() & set(OPEN):
        for operation in document["paths"][path].values():
            operation["security"] = []


def _add_api(app: FastAPI, service: "Service", recognizer: Recognizer, limits: Limits) -> None:
    """Adds the routes under `/api/v1`."""

    @app.post(
        f"{API}/recognize",
        response_model=schemas.RecognizeAnswer,
        **_described(
            schemas.RecognizeRequest, limits, schemas.RECOGNIZE_EXAMPLES, schemas.RECOGNIZE_ANSWER, recognizer.classes
        ),
    )
    async def recognize(request: Request) -> Response:
        """The most probable words for one drawing."""
        _, (guesses,), ms = await service.recognize(request, schemas.RecognizeRequest)
        assert isinstance(guesses, Guesses)
        return JSONResponse({**_answer(guesses), "model": recognizer.name, "ms": ms})

    @app.post(
        f"{API}/recognize-picture", response_model=schemas.PictureAnswer, **_described_picture(recognizer.classes)
    )
    async def recognize_picture(request: Request) -> Response:
        """The most probable words for the drawing that a picture shows, and its strokes as they were read."""
        asked, (guesses,), ms = await service.recognize(request, None)
        assert isinstance(guesses, Guesses) and not isinstance(asked.drawings[0], Refused)
        drawing, _ = asked.drawings[0]
        assert isinstance(drawing, Drawing)
        ranked = _answer(guesses) | {"strokes": [stroke.T.tolist() for stroke in drawing.strokes]}
        del ranked["layout"]  # a picture has none
        return JSONResponse({**ranked, "model": recognizer.name, "ms": ms})

    @app.post(
        f"{API}/recognize-batch",
        response_model=schemas.RecognizeBatchAnswer,
        **_described(
            schemas.RecognizeBatchRequest, limits, schemas.BATCH_EXAMPLES, schemas.BATCH_ANSWER, recognizer.classes
        ),
    )
    async def recognize_batch(request: Request) -> Response:
        """The most probable words for each of several drawings."""
        _, results, ms = await service.recognize(request, schemas.RecognizeBatchRequest)
        answers = [each.body() if isinstance(each, Refused) else _answer(each) for each in results]
        return JSONResponse({"results": answers, "model": recognizer.name, "ms": ms})

    @app.get(f"{API}/model", response_model=schemas.ModelAnswer)
    async def model() -> Response:
        """The model's words and its card, and the limits of a request."""
        # Nobody teaches over HTTP, and these are most of a card's bytes.
        card = {key: value for key, value in (recognizer.card or {}).items() if key != "discriminant"}
        return JSONResponse(
            {
                "name": recognizer.name,
                "classes": list(recognizer.classes),
                "note": recognizer.note,
                "card": card or None,
                "limits": asdict(limits),
            }
        )

    @app.get(f"{API}/healthz", response_model=schemas.HealthAnswer)
    async def healthz() -> Response:
        """Whether the server answers."""
        return JSONResponse({"status": "ok", "model": recognizer.name})

    @app.get(
        f"{API}/metrics",
        response_class=Response,
        responses={200: {"description": "Prometheus' text form.", "content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        """Requests, drawings, times and batch sizes since the start, for Prometheus."""
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


class Service:
    """Requests -> guesses, within limits.

    Attributes:
        metrics: what was counted.
    """

    def __init__(self, recognizer: Recognizer, limits: Limits) -> None:
        self._limits, self._recognizer = limits, recognizer
        self._n_pending = 0
        self.metrics = Metrics(lambda: self._n_pending)
        self._bodies = Bodies(limits)
        self._batcher = Batcher(recognizer, limits.drawings, self.metrics.batch)
        self._quick = QuickReader(limits)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="quickstroke-simplify")

    def compile(self) -> None:
        """Compiles what is quicker, or loads what is kept on disk."""
        self._recognizer.compile()
        self._quick.compile()
        # Where there is a core for it, a thread of its own runs what waited meanwhile.
        self._batcher.most_here = 1 if n_cores() > 1 else self._limits.drawings

    async def recognize(self, request: Request, kind: _Kind) -> tuple[Asked, list[Guesses | Refused], float]:
        """What a request asks for, guesses for each of its drawings or what is wrong with it, and the milliseconds that
        they took.

        Raises:
            Refused: the request is wrong, or there is too much to do.
        """
        if kind is not None and (name := next(iter(request.query_params), None)) is not None:
            message = f"{name}: is in the address; options of this request are in its body"
            raise Refused(422, "invalid_request", message, is_reading=True, field=name)
        async with self._bodies.read(request, is_picture=kind is None) as body:
            begin = time.monotonic()
            with self._admitted():
                quick = self._quick.take(body) if kind is schemas.RecognizeRequest else None
                take = partial(self._take, body, kind, request.query_params, begin + self._limits.work_s)
                try:
                    async with asyncio.timeout(self._limits.work_s):
                        loop = asyncio.get_running_loop()
                        asked, words = (quick, None) if quick else await loop.run_in_executor(self._threads, take)
                        right = [each for each in asked.drawings if not isinstance(each, Refused)]
                        drawings = [drawing for drawing, _ in right]
                        ranked = await self._batcher.recognize(drawings, asked.top, words) if drawings else []
                except TimeoutError:
                    message = f"the work took longer than {self._limits.work_s:g} seconds"
                    raise Refused(503, "too_slow", message, limit=self._limits.work_s) from None
            self.metrics.recognized(len(ranked))
            given = iter(Guesses(own, layout, own.unknown) for own, (_, layout) in zip(ranked, right, strict=True))
            results = [each if isinstance(each, Refused) else next(given) for each in asked.drawings]
            return asked, results, round((time.monotonic() - begin) * 1000, 3)

    def _take(
        self, body: bytearray, kind: _Kind, query: QueryParams, deadline: float
    ) -> tuple[Asked, tuple[str, ...] | None]:
        """What a request asks for, and the words to choose among as the recognizer knows them."""
        asked = take_picture(body, query, self._limits) if kind is None else take(body, kind, self._limits, deadline)
        try:
            return asked, None if asked.words is None else choose_words(asked.words, self._recognizer.classes)
        except CategoryError as error:
            raise Refused(422, "invalid_words", str(error), field="words") from error

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self._n_pending >= self._limits.pending:
            raise Refused(503, "busy", "too many requests at once; try again", limit=self._limits.pending)
        self._n_pending += 1
        try:
            yield
        finally:
            self._n_pending -= 1


class _Page(Mount):
    """Everything outside `/api/`, so that it does not hide the API's own 404 and 405."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.NONE, {}) if scope["path"].startswith("/api/") else super().matches(scope)


class _Outermost:
    """Headers, counts, HEAD and the answer to an error of our own, for every request."""

    def __init__(self, app: ASGIApp, metrics: Metrics, policy: str) -> None:
        self._app, self._metrics = app, metrics
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": policy,
        }
        # The page's files may be kept, but are asked for again each time: they change with the program.
        self._api, self._page = (
            Headers({**headers, "Cache-Control": cached}).raw for cached in ("no-store", "no-cache")
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status, is_api = time.monotonic(), 0, scope["path"].startswith("/api/")
        is_head = scope["method"] == "HEAD"  # is GET without the body
        inner = {**scope, "method": "GET"} if is_head else scope

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *(self._api if is_api else self._page)]}
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(inner, receive, send_with_headers)
        except Exception:
            _log.exception("%s %s failed", scope["method"], ascii(scope["path"]))
            if status:
                raise
            failed = Refused(500, "internal_error", "the server made a mistake; its log says more")
            await failed.response()(inner, receive, send_with_headers)
        finally:
            other = "none" if is_api else "page"
            self._metrics.request(getattr(inner.get("route"), "path", other), status, time.monotonic() - begin)


class _Cors(CORSMiddleware):
    """CORS whose refusals are errors like all others."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        headers = {key: value for key, value in response.headers.items() if not key.startswith("content-")}
        return Refused(response.status_code, "cors_refused", bytes(response.body).decode()).response(headers)


def _answer(guesses: Guesses) -> dict[str, Any]:
    """What is said of one drawing."""
    return {"guesses": [guess._asdict() for guess in guesses], "unknown": guesses.unknown, "layout": guesses.layout}


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    messages = {
        404: ("not_found", "there is nothing here"),
        405: ("method_not_allowed", f"expected {headers.get('Allow', 'another method')}"),
    }
    code, message = messages.get(error.status_code, ("http_error", str(error.detail)))
    return Refused(error.status_code, code, message).response(headers)


_REFUSALS = {
    401: (
        "The request has no token that this server knows.",
        "unauthorized",
        "expected the header `Authorization: Bearer TOKEN` with a token of this server",
    ),
    400: ("The body is no JSON.", "malformed_json", "the body is no valid JSON: Expecting value at character 12"),
    408: ("The body came too slowly.", "slow_body", "the body did not arrive within 10 seconds"),
    413: ("The body is too large.", "body_too_large", "the body is larger than 2097152 bytes"),
    415: ("The body is of another type.", "unsupported_media_type", "the body should be JSON in UTF-8"),
    422: (
        "A value is wrong, or there is too much: `invalid_request`, `not_finite`, `invalid_stroke`, `invalid_picture`, "
        "`not_simplified`, `invalid_words`, `too_many_strokes`, `too_many_points`, `too_many_drawings`, `too_winding`.",
        "too_many_points",
        "strokes: 20001 points, at most 20000 are taken",
    ),
    429: (
        "Asked too often; `Retry-After` says when to try again.",
        "too_many_requests",
        "more than 60 requests a minute; try again in 1 s",
    ),
    500: ("A mistake of the server.", "internal_error", "the server made a mistake; its log says more"),
    501: (
        "The server has not installed what this needs.",
        "not_installed",
        "reading pictures needs packages that are not installed: pip install 'quickstroke[pictures]'",
    ),
    503: ("Too much to do, `busy` or `too_slow`; try again.", "busy", "too many requests at once; try again"),
}


def _described(
    kind: type[BaseModel], limits: Limits, examples: dict[str, Any], answer: Any, classes: Sequence[str]
) -> dict[str, Any]:
    """What OpenAPI says of a route that reads its body itself."""
    schema = kind.model_json_schema()
    schema["properties"]["words"]["anyOf"][0] |= {"items": {"enum": list(classes)}, "uniqueItems": True}
    strokes = schema["properties"].get("strokes")
    if strokes is None:
        drawings = schema["properties"]["drawings"]
        drawings["maxItems"], strokes = limits.drawings, drawings["items"]
    strokes["maxItems"] = limits.strokes
    columns, points = (copy.deepcopy(form) for form in strokes["items"]["anyOf"])
    columns["items"]["maxItems"] = points["maxItems"] = limits.points  # the sum over the strokes has this limit, too
    strokes["items"] = {"anyOf": [columns, points]}
    body = {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}
    return {"responses": _responses(answer, without=501), "openapi_extra": {"requestBody": body}}


def _described_picture(classes: Sequence[str]) -> dict[str, Any]:
    properties = schemas.PictureQuery.model_json_schema()["properties"]
    properties["words"] = {"type": "array", "items": {"enum": list(classes)}, "uniqueItems": True} | {
        "description": properties["words"]["description"]
    }
    query = [
        {"name": name, "in": "query", "description": schema.pop("description"), "schema": schema}
        for name, schema in properties.items()
    ]
    body = {"required": True, "content": {kind: {} for kind in PICTURES}}
    extra = {"requestBody": body, "parameters": query}
    return {"responses": _responses(schemas.PICTURE_ANSWER), "openapi_extra": extra}


def _responses(answer: Any, without: int = 0) -> dict[int, Any]:
    responses: dict[int, Any] = {200: {"content": {"application/json": {"example": answer}}}}
    for status, (description, code, message) in _REFUSALS.items():
        if status == without:
            continue
        example = {"error": {"code": code, "message": message}}
        responses[status] = {
            "model": schemas.ErrorAnswer,
            "description": description,
            "content": {"application/json": {"example": example}},
        }
    return responses
