"""An augmentation, an optimiser, a schedule, a callback and a logger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import albumentations
import numpy as np
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR


class Speckle(albumentations.ImageOnlyTransform):
    """Adds noise from NumPy's global generator."""

    def __init__(self, strength: int = 20, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength = strength

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        noise = np.random.randint(-self.strength, self.strength + 1, img.shape)
        return np.clip(img.astype(np.int64) + noise, 0, 255).astype(np.uint8)


class Slow(SGD):
    """SGD at a share of its rate."""

    def __init__(self, params: Any, lr: float, share: float) -> None:
        super().__init__([{**group, "lr": group["lr"] * share} for group in params], lr * share, momentum=0.9)


def halving(optimizer: Optimizer, every: int, total_steps: int) -> LambdaLR:
    """Half the rate after each `every` steps of a run of `total_steps`."""
    assert total_steps > 0
    return LambdaLR(optimizer, lambda step: 0.5 ** (step // every))


class Count(Callback):
    """Counts batches, over interruptions too, and writes the number at the end of each epoch."""

    def __init__(self, file: str) -> None:
        self.file, self.batches = file, 0

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.batches = state_dict["batches"]

    def on_train_batch_end(self, *args: Any) -> None:
        self.batches += 1

    def on_train_epoch_end(self, *args: Any) -> None:
        Path(self.file).write_text(str(self.batches))


class Lines(Logger):
    """A line for each call, in ``lines.txt`` of `save_dir`."""

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.file = Path(save_dir) / "lines.txt"

    @property
    def name(self) -> str:
        return "lines"

    @property
    def version(self) -> str:
        return "lines"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        with self.file.open("a") as file:
            print(step, *sorted(metrics), file=file)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass
