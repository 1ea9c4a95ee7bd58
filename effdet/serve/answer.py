"""A prediction as the JSON that is sent."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from effdet.drawing.colours import Colour, class_colours, lifted
from effdet.inference import Prediction


def answer(prediction: Prediction, *, score: float, masks: bool) -> dict[str, Any]:
    """Boxes of at least `score`, with colours; class shares; the class map as a PNG data URL where asked for."""
    shown = prediction.above(score)
    found: dict[str, Any] = {key: value for key, value in shown.to_dict().items() if key != "path"}
    if "detection" in prediction.classes:
        colours = [_hex(lifted(colour)) for colour in class_colours(prediction.classes["detection"].names)]
        found["boxes"] = [{**box, "colour": colours[box["label"]]} for box in found["boxes"]]
    if prediction.semantic is not None:
        names = prediction.classes["semantic"].names
        colours = [_hex(colour) for colour in class_colours(names)]
        semantic: dict[str, Any] = {
            "classes": [
                {"name": name, "colour": colours[index], "share": found["semantic"][name]}
                for index, name in enumerate(names)
                if name in found["semantic"]
            ]
        }
        found["semantic"] = semantic | ({"map": _map_url(prediction.semantic, colours)} if masks else {})
    return found


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _map_url(semantic: np.ndarray, colours: list[str]) -> str:
    """(H, W) uint8 classes -> a palette PNG whose pixel values are the classes; 255 is clear."""
    image = Image.fromarray(semantic)
    palette = [int(colour[at : at + 2], 16) for colour in colours for at in (1, 3, 5)]
    # All 256 colours, so that 255 is one of them, and can be clear.
    image.putpalette(palette + [0] * (768 - len(palette)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=255, compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
