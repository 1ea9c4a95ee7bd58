"""The network without post-processing, an image to boxes, a training step."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import torch

import effdet
from benchmarks.peers.loop import Work
from effdet.model import VisionModel, build, fold, spec_for
from heads.protocol import Context
from heads.structures import Targets


def network(name: str, size: int, weights: str | None = None, **options: Any) -> VisionModel:
    """The peer's `weights`, or random ones."""
    model = build(spec_for(name, image_size=size, **options))
    if weights is not None:
        effdet.load_weights(model, weights, conventions=name)
    return model.to(memory_format=torch.channels_last)


def random_image(height: int = 480, width: int = 640) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pixels(batch: int, size: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).standard_normal((batch, 3, size, size), np.float32))


def forward(name: str, size: int, weights: str, batch: int = 1) -> Work:
    model = fold(network(name, size, weights).eval())
    images = pixels(batch, size).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def run() -> Any:
        return model(images)["detection"]

    def answer() -> dict[str, np.ndarray]:
        out = run()
        return {"logits": out.class_logits.numpy(), "deltas": out.box_deltas.numpy()}

    return Work(run, answer)


def predict(name: str, size: int, weights: str | None = None, precision: str | None = None) -> Work:
    return _image_to_boxes(effdet.Predictor(network(name, size, weights).eval(), precision=precision))


def exported(name: str, size: int, weights: str, path: str, format: str, precision: str) -> Work:
    """An image to boxes through an exported file."""
    arguments = [path, name, str(size), weights, format, precision]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.ours.exporting", *arguments], check=True, stdout=subprocess.DEVNULL
    )
    return _image_to_boxes(effdet.Predictor(path, threads=torch.get_num_threads()))


def _image_to_boxes(predictor: effdet.Predictor) -> Work:
    image = random_image()

    def answer() -> dict[str, np.ndarray]:
        p = predictor(image)
        return {"detections": np.column_stack([p.boxes, p.scores, p.labels + 1])}

    return Work(lambda: predictor(image), answer)


def train_step(
    name: str,
    size: int,
    batch: int,
    weights: str | None = None,
    boxes: int = 8,
    precision: str = "fp32",
    compiled: bool = False,
) -> Work:
    options = {"backbone_options": {"drop_path": 0.0}, "heads": {"detection": {"loss": {"normalizer": "paper"}}}}
    model = network(name, size, weights, **options).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, fused=True)
    images = pixels(batch, size).contiguous(memory_format=torch.channels_last)
    corners, labels = truth(batch, size, boxes)
    targets = Targets(boxes=corners, labels=labels)
    forward_pass = torch.compile(model) if compiled else model
    losses: list[float] = []

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            terms = model.loss(forward_pass(images), targets, Context.of(images))
        loss = torch.stack(list(terms.values())).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))

    return Work(run, lambda: {"loss": np.array(losses[:1])})


def truth(batch: int, size: int, boxes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, M, 4) float32 xyxy and (B, M) labels: the peers' draw, from the same seed."""
    rng = np.random.default_rng(2)
    low = rng.uniform(0, 0.6, (batch, boxes, 2))
    high = low + rng.uniform(0.05, 0.4, (batch, boxes, 2))
    corners = (np.concatenate([low, high], -1) * size).astype(np.float32)
    return torch.from_numpy(corners), torch.from_numpy(rng.integers(0, 90, (batch, boxes)))
