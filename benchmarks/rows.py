"""The rows of the table: what is compared, with which aim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Answers = Mapping[str, np.ndarray]
D0 = {"name": "tf_efficientdet_d0", "size": 512}


def close(ours: Answers, peer: Answers) -> str:
    """Outputs of equal shape; the largest difference, relative to the largest value."""
    worst = max(float(np.abs(ours[key] - peer[key]).max() / np.abs(peer[key]).max()) for key in peer)
    return f"largest relative difference {worst:.1e}" if worst < 1e-3 else f"DIFFERENT by {worst:.1e}"


def same_detections(ours: Answers, peer: Answers) -> str:
    """Boxes, scores and labels of score .001 or more, in order."""
    sides = [side["detections"].reshape(-1, side["detections"].shape[-2], 6) for side in (ours, peer)]
    longest = max(side.shape[1] for side in sides)
    mine, other = (np.pad(side, ((0, 0), (0, longest - side.shape[1]), (0, 0))) for side in sides)
    other = np.where(other[..., 4:5] >= 1e-3, other, 0)
    worst = float(np.abs(mine[..., 4] - other[..., 4]).max())
    same = float((mine[..., 5] == other[..., 5]).mean())
    result = "equal" if worst < 1e-4 and same > 0.98 else "DIFFERENT"
    return f"{result}: scores to {worst:.1e}, {100 * same:.1f} % of labels in the same place"


def same_numbers(ours: Answers, peer: Answers) -> str:
    worst = max(abs(float(ours[key]) - float(peer[key])) for key in peer)
    return f"equal to {worst:.1e}" if worst < 1e-6 else f"DIFFERENT by {worst:.1e}"


def same_count(ours: Answers, peer: Answers) -> str:
    return f"{int(ours['images'][0])} and {int(peer['images'][0])} images"


def not_compared(ours: Answers, peer: Answers) -> str:
    return "another function: for context"


@dataclass(frozen=True)
class Row:
    """One comparison. Times are ratios ours / peer's; memory is that of the same rounds."""

    title: str
    aim: str
    case: str
    ours: Mapping[str, Any]
    peer: Mapping[str, Any]
    check: Callable[[Answers, Answers], str]
    against: str = "effdet"
    """A key of `pairing.PEERS`, or ``ours`` for a second process of this project."""
    peer_case: str | None = None
    rounds: int = 15
    weights: bool = False
    """Whether the peer writes its weights to a file that ours loads."""
    needs: tuple[str, ...] = field(default=())
    """Options of the command (``coco``, ``lite0``) without which the row is left out."""


def rows(work: Path, coco: str | None) -> dict[str, Row]:
    """All rows by name; `work` is a scratch folder, `coco` a COCO root with val2017."""
    step = D0 | {"batch": 2}
    real = {"logits": str(work / "real.npz"), "size": 320, "classes": 90}
    synthetic = {"logits": str(work / "synthetic.npz"), "size": 512, "classes": 90}
    load = {"root": coco, "size": 512, "workers": 1}
    large = {"truth": str(work / "truth.json"), "results": str(work / "results.json")}
    return {
        "predict": Row("D0 at 512: a decoded image to boxes", "≤ 0.45", "predict", D0, D0, same_detections, weights=True),
        "predict-bf16": Row(
            "the same in bf16, PyTorch eager", "≤ 0.20", "predict", D0 | {"precision": "bf16"}, D0, not_compared, weights=True
        ),
        "predict-onnx": Row(
            "the same through our ONNX export, float32", "≤ 0.25", "exported", _exported(work, "onnx", "fp32"), D0,
            same_detections, peer_case="predict", weights=True,
        ),
        "predict-openvino": Row(
            "the same through our OpenVINO export, float32", "≤ 0.25", "exported", _exported(work, "openvino", "fp32"), D0,
            same_detections, peer_case="predict", weights=True,
        ),
        "predict-openvino-bf16": Row(
            "the same through our OpenVINO export, bf16", "≤ 0.20", "exported", _exported(work, "openvino", "bf16"), D0,
            not_compared, peer_case="predict", weights=True,
        ),
        "predict-int8": Row(
            "the same through our OpenVINO export, int8", "≤ 0.20", "exported", _exported(work, "openvino", "int8"), D0,
            not_compared, peer_case="predict", weights=True,
        ),
        "forward": Row("D0 at 512: forward only", "≤ 0.75", "forward", D0, D0, close, weights=True),
        "forward-nhwc": Row(
            "the same, the peer in channels_last too", "–", "forward", D0, D0 | {"channels_last": True}, close, weights=True
        ),
        "postprocess": Row(
            "post-process: EfficientDet-Lite0's logits of 16 COCO images", "≤ 0.15", "postprocess", real, real,
            same_detections, rounds=9, needs=("coco", "lite0"),
        ),
        "postprocess-synthetic": Row(
            "post-process: D0's synthetic logits N(-6, 1.5)", "≤ 0.15", "postprocess", synthetic, synthetic, same_detections
        ),
        "train": Row("training step, D0 at 512, batch 2", "≤ 0.65", "train_step", step, step, close, rounds=9, weights=True),
        "train-bf16": Row(
            "the same in bf16", "–", "train_step", step | {"precision": "bf16"}, step, not_compared, rounds=7, weights=True
        ),
        "train-compile": Row(
            "the same with torch.compile", "–", "train_step", step | {"compiled": True}, step, close, rounds=7, weights=True
        ),
        "loader": Row(
            "loader: default augmentation but for mosaic, one worker, a pass over COCO images", "≤ 0.67", "loader",
            load | {"mosaic": 0.0}, load, same_count, rounds=9, needs=("coco",),
        ),
        "loader-mosaic": Row(
            "the same with the default's mosaic: 1.75 images to decode for each of the peer's", "–", "loader", load, load,
            same_count, rounds=9, needs=("coco",),
        ),
        "decode": Row(
            "loader against bare JPEG decoding in one process", "≤ 2.0", "loader", load | {"mosaic": 0.0}, {"root": coco},
            same_count,
            peer_case="decode", against="ours", rounds=9, needs=("coco",),
        ),
        "evaluation": Row(
            "COCO evaluation of 5,000 images × 100 boxes, against pycocotools", "≤ 0.10", "evaluation",
            large | {"backend": "hotcoco"}, large | {"backend": "pycocotools"}, same_numbers, against="ours", rounds=3,
        ),
        **context_rows(),
    }  # fmt: skip


def _exported(work: Path, form: str, precision: str) -> dict[str, Any]:
    suffix = {"onnx": ".onnx", "openvino": ".xml"}[form]
    return D0 | {"path": str(work / f"{form}-{precision}{suffix}"), "format": form, "precision": precision}


def context_rows() -> dict[str, Row]:
    """Peers that compute another function on the same input: no aim, but something to hold a time against."""
    lite, segmenter = {"name": "efficientdet_lite0", "size": 320}, {"classes": 19, "height": 256, "width": 512}
    ssd, retina = {"name": "ssdlite320_mobilenet_v3_large"}, {"name": "retinanet_resnet50_fpn", "size": 512}
    encoder = {"encoder": "timm-tf_efficientnet_lite0"}
    seen = {"against": "torchvision", "rounds": 7}
    return {
        "ssdlite": Row(
            "Lite0 at 320 against torchvision's SSDLite320 (MobileNetV3): an image to boxes", "–", "predict", lite, ssd,
            not_compared, **seen,
        ),
        "ssdlite-train": Row(
            "the same two: a training step, batch 2", "–", "train_step", lite | {"batch": 2},
            ssd | {"batch": 2, "pixels": 320}, not_compared, **seen,
        ),
        "retinanet": Row(
            "D0 at 512 against torchvision's RetinaNet-R50 at 512: an image to boxes", "–", "predict", D0, retina,
            not_compared, **seen,
        ),
        "retinanet-train": Row(
            "the same two: a training step, batch 2", "–", "train_step", D0 | {"batch": 2},
            retina | {"batch": 2, "pixels": 512}, not_compared, against="torchvision", rounds=5,
        ),
        "yolo": Row(
            "D0 at 512 (square canvas) against ultralytics' YOLO11n at 512 (384 × 512): an image to boxes", "–", "predict", D0,
            {"name": "yolo11n.yaml", "size": 512}, not_compared, against="ultralytics", rounds=7,
        ),
        "smp": Row(
            "segmentation, 19 classes, 256 × 512, on EfficientNet-Lite0: ours against segmentation_models.pytorch's FPN, an "
            "image to its segmentation map",
            "–", "segment", segmenter | {"backbone": "lite0"}, segmenter | encoder, not_compared,
            against="smp", rounds=9,
        ),
        "smp-train": Row(
            "the same two: a training step, batch 2", "–", "segment_step", segmenter | {"backbone": "lite0", "batch": 2},
            segmenter | encoder | {"batch": 2}, not_compared, against="smp", rounds=7,
        ),
    }  # fmt: skip
