"""`/predict` as OpenAPI describes it."""

from __future__ import annotations

from typing import Any

from effdet.serve.refusal import STATUSES

_SCORE = {"type": "number", "minimum": 0, "maximum": 1, "description": "Boxes below are left out."}
_MASKS = {"type": "boolean", "default": True, "description": "Send the class map, where the model has one."}
_BOX = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "label": {"type": "integer", "description": "Index of the class, from 0."},
        "score": {"type": "number"},
        "box": {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 4,
            "maxItems": 4,
            "description": "x1, y1, x2, y2 in pixels of the picture, after its EXIF rotation.",
        },
        "colour": {"type": "string", "description": "#rrggbb of the class."},
    },
}
_CLASS = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "colour": {"type": "string"}, "share": {"type": "number"}},
}
_FOUND = {
    "type": "object",
    "properties": {
        "height": {"type": "integer"},
        "width": {"type": "integer"},
        "boxes": {"type": "array", "items": _BOX, "description": "Sorted by falling score."},
        "semantic": {
            "type": "object",
            "properties": {
                "classes": {"type": "array", "items": _CLASS},
                "map": {"type": "string", "description": "Data URL of a palette PNG; pixel values are classes."},
            },
        },
        "classes": {"type": "array", "items": {"type": "object"}, "description": "Of the whole picture."},
        "seconds": {"type": "number", "description": "Decoding, waiting and the model."},
    },
}
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}}


def _body(image: dict[str, Any]) -> dict[str, Any]:
    properties = {"image": image, "score": _SCORE, "masks": _MASKS}
    return {"schema": {"type": "object", "required": ["image"], "properties": properties}}


PREDICT: dict[str, Any] = {
    "summary": "Boxes, class map and class of one picture",
    "responses": {
        200: {"description": "What was found.", "content": {"application/json": {"schema": _FOUND}}},
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
"""Arguments of the route."""
