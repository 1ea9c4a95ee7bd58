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
    verdict = "equal" if worst < 1e-4 and same > 0.98 else "DIFFERENT"
    return f"{verdict}: scores to {worst:.1e}, {100 * same:.1f} % of labels in the same place"


def same_numbers(ours: Answers, peer: Answers) -> str:
    worst = max(abs(float(ours[key]) - float(peer[key])) for key in peer)
    return f"equal to {worst:.1e}" if worst < 1e-6 else f"DIFFERENT by {worst:.1e}"


def same_count(ours: Answers, peer: Answers) -> str:
    return f"{int(ours['pictures'][0])} and {int(peer['pictures'][0])} pictures"


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
        "predict": Row("D0 at 512: a decoded picture to boxes", "≤ 0.45", "predict", D0, D0, same_detections, weights=True),
        "predict-bf16": Row(
            "the same in bf16", "≤ 0.20", "predict", D0 | {"precision": "bf16"}, D0, not_compared, weights=True
        ),
        "forward": Row("D0 at 512: forward only", "≤ 0.75", "forward", D0, D0, close, weights=True),
        "forward-nhwc": Row(
            "the same, the peer in channels_last too", "–", "forward", D0, D0 | {"channels_last": True}, close, weights=True
        ),
        "postprocess": Row(
            "post-process: EfficientDet-Lite0's logits of 16 COCO pictures", "≤ 0.15", "postprocess", real, real,
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
            "loader: default augmentation, one worker, time a picture", "≤ 0.67", "loader", load, load, same_count, rounds=5,
            needs=("coco",),
        ),
        "loader-mosaic": Row(
            "the same with mosaic", "–", "loader", load | {"augment": "strong"}, load, same_count, rounds=5, needs=("coco",)
        ),
        "decode": Row(
            "loader against bare JPEG decoding in one process", "≤ 2.0", "loader", load, {"root": coco}, same_count,
            peer_case="decode", against="ours", rounds=5, needs=("coco",),
        ),
        "evaluation": Row(
            "COCO evaluation of 5,000 pictures × 100 boxes, against pycocotools", "≤ 0.10", "evaluation",
            large | {"backend": "hotcoco"}, large | {"backend": "pycocotools"}, same_numbers, against="ours", rounds=3,
        ),
    }  # fmt: skip
