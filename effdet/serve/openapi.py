"""`/predict` as OpenAPI describes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from effdet.serve.errors import STATUSES
from effdet.tasks import Kit

_SCORE = {"type": "number", "minimum": 0, "maximum": 1, "description": "Boxes below are left out."}
_MASKS = {"type": "boolean", "default": True, "description": "Send the segmentation map, where the model has one."}
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}}


def _body(image: dict[str, Any]) -> dict[str, Any]:
    properties = {"image": image, "score": _SCORE, "masks": _MASKS}
    return {"schema": {"type": "object", "required": ["image"], "properties": properties}}


def predict_route(kits: Iterable[Kit]) -> dict[str, Any]:
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
