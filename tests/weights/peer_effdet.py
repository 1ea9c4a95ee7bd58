"""Run by ``test_parity_effdet.py`` in a process where ``import effdet`` is the peer distribution, not this project.

``python peer_effdet.py MODEL OUT HEIGHT WIDTH [HEIGHT WIDTH …]``: for each size builds the peer's model with seeded
weights, sets its BatchNorm statistics by one pass in training mode, and saves its state dict, the images, its raw outputs
(anchor-major), its anchors, and what its post-processing makes of well separated logits.
"""
# pyright: reportMissingImports=false, reportCallIssue=false
# `effdet` is another distribution here.

import sys

import torch


def main() -> None:
    name, out, sides = sys.argv[1], sys.argv[2], [int(text) for text in sys.argv[3:]]
    torch.save([answer(name, *size) for size in zip(sides[::2], sides[1::2], strict=True)], out)


def answer(name: str, height: int, width: int) -> dict:
    from effdet import create_model
    from effdet.anchors import Anchors, generate_detections
    from effdet.bench import _post_process

    torch.manual_seed(0)
    model = create_model(name, pretrained=False, pretrained_backbone=False, image_size=[height, width])
    for layer in model.modules():  # drop-path would make the pass in training mode depend on more than the seed
        if layer.__class__.__name__ == "DropPath":
            layer.drop_prob = 0.0
    images = torch.randn(2, 3, height, width)
    model.train()
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        model(images)
        model.eval()
        class_out, box_out = model(images)
    config = model.config
    anchors = Anchors.from_config(config)

    def flat(levels, size):
        return torch.cat([level.permute(0, 2, 3, 1).reshape(2, -1, size) for level in levels], 1)

    # Logits far apart, so that no rounding decides an order: every third anchor proposes one class.
    generator = torch.Generator().manual_seed(1)
    synthetic, start = [], 0
    total = 2 * len(anchors.boxes)
    ranks = torch.randperm(total, generator=generator).float().reshape(2, -1)
    full = torch.full((2, len(anchors.boxes), config.num_classes), -30.0)
    classes = torch.arange(len(anchors.boxes)) % config.num_classes
    full[:, torch.arange(len(anchors.boxes)), classes] = 6 - 10 * ranks / total
    for level in class_out:
        count = level.shape[2] * level.shape[3] * 9
        part = full[:, start : start + count].reshape(2, level.shape[2], level.shape[3], -1)
        synthetic.append(part.permute(0, 3, 1, 2).contiguous())
        start += count
    # Untrained deltas can be huge, and exp() of them infinite.
    deltas = [level.clamp(-2, 2) for level in box_out]
    logits, boxes, indices, labels = _post_process(
        synthetic, deltas, num_levels=config.num_levels, num_classes=config.num_classes, max_detection_points=5000
    )
    detections = [
        generate_detections(
            logits[i], boxes[i], anchors.boxes, indices[i], labels[i], None, None, max_det_per_image=100, soft_nms=False
        )
        for i in range(2)
    ]
    return {
        "state": model.state_dict(),
        "images": images,
        "class_logits": flat(class_out, config.num_classes),
        "box_deltas": flat(box_out, 4),
        "anchors": anchors.boxes,
        "synthetic": full,
        "detections": torch.stack(detections),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


if __name__ == "__main__":
    main()
