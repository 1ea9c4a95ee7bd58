"""From a request's body to an image and a score, within limits, or an error: nothing that arrives is trusted."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import json
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from effdet.data.images import DECODE_ERRORS, zero_filled
from effdet.inference import as_array
from heads.structures import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
"""What is decoded; each further format would be a further decoder to attack."""
_FIELDS = ("image", "score", "masks")


@dataclass(frozen=True)
class ServeSettings:
    """What one request may cost, and how many there may be.

    Memory is bounded by `queue` × `max_bytes` for bodies and 2 × `batch_size` × `max_pixels` × 3 bytes for images.
    """

    max_bytes: int = 20_000_000
    """Of a request's body."""
    max_pixels: int = 40_000_000
    """Of an image; read from its header, before anything is decoded."""
    timeout: float = 30.0
    """Seconds for a body to arrive, and again for its answer."""
    queue: int = 32
    """Requests in work or waiting; more are refused at once."""
    batch_size: int = 8
    """Images that go through the model together."""
    wait: float = 0.005
    """Maximum batching delay in seconds: how long a batch that is not full waits for more requests."""
    score_threshold: float = 0.3
    """Boxes with lower scores are left out where a request gives no threshold."""

    def __post_init__(self) -> None:
        for key in ("max_bytes", "max_pixels", "queue", "batch_size"):
            if getattr(self, key) < 1:
                raise UserError(f"{key} must be 1 or more, got {getattr(self, key)}")
        if self.timeout <= 0 or self.wait < 0:
            raise UserError(f"timeout must be above 0 and wait 0 or more, got {self.timeout:g} and {self.wait:g}")
        if not 0 <= self.score_threshold <= 1:
            raise UserError(f"score_threshold must lie in 0…1, got {self.score_threshold:g}")


class RequestError(Exception):
    """Raised anywhere in the handling of a request; sent as ``{"error": text}``.

    Args:
        status: of the response.
        text: one line.
        retry_after: seconds after which it is worth trying again.
    """

    def __init__(self, status: int, text: str, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.retry_after = status, text, retry_after


STATUSES: dict[int, str] = {
    400: "The body is empty, or is not the JSON or the form that its type says.",
    408: "The body did not arrive in time.",
    413: "The body or the image is larger than the server takes.",
    415: "The content type is none of the two, or the file is not an image of a known format.",
    422: "A field is missing, unknown or out of range, or the image is broken.",
    500: "The model failed on this image.",
    503: "Too many requests wait, or the server is going down; try again.",
    504: "The answer took too long.",
}
"""All that `/predict` may send beside 200."""


@dataclass(frozen=True)
class Asked:
    """A request's fields."""

    image: bytes
    """An encoded image."""
    score: float
    masks: bool = True
    """Send the segmentation map, where the model has one."""


async def read(request: Request, settings: ServeSettings) -> Asked:
    """The fields of a form or of JSON.

    Raises:
        RequestError: 400, 408, 413, 415 or 422.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "multipart/form-data"):
        shown = kind[:80] or "nothing"
        raise RequestError(415, f"the content type must be multipart/form-data or application/json, got {shown}")
    body = await _body(request, settings)
    fields = _json_fields(body) if kind == "application/json" else await _form_fields(request, body)
    return _asked(fields, settings)


def decode(data: bytes, settings: ServeSettings) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an encoded image; its size is evaluated by the header, before it is decoded.

    Raises:
        RequestError: 413, 415 or 422.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own doubts about size; ours is evaluated below
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise RequestError(413, f"the image has more than {settings.max_pixels:,} pixels: make it smaller") from None
    except UnidentifiedImageError:
        raise RequestError(415, f"the file is not an image of a known format ({', '.join(FORMATS)})") from None
    except DECODE_ERRORS as error:
        raise RequestError(422, f"the image's header is broken ({type(error).__name__})") from None
    width, height = image.size
    if width * height > settings.max_pixels:
        raise RequestError(
            413, f"the image has {width}×{height} pixels, more than {settings.max_pixels:,}: make it smaller"
        )
    try:
        if image.format == "JPEG" and zero_filled(image):
            raise RequestError(422, "the image cannot be decoded (cut off: the rest of the file is zeros)")
        image.load()
        return as_array(image)
    except UserError as error:
        raise RequestError(422, f"the image cannot be decoded ({str(error)[:200]})") from None
    except DECODE_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RequestError(422, f"the image cannot be decoded ({reason[:200]})") from None


async def _body(request: Request, settings: ServeSettings) -> bytes:
    limit = settings.max_bytes
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated[:20]) > limit:
        raise RequestError(413, f"the body has {stated[:20]} bytes, more than {limit:,}")

    async def gather() -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise RequestError(413, f"the body has more than {limit:,} bytes")
            parts.append(part)
        return b"".join(parts)

    try:
        body = await asyncio.wait_for(gather(), settings.timeout)
    except TimeoutError:
        raise RequestError(408, f"the body did not arrive within {settings.timeout:g} s") from None
    except ClientDisconnect:
        raise RequestError(400, "the connection was closed before the body was whole") from None
    if not body:
        raise RequestError(400, "the body is empty: send an image as the field image")
    return body


def _json_fields(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "the body is not JSON") from None
    if not isinstance(fields, dict):
        raise RequestError(422, 'the JSON must be an object, {"image": base64}')
    image = fields.get("image")
    if image is None:
        return fields
    if not isinstance(image, str):
        raise RequestError(422, "image must be the image's bytes in base64, as text")
    try:
        text = image.partition(",")[2] if image.startswith("data:") else image
        return {**fields, "image": base64.b64decode("".join(text.split()), validate=True)}
    except (binascii.Error, ValueError):
        raise RequestError(422, "image is not base64") from None


async def _form_fields(request: Request, body: bytes) -> dict[str, Any]:
    """The fields of a multipart form; `body` is handed to the parser again, since the stream was read for its size."""

    async def again() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    fields: dict[str, Any] = {}
    try:
        async with Request(request.scope, again).form(max_files=1, max_fields=8) as form:
            for name, value in form.multi_items():
                if name in fields:
                    raise RequestError(422, f"the field {name[:80]} is given twice")
                fields[name] = value if isinstance(value, str) else await value.read()
    except HTTPException as error:
        raise RequestError(400, f"the body is not a form that can be read ({str(error.detail)[:200]})") from None
    except (ValueError, AssertionError, LookupError) as error:
        raise RequestError(400, f"the body is not a form that can be read ({type(error).__name__})") from None
    if isinstance(fields.get("image"), str):
        raise RequestError(422, "image must be sent as a file (with a file name), not as text")
    return fields


def _asked(fields: dict[str, Any], settings: ServeSettings) -> Asked:
    if unknown := next((name for name in fields if name not in _FIELDS), None):
        raise RequestError(422, f"there is no field {str(unknown)[:80]!r}; the fields are {', '.join(_FIELDS)}")
    image = fields.get("image")
    if image is None:
        raise RequestError(422, "the field image is missing")
    if not image:
        raise RequestError(400, "the image is empty")
    return Asked(image, _score(fields.get("score"), settings.score_threshold), _flag(fields.get("masks")))


def _score(value: Any, default: float) -> float:
    if value is None:
        return default
    try:
        score = math.nan if isinstance(value, (bool, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not 0 <= score <= 1:
        raise RequestError(422, f"score must be a number in 0…1, got {str(value)[:40]}")
    return score


def _flag(value: Any) -> bool:
    known = {None: True, True: True, False: False, "true": True, "false": False}
    if not isinstance(value, (bool, str, type(None))) or value not in known:
        raise RequestError(422, f"masks must be true or false, got {str(value)[:40]}")
    return known[value]
