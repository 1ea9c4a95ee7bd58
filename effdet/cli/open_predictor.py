"""A predictor from the keys that `predict` and `serve` share."""

from __future__ import annotations

from effdet.cli.assemble import semantic_inference, torch_device
from effdet.cli.config import Config
from effdet.cli.open_model import open_model
from effdet.inference import Predictor
from effdet.inference.runtime_model import RuntimeModel, own_postprocess


def open_predictor(config: Config, *, score: float | None) -> Predictor:
    """The predictor of ``model=``, ``weights=``, ``device=`` and the keys of post-processing.

    Args:
        config: of a command with those keys.
        score: lowest score of a detection; of no consequence to a model that finds none.
    """
    size = config.image_size
    model = open_model(config)
    score = None if own_postprocess(model) is None else score
    return Predictor(
        model,
        "cpu" if isinstance(model, RuntimeModel) and config.device == "auto" else torch_device(config.device),
        precision=config.precision,
        image_size=(size[0], size[1]) if isinstance(size, list) else size,
        batch_size=config.batch_size,
        score=score,
        nms_iou=config.nms_iou,
        max_detections=config.max_detections,
        semantic=semantic_inference(config),
    )
