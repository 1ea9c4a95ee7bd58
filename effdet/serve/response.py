"""A prediction as the JSON that is sent."""

from __future__ import annotations

from typing import Any

from effdet.inference import Prediction


def response(prediction: Prediction, *, score: float, masks: bool) -> dict[str, Any]:
    """Boxes of at least `score`, with colours; class shares; the segmentation map as a PNG data URL where asked for."""
    shown = prediction.above(score)
    found = {key: value for key, value in shown.to_dict().items() if key != "path"}
    for kit in shown.all_kits().values():
        found |= kit.response(shown, masks=masks)
    return found
