"""The PyTorch `effdet` distribution, used as its documentation says; its environment must not hold this project."""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# `effdet` is another distribution here.

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from loop import Work, serve

SURVIVORS = 2.33
"""The class logits of a random network are spread to N(-6.9 - 2.33, 1), so that 1 % of them score .001 or more."""

NAMELESS = [11, 25, 28, 29, 44, 65, 67, 68, 70, 82]
"""Of the 90 logits of a COCO model."""


def network(name: str, size: int, *, task: str = "", **options: Any) -> Any:
    from effdet import create_model

    torch.manual_seed(0)
    return create_model(
        name, bench_task=task, pretrained=False, pretrained_backbone=False, image_size=[size, size], **options
    )


def spread(model: Any, images: torch.Tensor) -> None:
    """BatchNorm statistics of `images`, and class logits spread as a trained network's."""
    model.train()
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        model(images)
        model.eval()
        logits = torch.cat([level.flatten() for level in model(images)[0]])
        last = model.class_net.predict.conv_pw
        last.weight /= logits.std()
        last.bias.fill_(-6.9 - SURVIVORS)


def random_image(height: int = 480, width: int = 640) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pixels(batch: int, size: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).standard_normal((batch, 3, size, size), np.float32))


def forward(name: str, size: int, weights: str, channels_last: bool = False, batch: int = 1) -> Work:
    model, images = network(name, size), pixels(batch, size)
    spread(model, pixels(2, size))
    torch.save(model.state_dict(), weights)
    if channels_last:
        model, images = (value.to(memory_format=torch.channels_last) for value in (model, images))

    @torch.no_grad()
    def run() -> Any:
        return model(images)

    def answer() -> dict[str, np.ndarray]:
        classes, boxes = run()
        return {"logits": flat(classes, model.config.num_classes), "deltas": flat(boxes, 4)}

    return Work(run, answer)


def flat(levels: list[torch.Tensor], count: int) -> np.ndarray:
    return torch.cat([level.permute(0, 2, 3, 1).reshape(len(level), -1, count) for level in levels], 1).numpy()


def predict(name: str, size: int, weights: str) -> Work:
    from PIL import Image

    from effdet.bench import DetBenchPredict, _batch_detection, _post_process
    from effdet.data.transforms import transforms_coco_eval

    model = network(name, size)
    spread(model, pixels(2, size))
    torch.save(model.state_dict(), weights)
    bench = DetBenchPredict(model).eval()
    transform = transforms_coco_eval(size, use_prefetcher=True)
    image = Image.fromarray(random_image())
    mean, std = (torch.tensor(values).view(3, 1, 1) * 255 for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def prepared() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        values, notes = transform(image, {})
        tensor = (torch.from_numpy(values).float() - mean) / std
        info = {
            "img_scale": torch.tensor([notes["img_scale"]], dtype=torch.float32),
            "img_size": torch.tensor([image.size], dtype=torch.float32),
        }
        return tensor[None], info

    @torch.no_grad()
    def run() -> torch.Tensor:
        return bench(*prepared())

    @torch.no_grad()
    def answer() -> dict[str, np.ndarray]:
        # It clips boxes to the image before NMS, ours after: on a random network's many boxes across the border that is
        # another choice of boxes. And it lets the ten ids that COCO gave to no class detect. The rest is compared: with its
        # clipping put off until after NMS, and without those ten.
        tensor, info = prepared()
        classes, deltas = model(tensor)
        for level in classes:
            level.unflatten(1, (-1, model.config.num_classes))[:, :, NAMELESS] = -1e4
        logits, deltas, indices, labels = _post_process(classes, deltas, 5, model.config.num_classes, 5000)
        scale, anchors = info["img_scale"], bench.anchors.boxes
        found = _batch_detection(1, logits, deltas, anchors, indices, labels, scale, None, 100, False)[0]
        found[:, :4] = found[:, :4].clamp(min=0).minimum(torch.tensor([*image.size, *image.size], dtype=torch.float32))
        return {"detections": found[(found[:, 2:4] > found[:, :2]).all(1)].numpy()}

    return Work(run, answer)


def postprocess(logits: str, size: int, classes: int) -> Work:
    from effdet.anchors import Anchors
    from effdet.bench import _batch_detection, _post_process

    passed = np.load(logits)
    aspects = [tuple(pair) for pair in passed["aspects"].tolist()]
    anchors = Anchors(3, 7, 3, aspects, float(passed["scale"]), (size, size))
    sizes = [anchors.feat_sizes[level] for level in range(3, 8)]

    def levels(values: np.ndarray, count: int) -> list[torch.Tensor]:
        parts, start = [], 0
        for height, width in sizes:
            stop = start + height * width * 9
            part = torch.from_numpy(values[:, start:stop]).reshape(len(values), height, width, 9 * count)
            parts.append(part.permute(0, 3, 1, 2).contiguous())
            start = stop
        return parts

    batches = [
        (levels(row[None], classes), levels(box[None], 4))
        for row, box in zip(passed["logits"], passed["deltas"], strict=True)
    ]

    @torch.no_grad()
    def run() -> list[torch.Tensor]:
        found = []
        for class_levels, box_levels in batches:
            scores, boxes, indices, labels = _post_process(class_levels, box_levels, 5, classes, 5000)
            found.append(_batch_detection(1, scores, boxes, anchors.boxes, indices, labels, None, None, 100, False)[0])
        return found

    return Work(run, lambda: {"detections": torch.stack(run()).numpy()})


def train_step(name: str, size: int, weights: str, batch: int, boxes: int = 8, **_: Any) -> Work:
    bench = network(name, size, task="train", bench_labeler=True)
    for layer in bench.modules():
        if layer.__class__.__name__ == "DropPath":
            layer.drop_prob = 0.0
    torch.save(bench.model.state_dict(), weights)
    bench.train()
    optimizer = torch.optim.SGD(bench.parameters(), lr=1e-4, momentum=0.9)
    images, (corners, labels) = pixels(batch, size), truth(batch, size, boxes)
    target = {"bbox": list(corners[:, :, [1, 0, 3, 2]]), "cls": list(labels + 1)}
    losses: list[float] = []

    def run() -> None:
        out = bench(images, target)
        out["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(out["loss"]))

    return Work(run, lambda: {"loss": np.array(losses[:1])})


def truth(batch: int, size: int, boxes: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(2)
    low = rng.uniform(0, 0.6, (batch, boxes, 2))
    high = low + rng.uniform(0.05, 0.4, (batch, boxes, 2))
    corners = (np.concatenate([low, high], -1) * size).astype(np.float32)
    return torch.from_numpy(corners), torch.from_numpy(rng.integers(0, 90, (batch, boxes)))


def loader(root: str, size: int, workers: int) -> Work:
    """Its dataset, transforms and collation in a plain DataLoader (its own needs CUDA)."""
    from effdet.data import create_dataset
    from effdet.data.loader import DetectionFastCollate
    from effdet.data.transforms import transforms_coco_train

    dataset = create_dataset("coco2017", root, splits="val")
    dataset.transform = transforms_coco_train(size, use_prefetcher=True)
    batches = torch.utils.data.DataLoader(
        dataset, batch_size=8, shuffle=True, drop_last=True, num_workers=workers, collate_fn=DetectionFastCollate()
    )
    seen: list[int] = []

    def run() -> None:
        seen.append(sum(len(images) for images, _ in batches))

    return Work(run, lambda: {"images": np.array(seen[:1])})


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    functions = (forward, predict, postprocess, train_step, loader)
    serve({function.__name__: function for function in functions})
