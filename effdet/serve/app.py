"""The HTTP application: `/predict`, `/health`, `/metrics`, the page at `/`, and the interface's description at `/docs`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, Protocol

import numpy as np
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from effdet.inference import Prediction
from effdet.serve.batcher import Batcher
from effdet.serve.errors import RequestError
from effdet.serve.metrics import Metrics
from effdet.serve.openapi import predict_route
from effdet.serve.request import Asked, decode, read
from effdet.serve.response import response
from effdet.serve.settings import ServeSettings
from effdet.tasks import kits_of

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
        predict: a `Predictor`; called from one thread alone.
        settings: limits.
        about: what `/health` tells of the model, in what JSON can hold.
    """
    settings = settings or ServeSettings()
    server_metrics = Metrics()
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
                decoders, lambda: response(prediction, score=asked.score, masks=asked.masks)
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

    @app.post("/predict", **predict_route(kits_of(getattr(predict, "model", None)).values()))
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
        return Response(server_metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

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
