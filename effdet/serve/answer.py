"""A prediction as the JSON that is sent."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from effdet.drawing import class_colours
from effdet.inference import Prediction


def answer(prediction: Prediction, *, score: float, masks: bool) -> dict[str, Any]:
    """Boxes of at least `score`, with colours; class shares; the class map as a PNG data URL where asked for."""
    shown = prediction.above(score)
    found: dict[str, Any] = {key: value for key, value in shown.to_dict().items() if key != "path"}
    if "detection" in prediction.classes:
        colours = _colours(prediction, "detection")
        found["boxes"] = [{**box, "colour": colours[box["label"]]} for box in found["boxes"]]
    if prediction.semantic is not None:
        names, colours = prediction.classes["semantic"].names, _colours(prediction, "semantic")
        semantic: dict[str, Any] = {
            "classes": [
                {"name": name, "colour": colours[index], "share": found["semantic"][name]}
                for index, name in enumerate(names)
                if name in found["semantic"]
            ]
        }
        found["semantic"] = semantic | ({"map": _map_url(prediction.semantic, colours)} if masks else {})
    return found


def _colours(prediction: Prediction, head: str) -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in class_colours(prediction.classes[head].names)]


def _map_url(semantic: np.ndarray, colours: list[str]) -> str:
    """(H, W) uint8 classes -> a palette PNG whose pixel values are the classes; 255 is clear."""
    image = Image.fromarray(semantic)
    image.putpalette([int(colour[at : at + 2], 16) for colour in colours for at in (1, 3, 5)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=255, compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
