"""The model of a command: opened with its weights, or made a predictor."""

from __future__ import annotations

from pathlib import Path

from effdet.cli.assemble import semantic_inference, torch_device
from effdet.cli.config import Config, as_size
from effdet.cli.errors import did_you_mean
from effdet.inference import Predictor
from effdet.inference.runtime_model import RuntimeModel, own_postprocess
from effdet.inference.runtimes import is_exported
from effdet.model import VisionModel, names
from effdet.weights import create_model, load
from effdet.weights import names as weight_names
from heads.structures import UserError


def open_model(config: Config) -> VisionModel | RuntimeModel:
    """The model of ``model=`` and ``weights=``, in evaluation mode on the CPU; an exported file in its own runtime.

    Raises:
        UserError: there is no such model, or a published name comes without weights.
    """
    model, weights = config.model, config.weights
    if weights is not None:
        if Path(model).exists():
            raise UserError(f"model={model} weights={weights}: the file brings its own weights; leave weights= out")
        check_name(model)
        return create_model(
            model,
            weights=True if weights == "auto" else weights,
            conventions=config.conventions,
            strict=config.strict,
            trust=config.trust,
        ).eval()
    if is_exported(model):
        return RuntimeModel.open(model, trust=config.trust)
    if Path(model).exists():
        return load(model, trust=config.trust)
    check_name(model)
    row = weight_names.find(model)
    if row is None or row.cached() is None:
        fix = "weights=auto fetches the published ones" if row is not None else "weights=FILE names yours"
        raise UserError(f"model={model}: it has no weights; {fix}")
    return load(row.name, trust=config.trust)


def open_network(config: Config) -> VisionModel:
    """:func:`open_model` for what has to look inside.

    Raises:
        UserError: as there, and for an exported file, whose network is the runtime's own.
    """
    model = open_model(config)
    if isinstance(model, RuntimeModel):
        raise UserError(
            f"model={config.model}: an exported file only predicts; give the run or checkpoint it came from"
        )
    return model


def check_name(name: str) -> None:
    """Refuse a model that is neither there nor known, with the name that was most likely meant."""
    known = [*names(), *(row.name for row in weight_names.all_weights())]
    if "/" in name or name.endswith((".ckpt", ".safetensors", ".pth", ".pt")):
        if name not in known:
            raise UserError(f"model={name}: no such file or folder")
    elif name not in known and _alias(name) is None:
        raise UserError(f"model={name}: neither a file nor a model{did_you_mean(name, known)} (effdet info lists them)")


def _alias(name: str) -> object:
    from effdet.scaling import detector_row

    return detector_row(name)


def open_predictor(config: Config, *, score_threshold: float | None) -> Predictor:
    """The predictor of ``model=``, ``weights=``, ``device=`` and the keys of post-processing.

    Args:
        config: of a command with those keys.
        score: lowest score of a detection; of no consequence to a model that finds none.
    """
    model = open_model(config)
    score_threshold = None if own_postprocess(model) is None else score_threshold
    return Predictor(
        model,
        "cpu" if isinstance(model, RuntimeModel) and config.device == "auto" else torch_device(config.device),
        precision=config.precision,
        image_size=as_size(config.image_size),
        batch_size=config.batch_size,
        score_threshold=score_threshold,
        nms_iou=config.nms_iou,
        max_detections=config.max_detections,
        semantic=semantic_inference(config),
    )
