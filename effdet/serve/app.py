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
from effdet.serve.answer import answer
from effdet.serve.batcher import Batcher
from effdet.serve.intake import Asked, decode, read
from effdet.serve.interface import predict_route
from effdet.serve.measures import Measures
from effdet.serve.refusal import Refusal
from effdet.serve.settings import ServeSettings
from effdet.tasks import kits_of

_DECODERS = 2
"""Threads that decode pictures beside the model."""
_POLICY = (
    "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self' blob: data:; media-src blob:"
)
"""What the pages may load: nothing from elsewhere."""


class Predicts(Protocol):
    """A list of (H, W, 3) uint8 RGB -> their predictions."""

    def __call__(self, pictures: list[np.ndarray], /) -> Sequence[Prediction]: ...


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
    measures = Measures()
    batcher = Batcher(predict, batch_size=settings.batch_size, wait=settings.wait, observe=measures.batch)
    decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="effdet-decode")
    slots = asyncio.Semaphore(2 * settings.batch_size)  # pictures that are decoded and not yet answered
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
                raise Refusal(503, "the server is going down", retry_after=5) from error
            return await loop.run_in_executor(
                decoders, lambda: answer(prediction, score=asked.score, masks=asked.masks)
            )

    async def handled(request: Request) -> Response:
        nonlocal waiting
        if waiting >= settings.queue:
            raise Refusal(503, f"{settings.queue} requests wait already: try again", retry_after=1)
        waiting += 1
        try:
            asked = await read(request, settings)
            started = time.perf_counter()
            found = await asyncio.wait_for(predicted(asked), settings.timeout)
            return JSONResponse({**found, "seconds": round(time.perf_counter() - started, 4)})
        except TimeoutError:
            raise Refusal(504, f"there was no answer within {settings.timeout:g} s") from None
        finally:
            waiting -= 1

    @app.post("/predict", **predict_route(kits_of(getattr(predict, "model", None)).values()))
    async def predict_picture(request: Request) -> Response:
        """What the model finds in one picture."""
        started = time.perf_counter()
        response = await _refusing(handled, request)
        measures.requests.labels(str(response.status_code)).inc()
        measures.request_seconds.observe(time.perf_counter() - started)
        return response

    @app.get("/health")
    async def health() -> Response:
        """200 while pictures are worked on, with what is served; else 503."""
        state = {"status": "ok" if batcher.alive else "down", "waiting": waiting, **(about or {})}
        return JSONResponse(state, 200 if batcher.alive else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counters in Prometheus' text form."""
        measures.in_work.set(waiting)
        return Response(measures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    for path, name in (("/", "index.html"), ("/docs", "docs.html")):
        app.get(path, include_in_schema=False)(_page(name))
    return app


async def _refusing(handle: Callable[[Request], Any], request: Request) -> Response:
    """The response of `handle`; refusals and faults as ``{"error": text}``."""
    try:
        return await handle(request)
    except Refusal as refusal:
        headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
        if refusal.status in (408, 413, 415, 503):
            headers["Connection"] = "close"  # the rest of the body is not waited for
        return JSONResponse({"error": refusal.text}, refusal.status, headers=headers)
    except Exception as error:
        # A fault of ours must not end the server, nor show its inside to a stranger.
        import logging

        logging.getLogger("uvicorn.error").exception("prediction failed")
        return JSONResponse({"error": f"the model failed on this picture ({type(error).__name__})"}, 500)


def _page(name: str) -> Callable[[], Any]:
    async def page() -> HTMLResponse:
        text = files("effdet.serve").joinpath("page", name).read_text(encoding="utf-8")
        return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY})

    return page
