"""A model, a loader and settings that are tiny, and behave as the real ones do where training looks."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from effdet.training.settings import CheckpointSettings, EmaSettings, FitSettings, OptimizerSettings
from heads.protocol import Context
from heads.structures import Batch, ClassTable, Targets

SIZE = 8


class FakePreprocess:
    size = (SIZE, SIZE)

    def normalise(self, images: Tensor) -> Tensor:
        return images.float() / 255 - 0.5


class FakeBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.3)
        self.grad_checkpointing = False

    def forward(self, images: Tensor) -> Tensor:
        return self.drop(torch.relu(self.norm(self.stem(images))))


class FakeHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Identity()
        self.classifier = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.drop(x).mean((2, 3)))


class FakeModel(nn.Module):
    """Convolution, BatchNorm, dropout, linear: everything that has state or draws random numbers."""

    def __init__(self, seed: int = 0, width: int = 4) -> None:
        super().__init__()
        generator = torch.random.get_rng_state()
        torch.manual_seed(seed)
        self.backbone = FakeBackbone()
        self.neck = None
        self.heads = nn.ModuleDict({"detection": FakeHead()})
        torch.random.set_rng_state(generator)
        self.preprocess = FakePreprocess()
        self.classes = {"detection": ClassTable.of(["a", "b", "c"])}
        self.spec = SimpleNamespace(
            to_dict=lambda: {
                "name": "fake",
                "width": width,
                "classes": {"detection": self.classes["detection"].to_dict()},
            }
        )

    def forward(self, images: Tensor, progress: float | Tensor = 1.0) -> dict[str, Tensor]:
        features = self.backbone(images)
        return {name: head(features) for name, head in self.heads.items()}

    def loss(self, outputs: Mapping[str, Tensor], targets: Targets, context: Context) -> dict[str, Tensor]:
        logits = outputs["detection"].float()
        assert targets.category is not None
        loss = nn.functional.cross_entropy(logits, targets.category)
        return {"detection/class": loss, "detection/box": 0.1 * logits.square().mean()}


def sample(epoch: int, index: int) -> tuple[Tensor, int]:
    """An image as a function of (epoch, index), as an augmented one is."""
    generator = np.random.default_rng([7, epoch, index])
    return torch.from_numpy(generator.integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)), int(generator.integers(3))


class FakeLoader:
    """Batches of an epoch from any of them on; reads ahead by `ahead` batches, as workers do."""

    def __init__(self, images: int, *, batch_size: int, rank: int = 0, world: int = 1, seed: int = 0, ahead: int = 2):
        self.images, self.batch_size, self.rank, self.world = images, batch_size, rank, world
        self.seed, self.ahead = seed, ahead
        self.epoch = self.start = 0
        self.served: list[tuple[int, int]] = []

    def close(self) -> None:
        pass

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        self.epoch, self.start = epoch, start_batch

    def __len__(self) -> int:
        return self.images // (self.batch_size * self.world) - self.start

    def __iter__(self) -> Iterator[Batch]:
        ready: list[Batch] = []
        for batch in self._batches():
            ready.append(batch)
            if len(ready) > self.ahead:
                yield ready.pop(0)
        yield from ready

    def _batches(self) -> Iterator[Batch]:
        epoch = self.epoch
        order = np.random.default_rng([self.seed, epoch]).permutation(self.images)
        for number in range(self.start, self.start + len(self)):
            at = (number * self.world + self.rank) * self.batch_size
            chosen = order[at : at + self.batch_size].tolist()
            images, classes = zip(*(sample(epoch, index) for index in chosen), strict=True)
            self.served.append((epoch, number))
            yield Batch(torch.stack(images), Targets(category=torch.tensor(classes)), torch.tensor(chosen))


def factory(images: int = 24, **options: Any) -> Callable[..., FakeLoader]:
    def build(*, batch_size: int, rank: int, world: int) -> FakeLoader:
        return FakeLoader(images, batch_size=batch_size, rank=rank, world=world, **options)

    return build


def evaluate_fake(model: nn.Module) -> dict[str, Any]:
    """Metrics that depend on every weight; draws random numbers, which training must not feel."""
    assert not model.training
    torch.rand(3)
    total = sum(float(value.double().sum()) for value in model.state_dict().values())
    return {"AP": total % 1, "AP50": 0.5, "per_class": {"a": 1.0}}


def settings(run_dir: Path | str, **changes: Any) -> FitSettings:
    """Three epochs of six batches of four images; every save is affordable."""
    trainer = {
        "max_epochs": 3,
        "accelerator": "cpu",
        "devices": 1,
        "log_every_n_steps": 2,
        "gradient_clip_val": 1.0,
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
        **changes.pop("trainer", {}),
    }
    values: dict[str, Any] = {
        "batch_size": 4,
        "optimizer": OptimizerSettings(lr=0.1, base_batch_size=None, warmup_steps=2),
        "ema": EmaSettings(decay=0.9),
        "checkpoint": CheckpointSettings(max_share=1.0),
        "loggers": (),
        "progress": False,
        **changes,
    }
    return FitSettings(run_dir=Path(run_dir), trainer=trainer, **values)


def kill_at(step: int, number: int = signal.SIGKILL) -> Any:
    """A callback that sends this process a signal once `step` optimiser steps are taken."""
    from lightning.pytorch import Callback

    class Kill(Callback):
        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            if trainer.global_step == step:
                os.kill(os.getpid(), number)

    return Kill()


def equal(a: Any, b: Any) -> bool:
    """Whether two checkpoints' parts are equal bit for bit."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def train(overrides: Mapping[str, Any]) -> int:
    """A run as `overrides` say, resumed where there is something to resume; gives the exit code."""
    from effdet.training import Interrupted, fit, newest_valid

    changes = dict(overrides.get("changes", {}))
    if "checkpoint" in changes:
        changes["checkpoint"] = CheckpointSettings(**changes["checkpoint"])
    model = FakeModel()
    if overrides.get("still"):
        model.backbone.drop.p = 0.0
    try:
        fit(
            model,
            factory(overrides.get("images", 24)),
            settings=settings(overrides["run_dir"], **changes),
            evaluate=evaluate_fake,
            resume=newest_valid(overrides["run_dir"]),
            draw_batch=None,
            callbacks=[kill_at(overrides["step"], overrides["signal"])] if overrides.get("signal") else [],
        )
    except Interrupted as interrupted:
        return interrupted.exit_code
    return 0


def kill_loop(overrides: Mapping[str, Any]) -> int:
    """Run, kill -9 at a random moment after the first row, resume, …; after `kills` of them run to the end.

    Each run is a fork of this process, which has imported Lightning already. Gives the number of kills.
    """
    generator = random.Random(overrides.get("seed", 0))
    metrics = Path(overrides["run_dir"]) / "metrics.csv"
    kills = 0
    while True:
        before = metrics.stat().st_mtime_ns if metrics.exists() else 0
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = train(overrides)
            finally:
                os._exit(code)
        ended = 0
        if kills < overrides["kills"]:
            while not ended and (metrics.stat().st_mtime_ns if metrics.exists() else 0) == before:
                time.sleep(0.01)
                ended, status = os.waitpid(child, os.WNOHANG)
            time.sleep(0 if ended else generator.uniform(0, overrides["seconds"]))
            ended = ended or os.waitpid(child, os.WNOHANG)[0]
            if not ended:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                kills += 1
                continue
            raise RuntimeError(f"the run ended after {kills} kills: make it longer")
        _, status = os.waitpid(child, 0)
        if status:
            raise RuntimeError(f"the last run ended with status {status}")
        return kills


if __name__ == "__main__":  # a run in a process of its own, for the tests that kill it and those with several processes
    torch.set_num_threads(1)
    said = json.loads(sys.argv[1])
    if "kills" in said:
        print(kill_loop(said))
    else:
        sys.exit(train(said))
