"""Run with the distribution ``effdet`` 0.4.1 on the path: ``python peer_effdet.py OUT.npz`` writes what the peer computes.

Random targets and outputs go through its anchors, labeller, losses and both post-processors.
"""

import sys

import numpy as np
import torch

import effdet
from effdet.anchors import AnchorLabeler, Anchors  # pyright: ignore[reportMissingImports]
from effdet.bench import _batch_detection, _post_process  # pyright: ignore[reportMissingImports]
from effdet.loss import DetectionLoss  # pyright: ignore[reportMissingImports]

PAIRS = [(1.0, 1.0), (1.4, 0.7), (0.7, 1.4)]
SHAPES = {
    "square": ((512, 512), PAIRS, 4.0),
    "odd": ((300, 420), PAIRS, 3.0),
    "roots": ((256, 384), [1.0, 2.0, 0.5], 4.0),
}
CLASSES, IMAGES, BOXES = 7, 4, 12


def main(out: str) -> None:
    values = {
        f"anchors_{name}": Anchors(3, 7, 3, aspects, scale, size).boxes
        for name, (size, aspects, scale) in SHAPES.items()
    }
    anchors = Anchors(3, 7, 3, PAIRS, 4.0, (256, 384))
    sizes = [anchors.feat_sizes[level] for level in range(3, 8)]
    generator = torch.Generator().manual_seed(1)

    corner = torch.rand(IMAGES, BOXES, 2, generator=generator) * torch.tensor([300.0, 200.0])
    side = torch.rand(IMAGES, BOXES, 2, generator=generator) ** 2 * 150 + 3
    boxes = torch.cat([corner, corner + side], -1)
    boxes[1, 5] = boxes[1, 2]  # a tie
    labels = torch.randint(0, CLASSES, (IMAGES, BOXES), generator=generator)
    labels[2, 4:], labels[3] = -1, -1
    theirs = [torch.where(row >= 0, row + 1, row) for row in labels]  # its classes count from 1, its boxes are yxyx
    class_targets, box_targets, positives = AnchorLabeler(anchors, CLASSES).batch_label_anchors(
        list(boxes[..., [1, 0, 3, 2]]), theirs
    )
    values |= {"boxes": boxes, "labels": labels, "positives": positives.sum()}
    values["class_targets"] = torch.cat([level.reshape(IMAGES, -1) for level in class_targets], 1)
    values["box_targets"] = torch.cat([level.reshape(IMAGES, -1, 4) for level in box_targets], 1)

    logits = torch.randn(IMAGES, len(anchors.boxes), CLASSES, generator=generator) * 1.5 - 4
    deltas = torch.randn(IMAGES, len(anchors.boxes), 4, generator=generator) * 0.3
    values |= {"logits": logits, "deltas": deltas}

    def by_level(x: torch.Tensor) -> list[torch.Tensor]:
        counts = [height * width * 9 for height, width in sizes]
        return [
            part.reshape(IMAGES, height, width, -1).permute(0, 3, 1, 2)
            for part, (height, width) in zip(x.split(counts, 1), sizes, strict=True)
        ]

    config = effdet.get_efficientdet_config("tf_efficientdet_d0")  # pyright: ignore[reportAttributeAccessIssue]
    config.num_classes = CLASSES
    for smoothing in (0.0, 0.1):
        config.label_smoothing = smoothing
        ours = logits.clone().requires_grad_(), deltas.clone().requires_grad_()
        total, class_loss, box_loss = DetectionLoss(config)(
            by_level(ours[0]), by_level(ours[1]), class_targets, box_targets, positives
        )
        total.backward()
        values |= {f"class_loss_{smoothing}": class_loss.detach(), f"box_loss_{smoothing}": box_loss.detach()}
        values |= {f"class_slope_{smoothing}": ours[0].grad, f"box_slope_{smoothing}": ours[1].grad}
    for soft in (False, True):
        picked = _post_process(by_level(logits), by_level(deltas), 5, CLASSES, 5000)
        values[f"detections_{soft}"] = _batch_detection(
            IMAGES, picked[0], picked[1], anchors.boxes, picked[2], picked[3], None, None, 100, soft
        )
    np.savez(out, **{name: value.numpy() for name, value in values.items()})


if __name__ == "__main__":
    main(sys.argv[1])
