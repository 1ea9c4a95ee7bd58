"""The HTTP application: `/predict`, `/health`, `/metrics`, the page at `/`, and the interface's description at `/docs`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, Protocol

import numpy as np
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from effdet.inference import Prediction
from effdet.serve.batcher import Batcher
from effdet.serve.request import STATUSES, Asked, RequestError, ServeSettings, decode, read
from effdet.tasks import Kit, kits_of

_DECODERS = 2
"""Threads that decode images beside the model."""
_POLICY = (
    "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self' blob: data:; media-src blob:"
)
"""What the pages may load: nothing from elsewhere."""


class Predicts(Protocol):
    """A list of (H, W, 3) uint8 RGB -> their predictions."""

    def __call__(self, images: list[np.ndarray], /) -> Sequence[Prediction]: ...


def create_app(
    predict: Predicts, *, settings: ServeSettings | None = None, about: dict[str, Any] | None = None
) -> FastAPI:
    """The application around `predict`, for uvicorn or a test client.

    Args:
        predict: a `Predictor`; called from only one thread.
        settings: limits.
        about: what `/health` tells of the model, in what JSON can hold.
    """
    settings = settings or ServeSettings()
    server_metrics = _Metrics()
    batcher = Batcher(predict, batch_size=settings.batch_size, wait=settings.wait, observe=server_metrics.batch)
    decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="effdet-decode")
    slots = asyncio.Semaphore(2 * settings.batch_size)  # images that are decoded and not yet answered
    waiting = 0

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await asyncio.to_thread(batcher.close)
        decoders.shutdown()

    app = FastAPI(title="effdet", lifespan=lifespan, docs_url=None, redoc_url=None)

    async def predicted(asked: Asked) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        async with slots:
            pixels = await loop.run_in_executor(decoders, decode, asked.image, settings)
            try:
                prediction = await asyncio.wrap_future(batcher.submit(pixels))
            except RuntimeError as error:
                if batcher.alive:
                    raise
                raise RequestError(503, "the server is going down", retry_after=5) from error
            return await loop.run_in_executor(
                decoders, lambda: _response(prediction, score=asked.score, masks=asked.masks)
            )

    async def handled(request: Request) -> Response:
        nonlocal waiting
        if waiting >= settings.queue:
            raise RequestError(503, f"{settings.queue} requests wait already: try again", retry_after=1)
        waiting += 1
        try:
            asked = await read(request, settings)
            started = time.perf_counter()
            found = await asyncio.wait_for(predicted(asked), settings.timeout)
            return JSONResponse({**found, "seconds": round(time.perf_counter() - started, 4)})
        except TimeoutError:
            raise RequestError(504, f"there was no answer within {settings.timeout:g} s") from None
        finally:
            waiting -= 1

    @app.post("/predict", **_predict_route(kits_of(getattr(predict, "model", None)).values()))
    async def predict_image(request: Request) -> Response:
        """What the model finds in one image."""
        started = time.perf_counter()
        response = await _failing(handled, request)
        server_metrics.requests.labels(str(response.status_code)).inc()
        server_metrics.request_seconds.observe(time.perf_counter() - started)
        return response

    @app.get("/health")
    async def health() -> Response:
        """200 while images are worked on, with what is served; else 503."""
        state = {"status": "ok" if batcher.alive else "down", "waiting": waiting, **(about or {})}
        return JSONResponse(state, 200 if batcher.alive else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counters in Prometheus' text form."""
        server_metrics.in_work.set(waiting)
        return Response(generate_latest(server_metrics.registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    for path, name in (("/", "index.html"), ("/docs", "docs.html")):
        app.get(path, include_in_schema=False)(_page(name))
    return app


async def _failing(handle: Callable[[Request], Any], request: Request) -> Response:
    """The response of `handle`; errors as ``{"error": text}``."""
    try:
        return await handle(request)
    except RequestError as error_response:
        headers = {} if error_response.retry_after is None else {"Retry-After": str(error_response.retry_after)}
        if error_response.status in (408, 413, 415, 503):
            headers["Connection"] = "close"  # the rest of the body is not waited for
        return JSONResponse({"error": error_response.text}, error_response.status, headers=headers)
    except Exception as error:
        # A fault of ours must not end the server, nor show its inside to a stranger.
        import logging

        logging.getLogger("uvicorn.error").exception("prediction failed")
        return JSONResponse({"error": f"the model failed on this image ({type(error).__name__})"}, 500)


def _page(name: str) -> Callable[[], Any]:
    async def page() -> HTMLResponse:
        text = files("effdet.serve").joinpath("page", name).read_text(encoding="utf-8")
        return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY})

    return page


def _response(prediction: Prediction, *, score: float, masks: bool) -> dict[str, Any]:
    """Boxes of at least `score`, with colours; class shares; the segmentation map as a PNG data URL where asked for."""
    shown = prediction.above(score)
    found = {key: value for key, value in shown.to_dict().items() if key != "path"}
    for kit in shown.all_kits().values():
        found |= kit.response(shown, masks=masks)
    return found


_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class _Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        own = {"namespace": "effdet", "registry": self.registry}
        self.requests = Counter("requests", "Requests to /predict by status.", ["status"], **own)
        self.request_seconds = Histogram("request_seconds", "From first to last byte.", buckets=_SECONDS, **own)
        self.batch_seconds = Histogram("batch_seconds", "A batch in the model.", buckets=_SECONDS, **own)
        self.batch_images = Histogram("batch_images", "Images of a batch.", buckets=_IMAGES, **own)
        self.in_work = Gauge("requests_in_work", "Requests in work or waiting.", **own)

    def batch(self, images: int, seconds: float) -> None:
        """One batch went through the model."""
        self.batch_images.observe(images)
        self.batch_seconds.observe(seconds)


_SCORE = {"type": "number", "minimum": 0, "maximum": 1, "description": "Boxes below are left out."}
_MASKS = {"type": "boolean", "default": True, "description": "Send the segmentation map, where the model has one."}
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}}


def _body(image: dict[str, Any]) -> dict[str, Any]:
    properties = {"image": image, "score": _SCORE, "masks": _MASKS}
    return {"schema": {"type": "object", "required": ["image"], "properties": properties}}


def _predict_route(kits: Iterable[Kit]) -> dict[str, Any]:
    """Arguments of the route; the response has the entries of `kits`."""
    size = {"height": {"type": "integer"}, "width": {"type": "integer"}}
    seconds = {"seconds": {"type": "number", "description": "Decoding, waiting and the model."}}
    entries = {name: schema for kit in kits for name, schema in kit.schema().items()}
    found = {"type": "object", "properties": size | entries | seconds}
    return {
        "summary": "What the model finds in one image",
        "responses": {
            200: {"description": "What was found.", "content": {"application/json": {"schema": found}}},
            **{
                status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
                for status, text in STATUSES.items()
            },
        },
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {
                    "multipart/form-data": _body({"type": "string", "format": "binary"}),
                    "application/json": _body({"type": "string", "format": "byte", "description": "base64"}),
                },
            }
        },
    }
